"""Every fact about the datasets, once: schemas, help texts, plans, checks and readers ask here.

A new dataset is one entry of `_ENTRIES` and one reader. Imports neither torch nor numpy, so that plans are made at
once; readers and renderers are named here and imported where they are used.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from tada.base import TadaError, unknown
from tada.base.files import parse_json
from tada.data.clips import Annotations

Renderer = Callable[[Path, Any, int], dict[str, Any]]
"""Renders a whole dataset into an empty folder, by a `RenderSpec`, with so many processes; returns counts for the
manifest."""


@dataclass(frozen=True)
class ReleasedClips:
    """Of what clips the authors released features, and how the files are called.

    Attributes:
        stride: frames from clip to clip.
        fps: frames per second that the clips were taken at.
        pieces: a file is about a part of a video and called `{video}_{start}_{end}` (milliseconds); else about all of
            it and called `{video}`.
        prefix: what may stand before a video's name there.
        parts: which of `Place.RELEASED` there are.
    """

    stride: int
    fps: float
    pieces: bool = False
    prefix: str = ""
    parts: tuple[str, ...] = ("features",)


@dataclass(frozen=True)
class Localization:
    """Facts about a dataset of untrimmed videos in which actions are located (section 6).

    Attributes:
        annotated: whose official files have the form of its ground truth.
        protocol: whose evaluation it has, as the notes below a table say it.
        videos: number of videos of each split.
        hours: of the training and validation videos together.
        clips: of the released features.
        exact_durations: a video's file has to last as long as the annotations say; else another was annotated.
    """

    annotated: str
    protocol: str
    videos: Mapping[str, int]
    hours: float
    clips: ReleasedClips
    exact_durations: bool = False


@dataclass(frozen=True)
class Dataset:
    """What is known about a published dataset, wherever a user has it.

    Attributes:
        name: in recipes, targets and folders.
        title: as the paper prints it.
        classes: their number, or that of each of its labels.
        reader: module with `read(root, ...) -> Annotations`, and EXPECTED, which says what files it looks for; where
            actions are located, also with `read_annotated`, `durations` and `video_name`, and where durations have to
            be exact, `disagreement`.
        clips: annotated clips of each split as published; empty where only whole videos are counted.
        layouts: forms of the dataset that its reader tells apart, and that a user can name.
        renderer: "module:function" that renders the mini version (see `Renderer`); None: there is none.
        finder: "module:function" that says where the object of a video of the mini version is; None: nobody knows.
        rendering: raised whenever the renderer makes other videos of the same spec.
        localization: facts about it where actions are located in its videos; None: clips are classified only.
    """

    name: str
    title: str
    classes: int | Mapping[str, int]
    reader: str
    clips: Mapping[str, int] = field(default_factory=dict)
    layouts: tuple[str, ...] = ()
    renderer: str | None = None
    finder: str | None = None
    rendering: int = 1
    localization: Localization | None = None

    @property
    def labels(self) -> Mapping[str, int]:
        """Number of classes of each label of a clip; where there is one, it is called "label"."""
        return {"label": self.classes} if isinstance(self.classes, int) else self.classes

    @property
    def recipes(self) -> tuple[str, ...]:
        """Names of its recipes: that of classification is its own."""
        return (self.name, f"{self.name}-localization") if self.localization else (self.name,)

    @property
    def validation_size(self) -> int:
        """Clips of the validation split, or videos where only these are counted; 0 where neither is known."""
        counts = self.clips or (self.localization.videos if self.localization else {})
        return counts.get("validation", 0)

    def video_of(self, clip: str) -> str:
        """The video that a clip of this name was taken from; where videos are untrimmed, its segments are numbered."""
        return clip.rpartition("_")[0] if self.localization else clip

    def load_reader(self) -> Any:
        """The module that reads it."""
        return import_module(self.reader)

    def load_renderer(self) -> Renderer:
        """The function that renders its mini version.

        Raises:
            TadaError: it has none.
        """
        if self.renderer is None:
            raise TadaError(f"{self.name}: there is no mini version of this dataset")
        module, _, function = self.renderer.partition(":")
        renderer: Renderer = getattr(import_module(module), function)
        return renderer

    def load_finder(self) -> Callable[[str, Any], Any] | None:
        """The function that finds the object in its mini videos: video's name, `RenderSpec` -> `Track` or None."""
        if self.finder is None:
            return None
        module, _, function = self.finder.partition(":")
        finder: Callable[[str, Any], Any] = getattr(import_module(module), function)
        return finder


