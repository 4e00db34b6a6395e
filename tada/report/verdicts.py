"""Verdicts: whether a reproduced number is the reported one.

An accuracy matches within the tolerance its spec gives, and only at the paper's scale: the mini datasets have levels
of their own, so there it is shown and not judged. A parameter or FLOP count matches if it rounds to the printed digits.
"""

from decimal import Decimal

from tada.report.measures import Delta, Library, Measure, Metric
from tada.report.printed import Printed, rounded

MATCH, OFF, MINI, LIBRARY = "match", "off", "mini", "library"
_ROUNDING = 1e-9  # a tolerance of 0.5 takes in 63.8 - 63.3, whose binary difference is a hair above or below


def judge(reproduced: float | Decimal, printed: Printed, what: Measure, scale: str) -> str:
    """ "match" or "off"; "mini" where the scale, "library" where the network allows no verdict.

    Args:
        reproduced: in the printed number's unit.
        printed: what the paper prints; an upper bound is kept by any value below it.
        what: the cell's measure; an accuracy brings its own tolerance.
        scale: "mini", "paper" or "released".
    """
    if isinstance(what, Metric | Delta):
        if scale == "mini":
            return MINI
        return MATCH if abs(float(reproduced) - float(printed.value)) <= what.tolerance.value + _ROUNDING else OFF
    if isinstance(what, Library):
        return LIBRARY
    if printed.below:
        return MATCH if reproduced < printed.value else OFF
    return MATCH if rounded(reproduced, printed.decimals) == printed.value else OFF
