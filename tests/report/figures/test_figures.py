"""Figure 3 from planted results: its files, its series in the SVG, its data, and what it shows of missing runs."""

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from tada.report.figures import accuracies, build_figure
from tada.report.figures.style import MISSING
from tada.report.measure.results import Results
from tada.report.paper.figures import load_figure
from tada.runs.settings import Scale

MODELS = sorted(model for _, model in load_figure("figure3").runs)


def build(plant, scale="mini", seeds=1):
    return build_figure("figure3", Scale(scale), seeds, plant.results, plant.out)


def groups(plant):
    """Ids of the groups of the SVG."""
    return {element.get("id") for element in ET.parse(plant.out / "figure3.svg").iter() if element.get("id")}


def data(plant):
    return pd.read_csv(plant.out / "figure3.csv").set_index(["series", "x"])


def test_all_points(plant):
    for number, model in enumerate(MODELS):
        plant.done(model, top1=50.0 + number)
    assert build(plant) == []
    assert {"stages", "proportions", "baseline", "reported"} <= groups(plant)
    frame = data(plant)
    assert len(frame) == 1 + 6 + 8
    assert frame.loc[("stages", "all"), "reproduced"] == 50.0 + MODELS.index("tsn+tada")
    assert frame.loc[("proportions", "1"), "model"] == "tsn+tada"
    assert (plant.out / "figure3.png").read_bytes().startswith(b"\x89PNG")
    assert (plant.out / "figure3.pdf").read_bytes().startswith(b"%PDF")
    assert "missing" not in groups(plant)


def test_reported_points(plant):
    build(plant)
    reported = data(plant)["reported"].dropna()
    assert dict(reported) == {
        ("baseline", "TSN"): 32.0,
        ("stages", "none"): 32.0,
        ("stages", "Res2"): pytest.approx(49.55),  # 32.0 and "a minimum improvement of 17.55%"
        ("stages", "all"): 59.2,
        ("proportions", "0"): 32.0,
        ("proportions", "1"): 59.2,
    }


def test_mini_says_so_and_keeps_the_papers_level_apart(plant):
    plant.done("tsn", top1=60.0)
    build(plant)
    svg = (plant.out / "figure3.svg").read_text(encoding="utf-8")
    assert "here: mini scale (rendered videos, small networks)" in svg  # as the comment that precedes drawn text
    assert svg.count('id="axes_') == 3  # two panels and the first one's upper axis
    plant.done("tsn", scale="paper", top1=32.3)
    build(plant, "paper")
    svg = (plant.out / "figure3.svg").read_text(encoding="utf-8")
    assert "mini scale" not in svg
    assert svg.count('id="axes_') == 2


def test_missing_and_failed_points_are_marked(plant):
    for model in MODELS:
        if model not in ("tsn+tada-1of8", "tsn+tada-res4"):
            plant.done(model, top1=50.0)
    plant.failed("tsn+tada-res4", "loss is NaN")
    pending, failed = build(plant)
    assert pending == "ssv2/tsn+tada-1of8 seed 0: pending: not run yet"
    assert failed.startswith("ssv2/tsn+tada-res4 seed 0: failed: loss is NaN (log: ")
    assert {"missing", "missing-pending", "missing-failed"} <= groups(plant)
    assert data(plant).loc[("stages", "Res4"), "status"] == "failed"


def test_bars_are_intervals_over_videos_and_trainings(plant):
    for seed, count in enumerate((200, 208)):
        for model in MODELS:
            plant.hits(model, np.arange(400) < count, seed)
    assert build(plant, seeds=2) == []
    line = data(plant).loc[("stages", "Res3")]
    assert (line["reproduced"], line["std"], line["n"]) == (51.0, pytest.approx(2**0.5), 2)
    videos = 100 * 0.51 * 0.49 * 100 / 400  # at least; and seeds of like networks say how much training adds
    assert 1.96 * videos**0.5 < line["half_interval"] < 1.96 * (videos + 2) ** 0.5 * 1.1
    assert any(name.startswith("LineCollection") for name in groups(plant))


