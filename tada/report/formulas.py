"""Formulas as the paper prints them in Table 1, e.g. "Co × Ci × k² + 2 × Ci × Ci/r × k", evaluated at given sizes."""

import ast
import operator
import re
from collections.abc import Mapping
from fractions import Fraction

from tada.errors import TadaError, unknown

_OPERATORS = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: operator.pow}
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
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            return Fraction(_OPERATORS[type(op)](_value(left, setting, formula), _value(right, setting, formula)))
        case ast.Constant(int() as number):
            return Fraction(number)
        case ast.Name(name):
            if name not in setting:
                raise unknown("size", name, setting, where=f"formula {formula!r}")
            return Fraction(setting[name])
    raise TadaError(f"formula {formula!r}: {ast.unparse(node)!r} is not a sum, product, quotient or power")
