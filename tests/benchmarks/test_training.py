"""The benchmark of training steps: its forms on a CPU, and what is made of the times."""

import functools

import pytest

from benchmarks import training
from tada.complexity import PerFrameTAdaConv2d
from tada.models import build_model
from tada.models.blocks import Bottleneck


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(training, "SIDE", 32)
    monkeypatch.setattr(training, "build_model", functools.partial(build_model, depth=[1, 1, 1, 1], width=16))


@pytest.mark.parametrize("form", training.FORMS)
def test_every_form_takes_steps(form):
    step = training.Step(form, "float32", "eager", 2, device="cpu")
    before = [parameter.detach().clone() for parameter in step.model.parameters()]
    assert 0 < float(step().detach()) < 20
    assert any((parameter != old).any() for parameter, old in zip(step.model.parameters(), before, strict=True))
    blocks = [module for module in step.model.modules() if isinstance(module, Bottleneck)]
    per_frame = sum(isinstance(block.conv2, PerFrameTAdaConv2d) for block in blocks)
    assert per_frame == (4 if form.endswith("per frame") else 0)


def test_summary_takes_medians_of_times_and_of_ratios():
    workers = [
        training.Worker("R2D", None, None, [10.0, 20.0, 10.0]),
        training.Worker("TAda2D", None, None, [11.0, 22.0, 12.0]),
        training.Worker("broken", None, None, [], error="out of memory"),
    ]
    found = training.summary(workers, clips=16)
    assert found["R2D"]["ratio"] == 1
    assert found["TAda2D"] == {"ms": 12.0, "clips_per_second": 1333.3, "ratio": 1.1, "peak_bytes": 0}
    assert found["broken"] == {"error": "out of memory"}