def test_one_seed_has_a_bar_and_a_run_without_videos_has_none(plant):
    for model in MODELS:
        plant.done(model, top1=50.0)
    build(plant)
    assert data(plant)["half_interval"].isna().all()
    for model in MODELS:
        plant.hits(model, np.arange(400) < 200)
    build(plant)
    assert (data(plant).loc["stages", "half_interval"] > 1.96 * 2.5).all()  # one training, whose noise is assumed


def test_nothing_there_is_still_a_picture(plant):
    assert len(build(plant)) == len(MODELS)
    assert {"missing-pending", "reported"} <= groups(plant)


def test_the_same_results_give_the_same_file(plant):
    plant.done("tsn", top1=60.0)
    build(plant)
    first = [(plant.out / f"figure3.{form}").read_bytes() for form in ("svg", "pdf", "png")]
    build(plant)
    assert [(plant.out / f"figure3.{form}").read_bytes() for form in ("svg", "pdf", "png")] == first


def drawn(plant, scale="mini", seeds=1):
    """Figure 3's panels: what was reproduced, and what was reported where that is apart."""
    canvas = accuracies.draw(load_figure("figure3"), Results(plant.results, Scale(scale), seeds)).canvas
    return [axes for axes in canvas.axes if axes.get_ylabel()], canvas


def test_panels_that_are_compared_have_equal_scales_and_units(plant):
    plant.done("tsn", top1=90.0)
    (here, paper), _ = drawn(plant)
    assert here.get_ylim() == paper.get_ylim()
    low, high = here.get_ylim()
    assert low < 32.0 and high > 90.0
    assert here.get_position().height == pytest.approx(paper.get_position().height)
    assert {axes.get_ylabel() for axes in (here, paper)} == {"Top-1 accuracy (%)"}


@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_no_data_lies_in_the_strip_of_what_is_missing(plant, scale):
    plant.done("tsn", scale=scale, top1=10.0)
    plant.failed("tsn+tada-res4", "loss is NaN", scale=scale)
    (here, *_), _ = drawn(plant, scale)
    low, high = here.get_ylim()
    assert (10.0 - low) / (high - low) > MISSING
    states = [text.get_text() for text in here.texts if text.get_transform() == here.get_xaxis_transform()]
    assert states.count("failed") == 1 and states.count("pending") == 10  # of 12 places, none twice, one is there
    assert not any(line.get_marker() == "x" for line in here.lines)


@pytest.mark.parametrize("seeds", [1, 5])
def test_intervals_are_drawn_as_the_data_has_them(plant, seeds):
    for seed in range(seeds):
        for number, model in enumerate(MODELS):
            plant.hits(model, np.arange(400) < 200 + 10 * number + seed, seed)
    build(plant, seeds=seeds)
    frame = data(plant)
    (here, _), canvas = drawn(plant, seeds=seeds)
    bars = [bar for bar in here.collections if isinstance(bar, LineCollection)]
    for name, bar in zip(("stages", "proportions"), bars, strict=True):
        ends = np.array([segment[:, 1] for segment in bar.get_segments()])
        wanted = frame.loc[name]
        np.testing.assert_allclose(ends.mean(1), wanted["reproduced"])
        np.testing.assert_allclose(np.diff(ends)[:, 0] / 2, wanted["half_interval"])
    legend = [text.get_text() for text in canvas.legends[0].get_texts()]
    assert legend.count("95% interval") == 1 and len(set(legend)) == len(legend)


def test_a_picture_without_intervals_says_so(plant):
    plant.done("tsn", top1=60.0)
    _, canvas = drawn(plant)
    assert "no intervals: the noise is unknown" in [text.get_text() for text in canvas.legends[0].get_texts()]
