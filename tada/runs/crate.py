"""Archives of runs as RO-Crates 1.2 (https://w3id.org/ro/crate/1.2): a ZIP file of results that describes itself.

Inside, files lie as in a folder of results, and `ro-crate-metadata.json` (JSON-LD) says what they are: each with size
and SHA-256, each run with its signature, metrics, code, versions and hardware, all of them with licence and paper.
Whoever reads one trusts none of its names and sizes: `unpack` writes files of runs and counted networks alone, each
below the folder that it is given, and none that is not what the description says.
"""

import datetime
import json
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tada
from tada.base import TadaError, counted, first_line
from tada.base.files import DamagedFile, on_disk, parse_json, replacing, sha256
from tada.base.provenance import Environment, machine
from tada.runs.record import METRICS, OUTCOME, RunRecord
from tada.runs.run import Run

METADATA = "ro-crate-metadata.json"
FORMAT = 1

_VERSION = "https://w3id.org/ro/crate/1.2"
_KIND = "archive of tada publish"
_KINDS = {".json": "application/json", ".jsonl": "application/jsonl", ".csv": "text/csv"}
_FILE = re.compile(
    r"[a-z-]+/[a-z0-9-]+/[a-z0-9+-]+/seed\d{1,6}/(snapshot/)?\w[\w-]*\.(json|jsonl|csv|npz|pt|pth|pyth)"
    r"|complexity/[a-z0-9+-]+/\d{1,6}x\d{1,6}\.json",
    re.ASCII,
)
"""What a member of an archive may be called, besides its description."""

_LARGEST_RATIO = 100
"""Bytes that an archive of runs may become for each of its own; scores and weights hardly shrink, JSON by up to 20."""

_LARGEST_METADATA = 256 << 20

Entity = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A paper, as archives cite it."""

    title: str
    venue: str = ""
    authors: tuple[str, ...] = ()
    url: str = ""


@dataclass(frozen=True)
class Content:
    """What an archive is to hold.

    Attributes:
        runs: with their records, as these stand in the archive.
        ended: when each run ended.
        files: by the name in the archive.
        license: an SPDX identifier, e.g. "CC-BY-4.0".
        paper: what the runs reproduce.
    """

    runs: Mapping[Run, RunRecord]
    ended: Mapping[Run, datetime.datetime]
    files: Mapping[str, Path]
    license: str
    paper: Work


@dataclass(frozen=True)
class Unpacked:
    """What was in an archive: names of its files, and of its runs' folders when the runs ended, where it says so."""

    files: tuple[str, ...]
    ended: Mapping[str, datetime.datetime] = field(default_factory=dict)


def write_crate(file: Path, content: Content) -> None:
    """Write an archive in one step; the same content gives the same bytes on the same day."""
    graph = json.dumps(describe(content), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(_member(METADATA), graph + "\n")
        for name, source in sorted(content.files.items()):
            with source.open("rb") as read, archive.open(_member(name), "w", force_zip64=True) as written:
                shutil.copyfileobj(read, written, 1 << 20)


def _member(name: str) -> zipfile.ZipInfo:
    """Compressed where that helps; without a date, so that the bytes do not depend on it."""
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_DEFLATED if Path(name).suffix in _KINDS else zipfile.ZIP_STORED
    member.external_attr = 0o644 << 16
    return member


def describe(content: Content) -> dict[str, Any]:
    """The content of `ro-crate-metadata.json`."""
    runs = sorted(content.runs, key=_place)
    environments = {repr(record.environment): record.environment for record in content.runs.values()}
    software = {key: f"#code-{number}" for number, key in enumerate(environments, 1)}
    hardware = dict.fromkeys(machine(one.hardware) for one in environments.values())
    machines = {words: f"#machine-{number}" for number, words in enumerate(hardware, 1)}
    files = {name: _file(name, source) for name, source in sorted(content.files.items())}
    entities = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "conformsTo": {"@id": _VERSION},
            "about": {"@id": "./"},
        },
        _root(content, runs, [name for name in files if name.startswith("complexity/")]),
        _value("#format", _KIND, FORMAT),
        _license(content.license),
        *_paper(content.paper),
        *(entity for key, one in environments.items() for entity in _code(software[key], one, content.paper.url)),
        *({"@id": name, "@type": "IndividualProduct", "name": words} for words, name in machines.items()),
    ]
    for run in runs:
        record, place = content.runs[run], _place(run)
        instruments = [software[repr(record.environment)], machines[machine(record.environment.hardware)]]
        names = [name for name in files if name.startswith(place)]
        entities += _run(run, record, names, content.ended[run], instruments)
    entities += files.values()
    unique = {entity["@id"]: entity for entity in entities}
    return {"@context": f"{_VERSION}/context", "@graph": list(unique.values())}


