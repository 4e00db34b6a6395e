"""The benchmark of layers: the forms of Eq. 7 that it compares compute the same."""

import pytest
import torch

from benchmarks.tadaconv import Settings, aggregation_forms, show
from tada.models.blocks import AggregatedNorm


def test_the_forms_of_equation_7_compute_the_same_and_the_batch_norm_does_not():
    y = torch.randn(2, 8, 4, 5, 5)
    plain, usual, fused = (form.train()(y) for form in aggregation_forms(8).values())
    assert torch.equal(usual, fused)  # on a CPU the usual form takes the kernels' place
    assert not torch.allclose(plain, usual)


def test_only_the_last_form_asks_for_the_kernels():
    pytest.importorskip("triton")
    norms = [part for form in aggregation_forms(8).values() for part in form.modules()]
    assert [norm.fused for norm in norms if isinstance(norm, AggregatedNorm)] == [False, True]


def test_a_comparison_is_shown(capsys):
    calls = ("forward + backward",)
    settings = Settings("cpu", torch.float32, False, rounds=1)
    show("Eq. 7", aggregation_forms(8), (1, 8, 4, 6, 6), calls, settings)
    shown = capsys.readouterr().out
    assert [line.split("|")[2].strip() for line in shown.splitlines() if "| forward + backward" in line] == [
        "batch norm",
        "aggregation",
        "fused",
    ]
    assert "differ by 0e+00" in shown
