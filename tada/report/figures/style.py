"""The look that all pictures share: sizes, colours and markers; and a `Drawing`, the form in which each is returned."""

from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.typing import RcKeyType

Style = dict[str, Any]
"""Keyword arguments of matplotlib."""


# Okabe and Ito's colours, distinct for every kind of colour vision, and markers and lines that differ without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


MARKERS = ("o", "s", "^", "v")


GREY = "#555555"


COLUMN_WIDTH = 3.4
"""Of a two-column paper, in inches: pictures are legible at this size."""


PAGE_WIDTH = 7.0


STYLE: dict[RcKeyType, Any] = {
    "font.size": 7.5,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
    "svg.hashsalt": "tada",  # the same results give the same file
}


REPORTED: Style = {"marker": "D", "facecolors": "white", "edgecolors": "black", "linewidths": 0.9, "s": 20, "zorder": 5}


@dataclass(frozen=True)
class Drawing:
    """A picture, its data as CSV, and a line for each failed or missing run."""

    canvas: Canvas
    csv: str
    problems: list[str]


def grid(axes: Axes, axis: Literal["x", "y", "both"]) -> None:
    """Faint lines across, behind everything else."""
    axes.grid(axis=axis, color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)


def say(axes: Axes, text: str) -> None:
    """A text in an otherwise empty panel."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY, wrap=True)
    axes.set_xticks([])
    axes.set_yticks([])
