"""Figure specs: `paper/figures/<name>.yaml`, of four kinds by what they draw; imports no plotting."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tada.base import TadaError, files, unknown
from tada.base.yaml_files import load_yaml, read_yaml
from tada.data import catalog
from tada.report.paper.printed import parse
from tada.report.paper.tables import NO_SPECS

FIGURES = files.PAPER / "figures"


@dataclass(frozen=True)
class About:
    """What a figure is called, says, and where it stands in the paper.

    `reading` says how this suite understands what the paper leaves open.
    """

    name: str
    title: str
    caption: str
    place: str
    reading: str

    @property
    def complexities(self) -> set[tuple[str, int, int]]:
        """Figures show no sizes of networks."""
        return set()


@dataclass(frozen=True)
class DrawnNetwork:
    """A network and what the figure calls it."""

    label: str
    model: str


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
class Accuracies(About):
    """One metric of one dataset, over series of networks and a baseline (Figure 3)."""

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


@dataclass(frozen=True)
class Categories(About):
    """The gain of one network over another in each category; `reported` by the category's name (Figure A1)."""

    dataset: str
    base: DrawnNetwork
    other: DrawnNetwork
    mean: Decimal
    reported: dict[str, Decimal]

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of every run that the figure needs."""
        return {(self.dataset, self.base.model), (self.dataset, self.other.model)}


@dataclass(frozen=True)
class Curves(About):
    """Columns of curves.csv over the epochs, a panel for each dataset (Figure A2)."""

    datasets: dict[str, str]
    networks: tuple[DrawnNetwork, ...]
    columns: dict[str, str]
    label: str

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of every run that the figure needs."""
        return {(dataset, network.model) for dataset in self.datasets for network in self.networks}


@dataclass(frozen=True)
class ActivationMaps(About):
    """Where networks look in the frames of some validation videos (Figures 4 and A3); `layers` by scale."""

    dataset: str
    layers: dict[str, str]
    networks: tuple[DrawnNetwork, ...]
    videos: int
    rule: str

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of every run that the figure needs."""
        return {(self.dataset, network.model) for network in self.networks}


Figure = Accuracies | Categories | Curves | ActivationMaps


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
        raise unknown("figure", name, figure_names(folder), where=str(folder), none=NO_SPECS)
    kind = _kind(path)
    spec = load_yaml(path, f"figure-{kind}", catalog.NAMES)
    reading = " ".join(spec.get("reading", "").split())
    about = (name, spec["title"], " ".join(spec["caption"].split()), spec["place"], reading)
    return _READERS[kind](about, spec, path)


def _kind(path: Path) -> str:
    content = read_yaml(path)
    kind = content.get("draws") if isinstance(content, dict) else None
    if not isinstance(kind, str) or kind not in _READERS:
        raise unknown("value", str(kind), _READERS, where=f"{path}: draws")
    return kind


_About = tuple[str, str, str, str, str]


def _accuracies(about: _About, spec: dict[str, Any], path: Path) -> Accuracies:
    base = _number(spec["baseline"]["reported"], f"{path}: baseline.reported")
    baseline = Point(spec["baseline"]["label"], spec["baseline"]["model"], base)
    series = tuple(_series(series, base, path) for series in spec["series"])
    return Accuracies(*about, spec["dataset"], spec["metric"], spec["label"], baseline, series)


def _categories(about: _About, spec: dict[str, Any], path: Path) -> Categories:
    where = f"{path}: reported"
    reported = {name: _number(text, f"{where}.{name}") for name, text in spec["reported"]["categories"].items()}
    base, other = DrawnNetwork(**spec["base"]), DrawnNetwork(**spec["other"])
    return Categories(*about, spec["dataset"], base, other, _number(spec["reported"]["mean"], where), reported)


def _curves(about: _About, spec: dict[str, Any], path: Path) -> Curves:
    networks = tuple(DrawnNetwork(**network) for network in spec["networks"])
    return Curves(*about, spec["datasets"], networks, spec["columns"], spec["label"])


def _maps(about: _About, spec: dict[str, Any], path: Path) -> ActivationMaps:
    networks = tuple(DrawnNetwork(**network) for network in spec["networks"])
    return ActivationMaps(
        *about, spec["dataset"], spec["layer"], networks, spec["choose"]["videos"], spec["choose"]["rule"]
    )


_READERS: dict[str, Callable[[_About, dict[str, Any], Path], Figure]] = {
    "accuracies": _accuracies,
    "categories": _categories,
    "curves": _curves,
    "maps": _maps,
}


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
