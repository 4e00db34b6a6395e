"""A snapshot: a small folder of what a full run found and where that comes from, committed while `results/` is not.

Its files with data (`tada.report.measure.archive`) stand in for a folder of results. The CSV files beside them are made
of these alone, for people to read and for the README. Runs may come from several machines: each has the hardware, the
versions and the commit that it was made with. One run with two results is refused, since on another processor a seed
gives another network: to put both into one row would be to count them as what they are not.
"""

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from tada.base import TadaError, counted
from tada.base.provenance import Environment, machine
from tada.report.judge.cells import Filled, Key, fill
from tada.report.judge.remarks import order_of_rows
from tada.report.judge.sentences import judge_claims, recompute
from tada.report.judge.training import ROWS, SNAPSHOT, rows_data, snapshot_folder
from tada.report.measure.archive import (
    FORMAT,
    AboutArchive,
    Archive,
    ArchivedRun,
    NetworkKey,
    RunKey,
    VideoSet,
    add_tables,
    is_archive,
    load_archive,
    pack,
    read_table,
    sample_name,
    write_archive,
)
from tada.report.measure.results import DONE, FAILED, PACKAGES, STALE, Results, RunResult, Unusable
from tada.report.measure.samples import Hits, Samples, read_samples
from tada.report.pages.sentences import audit_data, claims_data
from tada.report.pages.tables import NO_CELLS, intervals_of, table_data, with_intervals
from tada.report.paper.figures import Figure
from tada.report.paper.sentences import AUDIT, Claims, load_audit
from tada.report.paper.tables import Paper, Table
from tada.report.plan import Wanted
from tada.runs.record import METRICS, CountedNetwork, RunName, RunRecord, same_training, without_places
from tada.runs.settings import Scale

PICTURE = "agreement.svg"
"""Reproduced against reported accuracies, drawn from the snapshot's numbers."""
SCALES_PICTURE = "scales.svg"
"""A table's accuracies at several scales beside the reported ones, where there are snapshots of several."""

Set = tuple[tuple[str, ...], tuple[int, ...]]
"""Names of test videos, and their labels if they have any."""

FRAMES = ("targets", "numbers", "orders", "claims", "audit")


@dataclass(frozen=True)
class Target:
    """A table or figure of the paper: its runs, the time they took together, and how many numbers have which verdict.

    A line of `targets.csv`; `about` is the first sentence of its caption, and a figure has no `verdicts`.
    """

    file: str
    title: str
    about: str
    runs: int
    done: int
    failed: int
    seconds: int
    verdicts: dict[str, int]

    def to_line(self) -> dict[str, object]:
        """Its values in the CSV file."""
        return {**vars(self), "verdicts": json.dumps(self.verdicts)}

    @classmethod
    def from_line(cls, line: Mapping[Any, str]) -> "Target":
        """The same, from the file's texts."""
        runs, done, failed, seconds = (int(line[name]) for name in ("runs", "done", "failed", "seconds"))
        verdicts = json.loads(line["verdicts"])
        return cls(line["file"], line["title"], line["about"], runs, done, failed, seconds, verdicts)


@dataclass(frozen=True)
class Snapshot:
    """What the folder holds; in the tables every value is a text, nothing an empty one.

    `archive`: the runs. `targets`: the paper's tables and figures, with runs and seconds. `numbers`: the cells of all
    tables. `orders`: how the rows of some of them stand. `claims` and `audit`: as in `tables/claims.csv` and
    `tables/audit.csv`.
    """

    archive: Archive
    targets: pd.DataFrame
    numbers: pd.DataFrame
    orders: pd.DataFrame
    claims: pd.DataFrame
    audit: pd.DataFrame

    @property
    def about(self) -> AboutArchive:
        """What was asked for."""
        return self.archive.about

    @property
    def scale(self) -> Scale:
        """That of the runs; raises TadaError where `about` names none."""
        return Scale.named(self.about.scale)

    @property
    def done(self) -> list[RunRecord]:
        """The records of all runs that are done."""
        return [run.record for run in self.archive.runs.values() if run.record]

    @property
    def correlations(self) -> dict[str, str]:
        """How the ranks of a table's rows agree with the paper's, in words, by the table's name."""
        return {line["table"]: line["correlation"] for line in self.orders.to_dict("records") if line["correlation"]}

    def read_targets(self) -> list[Target]:
        """The lines of `targets`."""
        return [Target.from_line(line) for line in self.targets.to_dict("records")]


