"""Numbers as the paper prints them, and expressions of such numbers.

A printed number's digits say how precisely it is known: 63.8 may have been anything from 63.75 to 63.85 before it was
rounded, and an `Interval` takes that along in everything that is computed from it.

An expression, such as `{table3a/tsn/top1} + 5.5 > mean({a}, {b})`, has names in braces that the caller looks up, so the
same text is evaluated on printed numbers, on measurements, or on arrays of resampled ones. The formulas that Table 1
prints, e.g. "Co × Ci × k² + 2 × Ci × Ci/r × k", are expressions with printed signs and sizes for names.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from functools import cached_property, reduce
from typing import Any

from tada.base import TadaError, unknown

NO_NUMBER = ("-", "N/A", "")
"""What the paper's tables print where there is none."""


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
    if text.strip() in NO_NUMBER or not found:
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


def show_ends(ends: tuple[float, float], decimals: int) -> str:
    """Lower and upper end of an interval of differences, e.g. "[−13.0, −7.0]"."""
    return f"[{', '.join(show(end, decimals, signed=True) for end in ends)}]"


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


_REFERENCE = re.compile(r"\{([^{}]+)\}")


_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


_FUNCTIONS = {"mean": lambda *values: sum(values[1:], start=values[0]) / len(values)}


_SIGNS = (">=", "<=", ">", "<")


@dataclass(frozen=True)
class Expression:
    """An expression as written; `references` are what stands in its braces, in order of appearance."""

    text: str

    @cached_property
    def references(self) -> tuple[str, ...]:
        """Every reference once."""
        return tuple(dict.fromkeys(_REFERENCE.findall(self.text)))

    def evaluate(self, look_up: Callable[[str], Any], number: Callable[[str], Any] = Fraction) -> Any:
        """Its value, with `look_up` giving that of each reference and `number` that of each written number.

        Raises:
            TadaError: the text is nothing that can be computed from references and numbers.
        """
        names = {f"reference{place}": reference for place, reference in enumerate(self.references)}
        text = self.text
        for name, reference in names.items():
            text = text.replace(f"{{{reference}}}", name)
        try:
            tree = ast.parse(" ".join(text.split()), mode="eval").body
        except SyntaxError:
            raise TadaError(f"{self.text!r}: not a sum, product, quotient, power or mean") from None

        def value(node: ast.expr) -> Any:
            match node:
                case ast.BinOp(left, sign, right) if type(sign) in _OPERATORS:
                    return _OPERATORS[type(sign)](value(left), value(right))
                case ast.BinOp(base, ast.Pow(), ast.Constant(int(power))) if power > 0:
                    return reduce(operator.mul, [value(base)] * power)  # which intervals know, too
                case ast.Call(ast.Name(name), arguments, []) if arguments and name not in names:
                    if name not in _FUNCTIONS:
                        raise unknown("function", name, _FUNCTIONS, where=repr(self.text))
                    return _FUNCTIONS[name](*map(value, arguments))
                case ast.Constant(int() | float() as constant) if not isinstance(constant, bool):
                    return number(str(constant))  # as written: 1.306, not its binary neighbour
                case ast.Name(name) if name in names:
                    return look_up(names[name])
            part = re.sub(r"reference\d+", lambda found: names.get(found[0], found[0]), ast.unparse(node))
            raise TadaError(f"{self.text!r}: {part!r} is not a number, reference, sum, product, power or mean")

        return value(tree)

    def linear(self) -> tuple[dict[str, float], float]:
        """The weight of each reference, and the constant that is added to their sum.

        Raises:
            TadaError: it is no such sum.
        """
        names = self.references

        def at(*values: int) -> Fraction:
            return Fraction(self.evaluate(dict(zip(names, map(Fraction, values), strict=True)).__getitem__))

        try:
            constant = at(*(0 for _ in names))
            weights = [at(*(int(one == name) for one in names)) - constant for name in names]
            probe = range(2, 2 + len(names))
            fits = at(*probe) == constant + sum(weight * value for weight, value in zip(weights, probe, strict=True))
        except ZeroDivisionError:
            fits = False
        if not fits:
            raise TadaError(f"{self.text!r}: products and quotients of measurements are not supported")
        return dict(zip(names, map(float, weights), strict=True)), float(constant)

    def shown(self, show: Callable[[str], str]) -> str:
        """The expression with each reference in the words of `show`, and with typographic signs."""
        text = " ".join(self.text.split()).replace(" - ", " − ").replace("*", "×").replace(">=", "≥").replace("<=", "≤")
        return _REFERENCE.sub(lambda found: show(found[1]), text)


@dataclass(frozen=True)
class Inequality:
    """A statement that one expression is larger (or smaller) than another, e.g. "{a} > {b}"."""

    text: str

    @cached_property
    def margin(self) -> Expression:
        """What is positive where the statement holds (zero, too, with >= and <=)."""
        larger, smaller = self.sides if self.sign.startswith(">") else self.sides[::-1]
        return Expression(f"{larger.text} - ({smaller.text})")

    @cached_property
    def sides(self) -> tuple[Expression, Expression]:
        """Left and right."""
        left, _, right = self.text.partition(self.sign)
        return Expression(left.strip()), Expression(right.strip())

    @property
    def strict(self) -> bool:
        """Whether equality breaks the statement."""
        return not self.sign.endswith("=")

    @cached_property
    def sign(self) -> str:
        """One of >=, <=, > and <.

        Raises:
            TadaError: the text holds none of them.
        """
        found = next((sign for sign in _SIGNS if sign in self.text), None)
        if found is None:
            raise TadaError(f"{self.text!r}: not a comparison; join two sides by one of {', '.join(_SIGNS)}")
        return found

    @property
    def references(self) -> tuple[str, ...]:
        """References of both sides, each once."""
        return self.margin.references

    def shown(self, show: Callable[[str], str]) -> str:
        """The statement in the words of `show`."""
        return Expression(self.text).shown(show)


_PRINTED = {"×": "*", "²": "**2", "³": "**3", "THW": "T*H*W"}


def evaluate_formula(formula: str, sizes: Mapping[str, int]) -> int:
    """Value of a formula as Table 1 prints it, at sizes by their names in it.

    Raises:
        TadaError: it cannot be computed, names a size that `sizes` lacks, or its value is no whole number.
    """
    where = f"formula {formula!r}"
    text = re.sub("|".join(_PRINTED), lambda sign: _PRINTED[sign[0]], formula)
    expression = Expression(re.sub(r"[A-Za-z]+", lambda name: f"{{{name[0]}}}", text))
    for name in expression.references:
        if name not in sizes:
            raise unknown("size", name, sizes, where)
    value = expression.evaluate(lambda name: Fraction(sizes[name]))
    if value.denominator != 1:
        raise TadaError(f"{where}: {value} at {dict(sizes)} is no whole number")
    return value.numerator
