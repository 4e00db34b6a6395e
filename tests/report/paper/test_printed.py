"""Numbers as printed, and the digits that they are known to."""

from decimal import Decimal

import pytest

from tada.report.paper.printed import parse, rounded, show


@pytest.mark.parametrize(
    ("text", "value", "decimals", "unit", "signed"),
    [
        ("32.0", "32.0", 1, "", False),
        ("+27.2", "27.2", 1, "", True),
        ("−0.5", "-0.5", 1, "", True),
        ("32.5M", "32.5", 1, "M", False),
        ("43.1×30⋆", "43.1", 1, "", False),
        ("108×N/A", "108", 0, "", False),
        ("0.9248", "0.9248", 4, "", False),
    ],
)
def test_parse(text, value, decimals, unit, signed):
    printed = parse(text)
    assert (printed.value, printed.decimals, printed.unit, printed.signed) == (Decimal(value), decimals, unit, signed)


@pytest.mark.parametrize("text", ["-", "N/A", "N/A×N/A", "", "Lin."])
def test_no_number(text):
    assert parse(text) is None


def test_bound():
    assert parse("<0.02").below
    assert not parse("0.02").below


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [
        (Decimal("84.2455"), 2, "84.25"),
        (Decimal("86.250"), 1, "86.2"),  # an exact tie goes to the even digit
        (Decimal("86.2504"), 1, "86.3"),
        (Decimal("34.567"), 1, "34.6"),
        (0.15, 1, "0.1"),  # the binary fraction lies below the tie
    ],
)
def test_rounded(value, decimals, expected):
    assert rounded(value, decimals) == Decimal(expected)


def test_show():
    assert show(-0.26, 1) == "−0.3"
    assert show(0.26, 1, signed=True) == "+0.3"
    assert show(-0.04, 1, signed=True) == "0.0"  # a zero has no sign
    assert show(924844032, 0) == "924,844,032"
    assert parse("+27.2").show(26.96) == "+27.0"
    assert parse("32.5M").show(Decimal("32.45387"), extra=2) == "32.454M"
