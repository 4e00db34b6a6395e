"""Verdicts at the edges of what counts as the same and of printed digits."""

import math
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from scipy import stats

from tada.base import TadaError
from tada.report.judge import cells as judging
from tada.report.judge.cells import CellTexts, against_single, compared, fill, read_cells, seeds_needed
from tada.report.judge.noise import Training, difference
from tada.report.measure.results import Results
from tada.report.paper import PaperAbout
from tada.report.paper.printed import parse
from tada.report.paper.quantities import LibrarySize, NetworkSize
from tada.report.paper.tables import load_table
from tada.runs.settings import Scale

ASSUMED = Training(0.16, 0.0, 20)


def judged(plant, here, scale="paper"):
    """The cells of TAda2D in a table that prints 63.8 and, above TSN's 32.0, +31.8."""
    for seed, number in enumerate(here):
        plant.done("tada2d", seed, scale, top1=number)
        plant.done("tsn", seed, scale, top1=32.0)
    table = load_table(plant.spec(plant.small), plant.specs)
    cells = fill(table, Results(plant.results, Scale(scale), len(here)))
    return cells["tada2d", "top1"], cells["tada2d", "delta"]


# One training here and one there, of 0.4 points each and as if of 20 degrees of freedom: the 95% interval of the
# difference is 2.086 x 0.566 = 1.18 to either side, the 90% interval 1.725 x 0.566 = 0.976, and 1.5 count as the same
@pytest.mark.parametrize(
    ("here", "verdict"),
    [(63.8, "match"), (64.32, "match"), (64.34, "unclear"), (63.26, "unclear"), (62.63, "unclear"), (62.61, "off")],
)
def test_an_accuracy_against_a_single_training(plant, here, verdict):
    cell, _ = judged(plant, [here])
    assert cell.verdict == verdict
    assert (cell.gap.value, cell.gap.high - cell.gap.value) == (
        pytest.approx(here - 63.8),
        pytest.approx(1.18, abs=0.01),
    )
    assert bool(cell.note) == (verdict == "unclear")


def test_a_difference_has_the_noise_of_two_networks(plant):
    cell, delta = judged(plant, [64.3])
    assert (cell.verdict, delta.verdict) == ("match", "unclear")
    assert delta.gap.error == pytest.approx(cell.gap.error * math.sqrt(2))


def test_mini_accuracies_are_not_judged(plant):
    cell, delta = judged(plant, [63.8], scale="mini")
    assert (cell.verdict, cell.gap, delta.verdict) == ("mini", None, "mini")


def test_seeds_make_an_unclear_accuracy_clear(plant):
    """0.6 apart: with n seeds the error is 0.4 sqrt(1 + 1 / n); 1.72 of it and 0.6 are below 1.5 from 2 seeds on."""
    cell, _ = judged(plant, [64.4])
    assert cell.note == "a difference like this would be decided with 2 seeds"
    assert 0.6 + stats.t.ppf(0.95, 21) * 0.4 * math.sqrt(1 + 1 / 2) < 1.5
    cell, _ = judged(plant, [64.4, 64.4])
    assert (cell.verdict, cell.note) == ("match", "")


def test_some_differences_no_number_of_seeds_decides():
    """The paper's number alone is of 0.4 points, so 0.82 is neither within 1.5 - 1.7 x 0.4 nor beyond 2.0 x 0.4."""
    gap = replace(difference([64.6], [63.8], ASSUMED), value=0.82)
    assert against_single(gap, 1.5) == "unclear"
    assert seeds_needed(gap, 1, 1.5) is None


def test_a_paper_without_a_margin_is_told_to_say_one(plant, monkeypatch):
    monkeypatch.setattr(judging, "about_paper", lambda: PaperAbout("A", "B", "C"))
    with pytest.raises(
        TadaError, match=r"paper.yaml: noise.same has to say how far apart accuracies count as the same"
    ):
        judged(plant, [63.8])


@pytest.mark.parametrize(
    ("reproduced", "printed", "verdict"),
    [
        ("32.454", "32.5M", "match"),
        ("34.567", "34.5M", "off"),
        ("0.01635", "0.016", "match"),
        ("84.2455", "84.24", "off"),
        ("33.006", "33×30⋆", "match"),
        ("0.0199", "<0.02", "match"),
        ("0.02", "<0.02", "off"),
    ],
)
def test_counts_match_at_the_printed_digits(reproduced, printed, verdict):
    assert compared(Decimal(reproduced), parse(printed), NetworkSize(("tsn",), "params")) == verdict


def test_another_librarys_network_is_not_judged():
    assert compared(Decimal("71.9"), parse("71.4"), LibrarySize("torchvision.s3d", 64, 224)) == "library"


def test_cells_are_read_as_the_texts_they_are():
    names = (
        "table",
        "row",
        "column",
        "reported",
        "reproduced",
        "std",
        "n",
        "here_low",
        "here_high",
        "verdict",
        "source",
    )
    columns = list(names)
    first = ["table1", "tsn", "top1", "32.0", "40.5", "0.1", "3", "39.5", "41.5", "mini", "there"]
    second = ["table1", "peer", "params", "10M", "", "", "", "", "", "", ""]
    frame = pd.DataFrame([first, ["table2", *first[1:]], second], columns=columns)
    found = read_cells(frame, "table1")
    assert found == [CellTexts(*first[1:-1]), CellTexts(*second[1:-1])]
    assert found[0].pair == (32.0, 40.5)
    assert (found[0].interval, found[1].interval) == ((39.5, 41.5), None)
    assert read_cells(frame, "table3") == []
