"""What a snapshot keeps of planted results of one or several machines, and that it stands in for them."""

import datetime
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planting import ENVIRONMENT
from typer.testing import CliRunner

from tada.base import TadaError
from tada.base.provenance import Hardware
from tada.cli import app
from tada.report.judge.cells import read_cells
from tada.report.judge.sentences import judge_claims
from tada.report.judge.training import rows_data
from tada.report.measure import values
from tada.report.measure.archive import write_archive
from tada.report.measure.results import DONE, FAILED, PENDING, Results, check_results
from tada.report.measure.samples import read_hits, read_shares
from tada.report.pages.readme import BEGIN, END
from tada.report.pages.snapshot import collect, gather, load_snapshot
from tada.report.pages.tables import build_table
from tada.report.paper.quantities import Metric
from tada.report.paper.sentences import load_claims
from tada.report.paper.tables import TABLES
from tada.report.plan import Wanted
from tada.runs.run import Run
from tada.runs.settings import Scale

OTHER_MACHINE = replace(ENVIRONMENT, git_commit="fedcba9876543210", hardware=Hardware("6502", 16, ["Voodoo"]))


@pytest.fixture(autouse=True)
def _no_networks(monkeypatch):
    monkeypatch.setattr(values, "largest_difference", lambda base, model: 0.0)


def kept(out, sources, seeds=1, first=False):
    """Write the data of a snapshot, without the tables made of it; returns what is said of its sources."""
    archive, lines = gather(Scale.MINI, seeds, sources, out, Wanted.of_the_paper(), first=first)
    write_archive(archive)
    return lines


@pytest.fixture(scope="module")
def collected(shared_plant):
    """Two finished runs and a failed one."""
    plant = shared_plant
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
    collect(Scale.MINI, 1, [plant.results], plant.folder / "snapshot", data=videos)
    return load_snapshot(plant.folder / "snapshot")


def test_runs(collected, shared_plant):
    found = {result.run.model: result for result in Results(shared_plant.folder / "snapshot", Scale.MINI, 1).all_runs(
        [("ssv2", "tada2d"), ("ssv2", "tada2d-max"), ("ssv2", "tada2d-mix")]
    )}  # fmt: skip
    record = found["tada2d"].record
    assert record.metrics == {"top1": 90.123456789, "top5": 99.0}
    assert (record.dataset["train"].used, record.dataset["train"].listed, record.dataset["train"].skipped) == (
        99,
        100,
        ["7"],
    )
    assert record.environment.git_commit == "0123456789abcdef" and record.environment.hardware.cpu == "Z80"
    assert record.environment.packages == {"torch": "2.0", "decord": "0.6"}
    assert record.cost.wall_seconds == 60.0 and record.signature == found["tada2d"].run.signature
    assert (found["tada2d-max"].status, found["tada2d-mix"].status) == (FAILED, PENDING)
    assert found["tada2d-max"].problem.log is None


def test_about(collected, shared_plant):
    about = collected.about
    assert (about.scale, about.seeds, about.date) == ("mini", 1, "2026-01-02")
    sizes = sum(file.stat().st_size for file in (shared_plant.results / "mini").rglob("*") if file.is_file())
    assert about.bytes == {"results": sizes, "videos": 5}
    assert len(collected.done) == 2 and about.wanted > 70


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


def test_it_is_small_and_names_no_place(collected, shared_plant):
    files = list((shared_plant.folder / "snapshot").iterdir())
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    assert sum(file.stat().st_size for file in files) < 1_000_000
    for place in (str(shared_plant.folder), "/tmp", os.uname().nodename):
        assert place not in text


