"""Figure specs: `figures/<name>.yaml`, series of networks with what the paper's text reports of them."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tada import paths
from tada.errors import TadaError, unknown
from tada.report.printed import parse
from tada.settings import load_yaml

FIGURES = paths.PROJECT / "figures"


@dataclass(frozen=True)
class Point:
    """A network at a position of the x axis; `reported` is what the paper prints for it, if it prints anything."""

    x: str
    model: str
    reported: Decimal | None = None


@dataclass(frozen=True)
class Series:
    """Points joined by a line; `line` is "solid" or "dotted"."""

    name: str
    label: str
    axis: str
    line: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Figure:
    """A figure of one metric of one dataset, over series of networks and a baseline."""

    name: str
    title: str
    caption: str
    place: str
    dataset: str
    metric: str
    label: str
    baseline: Point
    series: tuple[Series, ...]

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of every run that the figure needs."""
        points = [self.baseline, *(point for series in self.series for point in series.points)]
        return {(self.dataset, point.model) for point in points}


def figure_names(folder: Path = FIGURES) -> list[str]:
    """Names of all figures that have a spec."""
    return sorted(file.stem for file in folder.glob("*.yaml"))


def load_figure(name: str, folder: Path = FIGURES) -> Figure:
    """The spec `<folder>/<name>.yaml`.

    Raises:
        TadaError: no such figure (the nearest names are given), or a faulty key or reported number.
    """
    path = folder / f"{name}.yaml"
    if not path.exists():
        raise unknown("figure", name, figure_names(folder), where=str(folder))
    spec = load_yaml(path, "figure")
    base = _number(spec["baseline"]["reported"], f"{path}: baseline.reported")
    return Figure(
        name=name,
        title=spec["title"],
        caption=" ".join(spec["caption"].split()),
        place=spec["place"],
        dataset=spec["dataset"],
        metric=spec["metric"],
        label=spec["label"],
        baseline=Point(spec["baseline"]["label"], spec["baseline"]["model"], base),
        series=tuple(_series(series, base, path) for series in spec["series"]),
    )


def _series(spec: dict[str, Any], base: Decimal, path: Path) -> Series:
    points = []
    for point in spec["points"]:
        where = f"{path}: series.{spec['name']}.{point['x']}"
        reported = None
        if "reported" in point:
            reported = _number(point["reported"], f"{where}.reported")
        elif "reported_gain" in point:
            reported = base + _number(point["reported_gain"], f"{where}.reported_gain")
        points.append(Point(point["x"], point["model"], reported))
    return Series(spec["name"], spec["label"], spec["axis"], spec["line"], tuple(points))


def _number(text: str, where: str) -> Decimal:
    printed = parse(text)
    if printed is None:
        raise TadaError(f"{where}: {text!r} is not a number")
    return printed.value
