"""Figure A2 from planted curves."""

import xml.etree.ElementTree as ET

import pandas as pd

from tada.report.figures import build_figure
from tada.runs.settings import Scale


def curve(plant, model, dataset="ssv2", scale="mini", seed=0, offset=0.0):
    run = plant.done(model, seed, scale, dataset, top1=50.0)
    frame = pd.DataFrame({"epoch": [1, 2, 3], "train_top1": [10.0, 20.0, 30.0], "val_top1": [15.0, None, 25.0]})
    frame[["train_top1", "val_top1"]] += offset
    frame.to_csv(run.file("curves.csv"), index=False)
    return run


def build(plant, scale="mini", seeds=1):
    problems = build_figure("figureA2", Scale(scale), seeds, plant.results, plant.out)
    tree = ET.parse(plant.out / "figureA2.svg")
    return problems, {element.get("id") for element in tree.iter()}


def svg(plant):
    return (plant.out / "figureA2.svg").read_text(encoding="utf-8")


def test_a_line_for_each_network_and_column(plant):
    curve(plant, "tsn")
    curve(plant, "tada2d", offset=30)
    problems, ids = build(plant)
    assert {f"ssv2-{model}-{column}" for model in ("tsn", "tada2d") for column in ("train_top1", "val_top1")} <= ids
    assert all("k400" in problem for problem in problems)
    assert "Kinetics-400: not there yet" in svg(plant)
    frame = pd.read_csv(plant.out / "figureA2.csv")
    assert len(frame) == 6
    assert frame[frame["model"] == "tada2d"]["train_top1"].tolist() == [40.0, 50.0, 60.0]
    assert frame["val_top1"].isna().sum() == 2  # an epoch without validation stays empty


def test_both_datasets_at_paper_scale(plant):
    for dataset in ("k400", "ssv2"):
        for model in ("tsn", "tada2d"):
            curve(plant, model, dataset, "paper")
    problems, ids = build(plant, "paper")
    assert problems == []
    assert {"axes_1", "axes_2"} <= ids and "not there yet" not in svg(plant)


def test_several_seeds_give_a_band(plant):
    for seed in (0, 1):
        for model in ("tsn", "tada2d"):
            curve(plant, model, seed=seed, offset=10.0 * seed)
    _, ids = build(plant, seeds=2)
    assert any(name and name.startswith("FillBetweenPolyCollection") for name in ids)


def test_missing_and_damaged_curves(plant):
    curve(plant, "tsn").file("curves.csv").write_text("a,b\n1,2\n")
    curve(plant, "tada2d")
    problems, _ = build(plant)
    assert any("tsn seed 0: failed: curves.csv cannot be read" in problem for problem in problems)
    assert "TSN failed" in svg(plant)


def test_nothing_there_is_still_a_picture(plant):
    problems, _ = build(plant)
    assert len(problems) == 4
    assert "TSN is not there yet" in svg(plant)
