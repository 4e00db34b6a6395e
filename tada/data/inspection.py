"""Which videos of a split can be used: found out once for every file, and remembered."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock

from tada.data import images, jsonlines, video
from tada.data.clips import Clip, Split
from tada.data.parallel import ordered_map
from tada.data.timeline import VideoError, file_state

Told = Callable[[int, int], None]
"""Called with the number of files looked at and the number of those to look at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a file holds: why it cannot be used (None: it can), frames, frames per second, seconds.

    `decoded` tells a file whose every frame was decoded from one whose packets were read.
    """

    reason: str | None
    frames: int = 0
    fps: float = 0.0
    seconds: float = 0.0
    decoded: bool = False


def inspect(split: Split, record: Path, workers: int = 1, told: Told = lambda done, total: None) -> Split:
    """The split without the clips whose videos are empty, truncated or no videos, or end before the clip begins.

    Packets are read, nothing is decoded. See `look_at` for what is remembered.

    Args:
        split: clips to look at.
        record: file of JSON lines.
        workers: processes that look.
        told: told about the progress.
    """
    findings = look_at(split.clips, record, workers, told)
    reasons = {clip.name: unusable(clip, findings[clip.path]) for clip in split.clips}
    return split.without({name: reason for name, reason in reasons.items() if reason is not None})


def look_at(
    clips: Iterable[Clip],
    record: Path,
    workers: int = 1,
    told: Told = lambda done, total: None,
    decode: bool = False,
) -> dict[Path, Finding]:
    """What the files of the clips hold; one that holds many clips is looked at once.

    `record` remembers what was found, by a file's size and date, and an interrupted inspection goes on where it
    stopped. Two inspections at once share the work of the first.

    Args:
        clips: of any splits.
        record: file of JSON lines.
        workers: processes that look.
        told: told about the progress.
        decode: decode every frame of files of which only packets have been read so far.
    """
    rates = {clip.path: clip.fps for clip in clips}
    keys = {path: json.dumps([path.parent.name, *file_state(path)]) for path in rates}
    record.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(record.with_suffix(".lock")):
        known = _read(record)
        new = [path for path in rates if not _answers(known.get(keys[path]), decode)]
        looked = ordered_map(partial(_look, decode=decode), [(path, rates[path]) for path in new], workers)
        for done, (path, finding) in enumerate(zip(new, looked, strict=True), start=1):
            known[keys[path]] = finding
            jsonlines.append(record, {"file": keys[path], **asdict(finding)})
            told(done, len(new))
    return {path: known[key] for path, key in keys.items()}


def unusable(clip: Clip, finding: Finding) -> str | None:
    """Why a clip cannot be used, after what was found of its file; None if it can."""
    if finding.reason is None and clip.start is not None and clip.start >= finding.seconds:
        return f"begins at {clip.start:.2f} s, and its video ends at {finding.seconds:.2f} s"
    return finding.reason


def _read(record: Path) -> dict[str, Finding]:
    """Every file's last finding."""
    findings: dict[str, Finding] = {}
    for line in jsonlines.read(record):
        try:
            file = line.pop("file")
            findings[file] = Finding(**line)
        except (AttributeError, KeyError, TypeError):  # of an older version
            continue
    return findings


def _answers(finding: Finding | None, decode: bool) -> bool:
    return finding is not None and (finding.decoded or finding.reason is not None or not decode)


def _look(file: tuple[Path, float | None], decode: bool) -> Finding:
    path, fps = file
    try:
        if fps is None:
            info = video.check(path) if decode else video.probe(path)
        else:
            info = images.check(path, fps) if decode else images.FrameFolder(path, fps).info
    except VideoError as error:
        return Finding(error.reason)
    return Finding(None, info.frames, info.fps, info.duration, decode)


def summarise(findings: Mapping[Path, Finding]) -> dict[str, float]:
    """Files, hours and frames of those that can be used."""
    good = [finding for finding in findings.values() if finding.reason is None]
    return {
        "files": len(findings),
        "usable_files": len(good),
        "frames": sum(finding.frames for finding in good),
        "hours": sum(finding.seconds for finding in good) / 3600,
    }
