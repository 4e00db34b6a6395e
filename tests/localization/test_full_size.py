"""Both localizations of scale gpu on a processor: features of the full-size network, two steps of BMN at full width.

Videos are rendered as the recipes say, but few and short; clips are further apart.
"""

import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
import yaml
from planting import plant_untrained

from tada.base import files
from tada.data import mini
from tada.data.catalog import Place
from tada.execute import execute
from tada.localization.features import load_features
from tada.localization.videos import read_untrimmed
from tada.runs import recipes
from tada.runs.record import read_record
from tada.runs.run import Run

FEW = {"train": 2, "validation": 1, "untrimmed": [60, 72], "segments": [1, 1], "frames": [24, 30], "pause": 4}
APART = {"stride": 12, "workers": 0}


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The recipes of scale gpu with two steps for BMN, and few, short videos."""
    folder = tmp_path / "config"
    (folder / "recipes").mkdir(parents=True)
    shutil.copy(files.CONFIG / "models.yaml", folder)
    changed = yaml.safe_load((files.CONFIG / "recipes" / "gpu.yaml").read_text(encoding="utf-8"))
    for name in ("ek100", "hacs"):
        changed[name]["data"]["render"] |= FEW
        located = changed[f"{name}-localization"]
        located["clips"] |= APART
        located["bmn"] |= {"epochs": 2, "trained_epochs": 2, "warmup_epochs": 0}
    changed["hacs"]["classes"] = 2  # of so few videos
    (folder / "recipes" / "gpu.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")
    monkeypatch.setattr("tada.runs.run.load_recipe", partial(recipes.load_recipe, folder=folder))
    monkeypatch.setattr("tada.runs.run.resolved", partial(recipes.resolved, folder=folder))


@pytest.mark.parametrize("dataset", ["ek100", "hacs"])
def test_two_steps_at_full_size(dataset, config, tmp_path):
    run = Run("gpu", f"{dataset}-localization", "tada2d", 0, tmp_path / "results")
    data = tmp_path / "data"
    mini.render(data, run.initial.recipe.data.render, 1, dataset)
    plant_untrained(run.initial)
    execute(run, str(data), lambda: False)
    record = read_record(run)
    assert all(0 <= value <= 100 for value in record.metrics.values()) and record.metrics
    for video in read_untrimmed(dataset, Place(data)).validation:
        assert load_features(run.file("features"), video).values.shape[1] == 2048
    losses = pd.read_csv(run.file("curves.csv"))["loss"]
    assert len(losses) == 2 and np.isfinite(losses).all()
    assert "proposal network: 2 steps" in run.file("log.txt").read_text()
    bmn = run.recipe.bmn
    assert (bmn.base, bmn.summed, bmn.confidence) == (256, 512, 128)
