"""What a snapshot keeps of planted results: values, states, provenance, and nothing about places on the machine."""

import datetime
import json
import os

import pytest

from tada.base import TadaError
from tada.report.measure import values
from tada.report.measure.results import DONE
from tada.report.pages.snapshot import collect, load_snapshot
from tada.runs.settings import Scale


@pytest.fixture
def collected(plant, monkeypatch):
    """Two finished runs and a failed one."""
    monkeypatch.setattr(values, "largest_difference", lambda base, model: 0.0)
    for model, top1 in (("tsn", 40.0), ("tada2d", 90.123456789)):
        run = plant.done(model, top1=top1, top5=99.0)
    plant.failed("tada2d-max", f"Traceback\n{plant.folder}/secret is gone")
    noon = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC).timestamp()
    for file in plant.results.rglob("metrics.json"):
        os.utime(file, (noon - 86400, noon - 86400))
    os.utime(run.file("metrics.json"), (noon, noon))
    videos = plant.folder / "videos"
    videos.mkdir()
    (videos / "1.webm").write_bytes(b"12345")
    collect(Scale.MINI, 1, plant.results, plant.folder / "snapshot", data=videos)
    return load_snapshot(plant.folder / "snapshot")


def test_runs(collected):
    runs = collected.runs.set_index(["dataset", "model"])
    tada2d = runs.loc["ssv2", "tada2d"]
    assert (tada2d.status, json.loads(tada2d.metrics)) == (DONE, {"top1": 90.123457, "top5": 99.0})
    counts = ("99", "100", "1", "400", "400", "0")
    names = (
        "train_used",
        "train_listed",
        "train_skipped",
        "validation_used",
        "validation_listed",
        "validation_skipped",
    )
    assert tuple(tada2d[list(names)]) == counts
    assert tada2d.wall_seconds == "60.0" and len(tada2d.signature) > 8
    assert runs.loc["ssv2", "tada2d-max"].status == "failed"
    assert runs.loc["k400", "tada2d"].status == "pending"
    assert collected.about["environments"][int(tada2d.environment)]["git_commit"] == "0123456789abcdef"


def test_about(collected, plant):
    assert (collected.about["scale"], collected.about["seeds"], collected.about["date"]) == ("mini", 1, "2026-01-02")
    sizes = sum(file.stat().st_size for file in (plant.results / "mini").rglob("*") if file.is_file())
    assert collected.about["bytes"] == {"results": sizes, "videos": 5}
    assert len(collected.about["environments"]) == 1
    assert collected.about["environments"][0]["packages"] == {"torch": "2.0", "decord": "0.6"}


def test_targets_and_numbers(collected):
    targets = collected.targets.set_index("title")
    line = targets.loc["Table 3b"]
    assert (line.file, line.runs, line.done, line.failed, line.seconds) == ("tables/table3b.md", "10", "2", "1", "120")
    found = {target.title: target for target in collected.read_targets()}["Table 3b"]
    assert (found.runs, found.done, found.failed, found.seconds) == (10, 2, 1, 120)
    assert found.verdicts == json.loads(line.verdicts) == {"failed": 2, "mini": 3, "pending": 14}
    assert targets.loc["Figure A2"].runs == "4" and targets.loc["Figure A2"].done == "2"
    numbers = collected.numbers.set_index(["table", "row", "column"])
    delta = numbers.loc["table3b", "tada2d", "delta"]
    assert (delta.reported, delta.reproduced, delta.verdict) == ("+31.8", "50.12345679", "mini")
    assert numbers.loc["table3b", "tada2d-max", "top1"].verdict == "failed"


def test_sentences(collected):
    verdicts = collected.claims.drop_duplicates("claim").set_index("claim")["verdict"]
    assert verdicts["start-tada2d"] == "holds" and verdicts["plug-in-ssv2"] == "pending"
    assert set(collected.claims["scale"]) == {"mini", "any"}
    assert "differs" in set(collected.audit["verdict"])


def test_it_is_small_and_names_no_place(collected, plant):
    files = list((plant.folder / "snapshot").iterdir())
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    assert sum(file.stat().st_size for file in files) < 1_000_000
    for place in (str(plant.folder), "/tmp", os.uname().nodename):
        assert place not in text


def test_nothing_is_there_yet(plant, monkeypatch):
    monkeypatch.setattr(values, "largest_difference", lambda base, model: 0.0)
    collect(Scale.MINI, 2, plant.results, plant.folder / "snapshot")
    empty = load_snapshot(plant.folder / "snapshot")
    assert set(empty.runs["status"]) == {"pending"} and empty.about["date"] == ""
    assert len(empty.runs) % 2 == 0 and set(empty.runs["seed"]) == {"0", "1"}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TadaError, match=r"targets\.csv is missing; `tada snapshot` writes it"):
        load_snapshot(tmp_path)
