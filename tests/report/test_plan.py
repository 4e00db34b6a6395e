"""`tada plan` on planted results; the budget of the whole paper."""

import subprocess
import sys
from dataclasses import replace

import pytest
from planting import COST, ENVIRONMENT, plant_record
from typer.testing import CliRunner

from tada.base import TadaError
from tada.base.files import write_json
from tada.base.typed_json import to_json
from tada.cli import app
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
