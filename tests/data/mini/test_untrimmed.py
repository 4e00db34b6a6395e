import numpy as np
import pytest

from tada.base import TadaError
from tada.data import mini
from tada.data.mini.rendering import RenderSpec
from tada.data.mini.untrimmed import Timing
from tada.runs.recipes import render_spec

SPEC = RenderSpec(frames=(24, 60), untrimmed=(240, 720), segments=(4, 9), pause=8)


def test_times_are_within_the_ranges_asked_for():
    rng = np.random.default_rng(0)
    drawn = [Timing.of(SPEC).draw(rng) for _ in range(300)]
    for frames, times in drawn:
        assert 240 <= frames <= 720
        assert 1 <= len(times) <= 9
        edges = [0, *(edge for segment in times for edge in segment), frames]
        lengths = np.diff(edges)
        assert (lengths[0::2] >= 8).all()
        assert ((lengths[1::2] >= 24) & (lengths[1::2] <= 60)).all()
    assert {len(times) for frames, times in drawn if frames > 650} == {4, 5, 6, 7, 8, 9}
    assert len({end - begin for _, times in drawn for begin, end in times}) == 37


def test_segments_that_do_not_fit_are_left_out():
    tight = RenderSpec(frames=(50, 50), untrimmed=(120, 120), segments=(4, 4), pause=5)
    assert [len(Timing.of(tight).draw(np.random.default_rng(seed))[1]) for seed in range(3)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pause": None}, "pause is missing"),
        ({"segments": 4}, r"segments is 4, and must be a range"),
        ({"untrimmed": [70, 700]}, r"untrimmed is \[70, 700\], and the longest segment needs 76 frames"),
        ({"pause": 0}, "pause is 0"),
    ],
)
@pytest.mark.parametrize("dataset", ["ek100", "hacs"])
def test_spec_that_cannot_be_rendered(dataset, changes, message, tmp_path):
    values = {"frames": [24, 60], "untrimmed": [240, 720], "segments": [4, 9], "pause": 8, **changes}
    with pytest.raises(TadaError, match=message):
        mini.render(tmp_path / dataset, {key: value for key, value in values.items() if value is not None}, 1, dataset)


def test_recipes_render_videos_of_20_to_60_seconds():
    spec = RenderSpec.of(render_spec("ek100"))
    timing = Timing.of(spec)
    assert (timing.video[0] / spec.fps, timing.video[1] / spec.fps) == (20, 60)
