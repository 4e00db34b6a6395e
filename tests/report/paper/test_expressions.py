"""Expressions and comparisons against the same arithmetic written out, on numbers and on arrays."""

from fractions import Fraction

import numpy as np
import pytest

from tada.base.errors import TadaError
from tada.report.paper.expressions import Comparison, Expression

VALUES = {"a/b": Fraction(3), "c.d": Fraction(1, 2), "c": Fraction(7)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a/b} - {c.d}", Fraction(5, 2)),
        ("2 * ({a/b} + {c}) / 10", 2),
        ("mean({a/b}, {c.d}, {c})", Fraction(7, 2)),
        ("{a/b} * 1.306", Fraction("3.918")),
        ("8 / 60", Fraction(8, 60)),
    ],
)
def test_evaluate(text, expected):
    assert Expression(text).evaluate(VALUES.__getitem__) == expected


def test_arrays():
    arrays = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 5.0])}
    value = Expression("mean({a}, {b}) - 0.5").evaluate(arrays.__getitem__, number=float)
    assert value.dtype == float
    assert value.tolist() == [1.5, 3.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a} +", "not a sum"),
        ("{a} ** 2", "not a number"),
        ("__import__('os')", "unknown function"),
        ("meam({a})", "did you mean 'mean'"),
        ("{a} + b", "'b' is not a number"),
        ("True", "not a number"),
    ],
)
def test_faults(text, message):
    with pytest.raises(TadaError, match=message):
        Expression(text).evaluate(lambda _: Fraction(1))


@pytest.mark.parametrize(
    ("text", "margin", "strict"),
    [("{c} > {a/b}", 4, True), ("{a/b} + 1 < {c}", 3, True), ("{c} - 7 <= {c.d}", Fraction(1, 2), False)],
)
def test_margin_is_positive_where_the_statement_holds(text, margin, strict):
    statement = Comparison(text)
    assert statement.margin.evaluate(VALUES.__getitem__) == margin
    assert statement.strict is strict


def test_no_comparison():
    with pytest.raises(TadaError, match="not a comparison"):
        Comparison("{a} - {b}").margin  # noqa: B018


def test_shown():
    assert Comparison("{a} - {b} >= 2 * {a}").shown(str.upper) == "A − B ≥ 2 × A"
