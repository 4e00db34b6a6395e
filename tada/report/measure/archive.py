"""Runs as a snapshot keeps them: small enough to commit, and enough for every table, claim and comparison.

A snapshot stands in for a folder of results. Of a run it keeps the record, and of scores and curves what statistics
need: for each metric that the paper's tables, figures and claims name, the value of every test video. Of an accuracy
that is a bit, right or wrong; of average precision it is the video's pseudo-value of the jackknife. Weights, scores
and networks' inputs are left out.

    about.json       scale, seeds, how many runs were wanted, and the checksums of all other files
    runs.jsonl       a line for each run that was done or failed
    videos.jsonl     a line for each set of test videos: names, and labels where there are any
    networks.jsonl   a line for each network that was counted at full size
"""

import base64
import binascii
import datetime
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from tada.base import TadaError, typed_json
from tada.base.files import DamagedFile, sha256, write_text
from tada.runs.exchange import NETWORKS as COUNTED
from tada.runs.exchange import Taken, is_of_today, settle, staging
from tada.runs.record import (
    METRICS,
    CountedNetwork,
    Imported,
    RecordedFile,
    RunName,
    RunRecord,
    record_outcome,
    write_record,
)
from tada.runs.run import Run
from tada.runs.settings import Scale

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2
PACKED = "snapshot"
"""Folder of a run that was imported from a snapshot: a snapshot of this run alone, in place of its scores."""

ABOUT, RUNS, VIDEOS, NETWORKS = "about.json", "runs.jsonl", "videos.jsonl", "networks.jsonl"

_REMEDY = "take it from its commit again, or make the snapshot anew with `tada snapshot`"

T = TypeVar("T")
RunKey = tuple[str, str, int]
"""Dataset, model and seed."""

NetworkKey = tuple[str, int, int]
"""Model, classes and resolution in pixels."""


@dataclass(frozen=True)
class AboutArchive:
    """about.json: what was asked for, when the newest run ended, and what the files' content has to be.

    Attributes:
        format: of the folder; another one is refused.
        scale: of all runs.
        seeds: runs asked for of each (dataset, model).
        wanted: runs asked for in all.
        date: day (UTC) on which the newest run ended, YYYY-MM-DD; empty where none is done.
        bytes: sizes of what the snapshot was made of, by name.
        sha256: of each file with data, by name.
    """

    format: int
    scale: str
    seeds: int
    wanted: int
    date: str
    bytes: dict[str, int]
    sha256: dict[str, str]
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VideoSet:
    """Names of test videos, and their labels where the metric has any."""

    names: list[str]
    labels: list[int]
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PackedSamples:
    """A value for each video of the set number `videos`, in base64.

    Of the kind "hits" it is a bit each, the first video's the highest of the first byte; of the kind "shares" a float
    of 32 bits, the lowest byte first. Where scores of several runs are summed, `summed_with` has the checksums of the
    other runs' checkpoints by model: with another one of them the sum would be another.
    """

    kind: Literal["hits", "shares"]
    videos: int
    values: str
    summed_with: dict[str, str] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ArchivedRun:
    """A line of runs.jsonl. A run that failed has no record.

    `samples` are by metric or, where scores are summed, "metric of model & model". `curves` is the text of curves.csv,
    of the runs whose curves a figure or claim names.
    """

    run: RunName
    signature: str
    samples: dict[str, PackedSamples]
    record: RunRecord | None = None
    curves: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> RunKey:
        """By which it is found."""
        return self.run.dataset, self.run.model, self.run.seed


@dataclass(frozen=True)
class ArchivedNetwork:
    """A line of networks.jsonl."""

    model: str
    classes: int
    resolution: int
    counted: CountedNetwork
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Archive:
    """The content of a snapshot's files with data."""

    folder: Path
    about: AboutArchive
    runs: Mapping[RunKey, ArchivedRun]
    videos: tuple[VideoSet, ...]
    networks: Mapping[NetworkKey, CountedNetwork]

    def find(self, run: Run) -> ArchivedRun | None:
        """The archived run of this scale, dataset, model and seed, whatever its signature."""
        return self.runs.get((run.dataset, run.model, run.seed)) if run.scale == self.about.scale else None

    def samples(
        self, run: Run, metric: str, summed_with: Mapping[str, str] | None = None
    ) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64], npt.NDArray[Any]] | None:
        """Names, labels (or none) and values of the videos behind a metric of one seed; None if they are not there.

        Args:
            run: whose they are.
            metric: e.g. "top1".
            summed_with: where scores of several runs are summed, the checksums of the others' checkpoints by model.
        """
        others = summed_with or {}
        found = self.find(run)
        packed = found.samples.get(sample_name(metric, [run.model, *others])) if found else None
        if packed is None or (packed.summed_with or {}) != others:
            return None
        of = self.videos[packed.videos]
        return np.array(of.names), np.array(of.labels, np.int64), unpack(packed, len(of.names))


