"""The gain of one network over another in each category, sorted (Figure A1).

Where names are the paper's own, its reported gains stand among the bars; in mini they get a panel of their own below.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import FigureBase

from tada.data.catalog import class_names
from tada.report.figures.style import COLOURS, COLUMN_WIDTH, GREY, REPORTED, Drawing, grid, say
from tada.report.judge.noise import Training, weighted_sum, within_of
from tada.report.judge.training import MOST, seed_spreads
from tada.report.measure.results import FAILED, Results
from tada.report.measure.samples import Hits, Unusable, read_hits
from tada.report.measure.values import finished
from tada.report.paper.figures import Categories
from tada.report.paper.quantities import Metric
from tada.runs.settings import Scale

ROWS = 90
"""Bars in a column at most; more are spread over several columns, and the print gets smaller."""


LARGE, SMALL = (0.125, 5.6), (0.1, 4.6)
"""Height in inches of a bar with its name, and size in points of the name."""


@dataclass(frozen=True)
class Gain:
    """A category's accuracies in percent, the half width of the 95% interval of their difference, and its videos."""

    category: int
    name: str
    base: float
    other: float
    half: float
    videos: int

    @property
    def value(self) -> float:
        """Points that the other network is above the base."""
        return self.other - self.base


def draw(figure: Categories, results: Results, data: str) -> Drawing:
    """The picture, sorted by gain; without both networks' runs, only what the paper reports."""
    seeds, problems = finished(figure.dataset, (figure.base.model, figure.other.model), results)
    gains: list[Gain] = []
    if seeds:
        try:
            base, other = (read_hits([(runs[place],) for runs in seeds], "top1") for place in (0, 1))
            classes = seeds[0][0].run.recipe.classes
            if isinstance(classes, dict):
                raise Unusable(f"{figure.dataset} has classes of several tasks, and a video no single category")
            metrics = [Metric(figure.dataset, (one.model,), "top1") for one in (figure.base, figure.other)]
            training = seed_spreads(results.scale, {}).training(metrics)
            gains = category_gains(base, other, class_names(figure.dataset, data, classes), training)
        except Unusable as error:
            problems = (*problems, replace(seeds[0][0], status=FAILED, reason=str(error)).problem)
    lines = [str(problem) for problem in problems]
    return Drawing(_canvas(figure, gains, results.scale, lines), _to_csv(figure, gains), lines)


def category_gains(base: Hits, other: Hits, names: Sequence[str], training: Training) -> list[Gain]:
    """The gain of every category that has videos, largest first.

    Args:
        base: of the network whose accuracies are subtracted, the same seeds in the same order as `other`.
        other: of the network that gains.
        names: of all categories.
        training: noise of training of a category's accuracy where there is one seed; several tell it themselves.
    """
    videos = np.intersect1d(base.videos, other.videos)
    base, other = base.only(videos), other.only(videos)
    training = _of_categories(base, other) or training
    gains = []
    for category in np.unique(base.labels):
        of = base.labels == category
        pair = [hits.right[:, of].mean(0) * 100.0 for hits in (base, other)]
        gain = weighted_sum([1.0, -1.0], [other.only(videos[of]), base.only(videos[of])], training)
        half = gain.high - gain.value
        gains.append(Gain(int(category), names[category], pair[0].mean(), pair[1].mean(), half, int(of.sum())))
    return sorted(gains, key=lambda gain: (-gain.value, gain.category))


def _of_categories(base: Hits, other: Hits) -> Training | None:
    """How far the seeds of a category's gain lie apart, pooled over the categories; None of one seed.

    Trainings differ in which categories they get right, so a category's noise is more than that of all videos.
    """
    gains = other.shares - base.shares
    if len(gains) < 2:
        return None
    of_each = [gains[:, base.labels == category] for category in np.unique(base.labels)]
    variance = np.mean([one.mean(1).var(ddof=1) for one in of_each])
    within = np.mean([within_of(one) for one in of_each])
    freedom = min(len(of_each) * (len(gains) - 1), MOST)
    return Training(float(variance) / 2, float(within) / 2, freedom, "the seeds of all categories")  # of one network


