"""Expressions, comparisons and formulas against the same arithmetic written out, on numbers and on arrays."""

from fractions import Fraction

import numpy as np
import pytest

from tada.base import TadaError
from tada.report.paper.printed import Expression, Inequality, evaluate_formula

VALUES = {"a/b": Fraction(3), "c.d": Fraction(1, 2), "c": Fraction(7)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a/b} - {c.d}", Fraction(5, 2)),
        ("2 * ({a/b} + {c}) / 10", 2),
        ("mean({a/b}, {c.d}, {c})", Fraction(7, 2)),
        ("{a/b} * 1.306", Fraction("3.918")),
        ("8 / 60", Fraction(8, 60)),
        ("{a/b} ** 2 - {c}", 2),
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
        ("{a} ** {b}", "not a number"),
        ("{a} ** 0.5", "not a number"),
        ("{print}({a})", "is not a number"),
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
    statement = Inequality(text)
    assert statement.margin.evaluate(VALUES.__getitem__) == margin
    assert statement.strict is strict


def test_no_comparison():
    with pytest.raises(TadaError, match="not a comparison"):
        Inequality("{a} - {b}").margin  # noqa: B018


def test_shown():
    assert Inequality("{a} - {b} >= 2 * {a}").shown(str.upper) == "A − B ≥ 2 × A"


SETTING = {"Co": 64, "Ci": 32, "k": 3, "T": 8, "H": 56, "W": 55, "r": 4}


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("Co × Ci × k²", 64 * 32 * 9),
        ("Co × Ci × (k² + k) × THW", 64 * 32 * 12 * 8 * 56 * 55),
        ("Co × Ci × k³", 64 * 32 * 27),
        ("2 × Ci × Ci/r × k", 2 * 32 * 8 * 3),
        ("Co - Ci", 32),
    ],
)
def test_evaluate_formula(formula, expected):
    assert evaluate_formula(formula, SETTING) == expected


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("Co × Cin", "unknown size 'Cin'; did you mean 'Ci'"),
        ("Co ×", "not a sum"),
        ("print(Co)", "unknown size 'print'"),
        ("Co ** k", "not a number"),
        ("Ci/k", "no whole number"),
    ],
)
def test_faults_of_formulas(formula, message):
    with pytest.raises(TadaError, match=message):
        evaluate_formula(formula, SETTING)