def sample_name(metric: str, models: Sequence[str]) -> str:
    """The name of a metric's samples among those of the first model's run."""
    return metric if len(models) == 1 else f"{metric} of {' & '.join(models)}"


def pack(values: npt.NDArray[Any], videos: int, summed_with: dict[str, str] | None = None) -> PackedSamples:
    """Values of one seed's videos [V], booleans or floats, that belong to the set number `videos`."""
    if values.dtype == np.bool_:
        kind, content = "hits", np.packbits(values).tobytes()
    else:
        kind, content = "shares", values.astype("<f4").tobytes()
    return PackedSamples(kind, videos, base64.b64encode(content).decode(), summed_with)  # type: ignore[arg-type]


def unpack(packed: PackedSamples, count: int) -> npt.NDArray[Any]:
    """The values [count].

    Raises:
        ValueError: there are more or fewer of them, or it is no base64.
    """
    content = np.frombuffer(base64.b64decode(packed.values, validate=True), np.uint8)
    if len(content) != (-(-count // 8) if packed.kind == "hits" else 4 * count):
        raise ValueError(f"{len(content)} bytes for {count} videos")
    if packed.kind == "hits":
        return np.unpackbits(content, count=count).astype(bool)
    return content.view("<f4").astype(np.float64)


def is_archive(folder: Path) -> bool:
    """Whether the folder is a snapshot rather than a folder of results."""
    return (folder / ABOUT).exists()


def write_archive(archive: Archive) -> None:
    """Write the files with data into the archive's folder; the checksums in `about` are made anew."""
    networks = [ArchivedNetwork(*key, counted) for key, counted in sorted(archive.networks.items())]
    texts = {
        RUNS: _lines(run for _, run in sorted(archive.runs.items())),
        VIDEOS: _lines(archive.videos),
        NETWORKS: _lines(networks),
    }
    for name, text in texts.items():
        write_text(archive.folder / name, text)
    _note(archive.folder, replace(archive.about, sha256={}), texts)


def add_tables(folder: Path, tables: Mapping[str, "pd.DataFrame"]) -> None:
    """Write CSV files, by name, beside an archive that is there; its `about` gets their checksums."""
    texts = {f"{name}.csv": table.to_csv(index=False, lineterminator="\n") for name, table in tables.items()}
    for name, text in texts.items():
        write_text(folder / name, text)
    _note(folder, read_about(folder), texts)


def _note(folder: Path, about: AboutArchive, texts: Mapping[str, str]) -> None:
    checksums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    typed_json.save_sealed(folder / ABOUT, replace(about, sha256=about.sha256 | checksums))


def _lines(values: Iterable[Any]) -> str:
    return "".join(f"{json.dumps(typed_json.to_json(value), ensure_ascii=False)}\n" for value in values)


def load_archive(folder: Path) -> Archive:
    """Read the files with data.

    Raises:
        TadaError: one is missing, is not what was written, or has another format; the message names it.
    """
    about = read_about(folder)
    networks = _read(ArchivedNetwork, folder, NETWORKS, about)
    videos = tuple(_read(VideoSet, folder, VIDEOS, about))
    runs: dict[RunKey, ArchivedRun] = {}
    for run in _read(ArchivedRun, folder, RUNS, about):
        name = f"{folder / RUNS}: {run.run.dataset}/{run.run.model} seed {run.run.seed}"
        if run.key in runs:
            raise TadaError(f"{name} stands there twice; {_REMEDY}")
        if run.run.scale != about.scale:
            raise TadaError(f"{name} is of scale {run.run.scale}, and the snapshot of {about.scale}; {_REMEDY}")
        for metric, packed in run.samples.items():
            try:
                unpack(packed, len(videos[packed.videos].names))
            except (ValueError, IndexError, binascii.Error) as error:
                raise TadaError(f"{name}: samples of {metric}: {error}; {_REMEDY}") from None
        runs[run.key] = run
    counted = {(one.model, one.classes, one.resolution): one.counted for one in networks}
    return Archive(folder, about, runs, videos, counted)


def read_about(folder: Path) -> AboutArchive:
    """The content of about.json.

    Raises:
        TadaError: it is missing, damaged or of another format.
    """
    try:
        about = typed_json.load_sealed(AboutArchive, folder / ABOUT)
    except FileNotFoundError:
        what = f"no snapshot, since {ABOUT} is missing" if folder.is_dir() else "no such folder"
        raise TadaError(f"{folder.absolute()}: {what}; `tada snapshot` writes one") from None
    except DamagedFile as error:
        raise DamagedFile(str(error).removesuffix(typed_json.REMEDY) + _REMEDY) from None
    if about.format != FORMAT:
        raise TadaError(f"{folder / ABOUT}: format {about.format}, and this version reads {FORMAT}; {_REMEDY}")
    return about


def read_table(folder: Path, name: str, about: AboutArchive) -> "pd.DataFrame":
    """One of the CSV files; every value is a text, nothing an empty one.

    Raises:
        TadaError: it is missing, or is not what was written.
    """
    import pandas as pd  # a wrong path is told before

    return pd.read_csv(StringIO(_read_text(folder, f"{name}.csv", about)), dtype=str, keep_default_na=False)


def _read_text(folder: Path, name: str, about: AboutArchive) -> str:
    """A file whose content has the checksum that about.json says."""
    path = folder / name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise TadaError(f"{path} is missing; {_REMEDY}") from None
    if hashlib.sha256(content).hexdigest() != about.sha256.get(name):
        raise TadaError(f"{path} is cut off or was changed: its checksum is not that of {ABOUT}; {_REMEDY}")
    return content.decode()


def _read(kind: type[T], folder: Path, name: str, about: AboutArchive) -> list[T]:
    """The lines of a file."""
    path, text = folder / name, _read_text(folder, name, about)
    lines = enumerate(text.splitlines(), start=1)
    return [typed_json.from_json(kind, json.loads(line), f"{path}, line {number}") for number, line in lines]


def import_snapshot(folder: Path, results: Path, replacing: bool = False) -> Taken:
    """Take the runs of a snapshot into a folder of results, so that trainings go on from its seeds.

    Each run gets its record, its curves where the snapshot has them and, in place of scores, a snapshot of itself
    alone, in its folder `PACKED`. Weights are not there: no run can be trained that starts from those of such a run.

    Args:
        folder: of the snapshot.
        results: folder of all results; made where it is not there.
        replacing: whether the snapshot's runs replace other ones that are there.

    Raises:
        TadaError: the snapshot is damaged, or as `tada.runs.exchange.import_archive`.
    """
    archive = load_archive(folder)
    origin = Imported(folder.resolve().name, sha256(folder / ABOUT))  # which has the checksums of the other files
    scale = Scale.named(archive.about.scale)
    arrived, outdated = [], []
    with staging(results) as staged:
        for (dataset, model, seed), archived in archive.runs.items():
            run = Run(scale, dataset, model, seed, staged)
            if not is_of_today(run, archived.signature):
                outdated.append(str(run))
            elif archived.record is not None:
                _lay_out(run, archived, archived.record, archive, origin)
                arrived.append(run)
        for (model, classes, resolution), counted in archive.networks.items():
            named = replace(counted, model=model, classes=classes, resolution=resolution)
            typed_json.save_sealed(staged / COUNTED / model / f"{classes}x{resolution}.json", named)
        return settle(arrived, results, folder, replacing, outdated)


def _lay_out(run: Run, archived: ArchivedRun, record: RunRecord, archive: Archive, origin: Imported) -> None:
    """Write the folder of a run that a snapshot holds."""
    numbers = sorted({packed.videos for packed in archived.samples.values()})
    samples = {name: replace(packed, videos=numbers.index(packed.videos)) for name, packed in archived.samples.items()}
    alone = replace(
        archive,
        folder=run.file(PACKED),
        about=replace(archive.about, wanted=1, bytes={}),
        runs={archived.key: replace(archived, samples=samples, curves="")},
        videos=tuple(archive.videos[number] for number in numbers),
        networks={},
    )
    write_archive(alone)
    if archived.curves:
        write_text(run.file("curves.csv"), archived.curves)
    files = {
        file.relative_to(run.folder).as_posix(): RecordedFile.of(file)
        for file in sorted(run.folder.rglob("*"))
        if file.is_file()
    }
    write_record(run, replace(record, config=run.configuration, files=files, imported=origin))
    ended = datetime.datetime.fromisoformat(archive.about.date).replace(tzinfo=datetime.UTC).timestamp()
    os.utime(run.file(METRICS), (ended, ended))
    record_outcome(run, attempt=0)
