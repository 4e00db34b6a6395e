"""The benchmark of training steps: its forms, what is made of the times, and all of it on a processor."""

import json

import pytest
from torch import nn

from benchmarks import training
from tada.complexity import PerFrameTAdaConv2d
from tada.models.blocks import Bottleneck
from tada.report.plan import Card


@pytest.mark.parametrize("form", training.FORMS)
def test_every_form_takes_steps(form):
    step = training.Step(form, "float32", "eager", training.TINY)
    before = [parameter.detach().clone() for parameter in step.model.parameters()]
    step()
    assert 0 < float(step.figures.loss) < 20
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


def test_aims_are_judged_by_what_was_measured():
    measured = {
        "bfloat16": {
            "R2D": {"ms": 20.0, "clips_per_second": 800.0, "ratio": 1.0},
            "TAda2D": {"ms": 24.0, "clips_per_second": 666.7, "ratio": 1.2},
            "TAda2D, kernel per frame": {"ms": 132.0, "clips_per_second": 121.2, "ratio": 6.6},
        },
        "float32": {"TAda2D": {"error": "out of memory"}},
        "end_to_end": {"prepared": {"data_wait": 0.1}},
    }
    assert [(reached, enough) for _, reached, enough in training.aims(measured)] == [
        (1.2, False), (666.7, True), (5.5, True), (0.1, True),
    ]  # fmt: skip


def test_a_compiled_step_is_the_suites_own(compiling, monkeypatch):
    layers = [nn.Conv3d(3, 4, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, training.CLASSES)]
    monkeypatch.setattr(training, "network", lambda form, size: nn.Sequential(*layers))  # compiled in a few seconds
    step = training.Step("R2D", "float32", "compiled", training.TINY)
    step()
    assert step.group.compiler.active and "the training step is compiled" in step.said[0]
    assert 0 < float(step.figures.loss) < 20


def test_the_day_of_the_gpu_is_tried_on_a_processor(tmp_path, capsys):
    """The very command but for compilation, on networks and videos so small that it takes a minute."""
    training.main(["--tiny", "--out", str(tmp_path), "--mode", "eager"])
    record = json.loads((tmp_path / "tiny.json").read_text())
    assert record["mode"] == "eager" and record["clips"] == training.TINY.clips
    for precision in training.PRECISIONS:
        for form in training.FORMS:
            assert record[precision][form]["clips_per_second"] > 0, record[precision][form]
    assert Card.named("tiny", tmp_path).rates["float32"]["TAda2D"] > 0  # the plan reads it
    for videos in ("original", "prepared"):
        assert record["end_to_end"][videos]["clips_per_second"] > 0
        assert 0 <= record["end_to_end"][videos]["data_wait"] <= 1
    assert "clips/s, at least 360" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "words"), [(["--tiny"], "name another folder by --out"), ([], "needs a GPU")])
def test_what_cannot_be_measured_is_said(options, words, capsys, monkeypatch):
    monkeypatch.setattr(training.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        training.main(options)
    assert words in capsys.readouterr().err
