import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tada.base import TadaError
from tada.data.views import (
    IntervalSampling,
    SegmentSampling,
    TestTransform,
    TrainTransform,
    normalise,
    resize_short_side,
)


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


@example(length=2, frames=2, fps=5.0, seed=0, interval=1)  # shorter than a frame
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


def coordinates(count=4, height=30, width=40):
    """Frames whose channels are the frame's number, the row and the column."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[..., 0] = np.arange(count)[:, None, None]
    frames[..., 1] = np.arange(height)[None, :, None]
    frames[..., 2] = np.arange(width)[None, None, :]
    return frames


def test_normalise_is_the_formula():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 1, 16, 16)
    assert (normalise(pixels) - (pixels / 255 - 0.45) / 0.225).abs().max() < 1e-5
    assert pixels.dtype == torch.uint8


def test_resize_keeps_ratio_and_agrees_with_the_definition_of_bilinear():
    frames = np.random.default_rng(0).integers(0, 256, (2, 24, 36, 3), np.uint8)
    resized = resize_short_side(frames, 16)
    assert (resized.shape, resized.dtype) == ((2, 3, 16, 24), torch.uint8)
    for row, column in [(0, 0), (3, 7), (15, 23)]:
        y, x = (row + 0.5) * 1.5 - 0.5, (column + 0.5) * 1.5 - 0.5
        y0, x0 = int(y), int(x)
        pixel = sum(
            (1 - abs(y - (y0 + i)))
            * (1 - abs(x - (x0 + j)))
            * frames[:, min(y0 + i, 23), min(x0 + j, 35)].astype(float)
            for i in (0, 1)
            for j in (0, 1)
        )
        assert np.abs(resized[:, :, row, column].numpy() - pixel).max() <= 1


def test_resize_of_upright_and_unchanged_frames():
    assert resize_short_side(np.zeros((1, 50, 20, 3), np.uint8), 10).shape == (1, 3, 25, 10)
    frames = coordinates()
    assert (resize_short_side(frames, 30).permute(0, 2, 3, 1).numpy() == frames).all()


def test_training_crop_is_one_window_of_all_frames():
    transform = TrainTransform((30, 30), 20, flip=True)
    corners, mirrors = set(), []
    for seed in range(300):
        clip, mirrored = transform(coordinates(), np.random.default_rng(seed))
        assert clip.shape == (3, 4, 20, 20)
        assert clip.is_contiguous()
        left = int(clip[2, 0, 0].min())
        top = int(clip[1, 0, 0, 0])
        columns = np.arange(left, left + 20)
        assert (clip[2].numpy() == (columns[::-1] if mirrored else columns)).all()
        assert (clip[1].numpy() == np.arange(top, top + 20)[:, None]).all()
        assert (clip[0].numpy() == np.arange(4)[:, None, None]).all()
        corners.add((top, left))
        mirrors.append(mirrored)
    assert {top for top, _ in corners} == set(range(11))
    assert {left for _, left in corners} == set(range(21))
    assert 0.4 < np.mean(mirrors) < 0.6


def test_scale_is_drawn_from_the_whole_range():
    sizes = set()
    for seed in range(200):
        clip, _ = TrainTransform((20, 24), 20, flip=False)(coordinates(), np.random.default_rng(seed))
        sizes.add(round(20 * 29 / max(1, int(clip[1].max()) - int(clip[1].min()))))
    assert min(sizes) <= 20
    assert max(sizes) >= 24


def test_no_flip_where_none_is_wanted():
    transform = TrainTransform((30, 30), 20, flip=False)
    assert not any(transform(coordinates(), np.random.default_rng(seed))[1] for seed in range(50))


def test_flip_leaves_the_window_as_it_is():
    with_flip, without = TrainTransform((30, 30), 20, flip=True), TrainTransform((30, 30), 20, flip=False)
    for seed in range(20):
        clip, mirrored = with_flip(coordinates(), np.random.default_rng(seed))
        plain, _ = without(coordinates(), np.random.default_rng(seed))
        assert torch.equal(clip, plain.flip(3) if mirrored else plain)


def test_three_crops_along_the_long_side():
    clips = np.array([[0, 2], [1, 3]])
    views = TestTransform(30, 30)(coordinates(), clips)
    assert views.shape == (6, 3, 2, 30, 30)
    for view, (clip, left) in zip(views, [(c, x) for c in (0, 1) for x in (0, 5, 10)], strict=True):
        assert view[0, :, 0, 0].tolist() == clips[clip].tolist()
        assert view[2, 0, 0].tolist() == list(range(left, left + 30))


def test_three_crops_of_upright_frames():
    views = TestTransform(30, 30)(coordinates(2, 40, 30), np.array([[0, 1]]))
    assert [int(view[1, 0, 0, 0]) for view in views] == [0, 5, 10]


def test_single_and_smaller_crops_are_centred():
    view = TestTransform(30, 20, crops=1)(coordinates(), np.array([[0]]))
    assert (int(view[0, 1, 0, 0, 0]), int(view[0, 2, 0, 0, 0])) == (5, 10)
    views = TestTransform(30, 20)(coordinates(), np.array([[0]]))
    assert [(int(view[1, 0, 0, 0]), int(view[2, 0, 0, 0])) for view in views] == [(5, 0), (5, 10), (5, 20)]


def test_crop_that_does_not_fit():
    with pytest.raises(TadaError, match="crop of 40 pixels"):
        TestTransform(32, 40)
    with pytest.raises(TadaError, match="crop of 33 pixels"):
        TrainTransform((32, 48), 33, flip=True)
    with pytest.raises(TadaError, match="2 times"):
        TestTransform(32, 32, crops=2)
