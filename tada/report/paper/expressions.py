"""Sums, products, quotients and means of named numbers, and comparisons of them, for whatever kind of number they are.

`{table3a/tsn/top1} + 5.5 > mean({a}, {b})`: what stands in braces is looked up by the caller, so the same text is
evaluated on the paper's printed numbers, on measurements, or on arrays of resampled measurements.

Formulas as the paper prints them in Table 1, e.g. "Co × Ci × k² + 2 × Ci × Ci/r × k", evaluated at given sizes.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from tada.base.errors import TadaError, unknown

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
            TadaError: the text is no sum, product, quotient or mean of references and numbers.
        """
        names = {f"reference{place}": reference for place, reference in enumerate(self.references)}
        text = self.text
        for name, reference in names.items():
            text = text.replace(f"{{{reference}}}", name)
        try:
            tree = ast.parse(" ".join(text.split()), mode="eval").body
        except SyntaxError:
            raise TadaError(f"{self.text!r}: not a sum, product, quotient or mean") from None

        def value(node: ast.expr) -> Any:
            match node:
                case ast.BinOp(left, sign, right) if type(sign) in _OPERATORS:
                    return _OPERATORS[type(sign)](value(left), value(right))
                case ast.Call(ast.Name(name), arguments, []) if arguments:
                    if name not in _FUNCTIONS:
                        raise unknown("function", name, _FUNCTIONS, where=repr(self.text))
                    return _FUNCTIONS[name](*map(value, arguments))
                case ast.Constant(int() | float() as constant) if not isinstance(constant, bool):
                    return number(str(constant))  # as written: 1.306, not its binary neighbour
                case ast.Name(name) if name in names:
                    return look_up(names[name])
            raise TadaError(f"{self.text!r}: {ast.unparse(node)!r} is not a number, reference, sum, product or mean")

        return value(tree)

    def shown(self, show: Callable[[str], str]) -> str:
        """The expression with each reference in the words of `show`, and with typographic signs."""
        text = " ".join(self.text.split()).replace(" - ", " − ").replace("*", "×").replace(">=", "≥").replace("<=", "≤")
        return _REFERENCE.sub(lambda found: show(found[1]), text)


@dataclass(frozen=True)
class Comparison:
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


_ARITHMETIC = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: operator.pow}


_PRINTED = {"×": "*", "²": "**2", "³": "**3", "THW": "T*H*W"}


def evaluate(formula: str, setting: Mapping[str, int]) -> int:
    """Value of a printed formula of sums, products, quotients and powers.

    Raises:
        TadaError: the formula holds something else or a size that `setting` lacks, or its value is no whole number.
    """
    text = re.sub("|".join(_PRINTED), lambda sign: _PRINTED[sign[0]], formula)
    try:
        value = _value(ast.parse(text, mode="eval").body, setting, formula)
    except SyntaxError:
        raise TadaError(f"formula {formula!r}: not a formula of sums, products, quotients and powers") from None
    if value.denominator != 1:
        raise TadaError(f"formula {formula!r}: {value} at {dict(setting)} is no whole number")
    return value.numerator


def _value(node: ast.expr, setting: Mapping[str, int], formula: str) -> Fraction:
    match node:
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
            return Fraction(_ARITHMETIC[type(op)](_value(left, setting, formula), _value(right, setting, formula)))
        case ast.Constant(int() as number):
            return Fraction(number)
        case ast.Name(name):
            if name not in setting:
                raise unknown("size", name, setting, where=f"formula {formula!r}")
            return Fraction(setting[name])
    raise TadaError(f"formula {formula!r}: {ast.unparse(node)!r} is not a sum, product, quotient or power")
