"""Printed formulas against the same ones written out."""

import pytest

from tada.base.errors import TadaError
from tada.report.paper.expressions import evaluate

SETTING = {"Co": 64, "Ci": 32, "k": 3, "T": 8, "H": 56, "W": 55, "r": 4}


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("Co × Ci × k²", 64 * 32 * 9),
        ("Co × Ci × (k² + k) × THW", 64 * 32 * 12 * 8 * 56 * 55),
        ("Co × Ci × k³", 64 * 32 * 27),
        ("2 × Ci × Ci/r × k", 2 * 32 * 8 * 3),
    ],
)
def test_evaluate(formula, expected):
    assert evaluate(formula, SETTING) == expected


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("Co × Cin", "unknown size 'Cin'; did you mean 'Ci'"),
        ("Co ×", "not a formula"),
        ("print(Co)", "not a sum"),
        ("Co - Ci", "not a sum"),
        ("Ci/k", "no whole number"),
    ],
)
def test_faults_are_named(formula, message):
    with pytest.raises(TadaError, match=message.replace("(", r"\(")):
        evaluate(formula, SETTING)
