"""Claims drawn: the values, intervals and ranges of planted claims against numbers made by hand."""

import numpy as np
import pytest

from tada.report.judge import Verdict
from tada.report.judge.noise import LEVEL
from tada.report.judge.sentences import judge_claims
from tada.report.measure.results import Results
from tada.report.pages.forest import forests
from tada.report.paper.sentences import load_claims
from tada.report.paper.tables import Paper
from tada.runs.settings import Scale

SPEC = """\
title: Claims
place: here
caption: Small.
claims:
  - id: more
    place: Section 5, Table 3b
    says: TAda2D is above TSN
    quote: more
    holds: ["{ssv2/tada2d} > {ssv2/tsn}"]
  - id: near
    place: Section 5, Table 3b
    says: Within two points
    quote: similar
    holds: ["{ssv2/tada2d} - {ssv2/tsn} < 2", "{ssv2/tsn} - {ssv2/tada2d} < 2"]
  - id: elsewhere
    place: Section 6, Table 9
    says: Not run
    quote: later
    holds: ["{ssv2/tsm} > {ssv2/tsn}"]
"""


@pytest.fixture
def drawn(plant, tmp_path, steady):
    """TAda2D gets 6 of 400 videos right that TSN does not: clear alone, and not beside a claim that it contradicts."""
    plant.hits("tada2d", np.arange(400) < 206)
    plant.hits("tsn", np.arange(400) < 200)
    path = tmp_path / "claims.yaml"
    path.write_text(SPEC, encoding="utf-8")
    claims = load_claims(path)
    judged = {scale: judge_claims(claims, Results(plant.results, scale, 1)) for scale in (Scale.MINI, Scale.PAPER)}
    return judged, list(forests(judged, Paper()))


def test_only_scales_of_which_something_is_measured_are_drawn(drawn):
    _, found = drawn
    assert [forest.title for forest in found] == ["mini scale"]
    assert [(group.title, len(group.lines)) for group in found[0].groups] == [("Table 3b", 2), ("Table 9", 1)]


def test_a_statement_is_drawn_with_its_interval_and_where_it_is_true(drawn):
    judged, (forest,) = drawn
    line = forest.groups[0].lines[0]
    (span,) = line.spans
    estimate = judged[Scale.MINI][0].margins[0].estimate
    assert (span.label, span.value, span.true) == ("tada2d > tsn", pytest.approx(1.5), (0, np.inf))
    assert span.interval == estimate.interval(LEVEL)
    assert span.paper == pytest.approx(63.8 - 32.0)
    assert span.text == line.text == "+1.5 [+0.1, +2.9]"


def test_the_thin_line_says_what_company_changed(drawn):
    """Two claims are undecided, so the level is halved: the interval beside zero reaches over it."""
    judged, (forest,) = drawn
    line = forest.groups[0].lines[0]
    (span,) = line.spans
    assert span.interval[0] > 0 > span.shared[0]
    assert span.shared == judged[Scale.MINI][0].margins[0].estimate.interval(LEVEL / 2)
    assert (line.verdict, line.said) == (Verdict.UNDECIDED, "undecided among 2 claims (alone: holds)")


def test_bounds_of_one_sum_from_both_sides_are_one_range(drawn):
    _, (forest,) = drawn
    (span,) = forest.groups[0].lines[1].spans
    # Drawn as the first statement's sum, that of TSN less TAda2D, which is below two points and above minus two
    assert (span.value, span.true) == (pytest.approx(-1.5), (-2.0, 2.0))


def test_what_is_not_run_is_pending_and_draws_nothing(drawn):
    _, (forest,) = drawn
    (line,) = forest.groups[1].lines
    assert (line.verdict, line.spans, line.text) == (Verdict.PENDING, (), "")
    assert "ssv2/tsm seed 0: pending: not run yet" in line.notes
    assert not forest.groups[1].drawn


def test_places_on_the_axis(drawn):
    _, (forest,) = drawn
    group = forest.groups[0]
    span = group.lines[0].spans[0]
    assert group.low < min(-2, span.shared[0]) and group.high > span.paper
    assert (group.at(group.low), group.at(group.high), group.at(np.inf), group.at(-np.inf)) == (0, 100, 100, 0)
    assert group.at((group.low + group.high) / 2) == pytest.approx(50)
    assert 0 in group.ticks and all(group.low <= tick <= group.high for tick in group.ticks)
