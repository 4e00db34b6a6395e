"""The functions that the rules call, on a project of their own."""

import json
import logging
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import targets
from planting import ENVIRONMENT, plant_record
from typer.testing import CliRunner

from tada.base import tensorboard
from tada.base.files import PROJECT, write_json
from tada.base.typed_json import save_sealed, to_json
from tada.cli import app
from tada.runs.record import RecordedFile, record_outcome

CONFIG = {"scale": "mini", "seeds": 1, "data": {"ssv2": None}}


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    targets.check_config(CONFIG)
    targets._requested.clear()


def wildcards(**values: str) -> SimpleNamespace:
    return SimpleNamespace(**{"scale": "mini", "dataset": "ssv2", "model": "tsn", "seed": "0", **values})


def outcome(status: str, attempt: int, error: str | None = None):
    folder = targets.Run("mini", "ssv2", "tsn", 0).folder
    folder.mkdir(parents=True)
    content = {"status": status, "attempt": attempt, "signature": "x", "error": error}
    (folder / "outcome.json").write_text(json.dumps(content))


def test_tables_share_runs():
    needed = [set(targets.table_inputs(wildcards(name=name))) for name in ("table3a", "table3b", "table4")]
    shared = "results/mini/ssv2/{}/seed0/outcome.json"
    assert shared.format("tsn") in needed[0] & needed[1]
    assert shared.format("tsn+tada") in needed[0] & needed[1]
    assert shared.format("tada2d") in needed[1] & needed[2]


def test_seeds_multiply_runs():
    once = targets.table_inputs(wildcards(name="table3b"))
    targets.check_config({**CONFIG, "seeds": 3})
    assert len(targets.table_inputs(wildcards(name="table3b"))) == 3 * len(once)


def test_every_run_is_that_of_all_tables_figures_and_claims():
    targets.check_config({**CONFIG, "seeds": 2})
    wanted = set(targets.every_run(wildcards()))
    of_pages = [targets.table_inputs(wildcards(name=name)) for name in targets.names("tables")]
    of_pages += [targets.figure_inputs(wildcards(name=name)) for name in targets.names("figures")]
    assert wanted == {file for files in of_pages for file in files} | set(targets.claims_inputs(wildcards()))
    assert any("seed1" in file for file in wanted) and not any("tables/" in file for file in wanted)


@pytest.mark.parametrize(("wanted", "option"), [(None, ""), (True, "--compile"), (False, "--no-compile")])
def test_networks_are_compiled_where_the_user_says_so(wanted, option):
    assert targets.compiles(wildcards()) == ""
    targets.check_config({**CONFIG, "compile": wanted})
    assert targets.compiles(wildcards()) == option


def test_a_precision_is_that_of_all_commands(monkeypatch):
    monkeypatch.setenv("TADA_PRECISION", "float32")  # put back afterwards
    targets.check_config({**CONFIG, "precision": None})
    assert os.environ["TADA_PRECISION"] == "float32"
    targets.check_config({**CONFIG, "precision": "bfloat16"})
    assert os.environ["TADA_PRECISION"] == "bfloat16"
    with pytest.raises(SystemExit, match="precision"):
        targets.check_config({**CONFIG, "precision": "float16"})


def test_logs_for_tensorboard_where_they_are_asked_for(monkeypatch):
    assert targets.tensorboard(wildcards()) == ""
    targets.check_config({**CONFIG, "tensorboard": True})
    assert targets.tensorboard(wildcards()) == "--tensorboard"
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="Error: TensorBoard's logs need the package tensorboard: pip install"):
        targets.check_config({**CONFIG, "tensorboard": True})


def test_scale_moves_runs_and_needs_no_rendering():
    targets.check_config({**CONFIG, "scale": "paper"})
    assert all("results/paper/ssv2" in file for file in targets.table_inputs(wildcards(name="table3b")))
    assert targets.run_inputs(wildcards(scale="paper")) == []
    assert targets.run_inputs(wildcards()) == ["data/mini/ssv2/manifest.json"]


