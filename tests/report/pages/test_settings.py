"""The page of the settings, and what `tada plan --settings` prints of a run."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from tada.base import TadaError
from tada.cli import app
from tada.report.pages.settings import build_settings, run_settings
from tada.runs.recipes import network_sources, recipe_sources


def test_a_line_for_every_value_and_what_differs_says_why(tmp_path):
    build_settings(tmp_path)
    data = pd.read_csv(tmp_path / "settings.csv")
    assert len(data) == sum(map(len, (recipe_sources() | network_sources()).values()))
    page = (tmp_path / "settings.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith("| ssv2") and "train.scale" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "ssv2", "train.scale", "256, 320", "same (5)", "same", "224, 340", "text and first release agree",
    ]  # fmt: skip
    line = next(line for line in page.splitlines() if line.startswith("| slowonly") and "imagenet" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:-1] == ["initial.imagenet", "yes", "same (A.1)", "–", "no"]
    assert "commit fa78f82 of 2021-10-27" in page and "commit 410e287 of 2022-02-04" in page
    assert all((tmp_path / f"settings.{form}").stat().st_size > 1000 for form in ("html", "tex"))


def test_settings_of_a_run_are_those_of_its_frames():
    lines = {name: (value, source) for name, value, source in run_settings("k400", "tada2d-16f")}
    assert lines["micro-batch"][0] == "8 clips share batch-norm statistics"
    assert lines["batch"] == ("128 clips", "16 GPUs; micro-batches on each: 1")
    assert lines["train.base_lr"][0] == "0.12" and "first release" in lines["train.base_lr"][1]
    assert lines["sampling.interval"][0] == "5"
    assert lines["initial.head"][0] == "uniform" and "slow_frames" not in lines
    lines = {name: (value, source) for name, value, source in run_settings("k400", "slowfast-8x8+tada")}
    assert lines["initial.last_gamma"][0] == "0" and lines["slow_frames"][0] == "strided"


def test_the_command_prints_them():
    shown = CliRunner().invoke(app, ["plan", "--settings", "ssv2/tada2d"], env={"COLUMNS": "150"})
    assert shown.exit_code == 0
    words = shown.output.split()
    assert all(word in words for word in ("16", "256", "0.48", "256,", "320"))


def test_a_run_has_a_dataset_and_a_model():
    shown = CliRunner().invoke(app, ["plan", "--settings", "tada2d"])
    assert shown.exit_code == 1
    with pytest.raises(TadaError, match="unknown dataset 'ssv3'; did you mean 'ssv2'"):
        run_settings("ssv3", "tada2d")