def load_snapshot(folder: Path = SNAPSHOT) -> Snapshot:
    """Read it.

    Raises:
        TadaError: a file is missing or damaged.
    """
    archive = load_archive(folder)
    return Snapshot(archive, **{name: read_table(folder, name, archive.about) for name in FRAMES})


def load_others(folder: Path = SNAPSHOT) -> list[Snapshot]:
    """The snapshots below that of mini, of other scales that train networks; raises TadaError as `load_snapshot`."""
    folders = [snapshot_folder(scale, folder) for scale in Scale if scale.of_paper and scale.trains]
    return [load_snapshot(one) for one in folders if one != folder and is_archive(one)]


@dataclass
class Source:
    """A folder of results, or a snapshot, and what was taken from it."""

    folder: Path
    results: Results
    taken: list[RunResult] = field(default_factory=list)
    stale: list[RunResult] = field(default_factory=list)

    def __str__(self) -> str:
        machines = Counter(machine(one.record.environment.hardware) for one in self.taken if one.status == DONE)
        text = f"{self.folder}: {counted(len(self.taken), 'run')}"
        text += "".join(f", {count} from {name}" for name, count in machines.items())
        failed = sum(one.status == FAILED for one in self.taken)
        text += f", {failed} failed" if failed else ""
        return text + (f"; left out: {_named(self.stale)}, of another recipe or network" if self.stale else "")


def collect(
    scale: Scale,
    seeds: int,
    sources: Sequence[Path],
    out: Path = SNAPSHOT,
    *,
    data: Path | None = None,
    first: bool = False,
) -> list[str]:
    """Write the folder `out` from what is in the sources; what is missing or failed stands there as such.

    Nothing in it names a machine or a place on it.

    Args:
        scale: whose runs are collected.
        seeds: runs of each (dataset, model): seeds 0 to seeds - 1.
        sources: folders of results, or snapshots, that `check_results` has let pass; `out` may be one of them.
        out: folder of the snapshot.
        data: folder of the rendered videos, whose size is noted.
        first: whether the first source's results count where sources have other ones of the same run.

    Returns:
        A line for each source: what was taken from it, and what was left out.

    Raises:
        TadaError: as `gather`.
    """
    wanted = Wanted.of_the_paper()
    archive, lines = gather(scale, seeds, sources, out, wanted, data=data, first=first)
    write_archive(archive)
    results = Results(out, scale, seeds)
    rows = rows_data(wanted.metrics, results)
    # First, since the rest takes its noise from there.
    add_tables(out, {ROWS: rows})
    cells = {table.name: fill(table, results) for table in wanted.tables}
    intervals = intervals_of(wanted.metrics, wanted.tables, results)
    numbers = [with_intervals(table, table_data(table.name, cells[table.name]), intervals) for table in wanted.tables]
    targets = [
        _target(f"tables/{table.name}.md", table, results, frame["verdict"])
        for table, frame in zip(wanted.tables, numbers, strict=True)
    ]
    targets += [_target(f"figures/{figure.name}.svg", figure, results) for figure in wanted.figures]
    frames = {
        "targets": pd.DataFrame([target.to_line() for target in targets], columns=list(Target.__dataclass_fields__)),
        "numbers": pd.concat(numbers or [NO_CELLS]).drop(columns="source"),
        "orders": _orders(wanted, cells, scale),
        **_sentences(wanted.claims, results),
    }
    add_tables(out, frames)
    return lines


def gather(
    scale: Scale,
    seeds: int,
    sources: Sequence[Path],
    out: Path,
    wanted: Wanted,
    *,
    data: Path | None = None,
    first: bool = False,
) -> tuple[Archive, list[str]]:
    """What the snapshot `out` is to hold, and a line for each source; arguments as of `collect`.

    Raises:
        TadaError: a source is damaged or has no run of these recipes, none has a finished one, or two have other
            results of one run.
    """
    taken = [Source(folder, Results(folder, scale, seeds)) for folder in sources]
    archive = _archive(merge(taken, wanted, first), taken, wanted, out, data)
    measured = {(metric.dataset, metric.models[0]) for metric in wanted.metrics}  # of the others curves alone are shown
    lost = [
        f"{dataset}/{model} seed {seed}"
        for (dataset, model, seed), run in archive.runs.items()
        if run.record and not run.samples and (dataset, model) in measured
    ]
    lines = [str(one) for one in taken]
    lines += [f"without the videos behind their metrics: {_listed(lost)}"] if lost else []
    gone = [] if any(source.folder == out for source in taken) else _gone(archive)
    lines += [f"{out} had {counted(len(gone), 'run')} more: {_listed(gone)}; its commit has them"] if gone else []
    return archive, lines


