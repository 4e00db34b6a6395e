import csv

import numpy as np
import pytest

from tada.base import TadaError
from tada.data import mini
from tada.data.catalog import Place
from tada.data.mini.rendering import RenderSpec, write_video
from tada.localization.videos import Segment, read_untrimmed

SPEC = RenderSpec(train=12, validation=6, frames=(10, 30), untrimmed=(60, 90), segments=(1, 2), pause=6)
INFO = "EPIC_100_video_info.csv"


@pytest.fixture(scope="module", params=["ek100", "hacs"])
def rendered(tmp_path_factory, request):
    root = tmp_path_factory.mktemp("data") / request.param
    return request.param, root, mini.render(root, SPEC, dataset=request.param)


@pytest.fixture
def kitchen(tmp_path):
    """One training and one validation video of 5 s, each with two segments."""
    for split, video in (("train", "P01_01"), ("validation", "P01_02")):
        rows = ["narration_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,verb_class,noun_class"]
        rows.append(f"{video}_0,{video},00:00:03.00,00:00:04.50,180,270,1,2")
        rows.append(f"{video}_1,{video},00:00:01.00,00:00:02.00,60,120,3,4")
        (tmp_path / f"EPIC_100_{split}.csv").write_text("\n".join(rows) + "\n")
        write_video(tmp_path / f"{video}.mp4", np.zeros((60, 16, 16, 3), np.uint8))
    return tmp_path


def test_mini_datasets_are_read_whole(rendered):
    dataset, root, manifest = rendered
    splits = read_untrimmed(dataset, Place(root))
    counts = manifest["counts"]
    assert len(splits.train) + len(splits.validation) == counts["videos"]
    for name in ("train", "validation"):
        videos = getattr(splits, name)
        assert sum(len(video.segments) for video in videos) == counts[name]
        assert splits.skipped[name] == {}
        for video in videos:
            assert 5 <= video.duration <= 7.5 and video.path.is_file() and video.name in video.path.stem
            edges = [edge for segment in video.segments for edge in (segment.start, segment.end)]
            assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= video.duration


def test_annotations_suffice_for_those_who_have_features(rendered, tmp_path):
    dataset, root, _ = rendered
    for path in (*root.glob("*.csv"), *root.glob("HACS*.json")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(TadaError, match="none of the"):
        read_untrimmed(dataset, Place(tmp_path))
    bare, whole = read_untrimmed(dataset, Place(tmp_path), files=False), read_untrimmed(dataset, Place(root))
    for split in ("train", "validation"):
        of_bare, of_whole = ([(v.name, v.duration, v.segments) for v in getattr(of, split)] for of in (bare, whole))
        assert of_bare == of_whole
    assert bare.classes == whole.classes and "without" in bare.layout


def test_segments_have_their_labels_in_the_order_of_time(kitchen):
    splits = read_untrimmed("ek100", Place(kitchen))
    (video,) = splits.train
    assert (video.name, video.duration, video.fps) == ("P01_01", 5.0, None)  # by the file: there is no table of videos
    assert video.segments == (
        Segment(1.0, 2.0, {"verb": 3, "noun": 4}),
        Segment(3.0, 4.5, {"verb": 1, "noun": 2}),
    )
    assert [video.name for video in splits.validation] == ["P01_02"]


def test_the_table_of_videos_has_the_say(kitchen):
    (kitchen / INFO).write_text("video_id,duration,fps,resolution\nP01_01,2.5,12,16x16\nP01_02,unknown,12,16x16\n")
    splits = read_untrimmed("ek100", Place(kitchen))
    assert (splits.train[0].duration, splits.validation[0].duration) == (2.5, 5.0)
    assert len(splits.train[0].segments) == 1
    assert splits.skipped["train"] == {"P01_01_0": "lasts from 3.00 s to 4.50 s, outside its video of 2.50 s"}


def test_a_video_without_duration_is_skipped_by_name(kitchen):
    (kitchen / "P01_02.mp4").write_bytes(b"no video")
    splits = read_untrimmed("ek100", Place(kitchen))
    assert splits.validation == ()
    assert splits.skipped["validation"]["P01_02"].startswith("its duration cannot be found: damaged, or no video")


def test_folders_of_frames(kitchen):
    for video in ("P01_01", "P01_02"):
        (kitchen / f"{video}.mp4").unlink()
        (kitchen / video).mkdir()
        for number in range(1, 301):
            (kitchen / video / f"frame_{number:010d}.jpg").touch()
    with (kitchen / INFO).open("w") as file:
        csv.writer(file).writerows([("video_id", "duration", "fps"), ("P01_01", 5, 30), ("P01_02", 5, 30)])
    splits = read_untrimmed("ek100", Place(kitchen))
    assert [(video.name, video.fps, video.path.is_dir()) for video in splits.train] == [("P01_01", 60.0, True)]


def test_a_dataset_of_trimmed_videos_is_refused(tmp_path):
    with pytest.raises(TadaError, match="ssv2: not annotated for localization; annotated: ek100, hacs"):
        read_untrimmed("ssv2", Place(tmp_path))