def _canvas(figure: Categories, gains: list[Gain], scale: Scale, problems: list[str]) -> Canvas:
    columns = max(1, -(-len(gains) // ROWS))
    rows = max(-(-len(gains) // columns), 3)
    below = scale.renders or not gains
    line, size = LARGE if columns == 1 else SMALL
    heights = [rows * line + 0.55, len(figure.reported) * LARGE[0] + 0.6 if below else 0.0]
    canvas = Canvas(figsize=(COLUMN_WIDTH * columns, sum(heights) + 0.3), layout="constrained")
    parts: list[FigureBase] = [canvas]
    if below:
        parts = list(canvas.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0])
    if gains:
        _reproduced(parts[0], figure, gains, scale, columns, size)
    else:
        say(parts[0].subplots(), "\n".join(problem.split(" (log")[0] for problem in problems))
    if below:
        _reported(parts[1], figure)
    return canvas


def _reproduced(
    part: FigureBase, figure: Categories, gains: list[Gain], scale: Scale, columns: int, size: float
) -> None:
    rows = -(-len(gains) // columns)
    mean = float(np.mean([gain.value for gain in gains]))
    ends = [end for gain in gains for end in (gain.value - gain.half, gain.value + gain.half)]
    where = f"here: {scale.shown}"
    if scale.gives_verdicts:
        ends += [float(value) for value in (figure.mean, *figure.reported.values())]
        where += "; ◇ reported in the paper's text"
    part.suptitle(where, fontsize="medium", x=0.01, ha="left")
    for column, axes in enumerate(np.atleast_1d(part.subplots(1, columns))):
        shown = gains[column * rows : (column + 1) * rows]
        places = np.arange(len(shown))
        values = np.array([gain.value for gain in shown])
        colours = [COLOURS[0] if value >= 0 else COLOURS[1] for value in values]
        axes.barh(places, values, 0.72, color=colours, gid=f"gains-{column}")
        axes.errorbar(values, places, xerr=[gain.half for gain in shown], fmt="none", ecolor=GREY, elinewidth=0.6)
        if scale.gives_verdicts:
            for place, gain in enumerate(shown):
                if gain.name in figure.reported:
                    axes.scatter(float(figure.reported[gain.name]), place, **REPORTED, gid=f"reported-{gain.category}")
            axes.axvline(float(figure.mean), color="black", linestyle="dotted", linewidth=0.9)
        axes.axvline(mean, color=GREY, linestyle=(0, (5, 3)), linewidth=0.9, gid="mean")
        _names(axes, [gain.name for gain in shown], size)
        axes.set_xlim(min(*ends, 0.0) - 2, max(*ends, mean) + 2)
        paper = "" if scale.renders else f"; paper {figure.mean} (dotted)"
        axes.set_xlabel(f"{_axis(figure)}\nmean {mean:.1f} (dashed){paper}", loc="right")


def _reported(part: FigureBase, figure: Categories) -> None:
    """The categories that the paper's text names."""
    part.suptitle("paper: the largest gains, as its text names them", fontsize="medium", x=0.01, ha="left")
    axes = part.subplots()
    names = list(figure.reported)
    values = [float(value) for value in figure.reported.values()]
    axes.scatter(values, range(len(names)), **REPORTED, gid="reported")
    for place, value in enumerate(figure.reported.values()):
        axes.annotate(
            str(value),
            (float(value), place),
            (-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize="small",
        )
    axes.axvline(float(figure.mean), color=GREY, linestyle=(0, (5, 3)), linewidth=0.9)
    _names(axes, names, LARGE[1])
    axes.set_xlim(0, 90)
    axes.set_xlabel(f"{_axis(figure)}\nmean over all categories {figure.mean} (dashed)", loc="right")


def _names(axes: Axes, names: Sequence[str], size: float) -> None:
    axes.set_yticks(range(len(names)), [name.replace("omething", "th.") for name in names], fontsize=size)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["top"].set_visible(False)
    grid(axes, "x")


def _axis(figure: Categories) -> str:
    return f"gain over {figure.base.label} (points)"


def _to_csv(figure: Categories, gains: Sequence[Gain]) -> str:
    """One line for each category, and those that the paper names without a counterpart here."""
    lines = [
        {
            "category": gain.category,
            "name": gain.name,
            figure.base.model: f"{gain.base:.10g}",
            figure.other.model: f"{gain.other:.10g}",
            "gain": f"{gain.value:.10g}",
            "half_interval": f"{gain.half:.10g}",
            "videos": gain.videos,
            "reported": figure.reported.get(gain.name),
        }
        for gain in gains
    ]
    lines += [
        {"name": name, "reported": value}
        for name, value in figure.reported.items()
        if name not in {gain.name for gain in gains}
    ]
    mean = {"name": "mean over categories", "reported": figure.mean}
    if gains:
        mean["gain"] = f"{np.mean([gain.value for gain in gains]):.10g}"
    columns = ["category", "name", figure.base.model, figure.other.model]
    columns += ["gain", "half_interval", "videos", "reported"]
    frame = pd.DataFrame([*lines, mean], columns=columns)
    return frame.astype({"category": "Int64", "videos": "Int64"}).to_csv(index=False)
