"""Sums, differences, products, quotients, powers and means of named numbers, and comparisons of them.

`{table3a/tsn/top1} + 5.5 > mean({a}, {b})`: what stands in braces is looked up by the caller, so the same text is
evaluated on the paper's printed numbers, on measurements, or on arrays of resampled measurements. The formulas that
Table 1 prints, e.g. "Co × Ci × k² + 2 × Ci × Ci/r × k", are the same with printed signs and sizes for names.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce
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