_ENTRIES = (
    Dataset(
        name="ssv2",
        title="Something-Something-V2",
        classes=174,
        reader="tada.data.readers.ssv2",
        clips={"train": 168_913, "validation": 24_777},
        renderer="tada.data.mini.trimmed:write_ssv2",
        finder="tada.data.mini.trimmed:find_ssv2",
    ),
    Dataset(
        name="k400",
        title="Kinetics-400",
        classes=400,
        reader="tada.data.readers.k400",
        # Of the official lists. The copies that users have lack some of these videos: check-data names them.
        clips={"train": 246_534, "validation": 19_906},
        layouts=("csv", "list", "folders"),
        renderer="tada.data.mini.trimmed:write_k400",
    ),
    Dataset(
        name="ek100",
        title="EPIC-KITCHENS-100",
        classes={"verb": 97, "noun": 300},
        reader="tada.data.readers.ek100",
        clips={"train": 67_217, "validation": 9_668},
        layouts=("videos", "frames"),
        renderer="tada.data.mini.untrimmed:write_ek100",
        rendering=2,
        localization=Localization(
            annotated="EPIC-KITCHENS-100",
            protocol="EPIC-KITCHENS-100's, in which verbs, nouns and actions are ranked by the same scores",
            videos={"train": 495, "validation": 138},
            hours=87,  # 100 with the test videos
            clips=ReleasedClips(stride=8, fps=60.0, pieces=True, parts=("features", "classification", "bmn")),
            exact_durations=True,
        ),
    ),
    Dataset(
        name="hacs",
        title="HACS Segments",
        classes=200,
        reader="tada.data.readers.hacs",
        renderer="tada.data.mini.untrimmed:write_hacs",
        localization=Localization(
            annotated="HACS or ActivityNet",
            protocol="ActivityNet's",
            videos={"train": 37_613, "validation": 5_981},
            hours=1_900,  # a video lasts about 157 s
            clips=ReleasedClips(stride=16, fps=30.0, prefix="v_"),
        ),
    ),
)


DATASETS: Mapping[str, Dataset] = {entry.name: entry for entry in _ENTRIES}
"""The published datasets by name."""


OWN = Dataset(name="own", title="videos of your own", classes=0, reader="tada.data.readers.own")
"""Any videos that a CSV file lists. How many classes they have, the list says; recipes at scale "own" name it."""


RECIPES = tuple(recipe for entry in _ENTRIES for recipe in entry.recipes)
"""Names that recipes can have, e.g. "hacs" and "hacs-localization"; a run calls its own its dataset."""


NAMES: Mapping[str, tuple[str, ...]] = {
    "dataset": tuple(DATASETS),
    "recipe": RECIPES,
    "one_label": tuple(entry.name for entry in _ENTRIES if isinstance(entry.classes, int)),
}
"""What schemas of YAML files leave open (see `tada.base.yaml_files.validate`): all datasets, all recipes, and the
datasets whose clips have one label each."""


def find(name: str) -> Dataset:
    """The dataset of a name.

    Raises:
        TadaError: there is none of this name; says the nearest.
    """
    entries = {**DATASETS, OWN.name: OWN}
    if name not in entries:
        raise unknown("dataset", name, entries)
    return entries[name]


def localization_of(name: str) -> Localization:
    """Facts about a dataset in whose videos actions are located.

    Raises:
        TadaError: there is no such dataset, or its videos are not annotated so.
    """
    facts = find(name).localization
    if facts is None:
        annotated = ", ".join(entry.name for entry in _ENTRIES if entry.localization)
        raise TadaError(f"{name}: not annotated for localization; annotated: {annotated}")
    return facts


