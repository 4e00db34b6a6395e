"""Is a dataset on a user's disk whole, and which of its videos can be used?

`inspect` finds out once for every file whether it can be used, and remembers it; `SkipLog` notes what fails while a run
goes on. `check` looks through a whole dataset and returns a report that JSON can hold: every fault by name, the number
of clips beside the official one, and how many clips each class has. `summary` says it in a few lines, and `check_data`
is the command `tada check-data`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, cast

from filelock import FileLock

from tada.base import counted, files, typed_json
from tada.base.files import write_json
from tada.base.processes import ordered_map
from tada.base.progress import Progress, hours_and_minutes
from tada.data import catalog
from tada.data.catalog import Place
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

    `record` remembers what was found, by a file's size and date and the rate of a folder of images, and an interrupted
    inspection goes on where it stopped. Two inspections at once share the work of the first.

    Args:
        clips: of any splits.
        record: file of JSON lines.
        workers: processes that inspect.
        on_progress: called after every file.
        decode: decode every frame of files of which only packets have been read so far.
    """
    rates = {clip.path: clip.fps for clip in clips}
    keys = {path: json.dumps([path.parent.name, *file_state(path, fps)]) for path, fps in rates.items()}
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


Classes = tuple[str, ...] | dict[str, tuple[str, ...]]


KINDS = {
    "missing": "annotated, and no video is there",
    "invalid": "annotations that cannot be used",
    "unreadable": "videos that cannot be decoded",
    "short": "videos with too few frames, or cut off",
}
"""Kinds of faults of annotated clips, and what they are in words."""


EXAMPLES = 5
"""Most names that a line of the summary shows."""


def check(
    dataset: str,
    place: Place,
    record: Path,
    *,
    workers: int = 1,
    decode: bool = True,
    min_frames: int = 8,
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, Any]:
    """Everything that is wrong with a dataset, as plain values for JSON.

    Args:
        dataset: a name of `tada.data.catalog`.
        place: where it lies.
        record: file of JSON lines that remembers what was found (`tada.data.validation.inspect_files`).
        workers: processes that inspect.
        decode: decode every frame; otherwise packets alone are read, which finds what is cut short but not all that is
            damaged.
        min_frames: videos with fewer frames count as short.
        on_progress: called after every file.

    Returns:
        layout; splits, each with its clips listed, expected and usable, its faults by kind and name with their reasons,
        and the balance of its classes; files that no annotation names; files with their hours.

    Raises:
        TadaError: the folder or its annotations are missing or malformed.
    """
    annotations = catalog.read(dataset, place)
    splits = (annotations.train, annotations.validation)
    findings = inspect_files([clip for split in splits for clip in split.clips], record, workers, on_progress, decode)
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


def count_faults(report: Mapping[str, Any]) -> int:
    """Faults of a report; a split with another number of annotations than expected is one."""
    splits = report["splits"].values()
    wrong = sum(split["expected"] not in (None, split["listed"]) for split in splits)
    named = sum(len(names) for split in splits for names in split["faults"].values())
    return wrong + named + len(report["unlisted"]) + len(report.get("durations", {}))


def _expected(dataset: str, root: Path) -> Mapping[str, int]:
    """Clips that the annotations should list: as rendered, if it is a mini dataset, else as published.

    Raises:
        DamagedFile: what the rendering notes of itself is not what it wrote.
    """
    manifest = root / "manifest.json"
    if not manifest.exists():
        return catalog.find(dataset).clips
    content = typed_json.load(dict[str, Any], manifest)
    return typed_json.from_json(dict[str, int], content.get("counts"), str(manifest))


def _account(
    split: Split, findings: Mapping[Path, Finding], expected: int | None, classes: Classes, min_frames: int
) -> dict[str, Any]:
    """The report's entry of a split; `check` says what it holds."""
    faults: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for name, reason in split.skipped.items():
        faults["missing" if reason.startswith("no video") else "invalid"][name] = reason
    usable = []
    for clip in split.clips:
        finding = findings[clip.path]
        if unreadable := unusable(clip, finding):
            faults["unreadable"][clip.name] = unreadable
            continue
        usable.append(clip)
        if short := _short(clip, finding, min_frames):
            faults["short"][clip.name] = short
    return {
        "listed": split.listed,
        "expected": expected,
        "usable": len(usable),
        "faults": faults,
        "classes": _balance(usable, classes),
    }


def _short(clip: Clip, finding: Finding, min_frames: int) -> str | None:
    """Why a clip is short: few frames in its video or, of a part, more than a tenth of it after the video's end."""
    if clip.end is None:
        return counted(finding.frames, "frame") if finding.frames < min_frames else None
    lost = clip.end - finding.seconds
    if lost > 0.1 * (clip.end - (clip.start or 0.0)):
        return f"its video ends {lost:.2f} s before it does"
    return None


def _balance(clips: list[Clip], classes: Classes) -> dict[str, Any]:
    """Usable clips of each class, by task where there are several."""
    labels = [clip.label for clip in clips]
    if isinstance(classes, dict):
        by_task = cast(list[dict[str, int]], labels)  # a label is as the classes are
        return {task: _counts([label[task] for label in by_task], names) for task, names in classes.items()}
    return _counts(cast(list[int], labels), classes)


