"""The files of a snapshot: what is written is read again, and whatever is not as it was written is named."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planting import ENVIRONMENT, plant_record

from tada.base import TadaError
from tada.base.typed_json import CHECKSUM, save_sealed
from tada.report.measure.archive import (
    FORMAT,
    AboutArchive,
    Archive,
    ArchivedRun,
    VideoSet,
    add_tables,
    is_archive,
    load_archive,
    pack,
    read_about,
    read_table,
    unpack,
    write_archive,
)
from tada.runs.record import CountedNetwork, RunName
from tada.runs.run import Run


@pytest.mark.parametrize("count", [1, 7, 8, 9, 416])
def test_values_come_back(count):
    generator = np.random.default_rng(count)
    hits = generator.random(count) < 0.5
    assert np.array_equal(unpack(pack(hits, 0), count), hits)
    shares = generator.normal(30, 50, count)
    np.testing.assert_allclose(unpack(pack(shares, 0), count), shares, rtol=1e-7)


def test_hits_are_bits_from_the_highest():
    assert pack(np.array([True, False, False, False, False, False, False, True, True]), 0).values == "gYA="  # 81 80


def test_another_number_of_values():
    packed = pack(np.ones(16, bool), 0)
    for count in (8, 17):
        with pytest.raises(ValueError, match=f"2 bytes for {count} videos"):
            unpack(packed, count)


@pytest.fixture
def archive(tmp_path):
    """A run with samples, alone and summed with a second one, one that failed, and a network."""
    runs = {}
    for model in ("tada2d", "tada2d-16f"):
        run = Run("mini", "ssv2", model, 0, tmp_path / "results")
        record = plant_record(run, {"top1": 75.0})
        runs["ssv2", model, 0] = ArchivedRun(record.run, run.signature, {}, record, curves="epoch,top1\n0,1.5\n")
    right = np.array([True, True, True, False])
    samples = runs["ssv2", "tada2d", 0].samples
    samples["top1"] = pack(right, 0)
    other = runs["ssv2", "tada2d-16f", 0].record.checkpoint.sha256
    samples["top1 of tada2d & tada2d-16f"] = pack(~right, 0, {"tada2d-16f": other})
    runs["ssv2", "tsn", 0] = ArchivedRun(RunName("mini", "ssv2", "tsn", 0), "abc", {})
    about = AboutArchive(FORMAT, "mini", 1, 9, "2026-01-02", {"results": 5}, {})
    networks = {("tsn", 400, 256): CountedNetwork(10, 20, {}, ENVIRONMENT)}
    videos = (VideoSet(["a", "b", "c", "ü"], [0, 1, 2, 1]),)
    archive = Archive(tmp_path / "snapshot", about, runs, videos, networks)
    write_archive(archive)
    return archive


def test_what_is_written_is_read(archive):
    assert is_archive(archive.folder) and not is_archive(archive.folder.parent)
    found = load_archive(archive.folder)
    assert (found.runs, found.videos, found.networks) == (archive.runs, archive.videos, archive.networks)
    assert replace(found.about, sha256={}) == archive.about and len(found.about.sha256) == 3


def test_samples(archive):
    run, other = (Run("mini", "ssv2", model, 0) for model in ("tada2d", "tada2d-16f"))
    names, labels, right = archive.samples(run, "top1")
    assert names.tolist() == ["a", "b", "c", "ü"] and labels.tolist() == [0, 1, 2, 1]
    assert right.tolist() == [True, True, True, False]
    assert archive.samples(run, "top5") is None and archive.samples(other, "top1") is None
    assert archive.samples(Run("paper", "ssv2", "tada2d", 0), "top1") is None


def test_the_sum_with_another_network_is_not_there(archive):
    """Where the second run was replaced by another training of it, the sum does not hold that one."""
    run, summed = Run("mini", "ssv2", "tada2d", 0), archive.runs["ssv2", "tada2d-16f", 0].record.checkpoint.sha256
    assert archive.samples(run, "top1", {"tada2d-16f": summed})[2].tolist() == [False, False, False, True]
    assert archive.samples(run, "top1", {"tada2d-16f": "f" * 64}) is None


def rewritten(folder, name, change):
    """A file changed together with its checksum, as by somebody who knows how."""
    lines = [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]
    archive = load_archive(folder)
    text = "".join(f"{json.dumps(line)}\n" for line in change(lines))
    (folder / name).write_text(text, encoding="utf-8")
    import hashlib

    about = json.loads((folder / "about.json").read_text())
    about["sha256"] = {**archive.about.sha256, name: hashlib.sha256(text.encode()).hexdigest()}
    resealed(folder / "about.json", about)


def resealed(path, content):
    save_sealed(path, {key: value for key, value in content.items() if key != CHECKSUM})


@pytest.mark.parametrize("name", ["runs.jsonl", "videos.jsonl", "networks.jsonl"])
def test_a_file_that_is_cut_off_changed_or_gone(archive, name):
    path = archive.folder / name
    whole = path.read_bytes()
    for content in (whole[:-10], whole[: whole.index(b"\n") + 1] if whole.count(b"\n") > 1 else b"", whole + b"{}\n"):
        path.write_bytes(content)
        with pytest.raises(TadaError, match=rf"{name} is cut off or was changed: its checksum is not that of about"):
            load_archive(archive.folder)
    path.unlink()
    with pytest.raises(TadaError, match=rf"{name} is missing; take it from its commit again"):
        load_archive(archive.folder)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("runs.jsonl", lambda lines: [*lines, lines[0]], r"ssv2/tada2d seed 0 stands there twice"),
        ("runs.jsonl", lambda lines: [*lines, {"run": 3}], r"line 4: run: expected keys with values, found 3"),
        ("videos.jsonl", lambda lines: [], r"ssv2/tada2d seed 0: samples of top1: "),
        (
            "videos.jsonl",
            lambda lines: [{"names": list("abcdefghi"), "labels": [0] * 9}],
            r"samples of top1: 1 bytes for 9 videos",
        ),
        (
            "runs.jsonl",
            lambda lines: [{**lines[-1], "run": {**lines[-1]["run"], "scale": "paper"}}],
            r"ssv2/tsn seed 0 is of scale paper, and the snapshot of mini",
        ),
    ],
)
def test_content_that_does_not_belong_together(archive, name, change, message):
    rewritten(archive.folder, name, change)
    with pytest.raises(TadaError, match=message):
        load_archive(archive.folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "about.json: cannot be read as JSON"),
        ("[]", "about.json: expected keys with values"),
        ('{"scale": "mini"}', "about.json: format is missing"),
    ],
)
def test_a_foreign_about(archive, content, message):
    (archive.folder / "about.json").write_text(content)
    with pytest.raises(TadaError, match=message):
        load_archive(archive.folder)


def test_an_about_changed_by_hand(archive):
    about = json.loads((archive.folder / "about.json").read_text())
    (archive.folder / "about.json").write_text(json.dumps({**about, "seeds": 5}))
    with pytest.raises(TadaError, match=r"about.json: its content does not give its checksum"):
        load_archive(archive.folder)


def test_a_table_beside_an_archive(archive):
    folder, table = archive.folder, pd.DataFrame({"model": ["tsn", ""], "top1": [44.4, None]})
    add_tables(folder, {"numbers": table})
    read = read_table(folder, "numbers", read_about(folder))
    assert read.to_dict("list") == {"model": ["tsn", ""], "top1": ["44.4", ""]}
    assert load_archive(folder).runs  # whose checksums are still there
    path = folder / "numbers.csv"
    path.write_text(path.read_text().replace("44.4", "54.4"))
    with pytest.raises(TadaError, match=r"numbers.csv is cut off or was changed"):
        read_table(folder, "numbers", read_about(folder))
    path.unlink()
    with pytest.raises(TadaError, match=r"numbers.csv is missing; take it from its commit again"):
        read_table(folder, "numbers", read_about(folder))


def test_another_format(archive):
    about = json.loads((archive.folder / "about.json").read_text())
    resealed(archive.folder / "about.json", {**about, "format": FORMAT + 1})
    with pytest.raises(TadaError, match=rf"format {FORMAT + 1}, and this version reads {FORMAT}"):
        load_archive(archive.folder)
