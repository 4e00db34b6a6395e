"""Measured against reported: cells of tables, order of rows, claims and audit, with the noise of measurements.

All of them come to a `Verdict`. A cell of a table is compared with a number measured here, a claim with several of
them, and a number of the audit with other numbers of the paper.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum


class Verdict(StrEnum):
    """A verdict is the word that the pages print.

    Attributes:
        meaning: its explanation on the pages.
        sign: stands where there is no room for the word.
        colour: of its cells in HTML: "good" (blue), "bad" (orange), "open" (grey), or empty for none.
    """

    meaning: str
    sign: str
    colour: str

    def __new__(cls, word: str, sign: str = "", colour: str = "", meaning: str = "") -> "Verdict":
        """The word is the member's value, so that `Verdict("match")` finds it."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.sign, member.colour, member.meaning = sign, colour, meaning
        return member

    # of cells
    MATCH = "match", "✓", "good", "the reported number: to its digits, or the difference surely counts as none"
    OFF = "off", "✗", "bad", "another number: in other digits, or beyond the noise"
    UNCLEAR = "unclear", "?", "open", "inside the noise, and it may be another number: more seeds are needed"
    MINI = "mini", "•", "", "an accuracy of a mini run, which gets no verdict"
    GPU = "gpu", "•", "", "an accuracy of a run at gpu scale, which gets no verdict"
    LIBRARY = "library", "◦", "", "a peer's network as a library builds it, which gets no verdict"

    # of cells and claims without a measurement
    FAILED = "failed", "!", "bad", "the run failed"
    PENDING = "pending", "…", "open", "not run yet"

    # of claims
    HOLDS = (
        "holds",
        "✓",
        "good",
        "the margin is above zero beyond the noise; of a claim of several statements, that of each. The number is the "
        "margin of the weakest one, in points of accuracy unless it says otherwise.",
    )
    FAILS = "fails", "✗", "bad", "the margin of a statement is below zero beyond the noise."
    UNDECIDED = "undecided", "?", "open", "inside the noise. It says nothing against the claim, nor for it."
    ELSEWHERE = "other scale", "–", "", "the statements mean something at another scale only."

    # of two sets of results
    AGREES = (
        "agrees",
        "✓",
        "good",
        "of a metric: the difference is inside the noise of training; of a claim: both sides have the same verdict.",
    )
    APART = "apart", "✗", "bad", "the difference is beyond the noise of training, or the very same weights gave it."
    OPPOSED = "opposed", "!", "bad", "the claim holds by one side and fails by the other."

    # of the audit
    DIFFERS = (
        "differs",
        "✗",
        "bad",
        "no rounding of the printed digits gives it; the difference is printed less recomputed.",
    )
    ROUNDING = "rounding", "≈", "open", "the printed digits do not give it, but digits that were lost to rounding may."
    UNCHECKED = "unchecked", "?", "open", "it seems to follow from numbers that the paper does not print."
    ADDS_UP = "adds up", "✓", "good", "the printed digits give the printed number, or order of numbers."


OF_CELLS = (
    *(Verdict.MATCH, Verdict.OFF, Verdict.UNCLEAR, Verdict.MINI, Verdict.GPU),
    *(Verdict.LIBRARY, Verdict.FAILED, Verdict.PENDING),
)


OF_CLAIMS = (
    Verdict.HOLDS,
    Verdict.FAILS,
    Verdict.UNDECIDED,
    Verdict.FAILED,
    Verdict.PENDING,
    Verdict.ELSEWHERE,
)


OF_AUDIT = (Verdict.DIFFERS, Verdict.ROUNDING, Verdict.UNCHECKED, Verdict.ADDS_UP)
"""Each kind's in the order in which the pages name and count them; the audit's from worst to best."""


def among_others(verdict: Verdict, alone: Verdict, others: str) -> str:
    """A verdict and, where it is another because `others` are decided with it, what it would be by itself.

    Of many pairs whose networks are equal some intervals lie beside zero by chance, so that more is asked of each.
    E.g. "undecided among 45 pairs (alone: fails)".
    """
    return str(verdict) if verdict == alone else f"{verdict} among {others} (alone: {alone})"


def counts_of(verdicts: Iterable[str], order: Iterable[Verdict]) -> dict[Verdict, int]:
    """How many there are of each, of those that there are, in an order."""
    counts = Counter(verdicts)
    return {verdict: counts[verdict] for verdict in order if counts[verdict]}


def count_verdicts(verdicts: Iterable[str], words: Mapping[Verdict, str]) -> str:
    """How many there are of each, such as "12 hold, 3 fail", in the words and the order of `words`."""
    return ", ".join(f"{count} {words[verdict]}" for verdict, count in counts_of(verdicts, words).items())
