"""Runs that change hands: finished ones are packed into an archive, and taken from one into a folder of results.

What arrives is first laid out as a folder of results of its own (`staging`), inside of the one that it goes to, and
looked at: each run has to be whole, of today's recipe, and in nobody's way. Only then is each run's folder moved to its
place in one step (`settle`). Whatever is wrong, nothing of the archive is there afterwards; and where the move itself
is killed, each run is there as a whole or not at all, and the same call takes in the rest.

A run that was taken in is a finished run like any other: nobody trains it again, and its record names the archive.
"""

import datetime
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from tada.base import TadaError, counted, typed_json
from tada.base.files import DamagedFile, existing_file, make_way, sha256
from tada.base.provenance import machine
from tada.runs.crate import Content, Work, unpack, write_crate
from tada.runs.record import (
    METRICS,
    OUTCOME,
    CountedNetwork,
    Imported,
    RunName,
    RunRecord,
    last_outcome,
    read_count,
    read_outcome,
    read_record,
    record_outcome,
    same_training,
    without_places,
    write_record,
)
from tada.runs.run import Run
from tada.runs.settings import Scale
from tada.runs.verification import damage

NETWORKS = "complexity"
"""Folder of the counted networks, in a folder of results and in an archive."""


def publish(
    runs: Sequence[Run], networks: Iterable[Path], file: Path, *, weights: bool, license: str, paper: Work
) -> None:
    """Pack finished runs of one folder of results, and counted networks, into an archive.

    Args:
        runs: whose records, outcomes, scores and curves, and detections, go in.
        networks: files of counted networks.
        file: to write, in one step.
        weights: whether the trained weights go in, too.
        license: SPDX identifier of the licence under which the files are given away.
        paper: that the runs reproduce.

    Raises:
        TadaError: a run is not finished or is damaged, or it is of videos of the user's own.
        DiskError: the disk takes no more.
    """
    records = {run: _published(run, weights) for run in runs}
    files = {f"{NETWORKS}/{one.parent.name}/{one.name}": one for one in networks}
    with tempfile.TemporaryDirectory() as folder:
        for run, record in records.items():
            written = replace(run, results=Path(folder))
            write_record(written, record)
            place = run.folder.relative_to(run.results).as_posix()
            files |= {f"{place}/{name}": run.file(name) for name in (OUTCOME, *record.files)}
            files[f"{place}/{METRICS}"] = written.file(METRICS)
        ended = {run: _modified(run.file(METRICS)) for run in runs}
        write_crate(file, Content(records, ended, files, license, paper))


def _published(run: Run, weights: bool) -> RunRecord:
    """The record as it stands in an archive, whose `files` are those that go with it."""
    if run.scale is Scale.OWN:
        raise TadaError(
            f"{run}: is of videos of your own, whose recipe nobody else has; `tada export` gives its network"
        )
    record, outcome = read_record(run), read_outcome(run)
    if record is None or outcome is None or outcome.failed:
        raise TadaError(f"{run}: is not finished, or of another recipe than today's; publish others, or run it first")
    if faults := damage(run, record, thorough=True):
        name, fault = next(iter(faults.items()))
        raise TadaError(f"{run.file(name)} {fault}; ask for the run again, which repairs it, and publish it then")
    kept = {name: of for name, of in record.files.items() if weights or name != record.checkpoint.file}
    return replace(without_places(record), files=kept)


def _modified(file: Path) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(file.stat().st_mtime), datetime.UTC)


@dataclass(frozen=True)
class Taken:
    """What became of an archive: runs that were taken in, that were there before, that are of other recipes.

    `damaged` are files of counted networks that were no whole ones, and are replaced.
    """

    taken: tuple[Run, ...]
    there: tuple[Run, ...]
    networks: int
    outdated: tuple[str, ...] = ()
    damaged: tuple[Path, ...] = ()

    def lines(self) -> list[str]:
        """In words."""
        there = f", {len(self.there)} were there already" if self.there else ""
        lines = [
            f"{counted(len(self.taken), 'run')} taken in{there}; {counted(self.networks, 'counted network')} taken in"
        ]
        if self.outdated:
            more = f" and {len(self.outdated) - 3} more" if len(self.outdated) > 3 else ""
            lines.append(f"left out, of other recipes or networks than today's: {', '.join(self.outdated[:3])}{more}")
        lines += [f"{file}: was damaged or changed by hand, and is replaced" for file in self.damaged]
        return lines