def _place(run: Run) -> str:
    return f"{run.scale}/{run.dataset}/{run.model}/seed{run.seed}/"


def _references(names: Iterable[str]) -> Any:
    found = [{"@id": name} for name in names]
    return found[0] if len(found) == 1 else found


def _root(content: Content, runs: Sequence[Run], networks: Sequence[str]) -> Entity:
    datasets = ", ".join(sorted({run.dataset for run in runs}))
    scales = ", ".join(sorted({run.scale for run in runs}))
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{counted(len(runs), 'run')} of {datasets} at {'scale' if ', ' not in scales else 'scales'} {scales}",
        "description": (
            f'Results of the reproducibility suite of "{content.paper.title}": of each run its record, scores and '
            "curves. `tada import` takes them into a folder of results."
        ),
        "datePublished": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "license": {"@id": _license_url(content.license)},
        "identifier": {"@id": "#format"},
        "citation": {"@id": content.paper.url or "#paper"},
        "mentions": _references(f"#{_place(run)}" for run in runs),
        "hasPart": _references([*map(_place, runs), *networks]),
    }


def _license_url(name: str) -> str:
    return f"https://spdx.org/licenses/{name}"


def _license(name: str) -> Entity:
    about = f"The licence that the SPDX list calls {name}; it holds for all files of this archive."
    return {"@id": _license_url(name), "@type": "CreativeWork", "name": name, "description": about}


def _paper(paper: Work) -> list[Entity]:
    authors = [
        {"@id": f"#author-{number}", "@type": "Person", "name": name} for number, name in enumerate(paper.authors, 1)
    ]
    about: Entity = {"@id": paper.url or "#paper", "@type": "ScholarlyArticle", "name": paper.title}
    about |= {"publisher": paper.venue} if paper.venue else {}
    about |= {"author": _references(author["@id"] for author in authors)} if authors else {}
    return [about, *authors]


def _code(name: str, environment: Environment, url: str) -> list[Entity]:
    """The suite as it was, and the packages that it ran with.

    RO-Crate asks for an address of each program; `url`, that of the paper, is the one that the suite can name.
    """
    commit = environment.git_commit or "not in a git checkout"
    commit += " with uncommitted changes" if environment.git_dirty else ""
    return [
        {
            "@id": name,
            "@type": "SoftwareApplication",
            "name": "tada-reproducibility",
            "version": environment.packages.get("tada-reproducibility", tada.__version__),
            "url": url,
            "identifier": {"@id": f"{name}-commit"},
            "softwareRequirements": [
                f"Python {environment.python}",
                *(f"{package} {version}" for package, version in environment.packages.items()),
            ],
        },
        _value(f"{name}-commit", "commit", commit),
    ]


def _value(name: str, of: str, value: object) -> Entity:
    """Something that is known of another entity: an identifier or a measured quantity."""
    return {"@id": name, "@type": "PropertyValue", "propertyID": of, "name": of, "value": value}


def _run(
    run: Run, record: RunRecord, files: Sequence[str], ended: datetime.datetime, instruments: Sequence[str]
) -> list[Entity]:
    """A run's folder, its signature and metrics, and the action that made them."""
    place = _place(run)
    signature = _value(f"#{place}signature", "signature", record.signature)
    metrics = [
        _value(f"#{place}{name}", name, value) | {"unitText": "percent"} for name, value in record.metrics.items()
    ]
    folder = {
        "@id": place,
        "@type": "Dataset",
        "name": str(run),
        "description": f"The run of signature {record.signature}: {run.dataset} x {run.model}, seed {run.seed}.",
        "identifier": {"@id": signature["@id"]},
        "variableMeasured": _references(one["@id"] for one in metrics),
        "hasPart": _references(files),
    }
    action = {
        "@id": f"#{place}",
        "@type": "CreateAction",
        "name": f"training and test of {run}",
        "endTime": ended.isoformat(timespec="seconds"),
        "instrument": _references(instruments),
        "result": {"@id": place},
    }
    return [folder, signature, *metrics, action]


