"""What mini can show, in one picture: reproduced against reported accuracies of the ablations, and TAdaConv's gains.

Left, each network of Tables 3a, 3b and 4: points rise from left to right where the paper's order of networks holds.
Right, what TAdaConv adds to each backbone of Table 2, reported and reproduced.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MultipleLocator

from tada.report.figures.style import COLOURS, GREY, MARKERS, PAGE_WIDTH, REPORTED, grid, say

ABLATIONS = {"table3a": "Table 3a", "table3b": "Table 3b", "table4": "Table 4"}


NAMED = {"tsn": ("TSN", -11), "tada2d": ("TAda2D", 7)}
"""Labels of points, and how far above them they stand."""


LEGEND = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "frameon": False, "handletextpad": 0.2}


BACKBONES = {
    "slowonly+tada": "SlowOnly 8×8",
    "slowfast-4x16+tada": "SlowFast 4×16",
    "slowfast-8x8+tada": "SlowFast 8×8",
    "r2plus1d+tada-2d": "R(2+1)D, 2d",
    "r2plus1d+tada-2d-1d": "R(2+1)D, 2d+1d",
    "r3d+tada": "R3D",
}


GAINS = {"ssv2_delta": "SSV2", "k400_delta": "K400"}


def draw(numbers: pd.DataFrame, scale: str) -> Canvas:
    """The picture.

    Args:
        numbers: cells of all tables in long form (table, row, column, reported, reproduced, ...), all of them texts.
        scale: "mini" or "paper", of what was reproduced.
    """
    canvas = Canvas(figsize=(PAGE_WIDTH, 3.1), layout="constrained")
    left, right = canvas.subplots(1, 2)
    _orders(left, numbers, scale)
    _gains(right, numbers, scale)
    for axes in (left, right):
        axes.spines["top"].set_visible(False)
    return canvas


def rank_correlation(numbers: pd.DataFrame, table: str) -> tuple[float, int]:
    """Spearman's correlation of a table's reported and reproduced top-1 accuracies, and the number of rows."""
    found = _accuracies(numbers, table)
    ranks = found.rank()
    return ranks["reported"].corr(ranks["reproduced"]), len(found)


def _accuracies(numbers: pd.DataFrame, table: str) -> pd.DataFrame:
    lines = numbers[(numbers["table"] == table) & (numbers["column"] == "top1") & (numbers["reproduced"] != "")]
    return lines.set_index("row")[["reported", "reproduced"]].astype(float)


def _orders(axes: Axes, numbers: pd.DataFrame, scale: str) -> None:
    axes.set_title("Ablations: is the paper's order kept?", fontsize="medium", loc="left")
    places: dict[str, tuple[float, float]] = {}
    for number, (table, title) in enumerate(ABLATIONS.items()):
        found = _accuracies(numbers, table)
        if found.empty:
            continue
        correlation, rows = rank_correlation(numbers, table)
        label = f"{title} ({correlation:.2f})" if rows > 3 else title
        style = {"marker": MARKERS[number], "color": COLOURS[number], "edgecolors": "white", "linewidths": 0.5}
        axes.scatter(found["reported"], found["reproduced"], s=28, zorder=3, label=label, gid=table, **style)
        places |= {row: (line.reported, line.reproduced) for row, line in found.iterrows()}
    if not axes.collections:
        say(axes, "not there yet")
        return
    for row, (name, above) in NAMED.items():
        if row in places:
            axes.annotate(name, places[row], xytext=(0, above), textcoords="offset points", ha="center", color=GREY)
    axes.set_xlabel("top-1 in the paper, SSV2 (%)")
    axes.set_ylabel(f"top-1 here, {scale} scale (%)")
    axes.margins(0.12)
    axes.legend(title="(rank correlation with the paper)", ncols=3, columnspacing=1.0, **LEGEND)
    grid(axes, "both")


def _gains(axes: Axes, numbers: pd.DataFrame, scale: str) -> None:
    axes.set_title("What TAdaConv adds to a backbone", fontsize="medium", loc="left")
    lines = numbers[(numbers["table"] == "table2") & numbers["column"].isin(list(GAINS))]
    if not (lines["reproduced"] != "").any():
        say(axes, "not there yet")
        return
    gains = {(line.row, line.column): line for line in lines.itertuples()}
    axes.axvline(0, color=GREY, linewidth=0.8)
    for number, (column, dataset) in enumerate(GAINS.items()):
        there = [
            (place + (number - 0.5) * 0.34, gains[row, column])
            for place, row in enumerate(BACKBONES)
            if (row, column) in gains
        ]
        here = [(float(line.reproduced), y) for y, line in there if line.reproduced]
        if here:
            label = f"{dataset}, here"
            style = {"color": COLOURS[number], "marker": MARKERS[number], "s": 24, "zorder": 4, "label": label}
            axes.hlines([y for _, y in here], 0, [x for x, _ in here], color=COLOURS[number], linewidth=1.2)
            axes.scatter(*zip(*here, strict=True), gid=f"here-{column}", **style)
        for y, line in there:
            if not line.reproduced:
                axes.text(0.3, y, line.verdict, va="center", fontsize="x-small", color=COLOURS[number])
        label = "the paper" if number else None
        paper = [(float(line.reported), y) for y, line in there]
        axes.scatter(*zip(*paper, strict=True), gid=f"paper-{column}", label=label, **REPORTED)
    axes.set_yticks(range(len(BACKBONES)), list(BACKBONES.values()))
    axes.invert_yaxis()
    axes.xaxis.set_minor_locator(MultipleLocator(1))
    axes.set_xlabel(f"gain in top-1 (points; here: {scale} scale)")
    axes.legend(ncols=3, **LEGEND)
    grid(axes, "x")
