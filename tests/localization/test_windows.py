"""Windows over a video's features."""

from pathlib import Path

import numpy as np
import pytest

from tada.base import TadaError
from tada.localization.features import Features
from tada.localization.videos import Segment, Untrimmed
from tada.localization.windows import TrainingWindows, aligned, at_times, grid_of, windows_of
from tada.runs.localization_settings import BmnSettings

PATH = Path("video.mp4")


def windows(length, stride, temporal, **changes):
    """Settings of windows that end with the video, whose cells have the features of their middle."""
    plain = {"past_end": False, "aligned_corners": False}
    return BmnSettings(window=length, stride=stride, temporal=temporal, **(plain | changes))


def video(duration=30.0, *segments, name="v"):
    return Untrimmed(name, PATH, duration, tuple(Segment(start, end, 0) for start, end in segments))


def features_of(duration, spacing=0.5, channels=2):
    """Channel 0 is the time, channel 1 its square."""
    times = np.arange(spacing / 2, duration, spacing)
    return Features(np.stack([times**power for power in range(1, channels + 1)], 1).astype(np.float32), times)


def test_windows_of_epic_kitchens_overlap_by_half_and_the_last_ends_with_the_video():
    grid = grid_of(130.0, windows(53.33, 26.67, 200))
    assert grid.cell == pytest.approx(0.26665)
    assert grid.cells == 488  # 487.53 cells
    assert grid.firsts == (0, 100, 200, 288)
    assert (grid.firsts[-1] + 200) * grid.cell >= 130.0 > (grid.firsts[-1] + 199) * grid.cell


@pytest.mark.parametrize("duration", [0.1, 5.0, 10.0, 10.01, 14.99, 15.0, 15.01, 19.7, 20.0, 123.4])
def test_every_cell_of_the_video_lies_in_a_window(duration):
    grid = grid_of(duration, windows(10.0, 5.0, 20))
    covered = {first + cell for first in grid.firsts for cell in range(20)}
    assert covered >= set(range(grid.cells))
    assert grid.cells * grid.cell >= duration - 1e-6 > (grid.cells - 1) * grid.cell - 1e-5
    assert list(grid.firsts) == sorted(set(grid.firsts))
    assert grid.firsts[-1] == max(0, grid.cells - 20)


def test_windows_of_the_authors_run_on_past_the_end():
    grid = grid_of(130.0, BmnSettings())
    assert grid.firsts == (0, 100, 200, 300, 400)  # 106.67 s is the last multiple of 26.67 s
    assert grid.cells == 488
    assert grid_of(106.8, BmnSettings()).firsts == (0, 100, 200, 300)  # of the next one less than 0.2 s is left
    assert grid_of(0.1, BmnSettings()).firsts == (0,)


def test_cells_of_the_authors_are_features_by_their_number():
    """400 features of a window become 200 cells, with aligned corners: cell i is feature 399 i / 199 of the window."""
    features = features_of(60.0, spacing=8 / 60)
    first, second, third = windows_of(video(60.0), features, BmnSettings(), 8 / 60)
    numbers = np.arange(200) * 399 / 199
    assert first.features[0] == pytest.approx((numbers + 0.5) * 8 / 60, rel=1e-5)
    held = 250  # the features from 26.67 s to the video's end; the others are zero
    whole = np.append(features.times[200:], np.zeros(400 - held))
    assert second.features[0] == pytest.approx(np.interp(numbers, np.arange(400), whole), rel=1e-5)
    assert (second.features[:, 126:] == 0).all() and second.features[0, 124] > 50
    assert (third.features[:, 26:] == 0).all() and third.features[0, 24] > 50


def test_aligned_corners_by_hand():
    features = Features(np.array([[1.0], [2.0], [4.0], [8.0]], np.float32), np.array([0.5, 1.5, 2.5, 3.5]))
    whole = aligned(video(4.0), features, 0.0, None, 1.0, 7)  # every half feature
    assert whole.tolist() == [[1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0]]
    late = aligned(video(4.0), features, 2.0, 3.0, 1.0, 5)  # features 4, 8 and nothing
    assert late.tolist() == [[4.0, 6.0, 8.0, 4.0, 0.0]]
    one = Features(features.values[:1], features.times[:1])
    assert aligned(video(1.0), one, 0.0, None, 1.0, 3).tolist() == [[1.0, 1.0, 1.0]]
    assert aligned(video(4.0), one, 2.0, 2.0, 1.0, 2).tolist() == [[0.0, 0.0]]  # of a video that is cut short