def test_runs_of_several_seeds_some_missing(plant):
    """Three seeds of one network and one of another, of five: mean and spread of those that are there."""
    for seed, count in enumerate((200, 210, 220)):
        plant.hits("tsn", np.arange(400) < count, seed)
    plant.hits("tada2d", np.arange(400) < 300)
    kept(plant.folder / "snapshot", [plant.results], seeds=5)
    results = Results(plant.folder / "snapshot", Scale.MINI, 5)
    metrics = [Metric("ssv2", (name,), "top1") for name in ("tsn", "tada2d", "tada2d-max")]
    tsn, tada2d, none = rows_data(metrics, results).to_dict("records")
    assert (tsn["seeds"], tsn["wanted"], tsn["mean"], tsn["std"]) == (3, 5, "52.5", "2.5")
    assert float(tsn["low"]) < 52.5 < float(tsn["high"])
    right = np.stack([np.arange(400) < count for count in (200, 210, 220)]) * 100.0
    residual = right - right.mean(0) - right.mean(1, keepdims=True) + right.mean()
    assert float(tsn["within"]) == pytest.approx((residual**2).sum() / (2 * 399) / 400, rel=1e-5)
    assert (tada2d["seeds"], tada2d["mean"], tada2d["std"]) == (1, "75", "")
    assert float(tada2d["low"]) < 75 - 2 * 2.5  # one training, whose noise is assumed
    assert (none["seeds"], none["mean"], none["low"]) == (0, "", "")


