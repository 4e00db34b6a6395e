"""The look that all pictures share: fonts, sizes, colours and markers; and a `Drawing`, in which each is returned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
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
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 7.5,
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "figure.titlesize": "medium",
    "legend.frameon": False,
    "legend.fontsize": "small",
    "legend.handlelength": 2.6,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.2,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
    "svg.hashsalt": "tada",  # the same results give the same file
    "pdf.fonttype": 42,  # letters stay letters, which many publishers ask for
}


REPORTED: Style = {"marker": "D", "facecolors": "white", "edgecolors": "black", "linewidths": 0.9, "s": 20, "zorder": 5}


MEAN_LINE: Style = {"linestyle": (0, (5, 3)), "linewidth": 0.9, "color": GREY}
"""What others are compared with: a baseline, a mean."""


INTERVAL: Style = {"fmt": "none", "elinewidth": 0.9, "capsize": 2, "zorder": 2}
"""Of `Axes.errorbar`: a 95% interval."""


MISSING = 0.17
"""Share of a panel's height that is kept for what is missing, where anything is."""


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
    axes.tick_params(length=0, labelbottom=False, labelleft=False)  # others may share its ticks
    axes.spines[:].set_visible(False)


def say_missing(axes: Axes, states: Mapping[float, str]) -> None:
    """A strip at the panel's foot, apart from its data, with the state of each missing point by its x.

    Call it when the y axis has its limits: it moves the lower one, so that no data lies in the strip.
    """
    if not states:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low - (high - low) * MISSING / (1 - MISSING), high)
    axes.add_patch(Rectangle((0, 0), 1, MISSING, transform=axes.transAxes, color="#eeeeee", zorder=0, gid="missing"))
    foot = axes.get_xaxis_transform()  # x in data, y as a share of the panel's height
    for x, state in states.items():
        place: Style = {"rotation": 90, "ha": "center", "va": "center", "fontsize": "x-small", "color": GREY}
        axes.text(x, MISSING / 2, state, transform=foot, gid=f"missing-{state}", **place)