def _gone(archive: Archive) -> list[str]:
    """The finished runs of the snapshot in an archive's folder that the archive has no longer."""
    try:
        before = load_archive(archive.folder).runs
    except TadaError:  # none, or damaged: it is written anew
        return []
    done = {key for key, run in archive.runs.items() if run.record}
    return [f"{key[0]}/{key[1]} seed {key[2]}" for key, run in before.items() if run.record and key not in done]


def merge(sources: Sequence[Source], wanted: Wanted, first: bool = False) -> dict[RunKey, RunResult]:
    """The runs of all sources, each once, done rather than failed; noted in the sources that they are taken from.

    Raises:
        TadaError: as `gather`.
    """
    chosen: dict[RunKey, tuple[Source, RunResult]] = {}
    conflicts: list[tuple[Source, RunResult, Source, RunResult]] = []
    for source in sources:
        for result in source.results.all_runs(wanted.runs):
            key = (result.run.dataset, result.run.model, result.run.seed)
            if result.reason == STALE:
                source.stale.append(result)
            if result.status not in (DONE, FAILED):
                continue
            other, before = chosen.get(key, (source, result))
            if before.status == result.status == DONE and not same_training(before.record, result.record):
                conflicts.append((other, before, source, result))
            if key not in chosen or (before.status == FAILED and result.status == DONE):
                chosen[key] = source, result
    if conflicts and not first:
        raise TadaError(_conflict(conflicts))
    for source, result in chosen.values():
        source.taken.append(result)
    for source in sources:
        if source.stale and not source.taken:
            raise TadaError(f"{source.folder}: no run of this version's recipes: {_named(source.stale)} are of others")
    if wanted.runs and not any(result.status == DONE for _, result in chosen.values()):
        raise TadaError(f"{', '.join(str(source.folder) for source in sources)}: no finished run; nothing was written")
    return {key: result for key, (_, result) in chosen.items()}


def _conflict(conflicts: Sequence[tuple[Source, RunResult, Source, RunResult]]) -> str:
    one, before, other, result = conflicts[0]
    metric = next(iter(before.record.metrics), "")
    places = [
        f"{source.folder} ({machine(found.record.environment.hardware)}: {metric} {found.record.metrics.get(metric)})"
        for source, found in ((one, before), (other, result))
    ]
    more = f", and {len(conflicts) - 1} more runs" if len(conflicts) > 1 else ""
    return (
        f"{before.run}{more}: other results in {' than in '.join(reversed(places))}. Another machine trains another "
        "network from the same seed; leave one folder out, let the first one count with --first, or set them side by "
        "side with `tada compare`"
    )


def _named(runs: Sequence[RunResult]) -> str:
    return _listed([str(result.run) for result in runs])


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _archive(
    runs: Mapping[RunKey, RunResult], sources: Sequence[Source], wanted: Wanted, out: Path, data: Path | None
) -> Archive:
    """The runs as a snapshot keeps them."""
    results = sources[0].results
    about = AboutArchive(
        format=FORMAT,
        scale=results.scale,
        seeds=results.seeds,
        wanted=len(wanted.runs) * results.seeds,
        date=max((_date(source, result) for source in sources for result in source.taken), default=""),
        bytes={
            "results": sum(_size_of(source) for source in sources),
            "videos": _size(data) if data else 0,
        },
        sha256={},
    )
    sets: dict[Set, int] = {}
    archived = {key: _line(key, result, runs, wanted, sets) for key, result in runs.items()}
    networks: dict[NetworkKey, CountedNetwork] = {}
    for source in reversed(sources):  # the first source's count
        for key in wanted.complexities:
            if one := source.results.complexity(*key):
                networks[key] = CountedNetwork(one.params, one.macs, one.uncounted, _thin(one.environment))
    videos = tuple(VideoSet(list(names), list(labels)) for names, labels in sets)
    return Archive(out, about, archived, videos, networks)


