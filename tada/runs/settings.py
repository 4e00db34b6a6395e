"""What a recipe says, as typed values: one dataclass for each task, and one for each of their parts.

`tada.runs.recipes` reads them from `config/recipes/`. Sizes are in pixels; times are in seconds where nothing else is
said.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal

from tada.base import unknown
from tada.data.readers.own import OwnVideos
from tada.runs.localization_settings import BmnSettings, ClipSettings, ProposalClasses, SuppressionSettings

RELEASES = ("first", "later")
"""Of the authors' code and checkpoints; the paper's numbers belong to the first."""


MOST_SEEDS = 1000
"""Of a row of a table; they are counted from 0."""


class Scale(StrEnum):
    """How large runs are: small networks on rendered videos, the paper's networks on rendered videos, the paper's
    setting, or a release's checkpoints in it; and runs on videos of one's own, of which the paper says nothing."""

    MINI = "mini"
    GPU = "gpu"
    PAPER = "paper"
    FIRST_RELEASE = "first-release"
    LATER_RELEASE = "later-release"
    OWN = "own"

    @classmethod
    def named(cls, name: str) -> "Scale":
        """The scale of that name; raises TadaError where there is none."""
        if name not in list(cls):
            raise unknown("scale", name, cls)
        return cls(name)

    @classmethod
    def of_release(cls, name: str) -> "Scale":
        """The scale that tests the checkpoints of a release, "first" or "later"; raises TadaError for any other."""
        if name not in RELEASES:
            raise unknown("release", name, RELEASES)
        return cls(f"{name}-release")

    @property
    def release(self) -> str:
        """Whose checkpoints are tested, "first" or "later"; empty where networks are trained."""
        return self.removesuffix("-release") if self.endswith("-release") else ""

    @property
    def of_paper(self) -> bool:
        """Whether runs are of what the paper reports."""
        return self is not Scale.OWN

    @property
    def trains(self) -> bool:
        """Whether runs train a network, rather than test one that the authors released."""
        return not self.release

    @property
    def renders(self) -> bool:
        """Whether the videos are rendered here, below `rendered_in`, so that there is nothing to download."""
        return self in (Scale.MINI, Scale.GPU)

    @property
    def rendered_in(self) -> str:
        """Folder of the rendered datasets, relative to where runs are started; a dataset's is below, by its name."""
        return f"data/{self}"

    @property
    def on_one_core(self) -> bool:
        """Whether a run computes on one processor core and no GPU, so that a machine trains as many as it has cores."""
        return self is Scale.MINI

    @property
    def shown(self) -> str:
        """What stands over a picture: the scale and, where it is not the paper's own setting, what differs."""
        differs = {Scale.MINI: "rendered videos, small networks", Scale.GPU: "rendered videos, the paper's networks"}
        return f"{self} scale ({differs[self]})" if self in differs else f"{Scale.PAPER} scale"

    @property
    def gives_verdicts(self) -> bool:
        """Whether accuracies are of the paper's datasets and networks, so that they can be compared with its own."""
        return self.of_paper and not self.renders

    @property
    def recipe_file(self) -> str:
        """Name of its file in `config/recipes/`. Released checkpoints are tested as the paper's recipes say."""
        return f"{self if self.trains else Scale.PAPER}.yaml"


@dataclass(frozen=True)
class SamplingSettings:
    """Which frames of a video make a clip (section 5): one of each segment, or every `interval`-th at `target_fps`."""

    kind: str
    interval: int = 8
    target_fps: float = 30.0


@dataclass(frozen=True)
class TrainSettings:
    """A training schedule (Appendix A.1). Rates are per optimiser step over `batch` clips."""

    epochs: int
    warmup_epochs: float
    base_lr: float
    warmup_lr: float
    batch: int
    batch_per_device: int
    scale: tuple[int, int]
    crop: int
    flip: bool
    initial: str
    momentum: float = 0.9
    weight_decay: float = 1e-4
    precision: str = "float32"
    validate_every: int = 1
    optimizer: str = "sgd"


@dataclass(frozen=True)
class TestSettings:
    """Views of a test video (section 5): `clips` in time times `crops` in space.

    `precision` is what the network computes in; validation during training stays in float32.
    """

    __test__: ClassVar[bool] = False  # no test case, whatever pytest makes of its name

    clips: int
    crops: int
    short_side: int
    crop: int
    batch: int = 1
    precision: str = "float32"


@dataclass(frozen=True)
class DataSettings:
    """How videos are brought in; nothing here but `render` changes a number."""

    render: dict[str, Any] | None = None
    cache: bool = False
    cache_short_side: int | None = None
    max_skipped: float = 0.01
    workers: int = 0


@dataclass(frozen=True)
class Resources:
    """What a run asks of a cluster."""

    gpus: int = 0
    gpus_per_node: int = 8
    cpus_per_gpu: int = 1
    memory_gb_per_gpu: int = 8
    hours: float = 1.0


GROUP = 12
"""Frames of a group of pictures in prepared videos of which many frames in a row are read."""


