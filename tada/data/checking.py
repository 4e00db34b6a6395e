"""Is a dataset on a user's disk whole? Every fault by name, counts beside the official ones, balance of the classes."""

from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from tada.data import datasets
from tada.data.clips import Clip, Split
from tada.data.datasets import Place
from tada.data.inspection import Finding, Told, look_at, summarise, unusable
from tada.files import read_json

Classes = tuple[str, ...] | dict[str, tuple[str, ...]]

OFFICIAL = {
    "ssv2": {"train": 168_913, "validation": 24_777},
    "k400": {"train": 246_534, "validation": 19_906},
    "ek100": {"train": 67_217, "validation": 9_668},
}
"""Annotated clips of the published datasets."""

KINDS = {
    "missing": "annotated, and no video is there",
    "invalid": "annotations that cannot be used",
    "unreadable": "videos that cannot be decoded",
    "short": "videos with too few frames, or cut off",
}
"""Kinds of faults of annotated clips, and what they are in words."""


def check(
    dataset: str,
    place: Place,
    record: Path,
    *,
    workers: int = 1,
    decode: bool = True,
    min_frames: int = 8,
    told: Told = lambda done, total: None,
) -> dict[str, Any]:
    """Everything that is wrong with a dataset, as plain values for JSON.

    Args:
        dataset: "ssv2", "k400", "ek100" or "hacs".
        place: where it lies.
        record: file of JSON lines that remembers what was looked at (`tada.data.inspection.look_at`).
        workers: processes that look.
        decode: decode every frame; otherwise packets alone are read, which finds what is cut short but not all that is
            damaged.
        min_frames: videos with fewer frames count as short.
        told: told about the progress.

    Returns:
        layout; splits, each with its clips listed, expected and usable, its faults by kind and name with their reasons,
        and the balance of its classes; files that no annotation names; files with their hours.

    Raises:
        TadaError: the folder or its annotations are missing or malformed.
    """
    annotations = datasets.read(dataset, place)
    splits = (annotations.train, annotations.validation)
    findings = look_at([clip for split in splits for clip in split.clips], record, workers, told, decode)
    expected = _expected(dataset, place.root)
    return {
        "dataset": dataset,
        "root": str(place.root),
        "layout": annotations.layout,
        "decoded": decode,
        "splits": {
            split.name: _account(split, findings, expected.get(split.name), annotations.classes, min_frames)
            for split in splits
        },
        "unlisted": [str(path) for path in annotations.unlisted],
        "files": summarise(findings),
    }


def count_faults(report: dict[str, Any]) -> int:
    """Faults of a report; a split with another number of annotations than expected is one."""
    splits = report["splits"].values()
    wrong = sum(split["expected"] not in (None, split["listed"]) for split in splits)
    return wrong + sum(len(names) for split in splits for names in split["faults"].values()) + len(report["unlisted"])


def _expected(dataset: str, root: Path) -> dict[str, int]:
    """Clips that the annotations should list: as rendered, if it is a mini dataset, else as published."""
    manifest = root / "manifest.json"
    return read_json(manifest)["counts"] if manifest.exists() else OFFICIAL.get(dataset, {})


def _account(
    split: Split, findings: dict[Path, Finding], expected: int | None, classes: Classes, min_frames: int
) -> dict[str, Any]:
    faults: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for name, reason in split.skipped.items():
        faults["missing" if reason.startswith("no video") else "invalid"][name] = reason
    usable = []
    for clip in split.clips:
        finding = findings[clip.path]
        if reason := unusable(clip, finding):
            faults["unreadable"][clip.name] = reason
            continue
        usable.append(clip)
        if reason := _short(clip, finding, min_frames):
            faults["short"][clip.name] = reason
    return {
        "listed": split.listed,
        "expected": expected,
        "usable": len(usable),
        "faults": faults,
        "classes": _balance(usable, classes),
    }


def _short(clip: Clip, finding: Finding, min_frames: int) -> str | None:
    if clip.end is None:
        return f"{finding.frames} frames" if finding.frames < min_frames else None
    lost = clip.end - finding.seconds
    if lost > 0.1 * (clip.end - (clip.start or 0.0)):
        return f"its video ends {lost:.2f} s before it does"
    return None


def _balance(clips: list[Clip], classes: Classes) -> dict[str, Any]:
    """Usable clips of each class, by task where there are several."""
    if isinstance(classes, dict):
        return {task: _counts([clip.label[task] for clip in clips], names) for task, names in classes.items()}
    return _counts([clip.label for clip in clips], classes)


def _counts(labels: list[int], names: tuple[str, ...]) -> dict[str, Any]:
    found = Counter(labels)
    counts = [found[number] for number in range(len(names))]
    return {
        "classes": len(names),
        "fewest": min(counts),
        "median": median(counts),
        "most": max(counts),
        "empty": [name for name, count in zip(names, counts, strict=True) if not count],
        "counts": dict(zip(names, counts, strict=True)),
    }