def test_nothing_starts_before_datasets_have_folders(tmp_path):
    """One message for all runs; runs that are there, and rendered ones, need none."""
    targets.check_config({**CONFIG, "scale": "paper"})
    targets.table_inputs(wildcards(name="table4"))
    with pytest.raises(SystemExit, match=r"^Error: data\.ssv2 in config/config\.yaml: not set, and scale paper needs"):
        targets.check_data()
    targets.check_config({**CONFIG, "scale": "paper", "data": {"ssv2": str(tmp_path)}})
    targets.check_data()
    targets._requested.clear()
    targets.check_config(CONFIG)
    targets.table_inputs(wildcards(name="table4"))
    targets.check_data()


def test_snakemake_ends_there_and_its_dry_run_plans(tmp_path):
    assert CliRunner().invoke(app, ["init", str(tmp_path)]).exit_code == 0
    command = [sys.executable, "-m", "snakemake", "--config", "scale=paper"]
    planned = subprocess.run([*command, "-n", "--", "tables/table4.md"], cwd=tmp_path, capture_output=True, check=False)
    assert planned.returncode == 0
    done = subprocess.run(
        [*command, "--", "tables/table4.md"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "Nothing was started" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_run_waits_for_the_run_whose_weights_it_starts_from():
    first = "results/paper/k400/tada2d/seed3/outcome.json"
    assert targets.run_inputs(wildcards(scale="paper", dataset="ek100", model="tada2d", seed="3")) == [first]
    assert targets.run_inputs(wildcards(scale="paper", dataset="k400")) == []


def everything_before(name: str) -> set[str]:
    """All files that come before a table."""
    found, left = set(), targets.table_inputs(wildcards(name=name))
    while left:
        file = left.pop()
        if file in found or "complexity" in file:
            continue
        found.add(file)
        _, scale, dataset, model, seed, *_ = [*file.split("/"), *5 * [""]]
        if file.endswith("outcome.json"):
            left += targets.run_inputs(wildcards(scale=scale, dataset=dataset, model=model, seed=seed[4:]))
    return found


@pytest.mark.parametrize(
    ("name", "models"), [("table8", ("tsn", "tada2d")), ("tableA3", ("slowfast-8x8", "slowfast-8x8+tada"))]
)
def test_localization_waits_for_the_networks_and_all_that_comes_before_them(name, models):
    datasets = ("k400", "ek100", "hacs", "ek100-localization", "hacs-localization")
    runs = {f"results/{{}}/{dataset}/{model}/seed0/outcome.json" for dataset in datasets for model in models}
    rendered = {f"data/mini/{dataset}/manifest.json" for dataset in datasets[:3]}
    assert everything_before(name) == {run.format("mini") for run in runs} | rendered
    targets.check_config({**CONFIG, "scale": "paper"})
    assert everything_before(name) == {run.format("paper") for run in runs}


def test_given_features_need_no_other_run():
    place = {"root": "/annotations", "features": {"tada2d": "/features of tada2d"}}
    targets.check_config({**CONFIG, "scale": "paper", "data": {"hacs": place}})
    given = wildcards(scale="paper", dataset="hacs-localization", model="tada2d")
    assert targets.run_inputs(given) == []
    assert json.loads(targets.data_root(given)) == {"root": "/annotations", "features": "/features of tada2d"}
    for dataset, model, before in (("hacs-localization", "tsn", "hacs"), ("hacs", "tada2d", "k400")):
        other = wildcards(scale="paper", dataset=dataset, model=model)
        assert targets.run_inputs(other) == [f"results/paper/{before}/{model}/seed0/outcome.json"]
        assert json.loads(targets.data_root(other)) == {"root": "/annotations"}
    mini = wildcards(dataset="hacs-localization", model="tada2d")
    assert len(targets.run_inputs(mini)) == 2 and targets.data_root(mini) == "data/mini/hacs"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"hacs": {"root": "/x", "features": {"tada2": "/y"}}}, "unknown model 'tada2'; did you mean 'tada2d'"),
        ({"hacs": {"root": "/x", "features": "/y"}}, "data.hacs.features: '/y' is not of type 'object'"),
        ({"k400": {"root": "/x", "features": {"tada2d": "/y"}}}, "data.k400: unknown key 'features'"),
    ],
)
def test_features_are_those_of_one_network_of_untrimmed_videos(data, message):
    with pytest.raises(SystemExit, match=message):
        targets.check_config({**CONFIG, "scale": "paper", "data": data})
        targets.run_inputs(wildcards(scale="paper", dataset="hacs-localization", model="tsn"))


