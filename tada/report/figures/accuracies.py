"""Reproduced accuracies beside those that the paper reports: Figure 3, and the README's pictures.

In Figure 3 at the paper's scale the reported points stand among the reproduced ones. The mini datasets have levels of
their own, so there the reported points get a panel beside, with the same y axis.

The README's picture shows, left, each network of Tables 3a, 3b and 4: points rise from left to right where the paper's
order of networks holds; right, what TAdaConv adds to each backbone of Table 2, reported and reproduced. Another one
sets the rows of a table side by side at each scale that has runs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator

from tada.base import TadaError
from tada.report.figures.style import (
    COLOURS,
    COLUMN_WIDTH,
    GREY,
    INTERVAL,
    MARKERS,
    MEAN_LINE,
    PAGE_WIDTH,
    REPORTED,
    Drawing,
    Style,
    grid,
    say,
    say_missing,
)
from tada.report.judge.cells import CellTexts, read_cells
from tada.report.judge.noise import UNKNOWN, Training, weighted_sum
from tada.report.judge.training import seed_spreads
from tada.report.measure.results import DONE, Results
from tada.report.measure.values import Value, measure
from tada.report.paper import Gains, SummaryPicture, about_paper
from tada.report.paper.figures import Accuracies, Point, Series
from tada.report.paper.quantities import Metric
from tada.runs.settings import Scale

LEGEND: Style = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "handletextpad": 0.2}


@dataclass(frozen=True)
class Drawn:
    """A series with the value of each of its points, and half of its 95% interval; NaN where the noise is unknown."""

    series: Series
    values: tuple[Value, ...]
    halves: tuple[float, ...]

    @property
    def positions(self) -> np.ndarray:
        """x of each point; every series spans 0 to 1."""
        return np.linspace(0.0, 1.0, len(self.values))

    def points(self) -> list[tuple[float, Value]]:
        """x of each point, and its value."""
        return list(zip(self.positions.tolist(), self.values, strict=True))


def draw(figure: Accuracies, results: Results) -> Drawing:
    """The picture; a strip at its foot says which runs are failed or missing."""
    metrics = {model: Metric(dataset, (model,), figure.metric) for dataset, model in sorted(figure.runs)}
    values = {model: measure(metric, results) for model, metric in metrics.items()}
    spreads = seed_spreads(results.scale, {metric: values[model] for model, metric in metrics.items()})
    halves = {model: _half(values[model], spreads.training([metric])) for model, metric in metrics.items()}
    drawn = [
        Drawn(
            series, tuple(values[one.model] for one in series.points), tuple(halves[one.model] for one in series.points)
        )
        for series in figure.series
    ]
    baseline = values[figure.baseline.model]
    problems = list(dict.fromkeys(str(problem) for value in values.values() for problem in value.problems))
    return Drawing(_canvas(figure, drawn, baseline, results.scale), _to_csv(figure, drawn, baseline), problems)


def _half(value: Value, training: Training) -> float:
    """Half of the 95% interval over other test videos and other trainings; NaN where that is unknown."""
    found = weighted_sum([1.0], [value], training) if value.numbers else None
    return found.high - found.value if found and found.noise != UNKNOWN else math.nan


def _canvas(figure: Accuracies, drawn: Sequence[Drawn], baseline: Value, scale: Scale) -> Canvas:
    """The picture: one panel, or, of rendered videos, beside it one of what was reported, with the same y axis."""
    apart = scale.renders
    canvas = Canvas(figsize=(PAGE_WIDTH if apart else COLUMN_WIDTH, 3.3), layout="constrained")
    if apart:
        here, paper = canvas.subplots(1, 2, width_ratios=(3, 2), sharey=True)
        paper.set_title("paper: what its text and tables report")
        paper.tick_params(labelleft=True)
    else:
        here = paper = canvas.subplots()
    here.set_title(f"here: {scale.shown}")
    _x_axes(here, drawn)
    handles = _reproduced(here, figure, drawn, baseline)
    handles[_reported(paper, figure, drawn, label=apart)] = "reported in the paper"
    if apart:
        _x_axes(paper, drawn, top=False)
        if figure.baseline.reported is not None:
            paper.axhline(float(figure.baseline.reported), **MEAN_LINE)
    here.margins(y=0.08)
    for axes in {here: None, paper: None}:
        axes.set_ylabel(figure.label)
        grid(axes, "y")
    missing = {x: value.status for one in drawn for x, value in one.points() if value.status != DONE}
    say_missing(here, missing)
    canvas.legend(list(handles), list(handles.values()), loc="outside lower center", ncols=3 if apart else 2)
    return canvas


def _to_csv(figure: Accuracies, drawn: Sequence[Drawn], baseline: Value) -> str:
    """The figure's data, one line a point."""
    lines = [_line("baseline", figure.baseline, baseline, math.nan)]
    lines += [
        _line(one.series.name, point, value, half)
        for one in drawn
        for point, value, half in zip(one.series.points, one.values, one.halves, strict=True)
    ]
    return pd.DataFrame(lines).astype({"n": "Int64"}).to_csv(index=False)


