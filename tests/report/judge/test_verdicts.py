"""Verdicts: found by their words, which no two share, and all explained."""

import pytest

from tada.report.judge import OF_AUDIT, OF_CELLS, OF_CLAIMS, Verdict, count_verdicts
from tada.report.measure.results import FAILED, PENDING
from tada.report.pages import compare


def test_words():
    assert Verdict("match") is Verdict.MATCH
    assert f"{Verdict.ADDS_UP} {Verdict.ELSEWHERE}" == "adds up other scale"
    assert (Verdict(PENDING), Verdict(FAILED)) == (Verdict.PENDING, Verdict.FAILED)
    with pytest.raises(ValueError, match="'matches' is not a valid Verdict"):
        Verdict("matches")


def test_every_verdict_is_counted_somewhere_and_explained():
    assert {*OF_CELLS, *OF_CLAIMS, *compare.WORDS, *OF_AUDIT} == set(Verdict)
    assert all(verdict.meaning and verdict.colour in ("good", "bad", "open", "") for verdict in Verdict)
    assert {Verdict.MATCH.colour, Verdict.HOLDS.colour, Verdict.ADDS_UP.colour} == {"good"}


def test_counts_stand_in_the_order_of_their_words():
    words = {Verdict.HOLDS: "hold", Verdict.FAILS: "fail", Verdict.PENDING: "need runs"}
    found = ["fails", Verdict.HOLDS, "fails", Verdict.ELSEWHERE]
    assert count_verdicts(found, words) == "1 hold, 2 fail"
    assert count_verdicts([], words) == ""