def test_a_dataset_in_several_folders_is_handed_on_as_a_mapping():
    place = {"root": "/videos", "annotations": "/lists of mine", "layout": "list"}
    targets.check_config({**CONFIG, "data": {"k400": place}})
    assert json.loads(targets.data_root(wildcards(scale="paper", dataset="k400"))) == place
    with pytest.raises(SystemExit, match="unknown key 'annotation'; did you mean 'annotations'"):
        targets.check_config({**CONFIG, "data": {"k400": {"root": "/videos", "annotation": "x"}}})


def test_unknown_table_names_the_nearest(capsys):
    with pytest.raises(SystemExit, match="unknown table 'table3c'; did you mean 'table"):
        targets.table_inputs(wildcards(name="table3c"))


def test_wrong_configuration_is_one_clear_message():
    with pytest.raises(SystemExit, match="unknown key 'sede'; did you mean 'seeds'"):
        targets.check_config({**CONFIG, "sede": 1})
    with pytest.raises(SystemExit, match="scale: unknown value 'mimi'; did you mean 'mini'"):
        targets.check_config({**CONFIG, "scale": "mimi"})


def test_an_attempt_is_due_where_a_run_is_not_there_failed_or_is_damaged():
    run = targets.Run("mini", "ssv2", "tsn", 0)
    assert targets.run_attempt(wildcards()) == 1
    record_outcome(run, attempt=2)
    assert targets.run_attempt(wildcards()) == 3  # there is no record
    run.file("scores.npz").write_bytes(b"scores")
    plant_record(run, {"top1": 50.0}, files={"scores.npz": RecordedFile.of(run.file("scores.npz"))})
    assert targets.run_attempt(wildcards()) == 2
    run.file("scores.npz").write_bytes(b"others")
    assert targets.run_attempt(wildcards()) == 3
    run.file("scores.npz").write_bytes(b"scores")
    assert targets.run_attempt(wildcards()) == 2
    metrics = run.file("metrics.json")
    metrics.write_text(metrics.read_text().replace("50.0", "95.0"))
    assert targets.run_attempt(wildcards()) == 3


def test_a_failed_attempt_is_followed_by_another():
    outcome("failed", attempt=1, error="Traceback\nValueError: no")
    assert targets.run_attempt(wildcards()) == 2


def test_an_outcome_by_hand_is_removed_where_its_run_is_due():
    """Snakemake has no note of it, and would take the file for a finished run."""
    run = targets.Run("mini", "ssv2", "tsn", 0)
    record_outcome(run, attempt=0)
    plant_record(run, {"top1": 50.0})
    targets.run_inputs(wildcards())
    assert run.file("outcome.json").exists()  # finished, by today's recipe
    record_outcome(run, attempt=1, error="ValueError: no")
    targets.run_inputs(wildcards())
    assert run.file("outcome.json").exists()  # of this one it has
    run.file("metrics.json").unlink()
    record_outcome(run, attempt=0, error="ValueError: no")
    targets.run_inputs(wildcards())
    assert not run.file("outcome.json").exists()
    assert targets.run_attempt(wildcards()) == 1