def _line(
    key: RunKey, result: RunResult, runs: Mapping[RunKey, RunResult], wanted: Wanted, sets: dict[Set, int]
) -> ArchivedRun:
    """A run with the values of its test videos; sets of videos that are new are added to `sets`."""
    dataset, model, seed = key
    run = ArchivedRun(RunName(result.run.scale, dataset, model, seed), result.run.signature, {})
    if result.status != DONE:
        return run
    for metric in wanted.metrics:
        if (metric.dataset, metric.models[0]) != (dataset, model):
            continue
        members = [runs[dataset, name, seed] for name in metric.models if (dataset, name, seed) in runs]
        done = tuple(member for member in members if member.status == DONE)
        if len(done) < len(metric.models):
            continue
        try:
            videos, values = _of_videos(read_samples([done], metric.name))
        except Unusable:
            continue
        others = {one.run.model: one.record.checkpoint.sha256 for one in done[1:]}
        number = sets.setdefault(videos, len(sets))
        run.samples[sample_name(metric.name, metric.models)] = pack(values, number, others or None)
    curves = _curves(result) if (dataset, model) in wanted.curves else ""
    return replace(run, record=_published(result.record), curves=curves)


def _of_videos(samples: Samples) -> tuple[Set, npt.NDArray[Any]]:
    """One seed's videos and their values."""
    names = tuple(samples.videos.tolist())
    if isinstance(samples, Hits):
        return (names, tuple(samples.labels.tolist())), samples.right[0]
    return (names, ()), samples.shares[0]


def _curves(result: RunResult) -> str:
    try:
        return result.curves().to_csv(index=False, lineterminator="\n")
    except Unusable:
        return ""


def _published(record: RunRecord) -> RunRecord:
    """Without places on a machine, and without what the recipe says already."""
    return replace(without_places(record), environment=_thin(record.environment), config={}, files={})


def _thin(environment: Environment) -> Environment:
    """With the packages that numbers depend on alone."""
    packages = {name: environment.packages[name] for name in PACKAGES if name in environment.packages}
    return replace(environment, packages=packages, extra={})


def _date(source: Source, result: RunResult) -> str:
    """Day (UTC) on which the run ended; of a snapshot's run that of its newest."""
    if source.results.archive:
        return source.results.archive.about.date
    if result.status != DONE:
        return ""
    time = result.run.file(METRICS).stat().st_mtime
    return datetime.datetime.fromtimestamp(time, datetime.UTC).date().isoformat()


def _size_of(source: Source) -> int:
    archive = source.results.archive
    return archive.about.bytes.get("results", 0) if archive else _size(source.folder / source.results.scale)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _orders(wanted: Wanted, cells: Mapping[str, Mapping[Key, Filled]], scale: Scale) -> pd.DataFrame:
    """What is said first of the order of the rows of those tables whose order is compared."""
    lines = [
        (table.name, table.title, order.counted, order.correlation)
        for table in wanted.tables
        if table.name in wanted.claims.correlations
        for order in order_of_rows(table, cells[table.name], scale)
    ]
    return pd.DataFrame(lines, columns=["table", "title", "sentence", "correlation"])


def _sentences(claims: Claims, results: Results) -> dict[str, pd.DataFrame]:
    """Claims of this scale and the audit."""
    paper = Paper()
    judged = claims_data({results.scale: judge_claims(claims, results)}, paper)
    judged.insert(1, "says", judged["claim"].map({claim.id: claim.says for claim in claims.claims}))
    return {"claims": judged, "audit": audit_data(recompute(load_audit(AUDIT, paper), paper))}


def _target(file: str, spec: Table | Figure, results: Results, verdicts: Iterable[str] = ()) -> Target:
    runs = results.all_runs(spec.runs)
    done = [result for result in runs if result.status == DONE]
    counts = Counter(verdict for verdict in verdicts if verdict)
    return Target(
        file=file,
        title=spec.title,
        about=spec.caption.split(". ")[0].rstrip("."),
        runs=len(runs),
        done=len(done),
        failed=sum(result.status == FAILED for result in runs),
        seconds=round(sum(result.record.cost.wall_seconds for result in done)),
        verdicts=dict(sorted(counts.items())),
    )
