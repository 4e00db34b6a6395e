"""What a recipe of localization says of its parts, as typed values: clips, BMN, suppression and classes of proposals.

The recipe itself stands in `tada.runs.settings`. Sizes are in pixels; times are in seconds where nothing else is said.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class BmnSettings:
    """BMN, its windows, training and proposals; defaults are those published for EPIC-KITCHENS-100.

    Attributes:
        window: seconds of a window; None for the whole video (HACS).
        stride: seconds from window to window.
        past_end: windows begin every stride until the video ends and run on past that; otherwise the last ends with it.
        aligned_corners: see `tada.localization.windows.aligned`; otherwise a cell has the features of its middle.
        unit_features: features are divided by their length.
        temporal: cells of a window, T.
        durations: cells of the longest proposal, D.
        base, summed, confidence, groups, samples, per_bin, boundary_ratio, extend_first: the network's, see `BMN`.
        batch: windows in a step.
        epochs, warmup_epochs, base_lr, warmup_lr: half a cosine entered by a linear warm-up.
        trained_epochs: epochs of that schedule after which the network is tested; None: all.
        weight_decay: AdamW's.
        decay_biases: whether it holds for biases too.
        anchor: cells of a position's anchor, whose share in a boundary's region is its label; see `boundary_labels`.
        regression_weight, positive, high, low: the loss's, see `bmn_loss`.
        peak: a position is a boundary if it is above this share of the video's highest, or a local peak.
        ends_with_video: a proposal can end with the video's last cell; otherwise where that begins at the latest.
        classification_power, regression_power: exponents of the two confidences in a proposal's score.
    """

    TRAINING: ClassVar = (
        *("batch", "epochs", "warmup_epochs", "base_lr", "warmup_lr", "trained_epochs", "weight_decay"),
        *("decay_biases", "anchor", "regression_weight", "positive", "high", "low"),
    )
    """Settings that a trained network no longer depends on."""

    window: float | None = 53.333332
    stride: float | None = 26.666666
    past_end: bool = True
    aligned_corners: bool = True
    unit_features: bool = False
    temporal: int = 200
    durations: int = 100
    base: int = 256
    summed: int = 512
    confidence: int = 128
    groups: int = 4
    samples: int = 32
    per_bin: int = 3
    boundary_ratio: float = 0.5
    extend_first: bool = True
    batch: int = 16
    epochs: int = 10
    warmup_epochs: float = 1
    base_lr: float = 2e-3
    warmup_lr: float = 1e-5
    trained_epochs: int | None = None
    weight_decay: float = 1e-4
    decay_biases: bool = True
    anchor: float = 2.0
    regression_weight: float = 10.0
    positive: float = 0.9
    high: float = 0.7
    low: float = 0.3
    peak: float = 0.5
    ends_with_video: bool = False
    classification_power: float = 1.2
    regression_power: float = 1.0


@dataclass(frozen=True)
class ClipSettings:
    """Clips of an untrimmed video, and how they are computed with.

    Attributes:
        frames: of a clip.
        interval: from a clip's frame to the next, in frames at `target_fps`.
        stride: from a clip to the next, in frames at `target_fps`.
        target_fps: rate at which a video is looked at, whatever its own.
        short_side: to which frames are resized, in pixels; nothing is cut off.
        batch: clips in a forward pass.
        workers: processes that decode; 0 decodes in this one.
    """

    frames: int
    interval: int
    stride: int
    target_fps: float
    short_side: int
    batch: int = 16
    workers: int = 0

    @property
    def spacing(self) -> float:
        """Seconds from a clip to the next."""
        return self.stride / self.target_fps

    def identity(self) -> dict[str, Any]:
        """What of this changes features."""
        return {name: value for name, value in asdict(self).items() if name not in ("batch", "workers")}


@dataclass(frozen=True)
class SuppressionSettings:
    """Soft-NMS; see `tada.localization.proposals.soft_nms`.

    Attributes:
        keep: proposals of a video that remain, or None for
        keep_every: seconds of video for each that remains, and one more.
        sigma, low, gain: the decay's.
    """

    keep: int | None = None
    keep_every: float | None = None
    sigma: float = 0.4
    low: float = 0.25
    gain: float = 0.65

    def kept(self, duration: float) -> int:
        """Proposals that remain of a video of `duration` seconds."""
        if self.keep is not None:
            return self.keep
        assert self.keep_every is not None  # recipes have one of both
        return int(duration / self.keep_every) + 1


@dataclass(frozen=True)
class ProposalClasses:
    """How proposals get their classes (Appendix A.2).

    Attributes:
        of: the "logits" of the clips all along each proposal (EPIC-KITCHENS-100); the "proposals", each by `clips`
            clips of it that are decoded anew; or the "video", by its mean feature (HACS).
        clips: of each proposal; or bins, in which logits are read.
        points: of a bin.
        top_verbs, top_nouns: the most probable ones that pairs are made of.
        top: classes, or pairs, that a proposal becomes detections of.
    """

    of: str
    clips: int = 6
    points: int = 3
    top_verbs: int = 10
    top_nouns: int = 30
    top: int = 1
