"""Files of features: written whole, read in parts, and checked."""

from pathlib import Path

import numpy as np
import pytest

from tada.base.errors import TadaError
from tada.localization.features import (
    Features,
    FeatureStamp,
    check_finite,
    file_of,
    load_features,
    read_stamp,
    save_features,
)
from tada.localization.videos import Untrimmed
from tada.localization.windows import windows_of

VIDEO = Untrimmed("a", Path("a.mp4"), 20.0, ())
VALUES = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
TIMES = np.arange(40) * 0.5 + 0.25


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
    whole = windows_of(VIDEO, Features(VALUES, TIMES), 5.0, 2.5, 10)
    for mapped, expected in zip(windows_of(VIDEO, found, 5.0, 2.5, 10), whole, strict=True):
        assert type(mapped.features) is np.ndarray
        np.testing.assert_array_equal(mapped.features, expected.features)


def test_values_that_are_not_finite_are_found_where_they_are_used(saved):
    values = VALUES.copy()
    values[30, 2] = np.nan
    folder = saved(values)
    found = load_features(folder, VIDEO)
    with pytest.raises(TadaError, match="video a: not finite around 15"):
        windows_of(VIDEO, found, 5.0, 2.5, 10)
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
