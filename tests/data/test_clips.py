from pathlib import Path

import pytest

from tada.base import TadaError
from tada.data.clips import Clip, Split, mirror_classes


def split(clips=8, skipped=2):
    return Split(
        "train",
        tuple(Clip(str(index), Path(f"{index}.webm"), 0) for index in range(clips)),
        {f"s{index}": "no video file" for index in range(skipped)},
    )


def test_mirrored_classes_are_found_by_name():
    # A few names of Something-Something-V2 under their numbers there: the pairs the released code swaps, and some
    # that name a side or a direction without having a mirror image of their own.
    names = {
        41: "Poking a hole into something soft",
        86: "Pulling something from left to right",
        87: "Pulling something from right to left",
        93: "Pushing something from left to right",
        94: "Pushing something from right to left",
        130: "Something being deflected from something",
        164: "Turning something upside down",
        165: "Turning the camera downwards while filming something",
        166: "Turning the camera left while filming something",
        167: "Turning the camera right while filming something",
        168: "Turning the camera upwards while filming something",
    }
    classes = [names.get(index, f"Doing thing {index} with leftovers") for index in range(174)]
    assert mirror_classes(classes) == {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}


def test_a_side_without_its_opposite_has_no_mirror():
    assert mirror_classes(["Moving something left", "Holding something"]) == {}


def test_counts_stand_for_every_listed_clip():
    counts = split().without({"3": "empty file (0 bytes)"}).counts()
    assert (counts.listed, counts.used, counts.skipped) == (10, 7, ["3", "s0", "s1"])


def test_share_of_unusable_clips():
    assert split().check(0.2).listed == 10
    with pytest.raises(TadaError, match=r"train: 2 of 10 videos cannot be used, more than the 10\.0%") as error:
        split().check(0.1)
    assert "2 x no video file (e.g. s0)" in str(error.value)


@pytest.mark.parametrize("skipped", [{}, {"a": "no file"}])
def test_a_split_without_videos_is_refused(skipped):
    with pytest.raises(TadaError, match=rf"validation: no videos: the annotations list {len(skipped)}"):
        Split("validation", (), skipped).check(max_skipped=1.0)