@pytest.fixture
def full(plant):
    """Two seeds of all that Table 3b and Figure A2 need, and detections of two networks, with what lies behind them."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 13, 400)
    models = ("tsn", "tada2d", "tada2d-max", "tada2d-mix", "tsn+tada", "tsn+avg", "tsn+avg-sc", "tsn+avg-sc-sepbn",
              "tsn+tada+avg", "tsn+tada+avg-sc", "tada2d-16f")  # fmt: skip
    for seed in (0, 1):
        for model in models:
            run = plant.done(model, seed, top1=0.0)
            scores = generator.random((400, 13)) + 1.5 * np.eye(13)[labels] * generator.random((400, 1))
            plant.scores(run, scores, labels)
            right = 100 * float((scores.astype(np.float32).argmax(1) == labels).mean())
            plant.done(model, seed, top1=right, top5=99.0)
            rows = [[epoch, *(generator.random(4) * 90)] for epoch in range(8)]
            columns = ["epoch", "train_top1", "val_top1", "train_loss", "val_loss"]
            pd.DataFrame(rows, columns=columns).to_csv(run.file("curves.csv"), index=False)
        for model in ("tsn", "tada2d"):
            run = plant.done(model, seed, dataset="hacs-localization", map=30.0, **{"map@0.5": 50.0})
            shares = {f"shares_{name}": generator.normal(30, 20, 60) for name in ("map", "map@0.5")}
            np.savez(run.file("scores.npz"), videos=np.array([f"v{n}" for n in range(60)]), **shares)
    plant.complexity("tsn", 23_149_999, 10**9)
    return plant


def test_a_snapshot_stands_in_for_the_results(full):
    """Claims, a table, samples, a summed network and curves are those of the results themselves."""
    out = full.folder / "snapshot"
    kept(out, [full.results], seeds=2)
    here, there = (Results(folder, Scale.MINI, 2) for folder in (full.results, out))
    claims = load_claims()
    judged = [{one.claim.id: one for one in judge_claims(claims, results)} for results in (here, there)]
    decided = 0
    for name, one in judged[0].items():
        other = judged[1][name]
        assert one.verdict == other.verdict, name
        for margin, same in zip(one.margins, other.margins, strict=True):
            assert same.estimate.value == pytest.approx(margin.estimate.value, abs=1e-4)
            assert same.estimate.error == pytest.approx(margin.estimate.error, rel=1e-5)
            decided += bool(margin.estimate.error)
    assert decided > 10
    assert any(" & " in str(reference) for one in judged[1].values() if one.margins for statement in one.claim.holds
               for reference in statement.references)  # fmt: skip
    hits = [read_hits([(run,) for run in results.runs("ssv2", "tada2d")], "top1") for results in (here, there)]
    assert np.array_equal(hits[0].right, hits[1].right) and np.array_equal(hits[0].labels, hits[1].labels)
    shares = [read_shares([(r,) for r in results.runs("hacs-localization", "tsn")], "map") for results in (here, there)]
    np.testing.assert_allclose(shares[0].shares, shares[1].shares, rtol=1e-6)
    pd.testing.assert_frame_equal(here.runs("ssv2", "tsn")[1].curves(), there.runs("ssv2", "tsn")[1].curves())
    for folder, place in ((full.results, "one"), (out, "two")):
        build_table("table3b", Scale.MINI, 2, folder, full.folder / place, specs=TABLES)
    one, two = (
        pd.read_csv(full.folder / place / "table3b.csv", dtype=str).drop(columns="source") for place in ("one", "two")
    )
    pd.testing.assert_frame_equal(one, two)


def test_a_snapshot_of_a_snapshot_is_the_same(full):
    one, two = full.folder / "one", full.folder / "two"
    collect(Scale.MINI, 2, [full.results], one)
    found = load_snapshot(one)
    top1 = next(cell for cell in read_cells(found.numbers, "table3b") if (cell.row, cell.column) == ("tada2d", "top1"))
    assert top1.n == "2" and top1.interval[0] < float(top1.reproduced) < top1.interval[1]
    order = found.orders.set_index("table")["sentence"]["table3b"]
    assert "pairs of rows stand in the paper's order (rank correlation" in order and "95% interval" in order
    collect(Scale.MINI, 2, [one], two)
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes(), file.name


def test_runs_of_two_machines_come_together(plant):
    """Seed 0 from here, seed 1 from elsewhere, and a run that both have with the same numbers."""
    plant.hits("tsn", np.arange(400) < 200)
    elsewhere = plant.folder / "elsewhere"
    shutil.copytree(plant.results, elsewhere)
    other = type(plant)(plant.folder)
    other.results = elsewhere
    run = other.hits("tsn", np.arange(400) < 220, seed=1)
    other.done("tsn", seed=1, top1=55.0, environment=OTHER_MACHINE)
    out = plant.folder / "snapshot"
    lines = kept(out, [plant.results, elsewhere], seeds=2)
    assert lines == [
        f"{plant.results}: 1 run, 1 from Z80, 1 core",
        f"{elsewhere}: 1 run, 1 from 6502, 16 cores, 1 × Voodoo",
    ]
    found = Results(out, Scale.MINI, 2).runs("ssv2", "tsn")
    assert [result.record.metrics["top1"] for result in found] == [50.0, 55.0]
    assert [result.record.environment.hardware.cpu for result in found] == ["Z80", "6502"]
    assert found[1].record.environment.git_commit == "fedcba9876543210"
    assert read_hits([(found[0],), (found[1],)], "top1").right.sum(1).tolist() == [200, 220]

    # more results come in later: the snapshot is one of the sources, and is replaced
    shutil.rmtree(run.folder)
    other.hits("tada2d", np.arange(400) < 300, seed=0)
    kept(out, [out, elsewhere], seeds=2)
    later = Results(out, Scale.MINI, 2)
    assert [result.status for result in later.runs("ssv2", "tsn")] == [DONE, DONE]
    assert later.runs("ssv2", "tada2d")[0].record.metrics["top1"] == 75.0


@pytest.fixture
def twice(plant):
    """One run with other numbers on two machines."""
    plant.hits("tsn", np.arange(400) < 200)
    other = type(plant)(plant.folder)
    other.results = plant.folder / "elsewhere"
    other.hits("tsn", np.arange(400) < 220)
    other.done("tsn", top1=55.0, environment=OTHER_MACHINE)
    return plant.results, other.results


def test_a_run_with_two_results_is_refused(twice, plant):
    with pytest.raises(TadaError) as error:
        kept(plant.folder / "snapshot", twice)
    text = str(error.value)
    assert text.startswith("ssv2/tsn seed 0: other results in ") and "\n" not in text
    for part in (str(twice[0]), str(twice[1]), "Z80", "6502", "top1 50.0", "top1 55.0", "--first", "tada compare"):
        assert part in text
    assert not (plant.folder / "snapshot").exists()


def test_or_the_first_counts(twice, plant):
    kept(plant.folder / "snapshot", twice[::-1], first=True)
    assert Results(plant.folder / "snapshot", Scale.MINI, 1).runs("ssv2", "tsn")[0].record.metrics["top1"] == 55.0


def test_a_failed_run_gives_way_to_a_finished_one(plant):
    plant.failed("tsn", "it broke")
    other = type(plant)(plant.folder)
    other.results = plant.folder / "elsewhere"
    other.hits("tsn", np.arange(400) < 220)
    lines = kept(plant.folder / "snapshot", [plant.results, other.results])
    assert "0 runs" in lines[0] and "1 run, 1 from Z80" in lines[1]
    assert Results(plant.folder / "snapshot", Scale.MINI, 1).runs("ssv2", "tsn")[0].status == DONE


def test_runs_of_another_recipe_are_named_and_left_out(plant):
    plant.done("tsn", top1=40.0)
    run = plant.done("tada2d", top1=50.0)
    for name in ("metrics.json", "outcome.json"):
        content = json.loads(run.file(name).read_text())
        run.file(name).write_text(json.dumps({**content, "signature": "another"}))
    lines = kept(plant.folder / "snapshot", [plant.results])
    assert "left out: ssv2/tada2d seed 0, of another recipe or network" in lines[0]
    assert "without the videos behind their metrics: ssv2/tsn seed 0" in lines[1]
    shutil.rmtree(Run("mini", "ssv2", "tsn", 0, plant.results).folder)
    with pytest.raises(TadaError, match="no run of this version's recipes: ssv2/tada2d seed 0 are of others"):
        kept(plant.folder / "snapshot", [plant.results])


def test_nothing_that_is_finished_replaces_no_snapshot(plant):
    """Neither a folder without a run, nor one whose runs have failed."""
    plant.hits("tsn", np.arange(400) < 200)
    out, run = plant.folder / "snapshot", Run("mini", "ssv2", "tsn", 0, plant.results)
    kept(out, [plant.results])
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    shutil.rmtree(run.folder)
    for leave in (lambda: None, lambda: plant.failed("tsn", "no space left")):
        leave()
        with pytest.raises(TadaError, match="results: no finished run; nothing was written"):
            kept(out, [plant.results])
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_a_snapshot_of_fewer_runs_says_which_are_gone(plant, tmp_path):
    for model, count in (("tsn", 200), ("tada2d", 300)):
        plant.hits(model, np.arange(400) < count)
    out = tmp_path / "snapshot"
    kept(out, [plant.results])
    shutil.rmtree(plant.results / "mini/ssv2/tada2d")
    assert kept(out, [out, plant.results])[2:] == []  # which it holds itself
    (gone,) = kept(out, [plant.results])[1:]
    assert gone == f"{out} had 1 run more: ssv2/tada2d seed 0; its commit has them"


def test_what_is_neither_results_nor_a_snapshot(plant, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("nowhere", "nowhere: no such folder"),
        ("empty", "empty: neither a snapshot nor a folder of results with runs"),
    ):
        with pytest.raises(TadaError, match=message):
            check_results(tmp_path / name, Scale.MINI)
    plant.hits("tsn", np.arange(400) < 200)
    kept(tmp_path / "snapshot", [plant.results])
    with pytest.raises(TadaError, match="a snapshot of scale mini, and asked for is paper"):
        check_results(tmp_path / "snapshot", Scale.PAPER)


def test_the_command(twice, plant):
    readme = plant.folder / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    command = ["snapshot", "--out", str(plant.folder / "snapshot"), "--readme", str(readme), "--data", "nowhere"]
    sources = [part for folder in twice for part in ("--results", str(folder))]
    refused = CliRunner().invoke(app, [*command, *sources])
    assert refused.exit_code == 1
    done = CliRunner().invoke(app, [*command, *sources, "--first"])
    assert done.exit_code == 0, done.output
    assert "1 run, 1 from Z80" in done.output and "1 of " in readme.read_text(encoding="utf-8")


def test_a_snapshot_of_another_scale_has_a_folder_of_its_own(plant, monkeypatch):
    """And leaves the README's numbers, which are those of mini."""
    plant.done("tsn", scale="gpu", top1=40.0)
    monkeypatch.chdir(plant.folder)
    shown = CliRunner().invoke(app, ["snapshot", "--scale", "gpu", "--results", str(plant.results)])
    assert shown.exit_code == 0, shown.output
    assert json.loads(Path("snapshot/gpu/about.json").read_text())["scale"] == "gpu"
    assert not Path("snapshot/about.json").exists() and not Path("README.md").exists()