@pytest.mark.parametrize("error", ["ValueError: no", None], ids=["failed", "done, and no record is there"])
def test_an_outcome_of_which_snakemake_has_no_note_is_removed_where_its_run_is_due(error):
    """As where results were copied without the folder .snakemake, or that was removed."""
    run = targets.Run("mini", "ssv2", "tsn", 0)
    record_outcome(run, attempt=3, error=error)
    targets.run_inputs(wildcards(), {str(run.file("outcome.json"))}.__contains__)
    assert run.file("outcome.json").exists()
    targets.run_inputs(wildcards(), set().__contains__)
    assert not run.file("outcome.json").exists()
    plant_record(run, {"top1": 50.0})
    record_outcome(run, attempt=3)
    targets.run_inputs(wildcards(), set().__contains__)
    assert run.file("outcome.json").exists()


def test_damaged_outcome_counts_as_none(tmp_path):
    outcome("done", attempt=5)
    targets.Run("mini", "ssv2", "tsn", 0).file("outcome.json").write_text("{")
    assert targets.run_attempt(wildcards()) == 1


def test_failed_runs_end_the_call_with_status_1(capsys):
    outcome("failed", attempt=1, error="Traceback\nValueError: no")
    targets.table_inputs(wildcards(name="table3b"))
    with pytest.raises(SystemExit) as ended:
        targets.report_problems()
    assert ended.value.code == 1
    assert "ssv2/tsn/seed0: ValueError: no" in capsys.readouterr().err


def test_a_failed_run_is_named_whatever_was_asked_for(capsys):
    outcome("failed", attempt=1, error="ValueError: no")
    targets.run_inputs(wildcards())  # as `snakemake results/mini/ssv2/tsn/seed0/outcome.json` asks for it
    with pytest.raises(SystemExit) as ended:
        targets.report_problems()
    assert ended.value.code == 1 and "ssv2/tsn/seed0: ValueError: no" in capsys.readouterr().err


CONTENTS = ["", "{", "[1]", "null", "NaN", '"text"', '{"params": null}', '{"params": NaN, "attempt": "1"}', "\xff"]


@pytest.mark.parametrize("text", CONTENTS)
@pytest.mark.parametrize("place", ["mini/ssv2/tsn/seed0/outcome.json", "complexity/tsn/400x256.json"])
def test_what_nobody_can_read_is_removed_and_named(tmp_path, place, text, capsys):
    file = tmp_path / "results" / place
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode("latin-1"))
    targets.remove_unreadable()
    assert not file.exists() and f"results/{place}: " in capsys.readouterr().err


def test_counts_changed_by_hand_are_removed_and_named(tmp_path, capsys):
    size = tmp_path / "results/complexity/tsn/400x256.json"
    save_sealed(size, {"params": 1, "macs": 2, "uncounted": {}, "environment": to_json(ENVIRONMENT)})
    targets.remove_unreadable()
    assert size.exists()
    size.write_text(size.read_text().replace('"macs": 2', '"macs": 3'))
    targets.remove_unreadable()
    assert not size.exists() and "400x256.json: its content does not give its checksum" in capsys.readouterr().err


def test_what_can_be_read_stays(tmp_path, capsys):
    outcome("failed", attempt=1, error="ValueError: no")
    size = tmp_path / "results/complexity/tsn/400x256.json"
    write_json(size, {"params": 1, "macs": 2, "uncounted": {}, "environment": to_json(ENVIRONMENT), "resolution": 256})
    targets.remove_unreadable()
    assert size.exists() and targets.Run("mini", "ssv2", "tsn", 0).file("outcome.json").exists()
    assert capsys.readouterr().err == ""


def test_no_failed_run_ends_quietly():
    outcome("done", attempt=1)
    targets.table_inputs(wildcards(name="table3b"))
    targets.report_problems()