@dataclass(frozen=True)
class ClassificationRecipe:
    """Everything about a run of action classification but the network (section 5).

    Attributes:
        videos: name of the dataset in `tada.data.catalog`.
        classes: their number, or that of each task's.
        sampling, train, test, data: see there.
        network: arguments of `build_model` that change every network at this scale.
        resources: asked of a cluster.
        own: the videos, where the recipe names them itself.
    """

    task: ClassVar[Literal["classification"]] = "classification"

    videos: str
    classes: int | dict[str, int]
    sampling: SamplingSettings
    train: TrainSettings
    test: TestSettings
    data: DataSettings
    network: dict[str, Any] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    own: OwnVideos | None = None

    @property
    def initial(self) -> str | None:
        """The dataset whose run comes first and gives the weights; None where there is none."""
        none = self.train.initial in ("scratch", "imagenet") or self.initial_file is not None
        return None if none else self.train.initial

    @property
    def initial_file(self) -> Path | None:
        """The checkpoint whose weights training starts from, where the recipe names a file."""
        return Path(self.train.initial) if self.train.initial.endswith((".pt", ".pth", ".pyth")) else None

    @property
    def epochs(self) -> int:
        """Epochs of training."""
        return self.train.epochs

    @property
    def quick_videos(self) -> tuple[int, int]:
        """Of prepared videos: the largest short side that is needed in pixels, and frames of a group of pictures.

        Where a few frames all over a video are read, each is coded for itself.
        """
        return max(self.train.scale[1], self.test.short_side), 1 if self.sampling.kind == "segment" else GROUP

    @property
    def micro_batches(self) -> int | None:
        """Those of a step, which can be computed side by side; None: any number of processes can share the work."""
        return max(self.train.batch // self.train.batch_per_device, 1)

    def identity(self) -> dict[str, Any]:
        """All of it that changes numbers."""
        values = asdict(self)
        del values["videos"], values["resources"], values["test"]["batch"], values["own"]
        if self.own is not None:  # wherever the list lies
            values["own"] = {"classes": list(self.own.classes), "sha256": self.own.sha256}
        if self.initial_file is not None:
            values["train"]["initial"] = "checkpoint"  # whose content `resolved` tells
        # As it was before there was a choice, so that signatures stay.
        if self.test.precision == TestSettings.precision:
            del values["test"]["precision"]
        if self.train.optimizer == TrainSettings.optimizer:
            del values["train"]["optimizer"]
        return {**values, "data": {"render": values["data"]["render"]}}

    def tested(self) -> dict[str, Any]:
        """What of `identity` changes the numbers of a network that is tested and not trained."""
        return {name: value for name, value in self.identity().items() if name != "train"}


@dataclass(frozen=True)
class LocalizationRecipe:
    """How actions are located with a network that classifies them (section 6, Appendix A.2).

    Attributes:
        videos: name of the dataset in `tada.data.catalog`; also of the run whose network is used.
        classes: that network's.
        network: that network's, as in `ClassificationRecipe`.
        clips: those that features are computed from; `frames` is the network's.
        bmn: the network of proposals.
        suppression: which proposals remain.
        classification: how these get classes.
        thresholds: intersections over union of the evaluation.
        recall_at: proposals per video whose recall is measured.
        max_skipped: share of unusable segments above which a run fails.
        resources: asked of a cluster.
    """

    task: ClassVar[Literal["localization"]] = "localization"

    videos: str
    classes: int | dict[str, int]
    network: dict[str, Any]
    clips: ClipSettings
    bmn: BmnSettings
    suppression: SuppressionSettings
    classification: ProposalClasses
    thresholds: tuple[float, ...]
    recall_at: int
    max_skipped: float = 0.01
    resources: Resources = field(default_factory=Resources)

    @property
    def initial(self) -> str:
        """The dataset whose run comes first and gives the network."""
        return self.videos

    @property
    def epochs(self) -> int:
        """Epochs of training the network of proposals."""
        return self.bmn.trained_epochs or self.bmn.epochs

    @property
    def micro_batches(self) -> None:
        """Any number of processes can share the work."""
        return None

    def identity(self) -> dict[str, Any]:
        """All of it that changes numbers, and is not said by the run that comes first."""
        values = asdict(self)
        for name in ("resources", "max_skipped", "videos", "classes", "network"):
            del values[name]
        return {**values, "clips": self.clips.identity()}

    def tested(self) -> dict[str, Any]:
        """What of `identity` changes the numbers of networks that are tested and not trained."""
        values = self.identity()
        bmn = {name: value for name, value in values["bmn"].items() if name not in BmnSettings.TRAINING}
        return {**values, "bmn": bmn}


Recipe = ClassificationRecipe | LocalizationRecipe
"""Told apart by `task`."""


def contradictions(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What cannot be true together in a recipe, each in words."""
    if train := parts.get("train"):
        least, most = train["scale"]
        if not train["crop"] <= least <= most:
            yield f"train: crop {train['crop']} and scale [{least}, {most}]: expected crop <= smallest <= largest"
        if train["batch"] % train["batch_per_device"]:
            yield f"train.batch: {train['batch']} is no multiple of batch_per_device, {train['batch_per_device']}"
        if train["warmup_epochs"] > train["epochs"]:
            yield f"train.warmup_epochs: {train['warmup_epochs']} is more than epochs, {train['epochs']}"
    if (test := parts.get("test")) and test["crop"] > test["short_side"]:
        yield f"test.crop: {test['crop']} is larger than short_side, {test['short_side']}"
    if bmn := parts.get("bmn"):
        if bmn["durations"] > bmn["temporal"]:
            yield f"bmn.durations: {bmn['durations']} is more than temporal, {bmn['temporal']}"
        if (bmn["window"] is None) != (bmn["stride"] is None):
            yield "bmn.window and bmn.stride: both in seconds, or both null"
        epochs = bmn.get("epochs", BmnSettings.epochs)
        if bmn.get("trained_epochs", epochs) > epochs:
            yield f"bmn.trained_epochs: {bmn['trained_epochs']} is more than epochs, {epochs}"
    if "suppression" in parts and ("keep" in parts["suppression"]) == ("keep_every" in parts["suppression"]):
        yield "suppression: either keep or keep_every has to say how many proposals remain"