def _line(series: str, point: Point, value: Value, half: float) -> dict[str, object]:
    return {
        "series": series,
        "x": point.x,
        "model": point.model,
        "reported": point.reported,
        "reproduced": None if value.mean is None else f"{float(value.mean):.10g}",
        "std": None if value.std is None else f"{value.std:.10g}",
        "n": len(value.numbers) or None,
        "half_interval": f"{half:.10g}" if math.isfinite(half) else None,
        "status": value.status,
        "source": "; ".join(path.as_posix() for path in value.sources),
    }


def _x_axes(axes: Axes, drawn: Sequence[Drawn], top: bool = True) -> None:
    """The first series' positions below, the second's above."""
    axes.set_xlim(-0.06, 1.06)
    axes.set_xticks(drawn[0].positions, [point.x for point in drawn[0].series.points])
    if not top or len(drawn) == 1:
        axes.spines["top"].set_visible(False)
    axes.set_xlabel(drawn[0].series.axis)
    if top and len(drawn) > 1:
        above = axes.secondary_xaxis("top")
        above.set_xticks(drawn[1].positions, [point.x for point in drawn[1].series.points])
        above.set_xlabel(drawn[1].series.axis)


def _reproduced(axes: Axes, figure: Accuracies, drawn: Sequence[Drawn], baseline: Value) -> dict[Any, str]:
    """Draw lines with their intervals; returns what the legend shows, with its texts."""
    handles: dict[Any, str] = {}
    bars = None
    if baseline.mean is not None:
        line = axes.axhline(float(baseline.mean), gid="baseline", **MEAN_LINE)
        handles[line] = figure.baseline.x
    for number, one in enumerate(drawn):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        means = np.array([np.nan if value.mean is None else float(value.mean) for value in one.values])
        line = axes.plot(one.positions, means, linestyle=one.series.line, marker=marker, color=colour, zorder=3)[0]
        line.set_gid(one.series.name)
        handles[line] = one.series.label
        if np.isfinite(one.halves).any():
            found = axes.errorbar(one.positions, means, np.array(one.halves), ecolor=colour, **INTERVAL)
            bars = bars or found
    if bars is not None:
        handles[bars] = "95% interval"
    elif any(value.status == DONE for one in drawn for value in one.values):
        handles[Line2D([], [], linestyle="none")] = "no intervals: the noise is unknown"
    return handles


def _reported(axes: Axes, figure: Accuracies, drawn: Sequence[Drawn], label: bool) -> Artist:
    """Draw the reported points, those that two series share once, with their values if `label`."""
    points = {
        (float(x), float(point.reported)): str(point.reported)
        for one in drawn
        for x, point in zip(one.positions, one.series.points, strict=True)
        if point.reported is not None
    }
    marks = axes.scatter(*zip(*points, strict=True), **REPORTED, gid="reported")
    if label:
        for (x, y), text in points.items():
            axes.annotate(text, (x, y), xytext=(0, 5), textcoords="offset points", ha="center", fontsize="small")
    return marks


