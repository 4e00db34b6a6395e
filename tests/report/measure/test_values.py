"""Values of quantities from planted runs, with what is missing, and the videos behind them."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tada.report.measure.results import DONE, FAILED, PENDING, Results, read_run
from tada.report.measure.values import measure
from tada.report.paper.quantities import CurvePoint, Difference, Metric, NetworkSize, Structure
from tada.runs.run import Run
from tada.runs.settings import Scale

TSN, TADA2D = (Metric("ssv2", (model,), "top1") for model in ("tsn", "tada2d"))


def value(plant, quantity, seeds=1):
    return measure(quantity, Results(plant.results, Scale.MINI, seeds))


def test_a_metric_has_a_number_for_each_seed_that_is_done(plant):
    assert value(plant, TSN).status == PENDING
    plant.done("tsn", 0, top1=40.0)
    plant.failed("tsn", "out of memory", 1)
    plant.done("tsn", 2, top1=43.0)
    found = value(plant, TSN, seeds=3)
    assert (found.status, found.numbers, found.wanted) == (DONE, {0: 40.0, 2: 43.0}, 3)
    assert (found.mean, found.std) == (41.5, pytest.approx(4.5**0.5))
    assert [problem.status for problem in found.problems] == [FAILED]
    assert found.samples is None  # no scores were planted


def test_a_difference_is_taken_seed_by_seed(plant):
    for seed, numbers in enumerate([(40.0, 50.0), (42.0, 55.0)]):
        for model, number in zip(("tsn", "tada2d"), numbers, strict=True):
            plant.done(model, seed, top1=number)
    plant.done("tada2d", 2, top1=90.0)
    found = value(plant, Difference(TADA2D, TSN), seeds=3)
    assert found.numbers == {0: 10.0, 1: 13.0}
    assert [str(problem) for problem in found.problems] == ["ssv2/tsn seed 2: pending: not run yet"]


def test_the_videos_behind_a_metric(plant):
    for seed, right in enumerate(([True, True, False, False], [True, False, False, False])):
        plant.hits("tsn", right, seed)
    found = value(plant, TSN, seeds=2)
    assert found.samples.by_seed.tolist() == list(found.numbers.values()) == [50.0, 25.0]
    assert found.samples.right.tolist() == [[True, True, False, False], [True, False, False, False]]


def test_a_mean_over_classes_comes_from_the_scores(plant):
    labels = np.array([0] * 9 + [1])
    plant.hits("tsn", labels == 1, labels=labels)
    assert value(plant, Metric("ssv2", ("tsn",), "mean_class")).numbers == {0: 50.0}


def test_a_point_of_a_curve(plant):
    run = plant.done("tsn", top1=1.0)
    point = CurvePoint("ssv2", "tsn", "train_top1", 0.5)
    assert "curves.csv cannot be read" in str(value(plant, point).problems[0])
    pd.DataFrame({"train_top1": [10.0, 20.0, 30.0, 40.0]}).to_csv(run.file("curves.csv"), index=False)
    found = value(plant, point)
    assert (found.numbers, found.share_of, found.samples) == ({0: 20.0}, 99, None)


def test_sizes_are_exact(plant):
    plant.complexity("r3d", 10**6, 2 * 10**9)
    gflops = NetworkSize(("r3d+tada",), "gflops", minus="r3d")
    assert value(plant, gflops).status == PENDING
    plant.complexity("r3d+tada", 10**6, 2 * 10**9 + 1)
    found = value(plant, gflops)
    assert (found.numbers, found.exact) == ({0: Decimal("0.000000001")}, True)
    assert len(found.sources) == 2


def test_a_structure_is_a_text(plant):
    found = value(plant, Structure("tsn", "res5", output=True))
    assert (found.status, found.text, found.numbers) == (DONE, "8×7×7", {})


def test_what_stands_in_the_place_of_a_run_s_folder_is_named(tmp_path):
    run = Run("mini", "ssv2", "tsn", 0, tmp_path)
    assert read_run(run).reason == "not run yet"
    run.folder.parent.mkdir(parents=True)
    run.folder.symlink_to(tmp_path / "unmounted")
    assert read_run(run).reason == f"{run.folder}: a link to nothing; is the disk there that it leads to?"
    run.folder.unlink()
    run.folder.write_text("a file")
    assert read_run(run).reason.startswith(f"{run.folder}: a file stands where results are to be kept")
