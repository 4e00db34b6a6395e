"""Whether a folder of results is as its runs have left it: `tada verify`.

Every file is read and hashed. Beyond what a table looks at, the accuracies of a record are computed again from the
scores beside it, and the videos counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tada.base import TadaError, counted, typed_json
from tada.base.files import DamagedFile, DiskError, check_archive, readable, remove
from tada.base.progress import ProgressNote
from tada.report.measure.archive import PACKED
from tada.report.measure.results import DONE, RunResult, Unusable
from tada.report.measure.samples import read_hits
from tada.runs.record import METRICS, OUTCOME, count_of, read_outcome, read_record, read_record_of
from tada.runs.run import Run
from tada.runs.verification import damage

FINISHED, UNFINISHED, OUTDATED = "finished", "unfinished", "outdated"

MEND = "`tada verify --mend` removes it"

T = TypeVar("T")

ROUNDING = 1e-6
"""Percentage points by which an accuracy may differ from that of the scores."""


@dataclass(frozen=True)
class Inspection:
    """What was found in a folder of results: a line for each fault, and how many runs and networks were looked at.

    `outdated` runs are of another configuration, `unfinished` ones have no record, and files of `unsealed` networks no
    checksum, as earlier versions wrote them; all of these are no faults.
    """

    faults: list[str]
    finished: int
    unfinished: int
    outdated: int
    networks: int
    unsealed: int

    def __str__(self) -> str:
        parts = [f"{counted(self.finished, 'finished run')} and {counted(self.networks, 'counted network')}"]
        parts += [f"{counted(self.unfinished, 'run')} not finished"] if self.unfinished else []
        parts += [f"{counted(self.outdated, 'run')} of another configuration, not looked at"] if self.outdated else []
        parts += [f"{counted(self.unsealed, 'network')} without a checksum, not compared"] if self.unsealed else []
        return f"{', '.join(parts)}: {counted(len(self.faults), 'fault') if self.faults else 'no faults'}"


def inspect_results(runs: Iterable[Run], results: Path, mend: bool = False) -> Inspection:
    """Look at everything that the runs have left below `results`, and at the counted networks there.

    With `mend`, damaged files that a finished run needs no more are removed.

    Raises:
        TadaError: there is neither a run nor a counted network.
    """
    faults: list[str] = []
    states: Counter[str] = Counter()
    for run in runs:
        try:
            state, found = _inspect_run(run, mend) if _has_recipe(run) else (OUTDATED, [])
        except DiskError as error:
            state, found = UNFINISHED, [str(error)]
        states[state] += 1
        faults += found
    unsealed = 0
    networks = sorted((results / "complexity").glob("*/*.json"))
    for file in networks:
        try:
            content = typed_json.read(file)
            count_of(content, file)
            unsealed += not typed_json.is_sealed(content)
        except (DamagedFile, DiskError) as error:
            faults.append(str(error))
    if not states and not networks:
        raise TadaError(f"{results.absolute()}: no run and no counted network in it; name the folder of all results")
    return Inspection(faults, states[FINISHED], states[UNFINISHED], states[OUTDATED], len(networks), unsealed)


def _has_recipe(run: Run) -> bool:
    """Whether today's recipes know the run; without one there is nothing to compare it with."""
    try:
        return bool(run.signature)
    except TadaError:
        return False


def _inspect_run(run: Run, mend: bool) -> tuple[str, list[str]]:
    """The state of a run, and its faults."""
    faults: list[str] = []
    outcome = _read(read_outcome, run, faults)
    record = _read(read_record, run, faults)
    damaged = bool(faults)
    if record is None:
        if outcome is None and not damaged and run.file(METRICS).exists():
            return OUTDATED, _strayed(run)
        if outcome is not None and not outcome.failed and not damaged:
            faults.append(f"{run.file(METRICS)}: is missing or of another recipe, and {OUTCOME} says that it is done")
        return UNFINISHED, [*faults, *_besides(run, ()).values()]
    if not damaged and (outcome is None or outcome.failed):
        state = "says that the run failed" if outcome else "is missing or of another recipe"
        faults.append(f"{run.file(OUTCOME)}: {state}, and {METRICS} is there")
    changed = damage(run, record, thorough=True)
    faults += [f"{run.file(name)}: {fault}" for name, fault in changed.items()]
    if not any(name.startswith(("scores.npz", f"{PACKED}/")) for name in changed):
        faults += _contradictions(RunResult(run, DONE, record))
    for file, fault in _besides(run, record.files).items():
        if mend:
            remove(file)
        faults.append(f"{fault}; the finished run needs it no more: {'it is removed' if mend else MEND}")
    return FINISHED, faults


def _strayed(run: Run) -> list[str]:
    """The fault of a record of another recipe that is another run's, as where two folders were exchanged."""
    try:
        found = read_record_of(run.folder).run
    except DamagedFile:  # as of an earlier version
        return []
    place = Path(found.scale, found.dataset, found.model, f"seed{found.seed}")
    if run.results / place == run.folder:
        return []
    return [f"{run.file(METRICS)}: is the record of {place}; was its folder moved or renamed?"]


def _read(read: Callable[[Run], T | None], run: Run, faults: list[str]) -> T | None:
    """What a file of the run holds; None where that is damaged, which is added to the faults."""
    try:
        return read(run)
    except DamagedFile as error:
        faults.append(str(error))
        return None


def _contradictions(result: RunResult) -> list[str]:
    """Where the accuracies of a record are not those of its scores, or the videos not as many as it says."""
    record, file = result.record, result.run.file("scores.npz")
    names = [name for name in record.metrics if name.startswith(("top1", "top5"))]
    if result.packed:  # of some metrics, in place of scores
        archived = result.packed.find(result.run)
        names, file = [name for name in names if archived and name in archived.samples], result.packed.folder
    try:
        hits = {name: read_hits([[result]], name) for name in names}
    except Unusable as error:
        return [f"{file}: {error}"]
    faults = [
        f"{file}: gives {name} {found.by_seed[0]:.2f}, and {METRICS} says {record.metrics[name]:.2f}"
        for name, found in hits.items()
        if abs(found.by_seed[0] - record.metrics[name]) > ROUNDING
    ]
    videos = {len(found.videos) for found in hits.values()}
    used = record.dataset["validation"].used if "validation" in record.dataset else 0
    if hits and videos != {used}:
        faults.append(f"{file}: is of {min(videos)} videos, and {METRICS} says {used}")
    return faults[:1]  # the others follow from the first


def _besides(run: Run, recorded: Iterable[str]) -> dict[Path, str]:
    """Faults of files that no record names: of a run that goes on, or left of one that is finished."""
    note = run.file("progress.json")
    faults = {note: f"{note}: damaged"} if _is_damaged(note) else {}
    for file in sorted([*run.folder.glob("*.pt"), *run.folder.glob("*.npz")]):
        if file.name not in recorded and not file.name.startswith("."):
            try:
                with readable(file):
                    check_archive(file)
            except DamagedFile as error:
                faults[file] = str(error)
    if features := sorted(run.file("features").glob("[!.]*.npy")):
        from tada.localization.features import read_stamp  # which most results do without

        names = ((file, file.name.removesuffix(".npy")) for file in features)
        faults |= {file: f"{file}: damaged" for file, name in names if read_stamp(file.parent, name) is None}
    return faults


def _is_damaged(note: Path) -> bool:
    """Whether there is a note of a run's progress that is not what its writer writes."""
    try:
        typed_json.load(ProgressNote, note)
    except FileNotFoundError:
        return False
    except DamagedFile:
        return True
    return False
