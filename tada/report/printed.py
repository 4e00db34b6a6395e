"""Numbers as the paper prints them: the string is kept, since its digits say how precisely the number is known."""

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
    What follows the number ("43.1×30⋆") is kept in the text only.
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