def _counts(labels: Sequence[int], names: tuple[str, ...]) -> dict[str, Any]:
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


def check_data(
    dataset: str, place: Place, *, results: Path, out: Path | None, workers: int, decode: bool, min_frames: int
) -> int:
    """Check a dataset, print a summary, and write the whole report to `out`.

    What was looked at is remembered below `results`, where runs look for it too, so that an interrupted check goes on
    where it stopped. Returns the exit status: 0 without a fault, else 1.

    Raises:
        TadaError: the folder or its annotations are missing or malformed.
        SystemExit: Ctrl-C (status 130).
    """
    progress = Progress(dataset)
    looked = [0, 0]

    def on_progress(done: int, total: int) -> None:
        if not looked[1]:
            progress.start(total=total, unit="file", phase="decoding" if decode else "reading packets of")
        looked[:] = done, total
        progress.step(done)

    record = results / "inspected" / f"{dataset}.jsonl"
    try:
        report = check(
            dataset, place, record, workers=workers, decode=decode, min_frames=min_frames, on_progress=on_progress
        )
    except KeyboardInterrupt:
        print(f"stopped after {looked[0]} of {looked[1]} files; the same command goes on there")
        raise SystemExit(130) from None
    finally:
        progress.close()
    report["durations"] = _durations(dataset, place, record)
    out = out or results / "data" / f"{dataset}.json"
    write_json(out, report)
    print("\n".join(summary(report)))
    print(f"whole report: {out}")
    return 1 if count_faults(report) else 0


def _durations(dataset: str, place: Place, record: Path) -> dict[str, str]:
    """Videos that last longer or shorter than the annotations say, where these have to be exact."""
    entry = catalog.find(dataset)
    if entry.localization is None or not entry.localization.exact_durations:
        return {}
    reader = entry.load_reader()
    folder = place.options.get("annotations")
    stated = reader.durations(place.root, Path(folder) if folder else None)
    annotations = catalog.read(dataset, place)
    clips = [*annotations.train.clips, *annotations.validation.clips]
    files = inspect_files(clips, record)  # looks at none again: `check` has left what it found in `record`
    reasons = {
        path.stem: reader.disagreement(found.seconds, stated[path.stem], found.fps)
        for path, found in files.items()
        if found.reason is None and path.stem in stated
    }
    return {name: reason for name, reason in reasons.items() if reason}


def summary(report: Mapping[str, Any]) -> list[str]:
    """The report in lines to read: how much of the dataset can be used, then its faults with examples."""
    files = report["files"]
    hours = files["hours"]
    length = f"{hours:,.1f} hours" if hours >= 1 else hours_and_minutes(hours * 3600)
    how = "every frame decoded" if report["decoded"] else "packets read, nothing decoded"
    lines = [
        f"{report['dataset']}: {report['layout']}",
        f"{files['usable_files']:,} of {counted(files['files'], 'file')} can be used: "
        f"{counted(files['frames'], 'frame')}, {length} ({how})",
    ]
    for name, split in report["splits"].items():
        expected = split["expected"]
        counts = f"{counted(split['listed'], 'clip')} annotated"
        if expected is not None:
            counts += " as expected" if expected == split["listed"] else f", and {expected:,} expected"
        lines.append(f"{name}: {counts}, {split['usable']:,} can be used")
        lines += [f"  {line}" for line in _class_balance(split["classes"])]
        for kind, faults in split["faults"].items():
            if faults:
                lines.append(f"  {len(faults):,} {kind} ({KINDS[kind]}): {_examples(faults)}")
    if durations := report.get("durations"):
        lines.append(f"videos that last longer or shorter than stated, {len(durations):,}: {_examples(durations)}")
    if unlisted := report["unlisted"]:
        names = dict.fromkeys((Path(path).name for path in unlisted), "")
        lines.append(f"{counted(len(unlisted), 'video file')} that no annotation names: {_examples(names)}")
    faults = count_faults(report)
    lines.append("no fault found" if not faults else f"{counted(faults, 'fault')} found")
    return lines


def _class_balance(classes: Mapping[str, Any]) -> list[str]:
    """A line on the numbers of clips of the classes; one for each task where there are several."""
    if "counts" not in classes:
        return [f"{task}: {line}" for task, counts in classes.items() for line in _class_balance(counts)]
    sizes = counted(classes["most"], "clip")
    if classes["fewest"] < classes["most"]:
        sizes = f"{classes['fewest']} to {sizes}, {classes['median']:g} the median"
    line = f"{counted(classes['classes'], 'class', 'classes')} of {sizes}"
    empty = dict.fromkeys(classes["empty"], "")
    return [line + (f"; {len(empty)} without any: {_examples(empty)}" if empty else "")]


def _examples(faults: Mapping[str, str]) -> str:
    """The first names with their reasons, which may be empty."""
    shown = [f"{name} ({reason})" if reason else name for name, reason in list(faults.items())[:EXAMPLES]]
    return ", ".join(shown) + (", ..." if len(faults) > EXAMPLES else "")
