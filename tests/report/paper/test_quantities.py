"""Quantities as texts name them, with the runs and networks that each needs."""

import pytest

from tada.base import TadaError
from tada.report.paper.quantities import (
    CalibrationCost,
    CurvePoint,
    Difference,
    InitialDifference,
    LayerSize,
    Metric,
    NetworkSize,
    complexities_of,
    parse_quantity,
    runs_of,
)

SETTING = (("k", 3),)


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("ssv2/tada2d", Metric("ssv2", ("tada2d",), "top1")),
        ("ek100/tada2d/top1_verb", Metric("ek100", ("tada2d",), "top1_verb")),
        ("ssv2/tada2d & tada2d-16f/top5", Metric("ssv2", ("tada2d", "tada2d-16f"), "top5")),
        ("complexity/tada2d/params", NetworkSize(("tada2d",), "params", 400, 256)),
        ("layer/tadaconv/gflops", LayerSize("tadaconv", "gflops", SETTING)),
        ("calibration/slowonly+tada/gflops", CalibrationCost("slowonly+tada")),
        ("ssv2/tada2d/class_30", Metric("ssv2", ("tada2d",), "class_30")),
        ("start/tsn/tada2d", InitialDifference("tsn", "tada2d")),
        ("curve/ssv2/tsn/val_top1@0.25", CurvePoint("ssv2", "tsn", "val_top1", 0.25)),
        ("curve/ssv2/tsn/val_top1", CurvePoint("ssv2", "tsn", "val_top1", 1.0)),
    ],
)
def test_every_form(text, quantity):
    assert parse_quantity(text, "here", lambda: SETTING) == quantity


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssv2", "here: 'ssv2' is no reference"),
        ("ssv2/tsn/top1/0", "here: 'ssv2/tsn/top1/0' is no reference"),
        ("complexity/tada2d/macs", "unknown dataset 'complexity'"),
        ("start/tsn/tada2D", "unknown model 'tada2D'; did you mean 'tada2d'"),
        ("curve/ssv3/tsn/val_top1", "unknown dataset 'ssv3'; did you mean 'ssv2'"),
    ],
)
def test_faults(text, message):
    with pytest.raises(TadaError, match=message):
        parse_quantity(text, "here", lambda: SETTING)


def test_needs():
    tsn, both = Metric("ssv2", ("tsn",), "top1"), Metric("ssv2", ("tada2d", "tada2d-16f"), "top1")
    point, size = CurvePoint("k400", "tsn", "val_top1", 1.0), NetworkSize(("r3d+tada",), "gflops", minus="r3d")
    found = runs_of([Difference(both, tsn), point, size])
    assert found == {("ssv2", "tsn"), ("ssv2", "tada2d"), ("ssv2", "tada2d-16f"), ("k400", "tsn")}
    assert complexities_of([tsn, size]) == {("r3d+tada", 400, 256), ("r3d", 400, 256)}
    assert complexities_of([NetworkSize(("tsm",), "gflops", 174, 224)]) == {("tsm", 174, 224)}
