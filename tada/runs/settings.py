"""Settings of temporal action localization, as recipes give them. Imports no torch, so that plans are made at once."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class BmnSettings:
    """BMN, its windows, training and proposals; defaults are those published for EPIC-KITCHENS-100.

    Attributes:
        window: seconds of a window; None for the whole video (HACS).
        stride: seconds from window to window.
        temporal: cells of a window, T.
        durations: cells of the longest proposal, D.
        base, summed, confidence, groups, samples, per_bin, boundary_ratio: the network's, see `BMN`.
        batch: windows in a step.
        epochs, warmup_epochs, base_lr, warmup_lr: half a cosine entered by a linear warm-up.
        weight_decay: AdamW's.
        regression_weight, positive, high, low: the loss's, see `bmn_loss`.
        peak: a position is a boundary if it is above this share of the video's highest, or a local peak.
        classification_power, regression_power: exponents of the two confidences in a proposal's score.
        most: proposals kept of those that start within a window's length of video, best first.
    """

    window: float | None = 53.33
    stride: float | None = 26.67
    temporal: int = 200
    durations: int = 100
    base: int = 256
    summed: int = 512
    confidence: int = 128
    groups: int = 4
    samples: int = 32
    per_bin: int = 3
    boundary_ratio: float = 0.5
    batch: int = 16
    epochs: int = 10
    warmup_epochs: float = 1
    base_lr: float = 2e-3
    warmup_lr: float = 1e-5
    weight_decay: float = 1e-4
    regression_weight: float = 10.0
    positive: float = 0.9
    high: float = 0.7
    low: float = 0.3
    peak: float = 0.5
    classification_power: float = 1.2
    regression_power: float = 1.0
    most: int = 500


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

    def identity(self) -> dict[str, Any]:
        """What of this changes features."""
        return {name: value for name, value in asdict(self).items() if name not in ("batch", "workers")}


@dataclass(frozen=True)
class Suppression:
    """Soft-NMS; see `tada.localization.proposals.soft_nms`. `keep`: proposals of a video that are classified."""

    keep: int
    sigma: float = 0.4
    low: float = 0.25
    gain: float = 0.65


@dataclass(frozen=True)
class Classification:
    """What gives proposals their classes (Appendix A.2).

    Attributes:
        of: "proposals", each by `clips` clips of it (EPIC-KITCHENS-100), or the "video" by its mean feature (HACS).
        clips: of each proposal.
        top_verbs, top_nouns: the most probable ones that pairs are made of.
        top: classes, or pairs, that a proposal becomes detections of.
    """

    of: str
    clips: int = 6
    top_verbs: int = 10
    top_nouns: int = 30
    top: int = 1
