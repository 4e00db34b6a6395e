"""The claims: `paper/claims.yaml`, sentences of the paper as statements on runs and networks."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tada.base import files
from tada.base.errors import TadaError
from tada.base.yaml_files import load_yaml
from tada.report.paper.expressions import Comparison
from tada.report.paper.quantities import CLASSES, RESOLUTION, CurvePoint, Reference, RunMetric, Size, parse_reference
from tada.report.paper.tables import load_table

CLAIMS = files.PAPER / "claims.yaml"


@dataclass(frozen=True)
class Statement:
    """A comparison and, by its text, what each of its references is."""

    comparison: Comparison
    references: dict[str, Reference]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper: true if all statements are. `at` names the only scale at which they mean something."""

    id: str
    place: str
    says: str
    quote: str
    holds: tuple[Statement, ...]
    at: str = ""
    note: str = ""

    @property
    def references(self) -> set[Reference]:
        """What all statements refer to."""
        return {reference for statement in self.holds for reference in statement.references.values()}

    @property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of the runs that it needs; empty for a claim that holds at any scale."""
        metrics = {(r.dataset, model) for r in self.references if isinstance(r, RunMetric) for model in r.models}
        return metrics | {(r.dataset, r.model) for r in self.references if isinstance(r, CurvePoint)}


@dataclass(frozen=True)
class Claims:
    """All claims, and the tables whose order of rows is compared."""

    title: str
    place: str
    caption: str
    claims: tuple[Claim, ...]
    correlations: tuple[str, ...]

    @cached_property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of every run that is needed."""
        tables = {run for name in self.correlations for run in load_table(name).runs}
        return tables | {run for claim in self.claims for run in claim.runs}

    @cached_property
    def complexities(self) -> set[tuple[str, int, int]]:
        """(model, classes, resolution) of every network whose size is needed."""
        sizes = {r for claim in self.claims for r in claim.references if isinstance(r, Size)}
        return {(size.model, CLASSES, RESOLUTION) for size in sizes}


def load_claims(path: Path = CLAIMS) -> Claims:
    """The spec.

    Raises:
        TadaError: a faulty key, statement or reference, or an id that is used twice.
    """
    spec = load_yaml(path, "claims")
    ids = [entry["id"] for entry in spec["claims"]]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise TadaError(f"{path}: {', '.join(twice)}: used by several claims")
    claims = []
    for entry in spec["claims"]:
        where = f"{path}: {entry['id']}"
        statements = []
        for text in entry["holds"]:
            comparison = Comparison(" ".join(text.split()))
            statements.append(Statement(comparison, {t: parse_reference(t, where) for t in comparison.references}))
        note = " ".join(entry.get("note", "").split())
        about = (entry["id"], entry["place"], entry["says"], entry["quote"])
        claims.append(Claim(*about, tuple(statements), entry.get("at", ""), note))
    caption = " ".join(spec["caption"].split())
    return Claims(spec["title"], spec["place"], caption, tuple(claims), tuple(spec.get("correlations", [])))
