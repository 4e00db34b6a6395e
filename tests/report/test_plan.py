"""`tada plan` on planted results; the budget of the whole paper."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from planting import COST, ENVIRONMENT, plant_record
from typer.testing import CliRunner

from tada.base import TadaError
from tada.base.files import DamagedFile, write_json
from tada.base.typed_json import to_json
from tada.cli import app
from tada.report import cards
from tada.report.cards import Card, needed_workers
from tada.report.paper.tables import load_table
from tada.report.plan import REFERENCE_MACS, make_plan
from tada.runs.recipes import load_recipe
from tada.runs.run import Run

HOURS = 16 * load_recipe("paper", "ssv2", "tsn").resources.hours


def finish(run: Run, device_hours: float) -> None:
    plant_record(run, {"top1": 50.0}, cost=replace(COST, device_hours=device_hours))


def test_runs_are_counted_once_however_many_tables_share_them(tmp_path):
    plan = make_plan(["tables/table3b.md", "table4"], ["scale=paper", "seeds=2"], tmp_path)
    first, second = plan.lines
    both = load_table("table3b").runs & load_table("table4").runs
    assert both and len(plan.shared(first)) == len(plan.shared(second)) == 2 * len(both)
    assert len(plan.runs) == len(first.runs) + len(second.runs) - 2 * len(both)
    assert plan.device_hours(plan.runs) == pytest.approx(len(plan.runs) * HOURS)


def test_what_is_there_costs_nothing(tmp_path):
    finish(Run("paper", "ssv2", "tsn", 0, tmp_path), HOURS)
    plan = make_plan(["table3b"], ["scale=paper"], tmp_path)
    assert len(plan.finished(plan.runs)) == 1
    assert plan.device_hours(plan.runs) == pytest.approx((len(plan.runs) - 1) * HOURS)
    assert plan.gigabytes(plan.finished(plan.runs)) == 0


def test_results_of_another_recipe_do_not_count(tmp_path):
    finish(Run("paper", "ssv2", "tsn", 0, tmp_path), HOURS)
    file = Run("paper", "ssv2", "tsn", 0, tmp_path).file("metrics.json")
    file.write_text(file.read_text().replace('"signature": "', '"signature": "x'))
    assert not make_plan(["table3b"], ["scale=paper"], tmp_path).finished(make_plan(["table3b"]).runs)


def test_measured_hours_count_more_than_the_recipes(tmp_path):
    finish(Run("paper", "ssv2", "tsn", 0, tmp_path), HOURS / 2)
    plan = make_plan(["table3b"], ["scale=paper", "seeds=2"], tmp_path)
    assert plan.device_hours([Run("paper", "ssv2", "tsn", 1, tmp_path)]) == pytest.approx(HOURS / 2)
    assert plan.device_hours([Run("paper", "ssv2", "tada2d", 0, tmp_path)]) == pytest.approx(HOURS / 2)
    assert "0.50 x the recipe's hours, as measured" in plan.basis()


def test_counted_flops_scale_the_hours_and_parameters_the_disk(tmp_path):
    run = Run("paper", "ssv2", "tada2d", 0, tmp_path)
    before = make_plan(["table3b"], ["scale=paper"], tmp_path).gigabytes([run])
    for text in ("", "[1]", '{"macs": null, "params": "many"}', '{"macs": NaN}'):  # damaged, and counted anew
        broken = tmp_path / "complexity/tada2d/400x256.json"
        broken.parent.mkdir(parents=True, exist_ok=True)
        broken.write_text(text)
        assert make_plan(["table3b"], ["scale=paper"], tmp_path).device_hours([run]) == pytest.approx(HOURS)
    count = {"macs": int(REFERENCE_MACS / 4 * 3), "params": 48_000_000, "uncounted": {}}
    write_json(tmp_path / "complexity/tada2d/174x128.json", count | {"environment": to_json(ENVIRONMENT)})
    plan = make_plan(["table3b"], ["scale=paper"], tmp_path)
    assert plan.device_hours([run]) == pytest.approx(3 * HOURS)
    assert plan.gigabytes([run]) - before == pytest.approx(24e6 * 16 / 1e9)


def test_given_features_spare_the_runs_that_train_their_network(tmp_path):
    given = "data={hacs: {root: /lists, features: {tada2d: /features}}}"
    whole, spared = (
        {(run.dataset, run.model) for run in make_plan(["table8"], ["scale=paper", *more], tmp_path).runs}
        for more in ([], [given])
    )
    assert whole - spared == {("hacs", "tada2d")} and ("hacs-localization", "tada2d") in spared


@pytest.mark.parametrize(
    ("targets", "changes", "message"),
    [
        (["tables/table3c.md"], [], "unknown table or figure 'table3c'; did you mean 'table"),
        (["all"], ["scale=papr"], "unknown value 'papr'; did you mean 'paper'"),
        (["all"], ["sede=2"], "unknown key 'sede'; did you mean 'seeds'"),
        (["all"], ["paper"], "KEY=VALUE is expected"),
    ],
)
def test_a_wrong_word_is_answered_with_the_nearest(targets, changes, message):
    with pytest.raises(TadaError, match=message):
        make_plan(targets, changes)


def test_the_budget_of_the_whole_paper_needs_no_torch():
    shown = CliRunner().invoke(app, ["plan", "--config", "scale=paper", "all"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0 and "together" in shown.output and "device-hours" in shown.output
    code = "import sys, tada.cluster.status; from tada.report import plan; plan.make_plan(['all']); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


@pytest.fixture
def measured(tmp_path):
    """A card of round numbers, and a processor whose clips were measured."""
    folder = tmp_path / "measured"
    speeds = {"R2D": {"clips_per_second": 400.0}, "TAda2D": {"clips_per_second": 200.0}}
    conditions = {"clips": 16, "mode": "eager", "torch": "2.11"}
    write_json(folder / "acme-x1.json", {"gpu": "ACME X1", **conditions, "float32": speeds})
    kind = {"dataset": "ssv2", "videos": "ssv2: VP9", "gain": 4.0}
    kind |= {"original": {"clips_per_second": 15.0}, "prepared": {"clips_per_second": 60.0}}
    write_json(folder / "z80.json", {"cpu": "Z80", "kinds": [kind, {**kind, "dataset": "k400"}]})
    return folder


def on_card(monkeypatch, measured, results, targets=("table3b",)):
    card = Card.named("X1", measured)
    monkeypatch.setattr(Card, "named", lambda name: card)
    return make_plan(targets, ["scale=paper"], results, gpu="X1")


# 64 epochs of 168,913 clips, and a third of a step for each of (6 + 64) x 24,777 views of 256 pixels.
CLIPS = 64 * 168_913 + 24_777 * 70 * (256 / 224) ** 2 / 3


def test_hours_of_a_card_follow_from_the_clips_of_the_recipe(tmp_path, monkeypatch, measured):
    plan = on_card(monkeypatch, measured, tmp_path, ["table3b", "table5"])
    hours = {model: plan.device_hours([Run("paper", "ssv2", model, 0, tmp_path)]) for model in ("tsn", "tada2d")}
    assert hours == {"tsn": pytest.approx(CLIPS / 400 / 3600), "tada2d": pytest.approx(CLIPS / 200 / 3600)}
    twice = plan.device_hours([Run("paper", "ssv2", "tada2d-16f", 0, tmp_path)])  # twice the frames
    assert twice == pytest.approx(2 * hours["tada2d"])
    said = "ACME X1: 400 clips/s of R2D and 200 of TAda2D in float32, measured (steps of 16 clips, eager, 8 x 224"
    assert said in plan.basis() and plan.memory() is None  # which was not measured


def test_counted_flops_and_runs_of_that_card_count_and_others_do_not(tmp_path, monkeypatch, measured):
    for model, macs in (("tsn", 40e9), ("tsn+avg", 60e9)):
        count = {"macs": int(macs), "params": 24_000_000, "uncounted": {}}
        write_json(tmp_path / f"complexity/{model}/400x256.json", count | {"environment": to_json(ENVIRONMENT)})
    average, first = Run("paper", "ssv2", "tsn+avg", 0, tmp_path), Run("paper", "ssv2", "tsn", 0, tmp_path)
    expected = 1.5 * CLIPS / 400 / 3600
    for gpu, factor in (("NVIDIA H200", 1.0), ("ACME X1", 3.0)):
        hardware = replace(ENVIRONMENT.hardware, gpus=[gpu])
        hours = replace(COST, device_hours=3 * CLIPS / 400 / 3600)
        plant_record(first, {}, cost=hours, environment=replace(ENVIRONMENT, hardware=hardware))
        with monkeypatch.context() as patch:
            assert on_card(patch, measured, tmp_path).device_hours([average]) == pytest.approx(factor * expected)


def test_processes_that_feed_a_card_follow_from_measured_clips(measured):
    told = needed_workers(Card.named("acme", measured), {"ssv2", "ek100"}, measured)
    assert told == [
        "200 clips/s of videos as ssv2: VP9 need so many processes: 14 with original ones (15/s each), 4 with prepared "
        "ones (60/s each); on cores of Z80"
    ]


def test_a_card_that_was_not_measured_is_answered_with_those_that_were(measured):
    with pytest.raises(TadaError, match="--gpu h100: was not measured; measured: acme-x1"):
        Card.named("h100", measured)
    (measured / "acme-x2.json").write_text((measured / "acme-x1.json").read_text())
    with pytest.raises(TadaError, match="several such were measured; measured: acme-x1, acme-x2"):
        Card.named("acme", measured)
    for text, message in (
        ("[", "cannot be read as JSON"),
        ('{"gpu": "ACME X2", "float32": {"R2D": 1}}', "not what benchmarks.training writes"),
    ):
        (measured / "acme-x2.json").write_text(text)
        with pytest.raises(DamagedFile, match=message):
            Card.named("x2", measured)
    with pytest.raises(TadaError, match="the runs of scale mini take no GPU; --config scale=gpu or scale=paper"):
        make_plan(["table3b"], gpu="h200")


def test_the_committed_measurements_can_be_planned_with():
    shown = CliRunner().invoke(app, ["plan", "--gpu", "h200", "--config", "scale=paper", "all"], env={"COLUMNS": "300"})
    assert shown.exit_code == 0, shown.output
    assert "NVIDIA H200: " in shown.output and "with prepared ones" in shown.output


def test_the_gpu_scale_is_planned_for_the_card_of_this_machine(tmp_path, monkeypatch, measured):
    file = measured / "acme-x1.json"
    speeds = {
        "R2D": {"clips_per_second": 800.0, "peak_bytes": 8.4e9},
        "TAda2D": {"clips_per_second": 600.0, "peak_bytes": 9.4e9},
    }
    write_json(file, {"gpu": "ACME X1", "clips": 16, "mode": "reduce-overhead", "bfloat16": speeds})
    for names, found in ((["ACME X1", "ACME X2"], True), (["ACME X2"], False), ([], False)):
        monkeypatch.setattr(cards, "_gpus_here", lambda names=names: names)
        assert (Card.here(measured) is not None) == found
    card = Card.named("acme", measured)
    monkeypatch.setattr(Card, "here", lambda: card)
    plan = make_plan(["table3b", "table5"], ["scale=gpu"], tmp_path)
    # 12 epochs of 10,400 clips of 112 pixels; forward alone, 2 views of 128 pixels and 6 times one, of 2,080 videos.
    clips = 12 * 10_400 / 4 + 8 * 2_080 * (128 / 224) ** 2 / 3
    hours = {model: plan.device_hours([Run("gpu", "ssv2", model, 0, tmp_path)]) for model in ("tsn", "tada2d")}
    assert hours == {"tsn": pytest.approx(clips / 800 / 3600), "tada2d": pytest.approx(clips / 600 / 3600)}
    # The 16-frame TAda2D has half as many clips of twice the frames: a quarter of the pixels of what was measured.
    gigabytes, run = plan.memory()
    assert gigabytes == pytest.approx((9.4 - 12 * 0.024) / 4 + 12 * 0.024) and run.dataset == "ssv2"
    assert "600 of TAda2D in bfloat16, measured (steps of 16 clips, compiled" in plan.basis()
    assert make_plan(["table3b"], ["scale=paper"], tmp_path).card is None  # as it was


def test_every_run_of_the_gpu_scale_fits_into_16_gigabytes():
    shown = CliRunner().invoke(app, ["plan", "--gpu", "h200", "--config", "scale=gpu", "all"], env={"COLUMNS": "300"})
    assert shown.exit_code == 0, shown.output
    assert float(re.search(r"Memory: ([\d.]+) GB", shown.output)[1]) < 16
    assert "prepared ones" not in shown.output  # what was measured of clips is of real ones
