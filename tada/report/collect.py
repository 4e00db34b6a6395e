"""Collects a snapshot: all that a full run found, with its provenance, small enough to commit."""

import datetime
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from tada.files import write_json, write_text
from tada.report.audit_page import build_audit
from tada.report.cells import fill
from tada.report.claims_page import build_claims
from tada.report.claims_spec import load_claims
from tada.report.figure_spec import figure_names, load_figure
from tada.report.footer import PACKAGES
from tada.report.longform import to_csv
from tada.report.results import DONE, FAILED, Results, RunResult
from tada.report.snapshot import SNAPSHOT, read_texts
from tada.report.table_spec import load_table, table_names


def collect(
    scale: str, seeds: int, results: Path, out: Path = SNAPSHOT, *, data: Path | None = None, date: str = ""
) -> None:
    """Write the folder `out` from what is under `results`; what is missing or failed stands there as such.

    Nothing in it names a machine or a place on it.

    Args:
        scale: "mini" or "paper".
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
        "date": date or _newest(result.run.file("metrics.json") for result in done),
        "bytes": {"results": _size(results / scale), "videos": _size(data) if data else 0},
        "environments": distinct,
    }
    numbers = [read_texts(StringIO(to_csv(table.name, fill(table, available)))) for table in tables]
    targets = [
        _target(f"tables/{table.name}.md", table, available, frame["verdict"])
        for table, frame in zip(tables, numbers, strict=True)
    ]
    targets += [_target(f"figures/{figure.name}.svg", figure, available) for figure in figures]
    frames = {
        "targets": pd.DataFrame(targets),
        "runs": pd.DataFrame([_line(result, distinct) for result in runs]),
        "numbers": pd.concat(numbers).drop(columns="source"),
        **_sentences(scale, seeds, results),
    }
    write_json(out / "about.json", about)
    for name, frame in frames.items():
        write_text(out / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))


def _sentences(scale: str, seeds: int, results: Path) -> dict[str, pd.DataFrame]:
    """Claims of this scale and the audit."""
    with tempfile.TemporaryDirectory() as folder:
        build_claims(scale, seeds, results, Path(folder))
        build_audit(Path(folder))
        claims, audit = (read_texts(Path(folder) / f"{name}.csv") for name in ("claims", "audit"))
    says = {claim.id: claim.says for claim in load_claims().claims}
    claims.insert(1, "says", claims["claim"].map(says))
    return {"claims": claims[claims["scale"].isin([scale, "any"])], "audit": audit}


def _target(file: str, spec: Any, results: Results, verdicts: Sequence[str] = ()) -> dict[str, object]:
    """A table or figure: its runs, the time they took, and how many of its numbers have which verdict."""
    runs = results.all_runs(spec.runs)
    done = [result for result in runs if result.status == DONE]
    counts = Counter(verdict for verdict in verdicts if verdict)
    return {
        "file": file,
        "title": spec.title,
        "about": spec.caption.split(". ")[0].rstrip("."),
        "runs": len(runs),
        "done": len(done),
        "failed": sum(result.status == FAILED for result in runs),
        "seconds": f"{sum(result.record['cost']['wall_seconds'] for result in done):.0f}",
        "verdicts": json.dumps(dict(sorted(counts.items()))),
    }


def _line(result: RunResult, environments: Sequence[dict[str, Any]]) -> dict[str, object]:
    """A run: what it is, what it found, on which data, at which cost and from what."""
    run, record = result.run, result.record
    line: dict[str, object] = {"dataset": run.dataset, "model": run.model, "seed": run.seed, "status": result.status}
    if result.status != DONE:
        return line
    metrics = {name: float(f"{value:.8g}") for name, value in record["metrics"].items() if _is_number(value)}
    line |= {"signature": record["signature"], "metrics": json.dumps(metrics)}
    for part, counts in record["dataset"].items():
        line |= {f"{part}_{name}": counts[name] for name in ("listed", "used") if name in counts}
        line[f"{part}_skipped"] = len(counts.get("skipped", ()))
    cost = record["cost"]
    line |= {name: round(cost[name], 1) for name in ("wall_seconds", "training_seconds") if name in cost}
    line |= {name: cost[name] for name in ("peak_memory_bytes", "resumes", "requeues") if name in cost}
    line["checkpoint_sha256"] = record.get("checkpoint", {}).get("sha256", "")
    line["environment"] = environments.index(_environment(result))
    return {name: str(value) for name, value in line.items()}


def _environment(result: RunResult) -> dict[str, Any]:
    """Code, machine and the packages that numbers depend on."""
    found = result.record["environment"]
    packages = {name: found["packages"][name] for name in PACKAGES if name in found["packages"]}
    kept = {key: found[key] for key in ("git_commit", "git_dirty", "python", "hardware")}
    return {**kept, "packages": packages}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _newest(files: Iterable[Path]) -> str:
    """Day (UTC) on which the last of the files was written; empty without any."""
    times = [file.stat().st_mtime for file in files]
    return datetime.datetime.fromtimestamp(max(times), datetime.UTC).date().isoformat() if times else ""


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
