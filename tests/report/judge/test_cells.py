"""Verdicts at the edges of tolerances and of printed digits."""

from decimal import Decimal

import pandas as pd
import pytest

from tada.report.judge.cells import CellTexts, compared, read_cells
from tada.report.paper.printed import parse
from tada.report.paper.quantities import Difference, LibrarySize, Metric, NetworkSize
from tada.report.paper.tables import Cell, Tolerance
from tada.runs.settings import Scale

TOLERANCE = Tolerance(0.5, "for the test")
METRIC = Metric("ssv2", ("tsn",), "top1")
ACCURACIES = (METRIC, Difference(Metric("ssv2", ("tada2d",), "top1"), METRIC))


def cell(quantity, tolerance=None):
    return Cell("column", "63.8", "measured", quantity, tolerance=tolerance)


@pytest.mark.parametrize("quantity", ACCURACIES)
@pytest.mark.parametrize(
    ("reproduced", "verdict"),
    [(63.8, "match"), (63.3, "match"), (64.3, "match"), (63.299, "off"), (64.301, "off")],
)
def test_accuracy_within_tolerance(quantity, reproduced, verdict):
    accuracy = cell(quantity, TOLERANCE)
    assert compared(reproduced, parse("63.8"), accuracy, Scale.PAPER) == verdict
    assert compared(reproduced, parse("63.8"), accuracy, Scale.MINI) == "mini"


@pytest.mark.parametrize("scale", ["mini", "paper"])
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
def test_counts_match_at_the_printed_digits(reproduced, printed, verdict, scale):
    assert compared(Decimal(reproduced), parse(printed), cell(NetworkSize(("tsn",), "params")), Scale(scale)) == verdict


def test_another_librarys_network_is_not_judged():
    peers = cell(LibrarySize("torchvision.s3d", 64, 224))
    assert compared(Decimal("71.9"), parse("71.4"), peers, Scale.PAPER) == "library"


def test_cells_are_read_as_the_texts_they_are():
    columns = ["table", "row", "column", "reported", "reproduced", "std", "verdict", "source"]
    first = ["table1", "tsn", "top1", "32.0", "40.5", "0.1", "mini", "there"]
    second = ["table1", "peer", "params", "10M", "", "", "", ""]
    frame = pd.DataFrame([first, ["table2", *first[1:]], second], columns=columns)
    found = read_cells(frame, "table1")
    assert found == [CellTexts(*first[1:-1]), CellTexts(*second[1:-1])]
    assert found[0].pair == (32.0, 40.5)
    assert read_cells(frame, "table3") == []
