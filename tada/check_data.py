"""`tada check-data`: looks through a dataset, says what it found, and leaves a report for programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tada.data import datasets, ek100
from tada.data.checking import KINDS, check, count_faults
from tada.data.datasets import Place
from tada.data.inspection import look_at
from tada.files import write_json
from tada.progress import Progress

EXAMPLES = 5


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

    def told(done: int, total: int) -> None:
        if not looked[1]:
            progress.start(total=total, unit="file", phase="decoding" if decode else "reading packets of")
        looked[:] = done, total
        progress.step(done)

    record = results / "inspected" / f"{dataset}.jsonl"
    try:
        report = check(dataset, place, record, workers=workers, decode=decode, min_frames=min_frames, told=told)
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
    return 1 if _count(report) else 0


def _count(report: Mapping[str, Any]) -> int:
    return count_faults(report) + len(report.get("durations", {}))


def _durations(dataset: str, place: Place, record: Path) -> dict[str, str]:
    """Videos of EPIC-KITCHENS-100 that last longer or shorter than its list of videos says."""
    if dataset != "ek100":
        return {}
    folder = place.options.get("annotations")
    stated = ek100.durations(place.root, Path(folder) if folder else None)
    annotations = datasets.read(dataset, place)
    files = look_at([*annotations.train.clips, *annotations.validation.clips], record)  # all of them are remembered
    reasons = {
        path.stem: ek100.disagreement(found.seconds, stated[path.stem], found.fps)
        for path, found in files.items()
        if found.reason is None and path.stem in stated
    }
    return {name: reason for name, reason in reasons.items() if reason}


def summary(report: Mapping[str, Any]) -> list[str]:
    """What a person wants to know first, a line each."""
    files = report["files"]
    how = "every frame decoded" if report["decoded"] else "packets read, nothing decoded"
    lines = [
        f"{report['dataset']}: {report['layout']}",
        f"{files['usable_files']:,} of {files['files']:,} files can be used: {files['frames']:,} frames, "
        f"{files['hours']:,.1f} hours ({how})",
    ]
    for name, split in report["splits"].items():
        expected = split["expected"]
        counts = f"{split['listed']:,} clips annotated"
        if expected is not None:
            counts += " as expected" if expected == split["listed"] else f", and {expected:,} expected"
        lines.append(f"{name}: {counts}, {split['usable']:,} can be used")
        lines += [f"  {line}" for line in _balance(split["classes"])]
        for kind, faults in split["faults"].items():
            if faults:
                lines.append(f"  {len(faults):,} {kind} ({KINDS[kind]}): {_examples(faults)}")
    if durations := report.get("durations"):
        lines.append(f"videos that last longer or shorter than stated, {len(durations):,}: {_examples(durations)}")
    if unlisted := report["unlisted"]:
        names = dict.fromkeys((Path(path).name for path in unlisted), "")
        lines.append(f"{len(unlisted):,} video files that no annotation names: {_examples(names)}")
    faults = _count(report)
    lines.append("no fault found" if not faults else f"{faults:,} fault{'s' * (faults > 1)} found")
    return lines


def _balance(classes: Mapping[str, Any]) -> list[str]:
    if "counts" not in classes:
        return [f"{task}: {line}" for task, counts in classes.items() for line in _balance(counts)]
    sizes = f"{classes['fewest']} to {classes['most']} clips, {classes['median']:g} the median"
    line = f"{classes['classes']} classes of {sizes}"
    empty = dict.fromkeys(classes["empty"], "")
    return [line + (f"; {len(empty)} without any: {_examples(empty)}" if empty else "")]


def _examples(faults: Mapping[str, str]) -> str:
    shown = [f"{name} ({reason})" if reason else name for name, reason in list(faults.items())[:EXAMPLES]]
    return ", ".join(shown) + (", ..." if len(faults) > EXAMPLES else "")
