"""What is known beforehand of the noise of training: pooled by hand, from a snapshot's rows, or assumed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tada.base import TadaError
from tada.base.typed_json import save_sealed
from tada.report.judge import training as module
from tada.report.judge.noise import NoiseSource
from tada.report.judge.training import assumed, described, read_spreads, rows_data, seed_spreads
from tada.report.measure.archive import FORMAT, AboutArchive, add_tables
from tada.report.measure.results import Results
from tada.report.measure.values import measure
from tada.report.paper.quantities import CurvePoint, Difference, Metric
from tada.runs.settings import Scale

MODELS = ("tsn", "tada2d", "tsn+tada", "tsn+avg", "tsn+avg-sc")


def metric(model, name="top1"):
    return Metric("ssv2", (model,), name)


def planted(plant, seeds=3):
    """Networks whose seeds get the first so many of 400 videos right; the variances are 1/16 of the counts'."""
    generator = np.random.default_rng(0)
    counts = {model: 200 + generator.integers(-20, 20, seeds) for model in MODELS}
    for model, of_seeds in counts.items():
        for seed, count in enumerate(of_seeds):
            plant.hits(model, np.arange(400) < count, seed)
    return {model: float(np.var(of_seeds / 4, ddof=1)) for model, of_seeds in counts.items()}


def values(plant, seeds=3):
    results = Results(plant.results, Scale.MINI, seeds)
    return {metric(model): measure(metric(model), results) for model in MODELS}


def test_like_networks_are_pooled_without_those_compared(plant):
    variances = planted(plant, seeds=5)
    spreads = seed_spreads(Scale.MINI, values(plant, 5))
    found = spreads.training([metric("tsn"), metric("tada2d")])
    assert found.variance == pytest.approx(np.mean([variances[m] for m in MODELS[2:]]))
    assert found.freedom == 4
    assert str(found.source) == (
        f"{np.mean(list(variances.values())) ** 0.5:.2f} points over the seeds of 5 networks on ssv2 here "
        "(20 degrees of freedom, counted as 4 since networks differ in it), less those that are compared"
    )
    assert spreads.training([metric("tsn+avg")]).source == found.source  # each page says it once
    both = Difference(metric("tada2d"), metric("tsn"))
    assert spreads.training([both]) == found
    assert spreads.training([CurvePoint("ssv2", "tsn", "val_top1", 0.5), metric("tada2d")]) == found
    ensemble = Metric("ssv2", ("tsn", "tada2d"), "top1")
    assert spreads.training([ensemble]) == found


def test_sources_that_differ_in_their_points_are_a_range():
    one, other = "over the seeds of 4 networks on hacs", "over the seeds of 4 networks on ssv2"
    assumed, tested = NoiseSource("3.5 points assumed, as of 4 points 2.1 points apart"), NoiseSource("none: tested")
    sources = [NoiseSource(one, 3.3159), NoiseSource(one, 10.64), assumed, NoiseSource(one, 4.66), tested, assumed]
    found = described([*sources, NoiseSource(other, 0.4012), NoiseSource(other, 0.3988)])
    assert found == [f"3.32 to 10.64 points {one}", assumed.words, "none: tested", f"0.40 points {other}"]
    assert described([sources[0]]) == [str(sources[0])] == [f"3.32 points {one}"]


def test_little_is_known_from_few_networks_so_that_noise_is_assumed(plant):
    planted(plant)
    spreads = seed_spreads(Scale.MINI, values(plant))
    assert spreads.training([metric("tsn"), metric("tada2d")]) == assumed(Scale.MINI)  # three networks with two each
    assert spreads.training([metric("tsn")]) != assumed(Scale.MINI)  # four
    assert spreads.training([Metric("k400", ("tsn",), "top1")]) == assumed(Scale.MINI)
    assert spreads.training([]) == assumed(Scale.MINI)


def test_a_category_has_more_noise_than_what_is_assumed_of_all():
    spreads = seed_spreads(Scale.MINI, {})
    assert spreads.training([metric("tsn", "class_3")]).freedom == 0


def test_checkpoints_are_not_trained_again():
    assert assumed(Scale.FIRST_RELEASE).variance == 0.0


def keep(folder: Path, scale: Scale, rows: pd.DataFrame) -> None:
    """A snapshot of these rows alone."""
    save_sealed(folder / "about.json", AboutArchive(FORMAT, scale, 5, 0, "", {}, {}))
    add_tables(folder, {"rows": rows})


def test_a_snapshot_tells_what_a_page_of_one_seed_does_not(plant, monkeypatch):
    variances = planted(plant, seeds=5)
    results = Results(plant.results, Scale.MINI, 5)
    folder = plant.folder / "committed"
    folder.mkdir()
    keep(folder, Scale.MINI, rows_data([metric(model) for model in MODELS], results))
    monkeypatch.setattr(module, "SNAPSHOT", folder)
    found = seed_spreads(Scale.MINI, values(plant, 1)).training([metric("tsn")])
    assert found.variance == pytest.approx(np.mean([variances[m] for m in MODELS[1:]]), rel=1e-6)
    assert 0 < found.within < found.variance
    assert "of 5 networks on ssv2 in snapshot/ (20 degrees of freedom, counted as 4 " in str(found.source)
    assert seed_spreads(Scale.PAPER, {}).training([metric("tsn")]) == assumed(Scale.PAPER)  # of another scale
    assert seed_spreads(Scale.MINI, {}, committed=False).training([metric("tsn")]) == assumed(Scale.MINI)


def test_the_snapshot_of_another_scale_lies_below_that_of_mini(plant, monkeypatch):
    planted(plant, seeds=5)
    rows = rows_data([metric(model) for model in MODELS], Results(plant.results, Scale.MINI, 5))
    folder = plant.folder / "snapshot"
    (folder / "gpu").mkdir(parents=True)
    keep(folder / "gpu", Scale.GPU, rows)
    monkeypatch.setattr(module, "SNAPSHOT", folder)
    found = seed_spreads(Scale.GPU, {}).training([metric("tsn")])
    assert found.freedom == 4 and "on ssv2 in snapshot/gpu/ (20 degrees" in found.source.words
    assert seed_spreads(Scale.MINI, {}).training([metric("tsn")]) == assumed(Scale.MINI)


def test_a_damaged_snapshot_is_named(tmp_path):
    assert read_spreads(tmp_path / "none", Scale.MINI) == []
    rows = pd.DataFrame([{"dataset": "ssv2", "model": "tsn", "metric": "top1", "seeds": 3, "std": 1.0}])
    keep(tmp_path, Scale.MINI, rows)
    with pytest.raises(TadaError, match=r"rows.csv: not as `tada snapshot` writes it \('within'\); make it anew"):
        read_spreads(tmp_path, Scale.MINI)
