"""Rounded numbers: 63.8 in print may have been anything from 63.75 to 63.85, and so has what is computed from it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tada.report.printed import Printed

Number = int | Fraction


@dataclass(frozen=True)
class Interval:
    """A number computed from digits as printed, `value`, and the bounds of what their rounding leaves open."""

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
