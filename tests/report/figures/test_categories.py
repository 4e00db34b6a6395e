"""Figure A1 from planted scores: gains by hand, names, the paper's values, and what it shows without runs."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from scipy import stats

from tada.report.figures import build_figure, categories
from tada.report.figures.categories import category_gains
from tada.report.judge.noise import Training
from tada.report.measure.results import Results
from tada.report.measure.samples import Hits
from tada.report.paper.figures import load_figure
from tada.runs.settings import Scale

NAMES = ("Approaching something with your camera", "Holding something", "Moving something up")


def scores(right, labels):
    values = np.full((len(labels), 14), 0.1)
    values[np.arange(len(labels)), np.where(right, labels, 13)] = 1.0
    return values


def planted(plant, scale="mini", seed=0):
    """Three categories of eight videos; TSN is right in 1, 4, 8 of them and TAda2D in 7, 4, 6."""
    labels = np.repeat([0, 1, 2], 8)
    within = np.tile(np.arange(8), 3)
    for model, counts in (("tsn", [1, 4, 8]), ("tada2d", [7, 4, 6])):
        run = plant.done(model, seed, scale, top1=50.0)
        plant.scores(run, scores(within < np.array(counts)[labels], labels), labels)


def dataset(folder, classes=13):
    """The annotations of a dataset whose first classes have names of the real one."""
    folder.mkdir()
    (folder / "videos").mkdir()
    (folder / "videos" / "1.webm").write_bytes(b"")
    names = [*NAMES, *(f"Doing thing {number}" for number in range(classes - len(NAMES)))]
    labels = {name: str(number) for number, name in enumerate(names)}
    (folder / "something-something-v2-labels.json").write_text(json.dumps(labels))
    for split in ("train", "validation"):
        (folder / f"something-something-v2-{split}.json").write_text("[]")
    return str(folder)


def build(plant, scale="mini", seeds=1, data=""):
    problems = build_figure("figureA1", Scale(scale), seeds, plant.results, plant.out, data=data or "nowhere")
    return problems, pd.read_csv(plant.out / "figureA1.csv").set_index("name")


def texts(plant):
    """What is written in the picture, from the comments that precede drawn text."""
    return (plant.out / "figureA1.svg").read_text(encoding="utf-8")


def test_gains_by_hand():
    names, labels = np.array(list("abcdef")), np.array([0, 0, 0, 0, 1, 1])
    base = Hits(names, labels, np.array([[1, 0, 0, 0, 1, 1]], bool))
    other = Hits(names[::-1], labels[::-1], np.array([[1, 1, 1, 1, 1, 0]], bool))  # f to a
    best, worst = category_gains(base, other, ["zero", "one"], Training(4.0, 0.0, 20))
    assert (best.name, best.base, best.other, best.value, best.videos) == ("zero", 25.0, 75.0, 50.0, 4)
    assert (worst.name, worst.value) == ("one", 0.0)
    # a turns wrong, b, c and d turn right; two are made up, one for and one against; and two networks are trained
    videos = np.var([-100, 100, 100, 100], ddof=1) / 4 + 2 * (100 / 4) ** 2
    freedom = (videos + 2 * 4) ** 2 / (videos**2 / 3 + (2 * 4) ** 2 / 20)
    assert best.half == pytest.approx(stats.t.ppf(0.975, freedom) * np.sqrt(videos + 2 * 4))


def test_seeds_tell_how_trainings_differ_in_their_categories():
    """Two seeds of equal accuracy, of which each is good at one category: the gain of each is a draw."""
    names, labels = np.array([str(n) for n in range(40)]), np.repeat([0, 1], 20)
    base = Hits(names, labels, np.stack([labels == 0, labels == 0]))
    other = Hits(names, labels, np.stack([labels == 0, labels == 1]))
    best, worst = category_gains(base, other, ["zero", "one"], Training(0.0, 0.0, 20))
    assert (best.value, worst.value) == (50.0, -50.0)
    assert best.half > 50 and worst.half > 50


def test_sorted_and_named(plant, tmp_path):
    planted(plant)
    problems, frame = build(plant, data=dataset(tmp_path / "data"))
    assert problems == []
    assert list(frame.index[:3]) == [NAMES[0], NAMES[1], NAMES[2]]
    assert list(frame["gain"][:3]) == [75.0, 0.0, -25.0]
    assert frame.loc[NAMES[0], "reported"] == 78.5
    mean = frame.loc["mean over categories"]
    assert (mean["gain"], mean["reported"]) == (pytest.approx(50 / 3), 30.35)
    svg = texts(plant)
    assert "Approaching sth. with your camera" in svg
    assert svg.index("Holding sth.") < svg.index("Moving sth. up")
    assert "mean 16.7" in svg and "30.35" in svg and "mini scale" in svg


def test_the_papers_values_stand_apart_in_mini_and_among_the_bars_at_paper_scale(plant, tmp_path):
    planted(plant)
    build(plant, data=dataset(tmp_path / "data"))
    ids = {element.get("id") for element in ET.parse(plant.out / "figureA1.svg").iter()}
    assert {"gains-0", "mean", "reported"} <= ids
    planted(plant, "paper")
    build(plant, "paper", data=dataset(tmp_path / "real", classes=174))
    ids = {element.get("id") for element in ET.parse(plant.out / "figureA1.svg").iter()}
    assert "reported-0" in ids and "reported" not in ids
    assert "mini" not in texts(plant)


@pytest.mark.parametrize("failed", [False, True])
def test_bars_can_be_compared_with_the_papers_values(plant, failed):
    planted(plant)
    if failed:
        plant.failed("tada2d", "loss is NaN")
    canvas = categories.draw(load_figure("figureA1"), Results(plant.results, Scale.MINI, 1), "nowhere").canvas
    canvas.draw_without_rendering()
    here, paper = canvas.axes
    assert here.get_xlim() == paper.get_xlim()
    assert here.get_xlim()[0] <= 0 and here.get_xlim()[1] > 78.5
    assert here.get_position().x0 == pytest.approx(paper.get_position().x0)
    assert here.get_position().width == pytest.approx(paper.get_position().width)
    shown = [axes for axes in (here, paper) if axes.get_xlabel()]
    assert len(shown) == 1 + (not failed) and all("(percentage points)" in axes.get_xlabel() for axes in shown)
    assert len(paper.get_xticks()) > 3


def test_bars_and_intervals_are_drawn_as_the_data_has_them(plant, tmp_path):
    for seed in range(5):
        planted(plant, seed=seed)
    _, frame = build(plant, seeds=5)
    canvas = categories.draw(load_figure("figureA1"), Results(plant.results, Scale.MINI, 5), "nowhere").canvas
    here = canvas.axes[0]
    assert [bar.get_width() for bar in here.patches] == frame["gain"][:3].tolist()
    (bars,) = [found for found in here.collections if isinstance(found, LineCollection)]
    halves = [np.ptp(segment[:, 0]) / 2 for segment in bars.get_segments()]
    np.testing.assert_allclose(halves, frame["half_interval"][:3])


def test_numbers_stand_in_for_names_that_are_not_at_hand(plant, tmp_path):
    planted(plant)
    _, frame = build(plant)
    assert list(frame.index[:3]) == ["class 0", "class 1", "class 2"]
    _, frame = build(plant, data=dataset(tmp_path / "other", classes=20))  # names of another dataset
    assert frame.index[0] == "class 0"


def test_seeds_are_averaged(plant):
    planted(plant)
    planted(plant, seed=1)
    run = plant.done("tada2d", 1, top1=50.0)
    labels = np.repeat([0, 1, 2], 8)
    plant.scores(run, scores(np.ones(24, bool), labels), labels)
    _, frame = build(plant, seeds=2)
    assert frame.loc["class 0", "tada2d"] == pytest.approx(100 * (7 + 8) / 16)


def test_missing_runs(plant):
    planted(plant)
    plant.failed("tada2d", "loss is NaN")
    problems, frame = build(plant)
    assert len(problems) == 1 and problems[0].startswith("ssv2/tada2d seed 0: failed: loss is NaN")
    assert "failed: loss is NaN" in texts(plant)
    assert frame["gain"].isna().all()
    assert frame.loc[NAMES[0], "reported"] == 78.5


def test_scores_that_cannot_be_read(plant):
    planted(plant)
    (plant.results / "mini/ssv2/tada2d/seed0/scores.npz").write_bytes(b"no")
    problems, _ = build(plant)
    assert "cannot be read" in problems[0]