@pytest.mark.parametrize("name", ["br{ace", "{{", "caf\udce9"])
@pytest.mark.parametrize("place", ["of the plan", "work", "paper"])
def test_a_folder_that_snakemake_cannot_hold_is_refused(name, place, tmp_path, monkeypatch):
    folder = tmp_path / name / "project"
    folder.mkdir(parents=True)
    if place == "work":
        monkeypatch.chdir(folder)
    if place == "paper":
        monkeypatch.setattr(targets, "PAPER", folder)
    why = "is no UTF-8" if name.startswith("caf") else "has braces"
    with pytest.raises(
        SystemExit, match=f"^Error: '.*': Snakemake cannot work in a folder whose name {why}; rename it$"
    ):
        targets.check_folders(folder if place == "of the plan" else tmp_path)


def test_other_odd_folders_are_none_of_these(tmp_path, monkeypatch):
    folder = tmp_path / '-it\'s "q" $HOME `b` 100% \n\\ é視;&#*?[a]<b>'
    folder.mkdir()
    monkeypatch.chdir(folder)
    targets.check_folders(folder)


def test_signature_follows_the_recipe_and_the_model():
    signatures = {targets.run_signature(wildcards(model=name)) for name in ("tsn", "tada2d", "tsn+tada")}
    assert len(signatures) == 3


def test_data_roots(tmp_path):
    assert targets.data_root(wildcards()) == "data/mini/ssv2"
    assert targets.data_root(wildcards(scale="paper")) == ""
    targets.check_config({**CONFIG, "data": {"ssv2": "/videos"}})
    assert targets.data_root(wildcards(scale="paper")) == "/videos"


def test_released_checkpoints_are_tested_and_nothing_is_trained(tmp_path):
    files = {release: {"k400": {"tada2d": f"/{release} weights/k400.pyth"}} for release in ("first", "later")}
    targets.check_config({**CONFIG, "seeds": 3, "weights": "released", "release": "first", "released": files})
    needed = {
        name: targets.table_inputs(wildcards(name=name)) for name in ("table2", "table5", "table6", "table7", "table8")
    }
    runs = {name: [file for file in files if "complexity" not in file] for name, files in needed.items()}
    place = "results/first-release/{}/{}/seed0/outcome.json"
    assert runs["table7"] == [place.format("k400", "tada2d"), place.format("k400", "tada2d-16f")]
    assert runs["table5"] == [place.format("ssv2", "tada2d"), place.format("ssv2", "tada2d-16f")]
    assert runs["table8"] == [place.format("ek100-localization", "tada2d")]
    assert runs["table2"] == [] and runs["table6"] == []
    for release in files:
        tested = wildcards(scale=f"{release}-release", dataset="k400", model="tada2d")
        assert targets.run_inputs(tested) == []
        assert targets.weights(tested) == f"/{release} weights/k400.pyth"
        assert targets.weights(wildcards(scale=f"{release}-release", dataset="ssv2", model="tada2d")) == ""


def test_what_was_released_of_localization_is_handed_on_where_it_is_used():
    parts = {"features": "/f", "classification": "/c", "bmn": "/b.pyth"}
    place = {"root": "/ek100", **{part: {"tada2d": file, "tsn": ""} for part, file in parts.items()}}
    targets.check_config({**CONFIG, "weights": "released", "data": {"ek100": place}})
    located = {"dataset": "ek100-localization", "scale": "later-release"}
    assert json.loads(targets.data_root(wildcards(**located, model="tada2d"))) == {"root": "/ek100", **parts}
    assert targets.run_inputs(wildcards(**located, model="tada2d")) == []
    assert targets.run_inputs(wildcards(**{**located, "scale": "paper"}, model="tada2d")) == []
    trained = wildcards(**{**located, "scale": "paper"}, model="tsn")
    assert json.loads(targets.data_root(trained)) == {"root": "/ek100"}
    assert [str(file) for file in targets.run_inputs(trained)] == ["results/paper/ek100/tsn/seed0/outcome.json"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            {"ek100": {"root": "/", "bmn": {"tada2d": "/b"}}},
            "data.ek100: bmn.tada2d is of no use without features.tada2d",
        ),
        ({"hacs": {"root": "/", "bmn": {"tada2d": "/b"}}}, "data.hacs: unknown key 'bmn'; valid names: features, root"),
        ({"k400": {"root": "/", "classification": {"tada2d": "/b"}}}, "data.k400: unknown key 'classification'"),
    ],
)
def test_what_was_not_released_of_localization_is_refused(place, message):
    with pytest.raises(SystemExit, match=message):
        targets.check_config({**CONFIG, "data": place})


