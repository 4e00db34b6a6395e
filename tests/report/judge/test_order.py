"""Order of rows and signs of differences, against counts made by hand."""

import numpy as np
import pytest

from tada.report.judge.cells import fill
from tada.report.judge.order import describe
from tada.report.measure.results import Results
from tada.report.paper.tables import load_table

MODELS = ("tsn", "tsn+lin-k1", "tsn+lin-k3", "tsn+tada")
SPEC = """\
    title: Table 0
    place: Nowhere
    caption: Four rows.
    tolerances:
      top1: {value: 0.5, why: Chosen so that edges are easy to hit.}
    columns:
      top1: {header: Top-1, metric: top1, dataset: ssv2, tolerance: top1}
      delta: {header: Δ, delta_of: top1, tolerance: top1}
    rows:
      - {model: tsn, cells: {top1: "32.0", delta: "-"}}
      - {model: tsn+lin-k1, base: tsn, cells: {top1: "37.5", delta: "+5.5"}}
      - {model: tsn+lin-k3, base: tsn, cells: {top1: "56.5", delta: "+24.5"}}
      - {model: tsn+tada, base: tsn, cells: {top1: "59.2", delta: "+27.2"}}
"""


def sentences(plant, by_seed, samples=False):
    """What is said of rows with these accuracies; with `samples`, the first of 400 videos are right."""
    plant.spec(SPEC)
    for seed, values in enumerate(by_seed):
        for model, value in zip(MODELS, values, strict=True):
            if value is not None and samples:
                plant.hits(model, np.arange(400) < 4 * value, seed)
            elif value is not None:
                plant.done(model, seed, top1=value)
    table = load_table("small", plant.specs)
    return describe(table, fill(table, Results(plant.results, "mini", len(by_seed))))


def test_the_papers_order(plant):
    order, signs = sentences(plant, [(40.0, 50.0, 90.0, 95.0)])
    assert order == "Top-1: 6 of 6 pairs of rows stand in the paper's order (rank correlation 1.00, 4 rows)."
    assert signs == "Δ of Top-1: 3 of 3 differences to the base row have the paper's sign."


def test_what_is_turned_around_is_named(plant):
    order, signs = sentences(plant, [(40.0, 30.0, 95.0, 94.0)], samples=True)
    # Ranks 2 1 4 3 against 1 2 3 4: 1 - 6 * 4 / (4 * 15)
    assert "4 of 6 pairs" in order
    assert "rank correlation 0.60" in order
    assert "tsn+lin-k1 above tsn (paper +5.5, here −10.0)" in order
    # 4 of 400 videos to 0: as with McNemar's exact test, no decision
    assert "tsn+tada above tsn+lin-k3 (paper +2.7, here −1.0, within noise)" in order
    assert "2 of 3" in signs
    assert "not: tsn+lin-k1 (paper +5.5, here −10.0)" in signs


def test_noise_of_seeds(plant):
    order, _ = sentences(plant, [(40.0, 41.0, 95.0, 94.9), (40.0, 38.0, 95.2, 94.5)])
    assert "tsn+lin-k1 above tsn (paper +5.5, here −0.5, within noise)" in order
    # 0.4 against a standard error of sqrt((0.02 + 0.08) / 2) = 0.22 with two degrees of freedom, times 4.3
    assert "tsn+tada above tsn+lin-k3 (paper +2.7, here −0.4, within noise)" in order


def test_noise_is_that_of_differences_video_by_video(plant):
    """Six videos to none are outside the noise; unpaired, 1.5% of 400 videos would be far inside."""
    order, _ = sentences(plant, [(40.0, 38.5, 95.0, 96.0)], samples=True)
    assert "tsn+lin-k1 above tsn (paper +5.5, here −1.5)" in order


def test_noise_that_nothing_tells_is_said_to_be_unknown(plant):
    order, _ = sentences(plant, [(40.0, 30.0, 95.0, 96.0)])
    assert "tsn+lin-k1 above tsn (paper +5.5, here −10.0, noise unknown)" in order


@pytest.mark.parametrize("equal", [50.0])
def test_all_equal(plant, equal):
    order, signs = sentences(plant, [(equal,) * 4])
    assert "0 of 6 pairs" in order
    assert "undefined, since all are equal" in order
    assert "0 of 3" in signs


def test_missing_rows_are_left_out(plant):
    order, signs = sentences(plant, [(40.0, None, 90.0, 95.0)])
    assert order == "Columns of fewer than four measured rows: 3 of 3 pairs of rows stand in the paper's order."
    assert "2 of 2" in signs


def test_nothing_measured(plant):
    assert sentences(plant, [(None,) * 4]) == []