def test_features_are_divided_by_their_length():
    features = Features(np.array([[3.0, 4.0], [0.0, 5.0]], np.float32), np.array([0.5, 1.5]))
    (window,) = windows_of(
        video(2.0), features, BmnSettings(window=4.0, stride=2.0, temporal=4, unit_features=True), 1.0
    )
    assert pytest.approx(np.array([[0.6, 0.8], [0, 1], [0, 0], [0, 0]])) == window.features.T


def test_whole_video_is_one_window_of_cells_of_its_own():
    (window,) = windows_of(video(47.0, (4.7, 9.4)), features_of(47.0), windows(None, None, 100), 0.5)
    assert (window.begin, window.length) == (0, pytest.approx(47.0))
    assert window.segments == pytest.approx(np.array([[10.0, 20.0]]))
    assert window.features[0, 1:-1] == pytest.approx((np.arange(1, 99) + 0.5) * 0.47, abs=1e-3)


def test_features_are_interpolated_between_the_centres_of_clips():
    features = features_of(10.0, spacing=1.0)
    times = np.array([0.1, 0.5, 1.0, 1.75, 9.5, 9.9, 10.1])
    actual = at_times(video(10.0), features, times)
    inside = np.where(times > 10, 0, 1)
    for channel in range(2):  # NumPy's own interpolation, a channel at a time
        expected = np.interp(times, features.times, features.values[:, channel]) * inside
        assert actual[channel] == pytest.approx(expected, rel=1e-5)
    assert actual.dtype == np.float32


def test_one_clip_is_features_of_all_of_a_short_video():
    single = Features(np.array([[3.0, 4.0]], np.float32), np.array([0.5]))
    (window,) = windows_of(video(1.0, (0.2, 0.7)), single, windows(8.0, 4.0, 16), 0.5)
    assert window.features[:, :2] == pytest.approx(np.array([[3.0] * 2, [4.0] * 2]))
    assert (window.features[:, 2:] == 0).all()  # the window is longer than the video
    assert window.segments == pytest.approx(np.array([[0.4, 1.4]]))


def test_windows_have_the_actions_that_they_hold_as_a_whole():
    found = windows_of(video(40.0, (2, 4), (8, 12), (9, 31), (20, 30)), features_of(40.0), windows(20.0, 10.0, 40), 0.5)
    assert [window.begin for window in found] == [0, 10, 20]
    seconds = [(window.segments * window.cell + window.begin).tolist() for window in found]
    assert seconds == [[[2, 4], [8, 12]], [[20, 30]], [[20, 30]]]


def test_training_windows_without_actions_are_left_out():
    videos = [video(40.0, (2, 4), name="a"), video(40.0, name="b"), video(15.0, (1, 14), name="c")]
    found = TrainingWindows(videos, lambda v: features_of(v.duration), windows(20.0, 10.0, 40), 0.5, channels=2)
    assert [(window.video, window.first) for window in found] == [("a", 0), ("c", 0)]
    assert len(found) == 2
    direct = windows_of(videos[2], features_of(15.0), windows(20.0, 10.0, 40), 0.5)[0]
    assert (found[1].features == direct.features).all()
    assert (found[1].segments == direct.segments).all()


def test_features_that_do_not_cover_the_video_are_refused():
    half = Features(np.zeros((20, 4), np.float32), np.arange(20.0))
    message = r"video v: clips from 0.00 s to 19.00 s do not cover the video of 30.00 s"
    with pytest.raises(TadaError, match=message):
        windows_of(video(), half, windows(20.0, 10.0, 40), 0.5)
    found = TrainingWindows([video(30.0, (2, 4))], lambda _: half, windows(20.0, 10.0, 40), 0.5)
    with pytest.raises(TadaError, match=message):
        found[0]


def test_features_of_another_width_are_refused():
    with pytest.raises(TadaError, match="video v have 2 channels, and 4 are expected"):
        windows_of(video(), features_of(30.0), windows(20.0, 10.0, 40), 0.5, channels=4)
    found = TrainingWindows(
        [video(30.0, (2, 4))], lambda v: features_of(v.duration), windows(20.0, 10.0, 40), 0.5, channels=4
    )
    with pytest.raises(TadaError, match="video v have 2 channels, and 4 are expected"):
        found[0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_with_their_time(value):
    features = features_of(30.0)
    features.values[20] = value
    for corners in (False, True):
        with pytest.raises(TadaError, match=r"video v: not finite around 1\d\.\d\d s \(\d of 40 (cells|clips)\)"):
            windows_of(video(), features, windows(20.0, 10.0, 40, aligned_corners=corners), 0.5)


def test_impossible_windows_are_refused():
    with pytest.raises(TadaError, match=r"every 12\.0 s"):
        grid_of(30.0, windows(10.0, 12.0, 20))
    for duration in (0.0, -1.0, float("nan")):
        with pytest.raises(TadaError, match="a video of"):
            grid_of(duration, windows(10.0, 5.0, 20))
