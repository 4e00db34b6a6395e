"""What the paper reports: which paper it is, its tables, figures, claims and audit, with the quantities they name.

Plain values, read from the files in `paper/` (`tada.base.files.PAPER`); another paper is another such folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tada.base import TadaError
from tada.base.files import PAPER
from tada.base.yaml_files import load_yaml


@dataclass(frozen=True)
class Gains:
    """A table's columns of differences, and its rows of which each is what a method adds to a backbone, with labels."""

    title: str
    table: str
    columns: Mapping[str, str]
    rows: Mapping[str, str]


@dataclass(frozen=True)
class SideBySide:
    """A table's rows, with labels, whose accuracies at each scale are set beside what the paper prints."""

    title: str
    table: str
    rows: Mapping[str, str]


@dataclass(frozen=True)
class SummaryPicture:
    """What the README's picture shows: tables on one dataset whose order of rows is compared, named points, and gains.

    `named` has the label of a model's point and how far above the point it stands, in typographic points. `scales` is
    a picture of its own, where runs of several scales are there.
    """

    dataset: str
    orders: Mapping[str, str]
    named: Mapping[str, tuple[str, float]]
    gains: Gains
    scales: SideBySide


@dataclass(frozen=True)
class AssumedNoise:
    """Standard deviation over seeds in points, assumed where none is measured; `freedom` is what it counts as."""

    sd: float
    freedom: float
    why: str


@dataclass(frozen=True)
class SameNumber:
    """How many points two procedures' accuracies, each averaged over trainings, may be apart to count as the same."""

    points: float
    why: str


@dataclass(frozen=True)
class PaperAbout:
    """`paper.yaml`: title, short name, venue, authors and address of the paper, and where some of its numbers stand.

    `bibtex` is the entry by which it is cited. `layers` names the table that counts single layers; `picture` is None
    where the paper has no summary picture. `training` has the noise that is assumed at a scale, by its name, and `same`
    is None where no accuracy is judged.
    """

    title: str
    short: str
    venue: str
    authors: tuple[str, ...] = ()
    url: str = ""
    bibtex: str = ""
    layers: str = ""
    picture: SummaryPicture | None = None
    training: Mapping[str, AssumedNoise] = field(default_factory=dict)
    same: SameNumber | None = None


@cache
def about_paper(folder: Path = PAPER) -> PaperAbout:
    """Which paper the specs in a folder are of.

    Raises:
        TadaError: the file `paper.yaml` is missing or breaks its schema.
    """
    spec = load_yaml(folder / "paper.yaml", "paper")
    picture = spec.pop("picture", None)
    if picture:
        named = {model: (label["label"], label["above"]) for model, label in picture["named"].items()}
        parts = {"gains": Gains(**picture["gains"]), "scales": SideBySide(**picture["scales"])}
        picture = SummaryPicture(**picture | parts | {"named": named})
    noise = spec.pop("noise", {"training": {}, "same": None})
    training = {scale: AssumedNoise(**_lines(found)) for scale, found in noise["training"].items()}
    same = SameNumber(**_lines(noise["same"])) if noise["same"] else None
    authors = tuple(spec.pop("authors", ()))
    return PaperAbout(**spec, authors=authors, picture=picture, training=training, same=same)


def _lines(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry whose texts are on one line."""
    return {key: " ".join(value.split()) if isinstance(value, str) else value for key, value in entry.items()}


def pages(folder: Path = PAPER) -> dict[str, str]:
    """Pages beside those of the tables, name -> what they say; those of the paper's text only if it has such specs."""
    found = {
        "audit": "Audit: numbers of the paper that follow from others of its numbers, recomputed",
        "claims": "Claims: sentences of the paper as statements on measurements, with verdicts",
        "settings": "Settings: every value of the paper-scale recipes, and what is published for it",
    }
    return {name: says for name, says in found.items() if name == "settings" or (folder / f"{name}.yaml").exists()}


def table_of_layers(folder: Path = PAPER) -> str:
    """Name of the table that counts single layers.

    Raises:
        TadaError: the paper has none.
    """
    about = about_paper(folder)
    if not about.layers:
        raise TadaError(f"{folder / 'paper.yaml'}: `layers` has to name the table that counts single layers")
    return about.layers
