"""Numbers of videos under a table: those of the data as they were when the runs were made."""

import shutil
from dataclasses import replace

import pytest
from planting import plant_record

from tada.base.progress import Silent
from tada.classification.pipeline import RunClips
from tada.data.clips import Counts
from tada.data.prepared import Preparation
from tada.report.measure.results import DONE, Results, RunResult, about_runs
from tada.report.pages.footer import footer
from tada.report.paper.tables import load_table
from tada.runs import recipes
from tada.runs.record import read_record
from tada.runs.run import Run
from tada.runs.settings import Scale


@pytest.fixture
def account(tiny_config, tmp_path, monkeypatch):
    """The footer's line on the data of a run on a folder."""

    def lenient(run):
        recipe = recipes.load_recipe(run.scale, run.dataset, run.model, tiny_config)
        return replace(recipe, data=replace(recipe.data, max_skipped=0.5))

    monkeypatch.setattr(Run, "recipe", property(lenient))

    def line(dataset, root, results):
        run = Run("mini", dataset, "tada2d", 0, tmp_path / results)
        counts = RunClips(run, str(root), frames=8, progress=Silent()).counts()
        done = RunResult(run, DONE, plant_record(run, {}, dataset=counts))
        return dict(about_runs([done], Results(tmp_path / results, Scale.MINI, 1)))[f"Data, {dataset}"]

    return line


@pytest.mark.parametrize(
    ("dataset", "video", "whole", "less"),
    [
        ("ssv2", "videos/40.webm", "36 of 36 used; validation 9 of 9 used", "36 of 36 used; validation 8 of 9 used (1"),
        (
            "k400",
            "val/Holding it/val______02_000005_000015.mp4",
            "24 of 24 used; validation 6 of 6 used",
            "24 of 24 used; validation 5 of 6 used (1",
        ),
        (
            "ek100",
            "P01/videos/P01_02.mp4",
            "24 of 24 used; validation 6 of 6 used",
            "18 of 24 used (6 skipped, named in metrics.json); validation 6 of 6",
        ),
    ],
)
def test_one_video_fewer_shows(dataset, video, whole, less, account, request, tmp_path):
    root = shutil.copytree(request.getfixturevalue(f"tiny_{dataset}"), tmp_path / "my data")
    assert account(dataset, root, "before") == f"train {whole}"
    (root / video).unlink()
    shutil.rmtree(root / ".cache", ignore_errors=True)
    assert account(dataset, root, "after").startswith(f"train {less}")


def test_one_row_fewer_shows(account, tiny_k400, tmp_path):
    root = shutil.copytree(tiny_k400, tmp_path / "data")
    rows = (root / "train.csv").read_text().splitlines()
    (root / "train.csv").write_text("\n".join(rows[:-1]) + "\n")
    assert account("k400", root, "results").startswith("train 23 of 23 used; validation 6 of 6")


@pytest.mark.parametrize(
    ("name", "datasets"),
    [
        ("table2", ("k400", "ssv2")), ("table5", ("ssv2",)), ("table6", ("ek100",)), ("table7", ("k400",)),
        ("tableA2", ("ek100",)),
    ],
)  # fmt: skip
def test_every_table_of_accuracies_counts_both_splits_of_its_datasets(plant, name, datasets):
    model = {"table2": "slowonly", "tableA2": "r3d"}.get(name, "tada2d")
    for dataset in datasets:
        plant.done(model, dataset=dataset, top1=1.0)
    lines = dict(footer(load_table(name), Results(plant.results, Scale.MINI, 1)))
    for dataset in datasets:
        counts = "train 99 of 100 used (1 skipped, named in metrics.json); validation 400 of 400 used"
        assert lines[f"Data, {dataset}"] == counts


def test_runs_on_different_numbers_of_videos_show_as_a_range(plant, tmp_path):
    def result(model, used):
        part, run = Counts(400, used, [str(n) for n in range(400 - used)]), Run("mini", "ssv2", model, 0, tmp_path)
        return RunResult(run, DONE, plant_record(run, {}, dataset={"train": part, "validation": part}))

    lines = dict(about_runs([result("tsn", 400), result("tada2d", 399)], Results(tmp_path, Scale.MINI, 1)))
    assert "validation 399 to 400 of 400 used (1 skipped, named in metrics.json)" in lines["Data, ssv2"]


def test_videos_without_finite_scores_are_counted(tmp_path):
    part, run = Counts(400, 400, [], not_finite=["7", "9"]), Run("mini", "ssv2", "tsn", 0, tmp_path)
    record = plant_record(run, {}, dataset={"train": Counts(9, 9, []), "validation": part})
    lines = dict(about_runs([RunResult(run, DONE, record)], Results(tmp_path, Scale.MINI, 1)))
    expected = "train 9 of 9 used; validation 400 of 400 used (up to 2 without finite scores, which count as wrong)"
    assert lines["Data, ssv2"] == expected


def test_prepared_videos_are_told_with_the_runs_that_had_them(tmp_path):
    def result(model, prepared):
        run = Run("mini", "ssv2", model, 0, tmp_path)
        return RunResult(run, DONE, plant_record(run, {}, prepared=prepared))

    new = Preparation("ssv2", 320, 1, 18.0, True, 9, 2, 41.237, 33.5, "0a")
    results = Results(tmp_path, Scale.MINI, 1)
    told = (
        "encoded anew by tada prepare: short side of at most 320 pixels, H.264, each frame for itself, CRF 18, PSNR "
        "41.2 dB on average, 33.5 dB at worst; 2 of 9 videos copied as they are."
    )
    assert dict(about_runs([result("tsn", new)], results))["Videos, ssv2"] == told
    some = dict(about_runs([result("tsn", new), result("tada2d", None)], results))["Videos, ssv2"]
    assert some == told.replace("prepare:", "prepare (in 1 of 2 runs):")
    assert "Videos, ssv2" not in dict(about_runs([result("tsn", None)], results))
    assert read_record(Run("mini", "ssv2", "tsn", 0, tmp_path)).prepared is None
