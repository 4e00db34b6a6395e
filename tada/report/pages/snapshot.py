"""A snapshot: a small folder of what a full run found and where that comes from, committed while `results/` is not."""

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tada.base import TadaError, files
from tada.base.files import read_json, write_json, write_text
from tada.base.typed_json import to_json
from tada.report.judge.cells import fill
from tada.report.judge.sentences import judge_claims, recompute
from tada.report.measure.results import DONE, FAILED, PACKAGES, Results, RunResult
from tada.report.pages.sentences import audit_data, claims_data
from tada.report.pages.tables import table_data
from tada.report.paper.figures import Figure, figure_names, load_figure
from tada.report.paper.sentences import AUDIT, load_audit, load_claims
from tada.report.paper.tables import Paper, Table, load_table, table_names
from tada.runs.record import METRICS
from tada.runs.settings import Scale

SNAPSHOT = files.PROJECT / "snapshot"


PICTURE = "agreement.svg"
"""Reproduced against reported accuracies, drawn from the snapshot's numbers."""


FRAMES = ("targets", "runs", "numbers", "claims", "audit")


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
    """What the folder holds; every value of a table is a text, nothing an empty one.

    `about`: scale, seeds, date, size in bytes and the environments that runs refer to by their place in the list.
    `targets`: the paper's tables and figures, with runs and seconds. `runs`: every run, with metrics and provenance.
    `numbers`: the cells of all tables. `claims` and `audit`: as in `tables/claims.csv` and `tables/audit.csv`.
    """

    about: dict[str, Any]
    targets: pd.DataFrame
    runs: pd.DataFrame
    numbers: pd.DataFrame
    claims: pd.DataFrame
    audit: pd.DataFrame

    @property
    def scale(self) -> Scale:
        """That of the runs; raises TadaError where `about` names none."""
        return Scale.named(self.about["scale"])

    def read_targets(self) -> list[Target]:
        """The lines of `targets`."""
        return [Target.from_line(line) for line in self.targets.to_dict("records")]


def load_snapshot(folder: Path = SNAPSHOT) -> Snapshot:
    """Read it.

    Raises:
        TadaError: a file is missing.
    """
    try:
        frames = {name: _read_texts(folder / f"{name}.csv") for name in FRAMES}
        return Snapshot(read_json(folder / "about.json"), **frames)
    except FileNotFoundError as error:
        raise TadaError(f"{error.filename} is missing; `tada snapshot` writes it") from None


def _read_texts(source: Path) -> pd.DataFrame:
    """A CSV file whose values are kept as they stand there."""
    return pd.read_csv(source, dtype=str, keep_default_na=False)


def collect(
    scale: Scale, seeds: int, results: Path, out: Path = SNAPSHOT, *, data: Path | None = None, date: str = ""
) -> None:
    """Write the folder `out` from what is under `results`; what is missing or failed stands there as such.

    Nothing in it names a machine or a place on it.

    Args:
        scale: whose runs are collected.
        seeds: runs of each (dataset, model): seeds 0 to seeds - 1.
        results: the folder `results`.
        out: folder of the snapshot.
        data: folder of the rendered videos, whose size is noted.
        date: day of the runs (YYYY-MM-DD), by default that of the newest result.
    """
    available = Results(results, scale, seeds)
    tables = [load_table(name) for name in table_names()]
    figures = [load_figure(name) for name in figure_names()]
    wanted = load_claims().runs.union(*(one.runs for one in [*tables, *figures]))
    runs = available.all_runs(wanted)
    done = [result for result in runs if result.status == DONE]
    environments = [_environment(result) for result in done]
    distinct = list({json.dumps(one): one for one in environments}.values())
    about = {
        "scale": scale,
        "seeds": seeds,
        "date": date or _newest(result.run.file(METRICS) for result in done),
        "bytes": {"results": _size(results / scale), "videos": _size(data) if data else 0},
        "environments": distinct,
    }
    numbers = [table_data(table.name, fill(table, available)) for table in tables]
    targets = [
        _target(f"tables/{table.name}.md", table, available, frame["verdict"])
        for table, frame in zip(tables, numbers, strict=True)
    ]
    targets += [_target(f"figures/{figure.name}.svg", figure, available) for figure in figures]
    frames = {
        "targets": pd.DataFrame([target.to_line() for target in targets]),
        "runs": pd.DataFrame([_line(result, distinct) for result in runs]),
        "numbers": pd.concat(numbers).drop(columns="source"),
        **_sentences(scale, seeds, results),
    }
    write_json(out / "about.json", about)
    for name, frame in frames.items():
        write_text(out / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))


def _sentences(scale: Scale, seeds: int, results: Path) -> dict[str, pd.DataFrame]:
    """Claims of this scale and the audit."""
    spec, paper = load_claims(), Paper()
    judged = {one: judge_claims(spec, Results(results, one, seeds)) for one in Scale if one.trains}
    claims = claims_data(judged, paper)
    claims.insert(1, "says", claims["claim"].map({claim.id: claim.says for claim in spec.claims}))
    audit = audit_data(recompute(load_audit(AUDIT, paper), paper))
    return {"claims": claims[claims["scale"].isin([scale, "any"])], "audit": audit}


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


def _line(result: RunResult, environments: Sequence[dict[str, Any]]) -> dict[str, object]:
    """A run: what it is, what it found, on which data, at which cost and from what."""
    run = result.run
    line: dict[str, object] = {"dataset": run.dataset, "model": run.model, "seed": run.seed, "status": result.status}
    if result.status != DONE:
        return line
    record, cost = result.record, result.record.cost
    metrics = {name: float(f"{value:.8g}") for name, value in record.metrics.items()}
    line |= {"signature": record.signature, "metrics": json.dumps(metrics)}
    for part, counts in record.dataset.items():
        line |= {f"{part}_listed": counts.listed, f"{part}_used": counts.used, f"{part}_skipped": len(counts.skipped)}
    line |= {"wall_seconds": round(cost.wall_seconds, 1), "training_seconds": round(cost.training_seconds, 1)}
    line |= {"peak_memory_bytes": cost.peak_memory_bytes, "resumes": cost.resumes, "requeues": cost.requeues}
    line["checkpoint_sha256"] = record.checkpoint.sha256
    line["environment"] = environments.index(_environment(result))
    return {name: str(value) for name, value in line.items()}


def _environment(result: RunResult) -> dict[str, Any]:
    """Code, machine and the packages that numbers depend on."""
    found = result.record.environment
    packages = {name: found.packages[name] for name in PACKAGES if name in found.packages}
    code = {"git_commit": found.git_commit, "git_dirty": found.git_dirty, "python": found.python}
    return {**code, "hardware": to_json(found.hardware), "packages": packages}


def _newest(files: Iterable[Path]) -> str:
    """Day (UTC) on which the last of the files was written; empty without any."""
    times = [file.stat().st_mtime for file in files]
    return datetime.datetime.fromtimestamp(max(times), datetime.UTC).date().isoformat() if times else ""


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
