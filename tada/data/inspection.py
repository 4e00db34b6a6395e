"""Which videos of a split can be used, found out before a run and remembered for the next one."""

import json
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tada.data import jsonlines
from tada.data.clips import Clip, Split
from tada.data.frames import FileFrames
from tada.data.parallel import ordered_map
from tada.data.timeline import VideoError, file_state


def inspect(
    split: Split, record: Path, workers: int = 1, told: Callable[[int, int], None] = lambda done, total: None
) -> Split:
    """The split without videos that are empty, truncated or no videos; their packets are read, nothing is decoded.

    A video is looked at once: `record` remembers what was found, by the file's size and date, and an interrupted
    inspection goes on where it stopped. Two inspections at once share the work of the first.

    Args:
        split: clips to look at.
        record: file of JSON lines.
        workers: processes that look.
        told: called with the number of videos looked at and the number of those to look at.
    """
    record.parent.mkdir(parents=True, exist_ok=True)
    keys = {clip.name: json.dumps([clip.name, *file_state(clip.path)]) for clip in split.clips}
    with FileLock(record.with_suffix(".lock")):
        found = {line["video"]: line["reason"] for line in jsonlines.read(record)}
        new = [clip for clip in split.clips if keys[clip.name] not in found]
        for done, (clip, reason) in enumerate(zip(new, ordered_map(_reason, new, workers), strict=True), start=1):
            found[keys[clip.name]] = reason
            jsonlines.append(record, {"video": keys[clip.name], "reason": reason})
            told(done, len(new))
    reasons = {clip.name: found[keys[clip.name]] for clip in split.clips}
    return split.without({name: reason for name, reason in reasons.items() if reason is not None})


def _reason(clip: Clip) -> str | None:
    """Why a clip cannot be used, or None."""
    try:
        FileFrames(clip)
    except VideoError as error:
        return error.reason
    return None