_PLACE = '{"root": FOLDER, "annotations": FOLDER, "videos": FOLDER, "layout": NAME}'


@dataclass(frozen=True)
class Place:
    """Where a dataset lies: its folder, and what else of `read`'s arguments the user has set.

    Attributes:
        root: its folder.
        options: `read`'s arguments by name, and `RELEASED` parts.
        RELEASED: what the authors released for localization: folders of features and of results of classification, and
            the checkpoint of BMN.
    """

    RELEASED: ClassVar = ("features", "classification", "bmn")

    root: Path
    options: dict[str, str] = field(default_factory=dict)

    def without_released(self) -> "Place":
        """The same without what was released, as `read` takes it."""
        return Place(self.root, {key: value for key, value in self.options.items() if key not in self.RELEASED})

    @classmethod
    def parse(cls, text: str) -> "Place":
        """A folder's path, or {"root": ..., "annotations": ..., "videos": ..., "layout": ...} as JSON.

        Raises:
            TadaError: neither.
        """
        if not text.startswith("{"):
            return cls(Path(text))
        try:
            options = parse_json(text)
        except ValueError as error:
            raise TadaError(f"--data: not valid JSON: {error}; expected a folder, or {_PLACE}") from None
        if not isinstance(options.get("root"), str) or not all(isinstance(value, str) for value in options.values()):
            raise TadaError(f"--data: {text}: expected a folder, or {_PLACE}, each a text")
        return cls(Path(options.pop("root")), options)


def check_labels(dataset: str, classes: int | Mapping[str, int] | None, where: str) -> None:
    """Check that a recipe's numbers of classes are of the labels that clips of the dataset have.

    Raises:
        TadaError: they are of others, which no video of the dataset could be trained with.
    """
    if dataset not in DATASETS or classes is None:
        return
    wanted, found = DATASETS[dataset].labels, {"label": classes} if isinstance(classes, int) else classes
    if found.keys() != wanted.keys():
        needs = "one number" if "label" in wanted else f"a number for each of {' and '.join(wanted)}"
        raise TadaError(f"{where}: {classes}: expected {needs}, as clips of {dataset} have labels")


def check_released(dataset: str, place: Mapping[str, Any], where: str) -> None:
    """Check what a user says of released parts: `place` has part -> model -> file beside the other options.

    Raises:
        TadaError: a part that was not released of the dataset, or of no use without the features of its network.
    """
    located = find(dataset).localization
    parts = located.clips.parts if located else ()
    for part in Place.RELEASED:
        if part in place and part not in parts:
            raise unknown("key", part, {*place.keys() - {*Place.RELEASED}, *parts}, where)
        for model, file in (place.get(part) or {}).items():
            if file and not (place.get("features") or {}).get(model):
                raise TadaError(f"{where}: {part}.{model} is of no use without features.{model}")


def read(dataset: str, place: Place) -> Annotations:
    """The annotations of a dataset.

    Raises:
        TadaError: an unknown dataset, an option that its reader does not have, or as the reader itself.
    """
    reader = find(dataset).load_reader().read
    valid = list(inspect.signature(reader).parameters)[1:]
    for option in place.options:
        if option not in valid:
            raise unknown("option", option, valid, where=f"data.{dataset}")
    options = {key: value if key == "layout" else Path(value) for key, value in place.options.items()}
    annotations: Annotations = reader(place.root, **options)
    return annotations


def class_names(dataset: str, data: str, classes: int) -> tuple[str, ...]:
    """The names of a dataset's classes, or "class 0", "class 1", ... where the dataset cannot be read.

    Args:
        dataset: e.g. "ssv2".
        data: its folder, or more about it (see `Place.parse`); empty where there is none.
        classes: how many there have to be; other names are of another dataset.
    """
    if data:
        try:
            names = read(dataset, Place.parse(data)).classes
            if isinstance(names, tuple) and len(names) == classes:
                return names
        except TadaError:
            pass
    return tuple(f"class {number}" for number in range(classes))
