"""Results planted in a temporary folder, and specs small enough to check by hand."""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planting import ENVIRONMENT, plant_outcome, plant_record

from tada.base.typed_json import save_sealed, to_json
from tada.report.judge import training
from tada.report.judge.noise import NoiseSource, Training
from tada.report.measure import values
from tada.report.pages.tables import build_table
from tada.runs.run import Run
from tada.runs.settings import Scale

SMALL = """\
    title: Table 0
    place: Nowhere
    caption: Small & hand-made_.
    columns:
      name: {header: Name}
      params: {header: Params, complexity: params, classes: 400, resolution: 256}
      top1: {header: Top-1, metric: top1, dataset: ssv2}
      delta: {header: Δ, delta_of: top1}
    rows:
      - model: tsn
        cells: {name: TSN ✗, params: 23.1M, top1: "32.0", delta: "-"}
      - model: tada2d
        base: tsn
        cells: {name: TAda2D ✓, params: 27.5M, top1: "63.8", delta: "+31.8"}
      - id: peer
        cells: {name: Peer (2020), params: 10M, top1: "60.0", delta: "+1.0"}
"""


class Plant:
    """Writes results as runs leave them behind, and builds tables from them."""

    small = SMALL

    def __init__(self, folder: Path) -> None:
        self.folder, self.results, self.out = folder, folder / "results", folder / "tables"
        self.specs = folder / "specs"

    def done(self, model, seed=0, scale="mini", dataset="ssv2", environment=ENVIRONMENT, **metrics):
        run = Run(scale, dataset, model, seed, self.results)
        plant_outcome(run)
        plant_record(run, metrics, environment=environment)
        return run

    def failed(self, model, error, seed=0, scale="mini", dataset="ssv2"):
        run = Run(scale, dataset, model, seed, self.results)
        plant_outcome(run, error)
        return run

    def scores(self, run, scores, labels, videos=None):
        videos = np.array(videos if videos is not None else [str(n) for n in range(len(labels))])
        np.savez(run.file("scores.npz"), videos=videos, labels=np.array(labels), scores=np.array(scores, np.float32))

    def hits(self, model, right, seed=0, scale="mini", dataset="ssv2", labels=None, videos=None):
        """A run that gets the videos of `right` right."""
        right = np.asarray(right, bool)
        labels = np.zeros(len(right), int) if labels is None else np.asarray(labels)
        scores = np.full((len(right), labels.max() + 2), 0.1)
        scores[np.arange(len(right)), np.where(right, labels, labels.max() + 1)] = 1.0
        run = self.done(model, seed, scale, dataset, top1=100.0 * right.mean())
        self.scores(run, scores, labels, videos)
        return run

    def complexity(self, model, params, macs, classes=400, resolution=256):
        path = self.results / "complexity" / model / f"{classes}x{resolution}.json"
        save_sealed(
            path,
            {"params": params, "macs": macs, "uncounted": {"batch_norm": 2}, "environment": to_json(ENVIRONMENT)},
        )

    def spec(self, text, name="small"):
        self.specs.mkdir(exist_ok=True)
        (self.specs / f"{name}.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
        return name

    def build(self, name="small", scale="mini", seeds=1, specs=None):
        return build_table(name, Scale(scale), seeds, self.results, self.out, specs=specs or self.specs)

    def cells(self, name="small"):
        """The CSV by (row, column), every value as text, nothing as an empty text."""
        frame = pd.read_csv(self.out / f"{name}.csv", dtype=str, keep_default_na=False)
        return {(line["row"], line["column"]): line for line in frame.to_dict("records")}

    def text(self, name="small", kind="md"):
        return (self.out / f"{name}.{kind}").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def no_snapshot(tmp_path, monkeypatch):
    """What is committed in snapshot/ decides no test."""
    monkeypatch.setattr(training, "SNAPSHOT", tmp_path / "no snapshot")


@pytest.fixture
def steady(monkeypatch):
    """A world in which another training gives the same network, so that the test videos alone are noise."""
    monkeypatch.setattr(training, "assumed", lambda scale: Training(0.0, 0.0, 20, NoiseSource("none")))


@pytest.fixture
def plant(tmp_path):
    return Plant(tmp_path)


@pytest.fixture(scope="module")
def shared_plant(tmp_path_factory):
    """For tests of a file that only read what is built once; the committed snapshot decides none of them, either,
    and networks are not compared at initialisation."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "SNAPSHOT", folder / "no snapshot")
        patch.setattr(values, "largest_difference", lambda base, model: 0.0)
        yield Plant(folder)


@pytest.fixture
def small(plant):
    """The small spec, with complexities there and no run yet."""
    plant.spec(plant.small)
    plant.complexity("tsn", 23_149_999, 10**9)
    plant.complexity("tada2d", 27_549_999, 10**9)
    return plant