def import_archive(file: Path, results: Path, replacing: bool = False) -> Taken:
    """Take the runs of an archive of `publish` into a folder of results.

    Runs of other recipes are left out, since at their place belongs what today's recipe gives: no table would count
    them, and the next call would train over them.

    Args:
        file: the archive.
        results: folder of all results; made where it is not there.
        replacing: whether the archive's runs replace other ones that are there.

    Raises:
        TadaError: it is no archive of `publish`, is damaged or changed, or has no run of today's recipes; or a run of
            it is there with other results, is half trained, or is executed just now. Nothing was taken in then.
    """
    existing_file(file)
    with staging(results) as folder:
        try:
            arrived, outdated = _arrive(file, folder)
            return settle(arrived, results, file, replacing, outdated)
        except DamagedFile as error:  # of a file that is not what its writer writes; it is the archive that is wrong
            raise DamagedFile(str(error).replace(f"{folder}/", f"{file}: ")) from None


def _arrive(file: Path, folder: Path) -> tuple[list[Run], list[str]]:
    """Lay out the runs of an archive in a folder; returns those of today's recipes, and the names of others."""
    origin = Imported(file.name, sha256(file))
    unpacked = unpack(file, folder)
    names = sorted(name.removesuffix(f"/{METRICS}") for name in unpacked.files if name.endswith(f"/{METRICS}"))
    arrived, outdated = [], []
    for name in names:
        scale, dataset, model, seed = name.split("/")
        run = Run(Scale.named(scale), dataset, model, int(seed.removeprefix("seed")), folder)
        if not is_of_today(run, typed_json.load(RunRecord, folder / name / METRICS).signature):
            outdated.append(str(run))
            continue
        of_run = {one.removeprefix(f"{name}/") for one in unpacked.files if one.startswith(f"{name}/")}
        _check(run, of_run, file)
        _note_origin(run, origin, unpacked.ended.get(name))
        arrived.append(run)
    return arrived, outdated


def is_of_today(of: Run | RunName, signature: str) -> bool:
    """Whether a run of this signature is of today's recipe."""
    try:
        return Run(Scale.named(of.scale), of.dataset, of.model, of.seed).signature == signature
    except TadaError:  # a scale, dataset or model that this version does not have
        return False


def _check(run: Run, files: set[str], archive: Path) -> None:
    """Raise a TadaError where the files of an unpacked run are not those of its record."""
    record, outcome = read_record(run), read_outcome(run)
    if record is None or outcome is None or outcome.failed or files != {METRICS, OUTCOME, *record.files}:
        raise DamagedFile(f"{archive}: the files of {run} are not those of a finished run; nothing was imported")
    if faults := damage(run, record, thorough=True):
        name, fault = next(iter(faults.items()))
        raise DamagedFile(f"{archive}: {name} of {run} {fault}; nothing was imported")


def _note_origin(run: Run, origin: Imported, ended: datetime.datetime | None) -> None:
    """Write where a run comes from into its record, and give its files the dates that they had."""
    record = _record(run)
    for name, was in record.files.items():
        os.utime(run.file(name), ns=(was.modified, was.modified))
    write_record(run, replace(record, imported=origin))
    if ended:
        os.utime(run.file(METRICS), (ended.timestamp(), ended.timestamp()))


@contextmanager
def staging(results: Path) -> Iterator[Path]:
    """An empty folder of results, hidden in another one, so that what is in it can be moved; gone at the end."""
    results.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".import-", dir=results))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settle(
    arrived: Sequence[Run], results: Path, source: Path, replacing: bool = False, outdated: Sequence[str] = ()
) -> Taken:
    """Move runs, and the counted networks beside them, from a staging folder into the folder of results around it.

    Networks are taken of models of which a run arrived: then they are counted of today's network, as its signature
    says.

    Args:
        arrived: finished runs whose records name their archive.
        results: where they go.
        source: the archive, for messages.
        replacing: whether they replace other results.
        outdated: runs of other recipes, which were left out.

    Raises:
        TadaError: as `import_archive`.
    """
    if not arrived:
        named = f"{', '.join(outdated[:3])}{' and more' if len(outdated) > 3 else ''} are of others"
        raise TadaError(f"{source}: no run of today's recipes: {named if outdated else 'it has none'}")
    targets = {run: replace(run, results=results) for run in sorted(arrived, key=_runs_before)}
    with ExitStack() as stack:
        for target in targets.values():
            _lock(target, stack)
        there = [run for run, target in targets.items() if _is_there(run, target)]
        networks = _networks(arrived[0].results, results, {run.model for run in arrived})
        damaged = tuple(place for place in networks.values() if _is_damaged(place))
        conflicts = [
            *(f"{target}: {fault}" for run, target in targets.items() if (fault := _in_the_way(run, target))),
            *(
                f"{place}: is there with other counts"
                for place in networks.values()
                if place.exists() and place not in damaged
            ),
        ]
        if conflicts and not replacing:
            more = f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""
            raise TadaError(f"{conflicts[0]}{more}; nothing was imported: --replace takes what {source} has")
        for file, place in networks.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            make_way(place)
            file.replace(place)
        taken = {run: target for run, target in targets.items() if run not in there}
        for run, target in taken.items():
            _move(run, target)
    return Taken(tuple(taken.values()), tuple(targets[run] for run in there), len(networks), tuple(outdated), damaged)


