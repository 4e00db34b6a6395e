import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tada.data.sampling import IntervalSampling, SegmentSampling


def test_worked_example_of_segments():
    segments = SegmentSampling(8)
    assert segments.test(40, 12, 0, 2).tolist() == [2, 8, 12, 18, 22, 28, 32, 38]
    assert segments.test(40, 12, 1, 2).tolist() == [5, 10, 15, 20, 25, 30, 35, 39]


def test_single_segment_clip_takes_the_middles():
    assert SegmentSampling(8).test(80, 12, 0, 1).tolist() == [5, 15, 25, 35, 45, 55, 65, 75]


def test_worked_example_of_intervals():
    assert IntervalSampling(8, 8, 30).test(300, 30, 0, 10).tolist() == [0, 9, 18, 27, 36, 45, 54, 63]


def test_last_interval_clip_starts_before_the_end_of_all_starts():
    clip = IntervalSampling(8, 8, 30).test(300, 30, 9, 10)
    assert clip[0] == int((300 - 64) * 9 / 10)
    assert clip[-1] == int((300 - 64) * 9 / 10 + 63)


def test_single_interval_clip_is_in_the_middle():
    assert IntervalSampling(8, 8, 30).test(300, 30, 0, 1)[0] == (300 - 64) // 2


def test_intervals_stretch_with_the_frame_rate():
    at_30 = IntervalSampling(8, 8, 30).test(300, 30, 0, 10)
    at_60 = IntervalSampling(8, 8, 30).test(600, 60, 0, 10)
    assert at_60[-1] == 127
    assert np.abs(at_60 / 2 - at_30).max() <= 1


def test_video_shorter_than_a_clip_repeats_its_last_frame():
    assert IntervalSampling(8, 8, 30).test(20, 30, 3, 10).tolist() == [0, 9, 18, 19, 19, 19, 19, 19]
    assert SegmentSampling(8).test(1, 12, 0, 2).tolist() == [0] * 8


@given(
    length=st.integers(1, 500), frames=st.integers(1, 32), fps=st.floats(5, 120), seed=st.integers(0, 99),
    interval=st.integers(1, 16),
)  # fmt: skip
def test_every_clip_is_in_order_and_inside_the_video(length, frames, fps, seed, interval):
    for sampling in (SegmentSampling(frames), IntervalSampling(frames, interval, 30.0)):
        clips = [sampling.train(length, fps, np.random.default_rng(seed))]
        clips += [sampling.test(length, fps, clip, 3) for clip in range(3)]
        for clip in clips:
            assert clip.shape == (frames,)
            assert clip.dtype == np.int64
            assert (np.diff(clip) >= 0).all()
            assert 0 <= clip[0] <= clip[-1] < length


def test_training_draws_inside_each_segment():
    rng = np.random.default_rng(0)
    clips = np.stack([SegmentSampling(4).train(80, 12, rng) for _ in range(2000)])
    for segment in range(4):
        drawn = clips[:, segment]
        assert (drawn.min(), drawn.max()) == (20 * segment, min(20 * segment + 20, 79))
        assert drawn.mean() == pytest.approx(20 * segment + 10, abs=0.5)


def test_training_starts_anywhere_a_clip_fits():
    rng = np.random.default_rng(0)
    starts = [IntervalSampling(8, 8, 30).train(300, 30, rng)[0] for _ in range(3000)]
    assert (min(starts), max(starts)) == (0, 235)
    assert np.mean(starts) == pytest.approx(118, abs=4)


def test_training_depends_on_the_generator_alone():
    one, two = (SegmentSampling(8).train(100, 12, np.random.default_rng(7)) for _ in range(2))
    assert (one == two).all()