def draw_agreement(numbers: pd.DataFrame, scale: Scale) -> Canvas:
    """The README's picture.

    Args:
        numbers: cells of all tables in long form (table, row, column, reported, reproduced, ...), all of them texts.
        scale: of what was reproduced.
    """
    canvas = Canvas(figsize=(PAGE_WIDTH, 3.1), layout="constrained")
    picture = _summary()
    left, right = canvas.subplots(1, 2)
    _orders(left, numbers, scale, picture)
    _gains(right, numbers, scale, picture.gains)
    for axes in (left, right):
        axes.spines["top"].set_visible(False)
    return canvas


def _summary() -> SummaryPicture:
    """What `paper.yaml` wants to be seen in the README; raises TadaError where it says nothing of it."""
    picture = about_paper().picture
    if picture is None:
        raise TadaError("paper.yaml: `picture` has to say what the README's picture shows")
    return picture


def draw_scales(scales: Mapping[Scale, tuple[pd.DataFrame, Mapping[str, str]]]) -> Canvas:
    """The README's picture of a table's rows at several scales: a panel for each, and one of what the paper prints.

    Rows stand in the paper's order, its best one on top, so that points move to the left from row to row where the
    order is kept. Each panel has an x axis of its own, since levels of scales cannot be compared.

    Args:
        scales: as of `tada.report.figures.build_scales`; the paper's numbers are taken from the first.
    """
    shown = _summary().scales
    tops = {scale: _tops(numbers, shown.table) for scale, (numbers, _) in scales.items()}
    printed = next(iter(tops.values()))
    rows = sorted(shown.rows, key=lambda row: -float(printed[row].reported))
    canvas = Canvas(figsize=(PAGE_WIDTH, 0.9 + 0.17 * len(rows)), layout="constrained")
    *panels, paper = canvas.subplots(1, len(scales) + 1, sharey=True)
    for axes, (scale, (_, correlations)), colour in zip(panels, scales.items(), COLOURS, strict=False):
        axes.set_title(f"here: {scale} scale")
        ranks = correlations.get(shown.table, "not known yet").replace(", ", ",\n")
        axes.set_xlabel(f"top-1 (%)\nrank correlation {ranks}")
        _one_scale(axes, [tops[scale][row] for row in rows], colour, str(scale))
    paper.set_title("as the paper prints it")
    paper.set_xlabel("top-1 (%)")
    paper.scatter([float(printed[row].reported) for row in rows], range(len(rows)), gid="paper", **REPORTED)
    for y, row in enumerate(rows):
        place = float(printed[row].reported), y
        paper.annotate(printed[row].reported, place, (5, 0), textcoords="offset points", va="center")
    paper.margins(x=0.2)
    paper.set_yticks(range(len(rows)), [shown.rows[row] for row in rows])
    paper.invert_yaxis()
    for axes in (*panels, paper):
        axes.spines["top"].set_visible(False)
        grid(axes, "both")
    return canvas


def _one_scale(axes: Axes, cells: Sequence[CellTexts], colour: str, name: str) -> None:
    """Each row's accuracy with its interval, or what has become of its runs."""
    there = [(y, cell) for y, cell in enumerate(cells) if cell.reproduced]
    axes.scatter([float(cell.reproduced) for _, cell in there], [y for y, _ in there], s=20, color=colour, gid=name)
    ends = [(y, *cell.interval) for y, cell in there if cell.interval]
    if ends:
        axes.hlines(*zip(*ends, strict=True), color=colour, linewidth=0.9, gid=f"{name}-intervals")
    for y, cell in enumerate(cells):
        if not cell.reproduced:
            foot = axes.get_yaxis_transform()  # x as a share of the panel's width, y in data
            axes.text(0.03, y, cell.verdict, transform=foot, va="center", fontsize="x-small", color=GREY)


