"""Which videos of a split can be used: found out once for every file and remembered, or noted while a run goes on."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock

from tada.base import files
from tada.base.processes import ordered_map
from tada.data.clips import Clip, Split, too_many
from tada.data.video.random_access import open_video
from tada.data.video.timeline import VideoError, file_state

FORMAT = 2
"""Stands in every line of a record; raised whenever files are judged otherwise, so that all are inspected anew."""

OnProgress = Callable[[int, int], None]
"""Called with the number of files inspected and the number of those to inspect."""


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


def inspect(split: Split, record: Path, workers: int = 1, on_progress: OnProgress = lambda done, total: None) -> Split:
    """The split without the clips whose videos are empty, truncated or no videos, or end before the clip begins.

    Packets are read, nothing is decoded. See `inspect_files` for what is remembered.

    Args:
        split: clips to inspect.
        record: file of JSON lines.
        workers: processes that inspect.
        on_progress: called after every file.
    """
    findings = inspect_files(split.clips, record, workers, on_progress)
    reasons = {clip.name: unusable(clip, findings[clip.path]) for clip in split.clips}
    return split.without({name: reason for name, reason in reasons.items() if reason is not None})


def inspect_files(
    clips: Iterable[Clip],
    record: Path,
    workers: int = 1,
    on_progress: OnProgress = lambda done, total: None,
    decode: bool = False,
) -> dict[Path, Finding]:
    """What the files of the clips hold; one that holds many clips is inspected once.

    `record` remembers what was found, by a file's size and date, and an interrupted inspection goes on where it
    stopped. Two inspections at once share the work of the first.

    Args:
        clips: of any splits.
        record: file of JSON lines.
        workers: processes that inspect.
        on_progress: called after every file.
        decode: decode every frame of files of which only packets have been read so far.
    """
    rates = {clip.path: clip.fps for clip in clips}
    keys = {path: json.dumps([path.parent.name, *file_state(path)]) for path in rates}
    record.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(record.with_suffix(".lock")):
        known = _read(record)
        new = [path for path in rates if not _answers(known.get(keys[path]), decode)]
        found = ordered_map(partial(_inspect_file, decode=decode), [(path, rates[path]) for path in new], workers)
        for done, (path, finding) in enumerate(zip(new, found, strict=True), start=1):
            known[keys[path]] = finding
            files.append_line(record, {"file": keys[path], "format": FORMAT, **asdict(finding)})
            on_progress(done, len(new))
    return {path: known[key] for path, key in keys.items()}


def unusable(clip: Clip, finding: Finding) -> str | None:
    """Why a clip cannot be used, after what was found of its file; None if it can."""
    if finding.reason is None and clip.start is not None and clip.start >= finding.seconds:
        return f"begins at {clip.start:.2f} s, and its video ends at {finding.seconds:.2f} s"
    return finding.reason


def _read(record: Path) -> dict[str, Finding]:
    """Every file's last finding."""
    findings: dict[str, Finding] = {}
    for line in files.read_lines(record):
        try:
            file, written = line.pop("file"), line.pop("format")
            if written == FORMAT:
                findings[file] = Finding(**line)
        except (AttributeError, KeyError, TypeError):  # of an older version
            continue
    return findings


def _answers(finding: Finding | None, decode: bool) -> bool:
    return finding is not None and (finding.decoded or finding.reason is not None or not decode)


def _inspect_file(file: tuple[Path, float | None], decode: bool) -> Finding:
    path, fps = file
    try:
        video = open_video(path, fps)
        if decode:
            video.check()
    except VideoError as error:
        return Finding(error.reason)
    info = video.info
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


class SkipLog:
    """Notes unusable clips in a file, from whichever worker process meets them, and says when they are too many.

    Args:
        path: file of JSON lines, kept from one attempt of the run to the next.
        split: the split that the clips belong to.
        max_skipped: share of the split that may be unusable.
    """

    def __init__(self, path: Path, split: Split, max_skipped: float) -> None:
        self.path = path
        self.max_skipped = max_skipped
        self._split, self._listed, self._before = split.name, split.listed, dict(split.skipped)

    def add(self, name: str, reason: str) -> None:
        """Note a clip.

        Raises:
            TadaError: with it, more clips are unusable than may be.
        """
        noted = self.read()
        if name not in noted:
            files.append_line(self.path, {"name": name, "reason": reason})
            noted[name] = reason
        too_many(self._split, {**self._before, **noted}, self._listed, self.max_skipped)

    def read(self) -> dict[str, str]:
        """The reason for every clip noted so far, by any process."""
        return {line["name"]: line["reason"] for line in files.read_lines(self.path)}
