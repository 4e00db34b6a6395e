"""Numbers as the paper prints them, whose digits say how precisely they are known.

63.8 in print may have been anything from 63.75 to 63.85 before it was rounded, and an `Interval` takes that along in
everything that is computed from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

EMPTY = ("-", "N/A", "")


_NUMBER = re.compile(r"(?P<less><\s*)?(?P<sign>[+\-−]?)(?P<digits>\d+(?:\.(?P<decimals>\d+))?)(?P<unit>M?)")


@dataclass(frozen=True)
class Printed:
    """A printed number, e.g. "32.5M": text "32.5M", value 32.5, one decimal, unit "M".

    `signed` is true of a number printed with a plus or minus, `below` of one printed as an upper bound ("<0.02").
    Signs after the number ("43.1×30⋆") stand in the text alone.
    """

    text: str
    value: Decimal
    decimals: int
    unit: str = ""
    signed: bool = False
    below: bool = False

    @property
    def fraction(self) -> Fraction:
        """The value, for exact arithmetic."""
        return Fraction(self.value)

    def show(self, value: float | Decimal, extra: int = 0) -> str:
        """`value` in this number's style, with `extra` more decimals."""
        return show(value, self.decimals + extra, signed=self.signed) + self.unit


def parse(text: str) -> Printed | None:
    """The number at the start of a cell's text, or None where the paper prints none ("-", "N/A")."""
    found = _NUMBER.match(text.strip())
    if text.strip() in EMPTY or not found:
        return None
    value = Decimal(found["digits"])
    return Printed(
        text=text,
        value=-value if found["sign"] in ("-", "−") else value,
        decimals=len(found["decimals"] or ""),
        unit=found["unit"],
        signed=bool(found["sign"]),
        below=bool(found["less"]),
    )


def rounded(value: float | Decimal, decimals: int) -> Decimal:
    """`value` to that many decimals; an exact tie goes to the even digit."""
    return Decimal(value).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)


def show(value: float | Decimal, decimals: int, signed: bool = False) -> str:
    """`value` to that many decimals, with a typographic minus, and a plus if `signed`; zero carries no sign."""
    digits = rounded(value, decimals)
    sign = "−" if digits < 0 else "+" if signed and digits > 0 else ""
    return f"{sign}{abs(digits):,f}"


Number = int | Fraction


@dataclass(frozen=True)
class Interval:
    """A number computed from printed digits: `value`, and the bounds that their rounding leaves open."""

    low: Fraction
    value: Fraction
    high: Fraction

    @classmethod
    def exact(cls, number: Number) -> Interval:
        """A number that nobody rounded."""
        return cls(Fraction(number), Fraction(number), Fraction(number))

    @classmethod
    def of(cls, printed: Printed) -> Interval:
        """Everything that rounds to the printed digits."""
        value, half = printed.fraction, Fraction(1, 2 * 10**printed.decimals)
        return cls(value - half, value, value + half)

    def overlaps(self, other: Interval) -> bool:
        """Whether both may stand for the same number; to touch at an end is not enough."""
        return self.low < other.high and other.low < self.high

    def __add__(self, other: Interval | Number) -> Interval:
        other = _interval(other)
        return Interval(self.low + other.low, self.value + other.value, self.high + other.high)

    def __sub__(self, other: Interval | Number) -> Interval:
        return self + _interval(other) * -1

    def __mul__(self, other: Interval | Number) -> Interval:
        other = _interval(other)
        ends = [one * two for one in (self.low, self.high) for two in (other.low, other.high)]
        return Interval(min(ends), self.value * other.value, max(ends))

    def __truediv__(self, other: Interval | Number) -> Interval:
        other = _interval(other)
        if other.low <= 0 <= other.high:
            raise ZeroDivisionError("the divisor may be zero")
        return self * Interval(1 / other.high, 1 / other.value, 1 / other.low)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Number) -> Interval:
        return _interval(other) - self

    def __rtruediv__(self, other: Number) -> Interval:
        return _interval(other) / self


def _interval(number: Interval | Number) -> Interval:
    return number if isinstance(number, Interval) else Interval.exact(number)
