"""Accuracy over the epochs of training, a panel for each dataset (Figure A2)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import LineStyleType

from tada.report.figures.style import COLOURS, COLUMN_WIDTH, Drawing, grid, say
from tada.report.measure.results import DONE, FAILED, Problem, Results, Unusable
from tada.report.paper.figures import Curves
from tada.runs.settings import Scale

LINES: tuple[LineStyleType, ...] = ((0, (3, 1.5)), "solid")
"""Of the first and the second column."""


STATES = {"pending": "is not there yet", "failed": "failed"}


@dataclass(frozen=True)
class Curve:
    """The curves.csv of each seed of a network on a dataset, and what is wrong with the seeds that are missing."""

    dataset: str
    label: str
    model: str
    seeds: dict[int, pd.DataFrame]
    problems: tuple[Problem, ...]


def draw(figure: Curves, results: Results) -> Drawing:
    """The picture: the mean over seeds, and where there are several a band from the lowest to the highest.

    A dataset of which nothing is there gets no panel as long as another has one; the title says so.
    """
    curves = [
        _read(dataset, network.label, network.model, figure, results)
        for dataset in figure.datasets
        for network in figure.networks
    ]
    problems = list(dict.fromkeys(str(problem) for curve in curves for problem in curve.problems))
    return Drawing(_canvas(figure, curves, results.scale), _to_csv(figure, curves), problems)


def _read(dataset: str, label: str, model: str, figure: Curves, results: Results) -> Curve:
    seeds, problems = {}, []
    for result in results.runs(dataset, model):
        if result.status != DONE:
            problems.append(result.problem)
            continue
        try:
            seeds[result.run.seed] = result.curves()[["epoch", *figure.columns]].set_index("epoch")
        except Unusable as error:
            problems.append(replace(result, status=FAILED, reason=str(error)).problem)
        except KeyError as error:
            problems.append(
                replace(result, status=FAILED, reason=f"curves.csv cannot be read: {error.args[0]}").problem
            )
    return Curve(dataset, label, model, seeds, tuple(problems))


def _canvas(figure: Curves, curves: Sequence[Curve], scale: Scale) -> Canvas:
    there = [dataset for dataset in figure.datasets if any(c.seeds for c in curves if c.dataset == dataset)]
    shown = there or list(figure.datasets)[-1:]
    canvas = Canvas(figsize=(COLUMN_WIDTH, 0.65 + 1.75 * len(shown)), layout="constrained")
    notes = [f"{title}: not there yet" for name, title in figure.datasets.items() if name not in shown]
    canvas.suptitle("; ".join([f"here: {scale.shown}", *notes]), x=0.01, ha="left")
    for dataset, axes in zip(shown, canvas.subplots(len(shown), 1, squeeze=False)[:, 0], strict=True):
        axes.set_title(figure.datasets[dataset])
        axes.spines["top"].set_visible(False)
        _panel(axes, figure, [curve for curve in curves if curve.dataset == dataset])
    _legend(canvas, figure, several=any(len(curve.seeds) > 1 for curve in curves))
    return canvas


def _panel(axes: Axes, figure: Curves, curves: Sequence[Curve]) -> None:
    missing = [curve for curve in curves if not curve.seeds]
    if len(missing) == len(curves):
        say(axes, "\n".join(f"{curve.label} {STATES[curve.problems[0].status]}" for curve in missing))
        return
    for number, curve in enumerate(curves):
        for column, line in zip(figure.columns, LINES, strict=False):
            if not curve.seeds:
                continue
            table = pd.concat([frame[column] for frame in curve.seeds.values()], axis=1).dropna()
            gid = f"{curve.dataset}-{curve.model}-{column}"
            axes.plot(table.index, table.mean(axis=1), color=COLOURS[number], linestyle=line, gid=gid)
            if table.shape[1] > 1:
                ends = table.min(axis=1), table.max(axis=1)
                axes.fill_between(table.index, *ends, color=COLOURS[number], alpha=0.2, linewidth=0)
    if missing:
        text = ", ".join(f"{curve.label} {STATES[curve.problems[0].status]}" for curve in missing)
        axes.text(0.98, 0.03, text, transform=axes.transAxes, ha="right", va="bottom", fontsize="small")
    axes.set_xlabel("Epoch")
    axes.set_ylabel(figure.label)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    grid(axes, "y")


def _legend(canvas: Canvas, figure: Curves, several: bool) -> None:
    handles = [
        Line2D([], [], color=colour, linestyle=line, label=f"{network.label}, {name}")
        for network, colour in zip(figure.networks, COLOURS, strict=False)
        for name, line in zip(figure.columns.values(), LINES, strict=False)
    ]
    bands = "bands: lowest to highest seed" if several else None
    canvas.legend(handles=handles, loc="outside lower center", ncols=2, title=bands, title_fontsize="small")


def _to_csv(figure: Curves, curves: Sequence[Curve]) -> str:
    """One line for each epoch of each run."""
    parts = [
        frame.reset_index().assign(dataset=curve.dataset, model=curve.model, seed=seed)
        for curve in curves
        for seed, frame in curve.seeds.items()
    ]
    columns = ["dataset", "model", "seed", "epoch", *figure.columns]
    frame = pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)
    return frame.replace({np.nan: None}).to_csv(index=False)
