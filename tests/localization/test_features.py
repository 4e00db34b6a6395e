"""Files of features: written whole, read in parts, and checked."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tada.base import TadaError
from tada.localization.features import (
    Features,
    FeatureStamp,
    check_features,
    check_finite,
    file_of,
    load_features,
    read_stamp,
    save_features,
)
from tada.localization.videos import Untrimmed
from tada.localization.windows import windows_of
from tada.runs.localization_settings import BmnSettings

VIDEO = Untrimmed("a", Path("a.mp4"), 20.0, ())
VALUES = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
TIMES = np.arange(40) * 0.5 + 0.25
WINDOWS = BmnSettings(window=5.0, stride=2.5, temporal=10)


@pytest.fixture
def saved(tmp_path):
    def save(values=VALUES, times=TIMES, note=None):
        save_features(tmp_path, "a", Features(values, times), FeatureStamp("made from this", note))
        return tmp_path

    return save


@pytest.mark.parametrize("note", [None, "ends at 8.00 s of 20.00 s"])
def test_what_is_written_is_read(saved, note):
    folder = saved(note=note)
    found = load_features(folder, VIDEO)
    assert (found.values == VALUES).all() and found.values.dtype == np.float32
    assert (found.times == TIMES).all() and found.times.dtype == np.float64
    assert read_stamp(folder, "a") == FeatureStamp("made from this", note)
    assert (np.load(file_of(folder, "a")) == VALUES).all()


def test_values_stay_on_disk_until_they_are_used(saved):
    found = load_features(saved(), VIDEO)
    assert isinstance(found.values, np.memmap) and not found.values.flags.writeable
    whole = windows_of(VIDEO, Features(VALUES, TIMES), WINDOWS, 0.5)
    for mapped, expected in zip(windows_of(VIDEO, found, WINDOWS, 0.5), whole, strict=True):
        assert type(mapped.features) is np.ndarray
        np.testing.assert_array_equal(mapped.features, expected.features)


def test_values_that_are_not_finite_are_found_where_they_are_used(saved):
    values = VALUES.copy()
    values[30, 2] = np.nan
    folder = saved(values)
    found = load_features(folder, VIDEO)
    with pytest.raises(TadaError, match="video a: not finite around 15"):
        windows_of(VIDEO, found, WINDOWS, 0.5)
    with pytest.raises(TadaError, match=r"features of a: those at 15.25 s are not finite"):
        check_finite(found, VIDEO, folder)


@pytest.mark.parametrize("size", [0, 1, 60, 500, -1, -200, -400])
def test_a_file_that_is_cut_short_is_none(saved, size):
    folder = saved()
    content = file_of(folder, "a").read_bytes()
    file_of(folder, "a").write_bytes(content[:size])
    assert read_stamp(folder, "a") is None
    with pytest.raises(TadaError, match=r"a\.npy: no file of features"):
        load_features(folder, VIDEO)


def test_there_is_no_file(tmp_path):
    assert read_stamp(tmp_path, "a") is None
    with pytest.raises(TadaError, match="no features of a there"):
        load_features(tmp_path, VIDEO)


@pytest.mark.parametrize(
    ("values", "times", "message"),
    [
        (VALUES[:30], TIMES, r"shape \[30, 6\] at 40 times"),
        (VALUES[:, 0], TIMES, r"shape \[40\] at 40 times"),
        (VALUES, TIMES[::-1], "19.25 s follows 19.75 s"),
        (VALUES, TIMES * 2, "go on until 39.50 s, and it lasts 20.00 s"),
    ],
)
def test_features_that_do_not_fit(saved, values, times, message):
    with pytest.raises(TadaError, match=message):
        load_features(saved(values, times), VIDEO)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("values", "times", "message"),
    [
        (np.zeros((0, 4)), np.zeros(0), r"video a are of shape \[0, 4\] at 0 times"),
        (np.zeros((30, 0)), np.arange(30.0), r"video a are of shape \[30, 0\] at 30 times"),
        (np.zeros(4), np.zeros(4), r"video a are of shape \[4\] at 4 times"),
        (np.zeros((30, 5)), np.arange(30.0), "video a have 5 channels, and 4 are expected"),
        (np.zeros((30, 4)), np.arange(29.0), r"video a are of shape \[30, 4\] at 29 times"),
        (np.zeros((30, 4)), np.arange(30.0)[::-1], "28.00 s follows 29.00 s"),
        (np.zeros((2, 4)), np.array([1.0, 1.0]), "1.00 s follows 1.00 s"),
        (np.zeros((2, 4)), np.array([-np.inf, 1.0]), "times of the clips are not all finite"),
        (np.zeros((2, 4)), np.array([1.0, np.nan]), "times of the clips are not all finite"),
        (np.zeros((40, 4)), np.arange(40.0), r"go on until 39.00 s, and it lasts 30.00 s"),
    ],
)
def test_features_that_are_not_the_videos_are_refused(values, times, message, whole):
    with pytest.raises(TadaError, match=f"^features of .*{message}"):
        check_features(Features(values, times), replace(VIDEO, duration=30.0), channels=4, whole=whole)


@pytest.mark.parametrize(
    ("duration", "first", "last", "read", "cut"),
    [
        (30.0, 0.0, 31.0, True, True),
        (30.0, 0.0, 31.01, False, False),
        (30.0, 0.0, 25.0, True, True),
        (30.0, 0.0, 24.99, True, False),
        (30.0, 5.0, 30.0, True, True),
        (30.0, 5.01, 30.0, True, False),
        (200.0, 20.0, 180.0, True, True),
        (200.0, 20.01, 180.0, True, False),
        (200.0, 20.0, 179.99, True, False),
        (200.0, 20.0, 201.01, False, False),
    ],
)
def test_a_file_may_end_early_and_windows_need_the_whole_video(saved, duration, first, last, read, cut):
    video = replace(VIDEO, duration=duration)
    features = Features(VALUES, np.linspace(first, last, len(VALUES)))
    folder = saved(features.values, features.times)
    for allowed, use in (
        (read, lambda: load_features(folder, video)),
        (cut, lambda: windows_of(video, features, replace(WINDOWS, window=None), 0.5)),
    ):
        with nullcontext() if allowed else pytest.raises(TadaError, match=r"do not cover|go on until"):
            use()