def _tops(numbers: pd.DataFrame, table: str) -> dict[str, CellTexts]:
    """The top-1 accuracy of each row."""
    return {one.row: one for one in read_cells(numbers, table) if one.column == "top1"}


def _measured(numbers: pd.DataFrame, table: str) -> dict[str, CellTexts]:
    """Of each row that has a reported and a reproduced one."""
    return {row: one for row, one in _tops(numbers, table).items() if one.reproduced}


def _orders(axes: Axes, numbers: pd.DataFrame, scale: Scale, picture: SummaryPicture) -> None:
    axes.set_title("Ablations: is the paper's order kept?")
    places: dict[str, tuple[float, float]] = {}
    for number, (table, title) in enumerate(picture.orders.items()):
        cells = _measured(numbers, table)
        if not cells:
            continue
        pairs = {row: cell.pair for row, cell in cells.items()}
        style: Style = {"marker": MARKERS[number], "color": COLOURS[number], "edgecolors": "white", "linewidths": 0.5}
        reported, reproduced = zip(*pairs.values(), strict=True)
        axes.scatter(reported, reproduced, s=28, zorder=3, label=title, gid=table, **style)
        ends = [(float(cell.reported), *cell.interval) for cell in cells.values() if cell.interval]
        if ends:
            axes.vlines(*zip(*ends, strict=True), color=COLOURS[number], linewidth=0.8, gid=f"{table}-intervals")
        places |= pairs
    if not places:
        say(axes, "not there yet")
        return
    for row, (name, above) in picture.named.items():
        if row in places:
            axes.annotate(name, places[row], xytext=(0, above), textcoords="offset points", ha="center", color=GREY)
    axes.set_xlabel(f"top-1 in the paper, {picture.dataset} (%)")
    axes.set_ylabel(f"top-1 here, {scale} scale (%)")
    axes.margins(0.12)
    axes.legend(ncols=3, columnspacing=1.0, **LEGEND)
    grid(axes, "both")


def _gains(axes: Axes, numbers: pd.DataFrame, scale: Scale, shown: Gains) -> None:
    axes.set_title(shown.title)
    gains = {(one.row, one.column): one for one in read_cells(numbers, shown.table) if one.column in shown.columns}
    if not any(one.reproduced for one in gains.values()):
        say(axes, "not there yet")
        return
    axes.axvline(0, color=GREY, linewidth=0.8)
    for number, (column, dataset) in enumerate(shown.columns.items()):
        there = [
            (place + (number - 0.5) * 0.34, gains[row, column])
            for place, row in enumerate(shown.rows)
            if (row, column) in gains
        ]
        here = [(float(one.reproduced), y) for y, one in there if one.reproduced]
        if here:
            label = f"{dataset}, here"
            style: Style = {"color": COLOURS[number], "marker": MARKERS[number], "s": 24, "zorder": 4, "label": label}
            axes.scatter(*zip(*here, strict=True), gid=f"here-{column}", **style)
        ends = [(y, *one.interval) for y, one in there if one.reproduced and one.interval]
        if ends:
            line: Style = {"color": COLOURS[number], "linewidth": 0.8, "gid": f"here-{column}-intervals"}
            axes.hlines(*zip(*ends, strict=True), **line)
        for y, one in there:
            if not one.reproduced:
                axes.text(0.3, y, one.verdict, va="center", fontsize="x-small", color=COLOURS[number])
        paper = [(float(one.reported), y) for y, one in there]
        once = "the paper" if number else None
        axes.scatter(*zip(*paper, strict=True), gid=f"paper-{column}", label=once, **REPORTED)
    axes.set_yticks(range(len(shown.rows)), list(shown.rows.values()))
    axes.invert_yaxis()
    axes.xaxis.set_minor_locator(MultipleLocator(1))
    axes.set_xlabel(f"gain in top-1 (points; here: {scale} scale)")
    axes.legend(ncols=3, **LEGEND)
    grid(axes, "x")