_MEANINGS = {
    METRICS: "record: metrics, data, cost, environment and configuration",
    OUTCOME: "how the last attempt ended",
    "scores.npz": "the network's scores of every test video, or what each adds to the metrics",
    "curves.csv": "losses and accuracies, a row an epoch",
    "detections.json": "detections in the dataset's official format",
    "checkpoint.pt": "the trained weights, and the optimizer's state",
}


def _file(name: str, source: Path) -> Entity:
    file = Path(name)
    about = "parameters and multiply-adds of a network" if name.startswith("complexity/") else "a file of the run"
    return {
        "@id": name,
        "@type": "File",
        "name": file.name,
        "description": _MEANINGS.get(file.name, about),
        "encodingFormat": _KINDS.get(file.suffix, "application/octet-stream"),
        "contentSize": str(source.stat().st_size),
        "sha256": sha256(source),
    }


def unpack(file: Path, folder: Path) -> Unpacked:
    """Write the files of an archive below `folder`, which is empty; each is what the archive's description says.

    Raises:
        TadaError: it is no archive of `tada publish`, or was changed, is cut short, names a file that is missing or one
            that belongs to no run, or would grow out of all proportion. What was written until then stays.
    """
    if not zipfile.is_zipfile(file):
        raise TadaError(
            f"{file}: no archive of `tada publish`: it is no ZIP file, or is cut short; nothing was imported"
        )
    try:
        with zipfile.ZipFile(file) as archive, on_disk(folder):
            return _unpack(file, archive, folder)
    except _DAMAGE as error:
        raise _damaged(file, first_line(str(error))) from None


_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""How a ZIP file that was changed shows."""


_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of `_member`. One wrong bit makes another one of it, whose reader has errors like those of a disk."""


def _damaged(file: Path, what: str) -> DamagedFile:
    return DamagedFile(f"{file}: damaged or changed: {what}; nothing was imported: fetch the archive again")


def _unpack(file: Path, archive: zipfile.ZipFile, folder: Path) -> Unpacked:
    members = {member.filename: member for member in archive.infolist()}
    if METADATA not in members:
        raise TadaError(f"{file}: no archive of `tada publish`: it has no {METADATA}, or is cut short")
    if strange := next((name for name in members if name != METADATA and not _FILE.fullmatch(name)), None):
        raise TadaError(f"{file}: {strange!r} is no file of a run or a counted network; nothing was imported")
    if other := next((name for name, member in members.items() if member.compress_type not in _COMPRESSIONS), None):
        raise _damaged(file, f"{other} is compressed in a way that no archive of runs is")
    total = sum(member.file_size for member in archive.infolist())
    if total > _LARGEST_RATIO * file.stat().st_size or members[METADATA].file_size > _LARGEST_METADATA:
        raise TadaError(
            f"{file}: would grow from {file.stat().st_size:,} to {total:,} bytes, which no archive of runs does; "
            "nothing was imported"
        )
    entities = _entities(file, archive.read(METADATA))
    described = {name: entity for name, entity in entities.items() if entity.get("@type") == "File"}
    if missing := next((name for name in described if name not in members), None):
        raise _damaged(file, f"{missing} is missing")
    if len(members) != len(archive.infolist()) or members.keys() - described.keys() != {METADATA}:
        raise _damaged(file, "its files are not those that it describes")
    for name, entity in described.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(name) as read, target.open("wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
        if str(target.stat().st_size) != entity.get("contentSize") or sha256(target) != entity.get("sha256"):
            raise _damaged(file, f"{name} is not what was published")
    return Unpacked(tuple(described), _ends(entities))


def _entities(file: Path, metadata: bytes) -> dict[str, Entity]:
    """The entities of the description by their names, of an archive of this kind."""
    try:
        content = parse_json(metadata)
        entities = {entity["@id"]: entity for entity in content["@graph"]}
    except (ValueError, KeyError, TypeError):
        raise _damaged(file, f"{METADATA} is no RO-Crate") from None
    kind = entities.get("#format", {})
    if kind.get("propertyID") != _KIND:
        raise TadaError(f"{file}: an RO-Crate, but no archive of `tada publish`")
    if kind.get("value") != FORMAT:
        raise TadaError(f"{file}: format {kind.get('value')}, and this version reads {FORMAT}; take a newer version")
    return entities


def _ends(entities: Mapping[str, Entity]) -> dict[str, datetime.datetime]:
    """When each run ended, by its folder's name."""
    found = {}
    for name, entity in entities.items():
        if entity.get("@type") == "CreateAction":
            found[name.strip("#/")] = datetime.datetime.fromisoformat(str(entity.get("endTime")))
    return found
