"""The gain of one network over another in each category, sorted (Figure A1).

Where names are the paper's own, its reported gains stand among the bars; in mini they get a panel of their own below,
with the same zero and scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from tada.data.catalog import class_names
from tada.report.figures.style import (
    COLOURS,
    GREY,
    INTERVAL,
    MEAN_LINE,
    PAGE_WIDTH,
    REPORTED,
    Drawing,
    Style,
    grid,
    say,
)
from tada.report.judge.noise import NoiseSource, Training, weighted_sum
from tada.report.judge.training import COUNTED, seed_spreads
from tada.report.measure.results import FAILED, Results
from tada.report.measure.samples import Hits, Unusable, read_hits, within_of
from tada.report.measure.values import finished
from tada.report.paper.figures import Categories
from tada.report.paper.printed import show
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
    of_one = (float(variance) / 2, float(within) / 2)
    return Training(*of_one, COUNTED, NoiseSource("the seeds of all categories"))


def _canvas(figure: Categories, gains: list[Gain], scale: Scale, problems: list[str]) -> Canvas:
    """The gains here; below them, where the paper's categories are others, what it reports, on the same x axis."""
    columns = max(1, -(-len(gains) // ROWS))
    rows = max(-(-len(gains) // columns), 3)
    below = scale.renders or not gains
    line, size = LARGE if columns == 1 else SMALL
    heights = [rows * line + 0.55, *([len(figure.reported) * LARGE[0] + 0.55] if below else [])]
    canvas = Canvas(figsize=(PAGE_WIDTH, sum(heights) + 0.3), layout="constrained")
    panels = canvas.subplots(
        len(heights), columns, height_ratios=heights, squeeze=False, sharex=True, gridspec_kw={"hspace": 0.03}
    )
    if gains:
        _reproduced(panels[0], figure, gains, scale, size)
    else:
        say(panels[0, 0], "\n".join(problem.split(" (log")[0] for problem in problems))
    if below:
        _reported(panels[1, 0], figure)
        for empty in panels[1, 1:]:
            empty.remove()
    return canvas


def _reproduced(
    panels: npt.NDArray[np.object_], figure: Categories, gains: list[Gain], scale: Scale, size: float
) -> None:
    rows = -(-len(gains) // len(panels))
    mean = float(np.mean([gain.value for gain in gains]))
    title = f"here: {scale.shown}" + (";  ◇ reported in the paper's text" if scale.gives_verdicts else "")
    panels[0].set_title(title)
    for column, axes in enumerate(panels):
        shown = gains[column * rows : (column + 1) * rows]
        places = np.arange(len(shown))
        values = np.array([gain.value for gain in shown])
        colours = [COLOURS[0] if value >= 0 else COLOURS[1] for value in values]
        axes.barh(places, values, 0.72, color=colours, gid=f"gains-{column}")
        axes.errorbar(values, places, xerr=[gain.half for gain in shown], ecolor=GREY, **{**INTERVAL, "capsize": 0})
        if scale.gives_verdicts:
            for place, gain in enumerate(shown):
                if gain.name in figure.reported:
                    axes.scatter(float(figure.reported[gain.name]), place, **REPORTED, gid=f"reported-{gain.category}")
            axes.axvline(float(figure.mean), **{**MEAN_LINE, "linestyle": "dotted"})
        axes.axvline(mean, gid="mean", **MEAN_LINE)
        axes.axvline(0, color="black", linewidth=0.6)
        _names(axes, [gain.name for gain in shown], size)
        paper = "" if scale.renders else f"; paper {figure.mean} (dotted)"
        _label(axes, figure, f"mean {show(mean, 1)} (dashed){paper}; grey lines: 95% intervals")


def _reported(axes: Axes, figure: Categories) -> None:
    """The categories that the paper's text names."""
    axes.set_title("paper: the largest gains, as its text names them")
    names = list(figure.reported)
    values = [float(value) for value in figure.reported.values()]
    axes.scatter(values, range(len(names)), **REPORTED, gid="reported")
    for place, value in enumerate(figure.reported.values()):
        beside: Style = {"textcoords": "offset points", "ha": "right", "va": "center", "fontsize": "small"}
        axes.annotate(str(value), (float(value), place), (-6, 0), **beside)
    axes.axvline(float(figure.mean), **MEAN_LINE)
    axes.axvline(0, color="black", linewidth=0.6)
    _names(axes, names, LARGE[1])
    _label(axes, figure, f"mean over all categories {figure.mean} (dashed)")


def _label(axes: Axes, figure: Categories, mean: str) -> None:
    axes.set_xlabel(f"Top-1 accuracy of {figure.other.label} minus {figure.base.label} (percentage points)\n{mean}")
    axes.tick_params(labelbottom=True)


def _names(axes: Axes, names: Sequence[str], size: float) -> None:
    axes.set_yticks(range(len(names)), [name.replace("omething", "th.") for name in names], fontsize=size)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["top"].set_visible(False)
    grid(axes, "x")


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