def test_a_run_that_the_authors_did_not_release_ends_the_plan_with_one_line():
    with pytest.raises(SystemExit, match="Error: k400/slowonly: the authors released no checkpoint of it; their later"):
        targets.run_signature(wildcards(scale="later-release", dataset="k400", model="slowonly"))


def test_the_overview_needs_a_page_of_everything():
    files = targets.overview_inputs(wildcards())
    assert {"tables/table3b.html", "tables/audit.csv", "tables/claims.html", "figures/figureA1.svg"} <= set(files)
    assert "results/overview.html" in targets.everything()


def test_claims_need_the_runs_of_the_tables_and_more():
    needed = set(targets.claims_inputs(wildcards()))
    assert set(targets.table_inputs(wildcards(name="table3b"))) <= needed
    assert "results/complexity/slowonly+tada/400x256.json" in needed


def test_figures_that_show_videos_know_where_they_are():
    assert targets.figure_data(wildcards(name="figure4")) == "data/mini/ssv2"
    assert targets.figure_data(wildcards(name="figureA2")) == ""
    targets.check_config({**CONFIG, "scale": "paper", "data": {"ssv2": "/videos"}})
    assert targets.figure_data(wildcards(name="figureA1")) == "/videos"


def test_a_folder_without_configuration_uses_the_projects(tmp_path):
    assert targets.config_file() == str(targets.CONFIG / "config.yaml")
    assert targets.specs("audit.yaml") == str(targets.PAPER / "audit.yaml")
    own = tmp_path / "config/config.yaml"
    own.parent.mkdir()
    own.write_text("scale: mini\nseeds: 1\nseeds: 2\n")
    with pytest.raises(
        SystemExit, match=r"config\.yaml: not valid YAML: the key 'seeds' stands twice, first in line 2"
    ):
        targets.config_file()
    own.write_text("scale: mini\n")
    assert targets.config_file() == "config/config.yaml"


def test_in_a_checkout_names_are_relative(monkeypatch):
    monkeypatch.chdir(targets.PAPER.parent)
    assert targets.specs("tables/table1.yaml") == "paper/tables/table1.yaml"


@pytest.mark.parametrize("file", ["Snakefile", "workflow/Snakefile"])
def test_both_snakefiles_plan_the_same(file, tmp_path):
    """The one at the top is what a person sees, the one below what Snakemake's catalogue looks for."""
    command = [sys.executable, "-m", "snakemake", "-s", str(PROJECT / file), "-n", "--quiet", "host", "--cores", "1"]
    planned = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^all +1$", planned, re.MULTILINE) and re.search(r"^table +[0-9]{2}$", planned, re.MULTILINE)


def test_after_ctrl_c_jobs_that_ended_are_no_errors(caplog):
    logger = logging.getLogger("like snakemake's")
    targets.explain_interruption(logger)
    logger.error("Error in rule run")
    logger.warning("Terminating processes on user request, this might take some time.")
    logger.error("Error in rule run, jobid: 7")
    logger.error("RuleException:\nCalledProcessError in file runs.smk, line 22:\nCommand 'python' returned 130.")
    logger.error("Cancelling snakemake on user request.")
    logger.error("OSError: [Errno 28] No space left on device")
    logger.error("WorkflowError:\nAt least one job did not complete successfully.")
    assert caplog.messages == [
        "Error in rule run",
        "Stopping as asked; the same command goes on where this one ends.",
        "OSError: [Errno 28] No space left on device",
    ]
