"""The authors' feature files, as they would be released: written by torch.save."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tada.base import TadaError
from tada.localization.features import ReleasedFeatures
from tada.localization.videos import Untrimmed

KITCHEN = Untrimmed("P01_01", Path("P01_01.MP4"), 12.5, ())
HACS = Untrimmed("v_aaaaaaaaa", Path("v_v_aaaaaaaaa.mp4"), 20.0, ())


def values(count, first=0, channels=3):
    return torch.arange(first, first + count, dtype=torch.float32)[:, None].repeat(1, channels)


@pytest.fixture
def kitchen(tmp_path):
    """Features of 12.5 s in files of 5 s, each value the number of its clip; and of another video."""
    for start, end, first, count in ((0, 5000, 0, 37), (5000, 10000, 37, 38), (10000, 12500, 75, 18)):
        torch.save(values(count, first), tmp_path / f"P01_01_{start}_{end}.pkl")
    torch.save(values(37), tmp_path / "P01_02_0_5000.pkl")
    return tmp_path


def test_kitchen_files_are_put_together(kitchen):
    read = ReleasedFeatures("ek100", kitchen).read(KITCHEN)
    assert read.values.shape == (93, 3) and read.values.dtype == np.float32
    assert (read.values[:, 0] == np.arange(93)).all()
    assert read.times == pytest.approx([(7 + 8 * clip) / 60 for clip in range(93)])


@pytest.mark.parametrize("count", [37, 39])
def test_a_file_of_one_clip_more_or_fewer_leaves_the_others_where_they_are(kitchen, count):
    torch.save(values(count, 37), kitchen / "P01_01_5000_10000.pkl")
    read = ReleasedFeatures("ek100", kitchen).read(KITCHEN)
    assert (read.values[:, 0] == [*range(37), *range(37, 37 + min(count, 38)), *range(75, 93)]).all()
    assert read.times == pytest.approx((7 + 8 * read.values[:, 0]) / 60)


@pytest.mark.parametrize("zipped", [True, False])
def test_arrays_are_read_as_tensors_are(kitchen, zipped):
    path = kitchen / "P01_01_5000_10000.pkl"
    torch.save(values(38, 37).numpy(), path, _use_new_zipfile_serialization=zipped)
    assert (ReleasedFeatures("ek100", kitchen).read(KITCHEN).values[:, 0] == np.arange(93)).all()
    if not zipped:  # as the first version of NumPy calls it
        path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
        assert (ReleasedFeatures("ek100", kitchen).read(KITCHEN).values[:, 0] == np.arange(93)).all()


def test_files_of_hacs(tmp_path):
    (tmp_path / "training").mkdir()
    torch.save(values(37).half(), tmp_path / "training" / "v_v_aaaaaaaaa.pkl")
    released = ReleasedFeatures("hacs", tmp_path)
    assert "v_aaaaaaaaa" in released and "aaaaaaaaa" not in released
    read = released.read(HACS)
    assert read.times[[0, 36]] == pytest.approx([15 / 30, (15 + 16 * 36) / 30])
    assert read.values.dtype == np.float32


def test_a_video_that_is_not_there(kitchen):
    released = ReleasedFeatures("ek100", kitchen)
    assert "P01_01" in released and "P07_01" not in released
    with pytest.raises(TadaError, match="no released features of P07_01"):
        released.read(replace(KITCHEN, name="P07_01"))


def test_no_files(tmp_path):
    with pytest.raises(TadaError, match=r"no released features there; expected files \{video\}_\{start\}_\{end\}.pkl"):
        ReleasedFeatures("ek100", tmp_path)
    with pytest.raises(TadaError, match="ssv2: not annotated for localization"):
        ReleasedFeatures("ssv2", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (values(30), r"P01_01_5000_10000.pkl: 30 features of P01_01, and 38 are expected of the 5.00 s"),
        (values(37, channels=4), "P01_01 have 4 channels, and 3 are expected"),
        (torch.zeros(37), r"expected a tensor \[n, C\] of P01_01, found a tensor of shape \[37\]"),
        ({"features": values(37)}, "found dict"),
        (values(37) * float("nan"), r"features of P01_01: those at 5.05 s are not finite"),
        (None, "P01_01_10000_12500.pkl: begins at 10.000 s of P01_01, and the files before it end at 5.000 s"),
    ],
)
def test_files_that_do_not_fit(kitchen, content, message):
    path = kitchen / "P01_01_5000_10000.pkl"
    path.unlink()
    if content is not None:
        torch.save(content, path)
    with pytest.raises(TadaError, match=message):
        ReleasedFeatures("ek100", kitchen).read(KITCHEN)


def test_width_may_be_demanded(kitchen):
    with pytest.raises(TadaError, match="have 3 channels, and 2048 are expected"):
        ReleasedFeatures("ek100", kitchen, channels=2048).read(KITCHEN)


@pytest.mark.parametrize("duration", [8.0, 20.0])
def test_length_of_the_video_is_another(kitchen, duration):
    with pytest.raises(TadaError, match=rf"ends at 12.50 s, and the video lasts {duration:.2f} s"):
        ReleasedFeatures("ek100", kitchen).read(replace(KITCHEN, duration=duration))


def test_hacs_of_another_length(tmp_path):
    torch.save(values(30), tmp_path / "v_aaaaaaaaa.pkl")
    with pytest.raises(TadaError, match=r"30 features of aaaaaaaaa, and 37 are expected of the 20.00 s"):
        ReleasedFeatures("hacs", tmp_path).read(replace(HACS, name="aaaaaaaaa"))


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_is_executed(kitchen):
    torch.save(Malicious(kitchen / "executed"), kitchen / "P01_01_0_5000.pkl")
    with pytest.raises(TadaError, match=r"refused. Loading it would execute code .*; features are read from files"):
        ReleasedFeatures("ek100", kitchen).read(KITCHEN)
    assert not (kitchen / "executed").exists()


def test_damaged_file(kitchen):
    path = kitchen / "P01_01_0_5000.pkl"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(TadaError, match="not a file of features, or cut short"):
        ReleasedFeatures("ek100", kitchen).read(KITCHEN)
