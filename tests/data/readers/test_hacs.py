"""HACS Segments in the layouts that users have; the video files are empty, since nothing here opens them."""

import json

import pytest

from tada.base import TadaError
from tada.data import catalog
from tada.data.catalog import Place
from tada.data.readers import hacs


def entry(subset, duration, *rows):
    annotations = [{"label": label, "segment": [start, end]} for label, start, end in rows]
    return {"annotations": annotations, "subset": subset, "duration": duration, "url": "https://www.youtube.com/"}


DATABASE = {
    "aaaaaaaaaaa": entry("training", "92.166667", ("Playing darts", 1.5, 20.0), ("Playing darts", 30, 92.5)),
    "v_bbbbbbbbb": entry("training", "50.0", ("Arm wrestling", 0.0, 10.0)),
    "-cccccccccc": entry("validation", "60.0", ("Playing darts", 5.0, 6.25)),
    "ddddddddddd": entry("testing", "60.0"),
}

PLACES = {
    "class/v_ID": "{folder}/v_{video}.mp4",
    "class with spaces, no prefix": "{name}/{video}.mp4",
    "flat": "v_{video}.webm",
    "by split": "training/{folder}/v_{video}.mkv",
}


def place(root, database=DATABASE, pattern=PLACES["class/v_ID"], file="HACS_segments_v1.1.1.json"):
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps({"database": database}))
    for video, of in database.items():
        name = of["annotations"][0]["label"] if of["annotations"] else "Arm wrestling"
        path = root / pattern.format(folder=name.replace(" ", "_"), name=name, video=video)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize("pattern", PLACES.values(), ids=PLACES)
def test_layouts(tmp_path, pattern):
    read = hacs.read(place(tmp_path, pattern=pattern))
    assert read.classes == ("Arm wrestling", "Playing darts")
    clips = {clip.name: (clip.label, clip.start, clip.end) for clip in read.train.clips}
    assert clips == {
        "aaaaaaaaaaa_0": (1, 1.5, 20.0),
        "aaaaaaaaaaa_1": (1, 30.0, 92.166667),  # cut where its video ends
        "v_bbbbbbbbb_0": (0, 0.0, 10.0),
    }
    (clip,) = read.validation.clips
    assert (clip.name, clip.label, clip.start, clip.end) == ("-cccccccccc_0", 1, 5.0, 6.25)
    assert clip.path.stem.endswith("-cccccccccc")
    assert read.train.skipped == read.validation.skipped == {} and read.unlisted == ()
    assert "2 training and 1 validation videos" in read.layout and "3 of them" in read.layout


def test_annotations_may_lie_elsewhere_and_the_latest_version_counts(tmp_path):
    old = {**DATABASE, "aaaaaaaaaaa": entry("training", "92.0", ("Playing darts", 3, 4))}
    root = place(tmp_path, file="HACS_v1.1/HACS_segments_v1.1.1.json")
    place(tmp_path, old, file="HACS_v1.1/HACS_segments_v1.1.json")
    assert len(hacs.read(root).train.clips) == 3
    named = catalog.read("hacs", Place(root, {"annotations": str(root / "HACS_v1.1" / "HACS_segments_v1.1.json")}))
    assert len(named.train.clips) == 2


def test_durations(tmp_path):
    found = hacs.durations(place(tmp_path))
    assert found == {"aaaaaaaaaaa": 92.166667, "v_bbbbbbbbb": 50.0, "-cccccccccc": 60.0}


def test_of_two_files_that_in_the_folder_of_the_class_is_taken(tmp_path):
    root = place(tmp_path)
    (root / "Abseiling").mkdir()
    (root / "Abseiling" / "v_aaaaaaaaaaa.mp4").touch()
    assert {clip.path.parent.name for clip in hacs.read(root).train.clips} == {"Playing_darts", "Arm_wrestling"}


def test_what_cannot_be_used_is_skipped_by_name(tmp_path):
    database = {
        **DATABASE,
        "eeeeeeeeeee": entry(
            "validation", "30.0", ("Arm wrestling", 5, 5), ("Arm wrestling", 9, 5), ("Arm wrestling", 28, 40),
            ("Arm wrestling", 31, 33), ("Arm wrestlin", 1, 2), ("Arm wrestling", "x", 2), ("Arm wrestling", 1, 2),
        ),
        "fffffffffff": entry("validation", "unknown", ("Arm wrestling", 5, 6)),
        "ggggggggggg": entry("validation", "30", ("Arm wrestling", 5, 6)),
    }  # fmt: skip
    root = place(tmp_path, database)
    (root / "Arm_wrestling" / "v_ggggggggggg.mp4").unlink()
    (root / "Arm_wrestling" / "v_hhhhhhhhhhh.mp4").touch()
    read = hacs.read(root)
    assert [clip.name for clip in read.validation.clips] == ["-cccccccccc_0", "eeeeeeeeeee_6"]
    assert read.validation.skipped == {
        "eeeeeeeeeee_0": "no length: begins and ends at 5.00 s",
        "eeeeeeeeeee_1": "ends at 5.00 s, before it starts at 9.00 s",
        "eeeeeeeeeee_2": "lasts from 28.00 s to 40.00 s, outside its video of 30.00 s",
        "eeeeeeeeeee_3": "lasts from 31.00 s to 33.00 s, outside its video of 30.00 s",
        "eeeeeeeeeee_4": "class 'Arm wrestlin' is not among those of the training videos",
        "eeeeeeeeeee_5": "its segment ['x', 2] is not two times",
        "fffffffffff_0": "the duration of its video cannot be read",
        "ggggggggggg_0": "no video v_ggggggggggg",
    }
    assert [path.stem for path in read.unlisted] == ["v_hhhhhhhhhhh"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "no key 'database'"),
        ('{"database": {"a": []}}', "the entry of video a is malformed"),
        ('{"database": {"a": {"annotations": [], "subset": "train"}}}', "one of training, validation, testing"),
        ('{"database": {"a": {"annotations": [], "subset": "training"}}}', "no video of the subset 'validation'"),
    ],
)
def test_malformed_annotations(tmp_path, content, message):
    (tmp_path / "HACS_segments_v1.1.1.json").write_text(content)
    with pytest.raises(TadaError, match=message):
        hacs.read(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(TadaError, match="no such folder"):
        hacs.read(tmp_path / "hacs")
    with pytest.raises(TadaError, match="no annotations of HACS Segments; expected there"):
        hacs.read(tmp_path)
    (tmp_path / "HACS_segments_v1.1.1.json").write_text(json.dumps({"database": DATABASE}))
    with pytest.raises(TadaError, match="none of the 3 annotated videos is there"):
        hacs.read(tmp_path)