def _runs_before(run: Run) -> int:
    """How many runs come before this one: whose weights it starts from has the earlier outcome, as after a training."""
    return 1 + _runs_before(run.initial) if run.initial else 0


def _lock(target: Run, stack: ExitStack) -> None:
    """Keep others from executing a run that is there."""
    if target.folder.is_dir():
        try:
            stack.enter_context(FileLock(target.file(".lock")).acquire(timeout=0))
        except Timeout:
            raise TadaError(f"{target}: is executed just now; nothing was imported") from None


def _record(run: Run) -> RunRecord:
    """That of a run which is laid out."""
    if (record := read_record(run)) is None:
        raise TadaError(f"{run}: has no record")
    return record


def _is_there(run: Run, target: Run) -> bool:
    """Whether the same training is there, whole, and lacks nothing that the archive has."""
    try:
        record = read_record(target)
    except DamagedFile:
        return False
    if record is None or not same_training(record, _record(run)) or damage(target, record):
        return False
    return not _brought(run) - record.files.keys()


def _brought(run: Run) -> set[str]:
    """What only some archives have: scores, which snapshots lack, and weights."""
    record = _record(run)
    return {"scores.npz", record.checkpoint.file} & record.files.keys()


def _in_the_way(run: Run, target: Run) -> str:
    """Why a run must not take the place where it belongs; empty if it may."""
    try:
        record = read_record(target)
    except DamagedFile as error:
        return str(error)
    if record is None:
        if target.file(METRICS).exists():
            return "has results of another recipe"
        return "is half trained" if any(target.folder.glob("*.pt")) else ""
    if faults := damage(target, record):
        name, fault = next(iter(faults.items()))
        return f"{target.file(name)} {fault}"
    arrived = _record(run)
    if same_training(record, arrived):
        return ""
    metric = next(iter(record.metrics), "")
    values = [f"{of.metrics.get(metric)} ({machine(of.environment.hardware)})" for of in (record, arrived)]
    return f"has other results, {metric} {values[0]} instead of {values[1]}"


def _networks(staged: Path, results: Path, models: set[str]) -> Mapping[Path, Path]:
    """Files of counted networks that are not there with the same counts, and where they belong."""
    found = {}
    for file in sorted((staged / NETWORKS).glob("*/*.json")):
        counted, target = read_count(file), results / file.relative_to(staged)
        if file.parent.name in models and not _same_count(counted, target):
            found[file] = target
    return found


def _is_damaged(file: Path) -> bool:
    """Whether a file of counts is there and is not what its writer wrote."""
    try:
        read_count(file)
    except FileNotFoundError:
        return False
    except DamagedFile:
        return True
    return False


def _same_count(counted: CountedNetwork, file: Path) -> bool:
    try:
        other = read_count(file)
    except (FileNotFoundError, DamagedFile):
        return False
    return (counted.params, counted.macs, counted.uncounted) == (other.params, other.macs, other.uncounted)


def _move(run: Run, target: Run) -> None:
    """Give a staged run its place, and an outcome of now: pages that are older have to be made again.

    The number of the attempt here stays, so that Snakemake has no reason to ask for the run again.
    """
    before = last_outcome(target)
    record_outcome(run, before.attempt if before else 0)
    target.folder.parent.mkdir(parents=True, exist_ok=True)
    aside = run.folder.with_name(f"{run.folder.name}-before")
    if target.folder.exists():
        target.folder.rename(aside)
    try:
        run.folder.rename(target.folder)
    except OSError:
        if aside.exists():
            aside.rename(target.folder)
        raise
