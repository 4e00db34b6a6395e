"""A dataset whose videos are encoded anew, small and quick to read, in the same layout (`tada prepare`).

The folder holds the annotations, a video for each that they name, under the same path and as .mp4, and two files of
its own: `prepared.json` says how it was made and whether it is whole, `prepared.jsonl` has a line for each video. What
cannot be encoded faithfully, such as a damaged video, is copied as it is, so that a run meets what it would have met.

Each video is written under a temporary name, renamed, and noted; a call that is killed goes on where it stopped.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from filelock import FileLock, Timeout

from tada.base import TadaError, typed_json
from tada.base.files import append_line, on_disk, read_lines, remove_leftovers, replacing, sha256, write_text
from tada.base.processes import ordered_map
from tada.base.progress import Progress
from tada.data import catalog
from tada.data.catalog import Place
from tada.data.clips import Annotations, Clip

ABOUT = "prepared.json"
VIDEOS = "prepared.jsonl"

_LOCK = ".prepared.lock"
_ANNOTATIONS = (".csv", ".json", ".txt", ".list")
_DEPTH = 2
"""Folders below a dataset's own in which annotations may lie, and that say a video's class."""


@dataclass(frozen=True)
class Preparation:
    """prepared.json: how a folder was made. A run on it keeps this in its record.

    Attributes:
        dataset: its name.
        short_side: of the pictures in pixels; smaller ones stayed as they were.
        group: frames of a group of pictures; 1: each is coded for itself.
        crf: x264's constant rate factor.
        finished: all videos are there.
        videos: number of video files.
        copied: how many of these are copies of the originals.
        psnr, least_psnr: of encoded videos against the resized originals in dB, on average and at worst; None: of none.
        manifest: SHA-256 of `prepared.jsonl`.
        annotations: SHA-256 of each file of annotations.
    """

    dataset: str
    short_side: int
    group: int
    crf: float
    finished: bool = False
    videos: int = 0
    copied: int = 0
    psnr: float | None = None
    least_psnr: float | None = None
    manifest: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        groups = "each frame for itself" if self.group == 1 else f"groups of {self.group} frames"
        text = f"short side of at most {self.short_side} pixels, H.264, {groups}, CRF {self.crf:g}"
        if self.psnr is not None and self.least_psnr is not None:
            text += f", PSNR {self.psnr:.1f} dB on average, {self.least_psnr:.1f} dB at worst"
        return text + (f"; {self.copied:,} of {self.videos:,} videos copied as they are" if self.copied else "")


@dataclass(frozen=True)
class PreparedVideo:
    """A line of prepared.jsonl: a video, what it was made of, and what it holds.

    Attributes:
        source, target: paths below the folder of the original videos, and below this one.
        source_bytes, source_modified, source_sha256: the original's size, date (nanoseconds since 1970) and checksum.
        bytes: size of the new file.
        frames, fps, seconds: of both.
        psnr: against the resized original in dB; None where it was copied.
        reason: why it was copied.
    """

    source: str
    target: str
    source_bytes: int
    source_modified: int
    source_sha256: str
    bytes: int
    frames: int = 0
    fps: float = 0.0
    seconds: float = 0.0
    psnr: float | None = None
    reason: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


def preparation(place: Place) -> Preparation | None:
    """How the videos of a dataset were prepared; None where they are the originals.

    Raises:
        TadaError: the preparation is not finished, or its file is damaged.
    """
    for folder in (place.options.get("videos"), place.root):
        if folder and (about := _read(Path(folder))):
            if not about.finished:
                raise TadaError(f"{folder}: not all videos are prepared; call tada prepare again, which goes on there")
            return about
    return None


def prepare(dataset: str, place: Place, out: Path, how: Preparation, workers: int, progress: Progress) -> Preparation:
    """Fill `out` with the videos and annotations of a dataset; goes on where an earlier call was stopped.

    An original that has changed since is named and done again, and so is a new file that is gone or changed.

    Args:
        dataset: a name of the catalog.
        place: where it lies.
        out: folder to fill: empty, new, or filled by an earlier call with the same settings.
        how: dataset and settings.
        workers: processes.
        progress: receives every video.

    Raises:
        TadaError: `out` holds something else or lies inside of the dataset, frames are no video files, two videos would
            have one name, an original changes meanwhile, or the new folder does not read as the original does.
        DiskError: the disk is full; what is done stays.
    """
    _check_apart(place, out)
    annotations = catalog.read(dataset, place)
    base = Path(place.options.get("videos", place.root))
    sources = _sources(_clips(annotations), base)
    with on_disk(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / _LOCK, timeout=0):
            return _fill(annotations, place, base, sources, out, _begin(out, how), workers, progress)
    except Timeout:
        raise TadaError(f"{out}: another call is preparing it") from None


def remove(out: Path) -> int:
    """Remove all that `prepare` has written to `out`, and the folder; returns the number of files.

    Raises:
        TadaError: it is no prepared folder, or holds files of somebody else, which are named; nothing is removed then.
    """
    about = _read(out)
    if about is None:
        raise TadaError(f"{out}: no {ABOUT} there, so nothing in it was made by tada prepare")
    try:
        with FileLock(out / _LOCK, timeout=0):
            own = _own_files(out, about)
            for path in own:
                path.unlink()
    except Timeout:
        raise TadaError(f"{out}: another call is preparing it") from None
    for folder in sorted((path for path in out.rglob("*") if path.is_dir()), reverse=True):
        folder.rmdir()
    out.rmdir()
    return len(own)


def _own_files(out: Path, about: Preparation) -> list[Path]:
    """All files, those that tell of the others last; raises a TadaError where one is not of `prepare`."""
    remove_leftovers(out, below=True, alone=True)
    lines = {line.target: line for line in _known(out).values()}
    foreign: list[Path] = []
    own: list[Path] = []
    for path in (path for path in sorted(out.rglob("*")) if not path.is_dir()):
        name = path.relative_to(out).as_posix()
        line = lines.get(name)
        mine = (
            name in (ABOUT, VIDEOS, _LOCK)
            or (line is not None and path.stat().st_size == line.bytes)
            or (name in about.annotations and sha256(path) == about.annotations[name])
        )
        (own if mine else foreign).append(path)
    if foreign:
        named = ", ".join(str(path.relative_to(out)) for path in foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise TadaError(f"{out}: nothing removed, since there are files that are not of tada prepare: {named}")
    last = [VIDEOS, _LOCK, ABOUT]  # so that a killed call can be repeated
    return sorted(own, key=lambda path: last.index(path.name) if path.name in last else -1)


def _read(folder: Path) -> Preparation | None:
    return typed_json.load(Preparation, folder / ABOUT) if (folder / ABOUT).exists() else None


def _known(out: Path) -> dict[str, PreparedVideo]:
    """The last line of each original."""
    found = (typed_json.from_json(PreparedVideo, line, str(out / VIDEOS)) for line in read_lines(out / VIDEOS))
    return {line.source: line for line in found}


def _check_apart(place: Place, out: Path) -> None:
    for folder in {place.root, Path(place.options.get("videos", place.root))}:
        one, other = out.resolve(), folder.resolve()
        if one.is_relative_to(other) or other.is_relative_to(one):
            raise TadaError(f"--out {out}: has to lie apart from {folder}, whose files stay as they are")
        if _read(folder):
            raise TadaError(f"{folder}: prepared already; prepare from the original videos")


def _clips(annotations: Annotations) -> Iterator[Clip]:
    yield from annotations.train.clips
    yield from annotations.validation.clips


def _sources(clips: Iterable[Clip], base: Path) -> list[str]:
    """Paths of the videos below `base`, each once."""
    sources: dict[str, None] = {}
    names: dict[Path, Path] = {}
    for clip in clips:
        if clip.fps is not None:
            raise TadaError(f"{clip.path}: a folder of frames, of which few are quick to read as they are")
        if not clip.path.is_relative_to(base):
            raise TadaError(f"{clip.path}: outside of {base}, so that it has no place in a copy of that")
        path = clip.path.relative_to(base)
        if names.setdefault(path.with_suffix(""), path) != path:
            raise TadaError(f"{base / path}: would have the same name as {names[path.with_suffix('')]}; remove one")
        sources[path.as_posix()] = None
    return list(sources)


def _begin(out: Path, how: Preparation) -> Preparation:
    """Say what this folder becomes; refuse one that is something else."""
    before = _read(out)
    if before is None and any(path.name != _LOCK for path in out.iterdir()):
        raise TadaError(f"--out {out}: is not empty, and nothing in it was made by tada prepare")
    for name in ("dataset", "short_side", "group", "crf"):
        if before and getattr(before, name) != getattr(how, name):
            raise TadaError(
                f"{out}: was prepared with {name} {getattr(before, name)}, not {getattr(how, name)}; choose another "
                "folder, or call tada prepare --remove first"
            )
    how = replace(before or how, finished=False)
    typed_json.save(out / ABOUT, how)
    remove_leftovers(out, below=True, alone=True)
    return how


def _fill(
    annotations: Annotations,
    place: Place,
    base: Path,
    sources: list[str],
    out: Path,
    how: Preparation,
    workers: int,
    progress: Progress,
) -> Preparation:
    copied = dict(_copy_annotations(place, out))
    typed_json.save(out / ABOUT, how := replace(how, annotations=copied))
    known = _known(out)
    todo = []
    for source in sources:
        line = known.get(source)
        fault = "" if line is None else _changed(line, base, out)
        if fault:
            progress.say(f"{fault}; it is done again")
        if line is None or fault:
            todo.append(source)
    progress.start(len(sources), len(sources) - len(todo), "video", "preparing")
    made = ordered_map(partial(_prepare, base=base, out=out, how=how), todo, workers)
    for done, line in enumerate(made, len(sources) - len(todo) + 1):
        if line.reason:
            progress.say(f"{base / line.source}: copied as it is: {line.reason}")
        progress.step(done)
    known = _known(out)
    lines = [known[source] for source in sources]
    _drop_others(known, lines, out)
    _check_reading(annotations, how.dataset, place, base, out, {line.source: line.target for line in lines})
    return _finish(lines, out, how)


def _changed(line: PreparedVideo, base: Path, out: Path) -> str:
    """What is no longer as it was noted, the original or the new file; empty: both are."""
    source, target = base / line.source, out / line.target
    status = source.stat()
    if (status.st_size, status.st_mtime_ns) != (line.source_bytes, line.source_modified) and (
        status.st_size != line.source_bytes or sha256(source) != line.source_sha256
    ):
        return f"{source}: has changed since it was prepared"
    if not target.exists() or target.stat().st_size != line.bytes:
        return f"{target}: is gone, or changed since it was written"
    return ""


def _prepare(source: str, base: Path, out: Path, how: Preparation) -> PreparedVideo:
    """Make, compare and note one video; in whichever process."""
    from tada.data.video.sequential import Encoding, encode  # decoders load slowly, and records do without
    from tada.data.video.timeline import VideoError

    original = base / source
    try:
        status = original.stat()
        line = PreparedVideo(source, "", status.st_size, status.st_mtime_ns, sha256(original), 0)
    except OSError as error:
        raise TadaError(f"{original}: cannot be read: {error.strerror}") from None
    target = out / Path(source).with_suffix(".mp4")
    for former in (target, out / source):  # nothing that an earlier call made is taken for what this one notes
        former.unlink(missing_ok=True)
    try:
        with replacing(target) as temporary:
            made = encode(original, temporary, Encoding(how.short_side, how.group, how.crf))
            info = made.info
            line = replace(line, frames=info.frames, fps=info.fps, seconds=info.duration, psnr=round(made.psnr, 3))
            return _note(line, original, temporary, target, out)
    except VideoError as error:
        target, line = out / source, replace(line, reason=error.reason)
    with replacing(target) as temporary:
        shutil.copyfile(original, temporary)
        return _note(line, original, temporary, target, out)


def _note(line: PreparedVideo, original: Path, written: Path, target: Path, out: Path) -> PreparedVideo:
    """Add the line of a video that is written and not yet renamed: `remove` knows all that was ever renamed."""
    status = original.stat()
    if (status.st_size, status.st_mtime_ns) != (line.source_bytes, line.source_modified):
        raise TadaError(f"{original}: changes while it is being prepared; the same command does it again")
    line = replace(line, target=target.relative_to(out).as_posix(), bytes=written.stat().st_size)
    append_line(out / VIDEOS, typed_json.to_json(line))
    return line


def _copy_annotations(place: Place, out: Path) -> Iterator[tuple[str, str]]:
    """Copy files of annotations and make all folders; yields paths below `out` and checksums.

    Folders count, since their names may be those of classes.
    """
    given = Path(place.options.get("annotations", place.root))
    if given.is_file():
        yield _copy(given, out / given.name, out)
        return
    for folder in {Path(place.options.get("videos", place.root)), given}:
        for path in _below(folder, _DEPTH):
            target = out / path.relative_to(folder)
            if path.is_dir():
                with on_disk(target):
                    target.mkdir(parents=True, exist_ok=True)
            elif folder == given and path.suffix.lower() in _ANNOTATIONS:
                yield _copy(path, target, out)


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """Files and folders, those first that others lie in; what is hidden is left out."""
    with os.scandir(folder) as listing:
        entries = sorted((entry for entry in listing if entry.name[0] != "."), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir() or entry.name.lower().endswith(_ANNOTATIONS):
            yield Path(entry.path)
        if entry.is_dir() and depth > 0:
            yield from _below(Path(entry.path), depth - 1)


def _copy(path: Path, target: Path, out: Path) -> tuple[str, str]:
    with replacing(target) as temporary:
        shutil.copyfile(path, temporary)
    return target.relative_to(out).as_posix(), sha256(target)


def _drop_others(known: Mapping[str, PreparedVideo], lines: Iterable[PreparedVideo], out: Path) -> None:
    """Remove videos of earlier calls that the annotations no longer name."""
    wanted = {line.target for line in lines}
    for line in known.values():
        if line.target not in wanted:
            (out / line.target).unlink(missing_ok=True)


def _check_reading(
    annotations: Annotations, dataset: str, place: Place, base: Path, out: Path, targets: Mapping[str, str]
) -> None:
    """Raise a TadaError where the new folder does not read as the original does."""
    layout = {name: value for name, value in place.options.items() if name == "layout"}
    again = catalog.read(dataset, Place(out, layout))
    if again.classes != annotations.classes:
        raise TadaError(f"{out}: read as {dataset}, it has other classes than {place.root}")
    expected = [
        replace(clip, path=out / targets[clip.path.relative_to(base).as_posix()]) for clip in _clips(annotations)
    ]
    found = list(_clips(again))
    for one, other in zip(expected, found, strict=False):
        if one != other:
            raise TadaError(f"{out}: read as {dataset}, it has {other} where {place.root} has {one}")
    if len(expected) != len(found):
        raise TadaError(f"{out}: read as {dataset}, it has {len(found)} clips, and {place.root} has {len(expected)}")


def _finish(lines: list[PreparedVideo], out: Path, how: Preparation) -> Preparation:
    """Write the list of videos in the order of the annotations, then that the folder is whole."""
    write_text(out / VIDEOS, "".join(json.dumps(typed_json.to_json(line)) + "\n" for line in lines))
    found = [line.psnr for line in lines if line.psnr is not None]
    about = replace(
        how,
        finished=True,
        videos=len(lines),
        copied=sum(line.psnr is None for line in lines),
        psnr=round(fmean(found), 3) if found else None,
        least_psnr=min(found, default=None),
        manifest=sha256(out / VIDEOS),
    )
    typed_json.save(out / ABOUT, about)
    return about
