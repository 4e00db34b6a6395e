import json

import pytest

from tada.base import TadaError
from tada.data.readers import ssv2

CLASSES = {
    "Pulling something from left to right": "0",
    "Holding something": "2",
    "Pulling something from right to left": "1",
}
TRAIN = [
    {"id": "7", "label": "holding a pen", "template": "Holding [something]", "placeholders": ["a pen"]},
    {"id": "12", "label": "pulling", "template": "Pulling [something] from right to left", "placeholders": []},
]
VALIDATION = [{"id": "3", "label": "pulling", "template": "Pulling [something] from left to right"}]


def write(root, names="something-something-v2-{}.json", folder="20bn-something-something-v2", suffix="webm", **changes):
    """A dataset of three videos in one of the layouts; `changes` replace the content of an annotation file."""
    content = {"train": TRAIN, "validation": VALIDATION, "labels": CLASSES, **changes}
    for part, value in content.items():
        file = root / names.format(part)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value if isinstance(value, str) else json.dumps(value))
    (root / folder).mkdir(parents=True, exist_ok=True)
    for video in ("3", "7", "12"):
        (root / folder / f"{video}.{suffix}").touch()
    return root


@pytest.mark.parametrize("names", ["something-something-v2-{}.json", "labels/{}.json", "{}.json"])
@pytest.mark.parametrize("folder", ["20bn-something-something-v2", "videos", "."])
@pytest.mark.parametrize("suffix", ["webm", "mp4"])
def test_every_layout_is_read_alike(tmp_path, names, folder, suffix):
    root = write(tmp_path / "a folder {with} signs", names, folder, suffix)
    read = ssv2.read(root)
    assert [(clip.name, clip.label, clip.path.name) for clip in read.train.clips] == [
        ("7", 2, f"7.{suffix}"),
        ("12", 1, f"12.{suffix}"),
    ]
    assert [(clip.name, clip.label) for clip in read.validation.clips] == [("3", 0)]
    assert all(clip.path.is_file() for clip in (*read.train.clips, *read.validation.clips))
    assert read.classes[2] == "Holding something"
    assert read.mirror == {0: 1, 1: 0}
    assert f"3 .{suffix} videos" in read.layout


def test_annotations_and_videos_elsewhere(tmp_path):
    write(tmp_path / "a", "labels/{}.json", "clips")
    (tmp_path / "root").mkdir()
    read = ssv2.read(tmp_path / "root", annotations=tmp_path / "a" / "labels", videos=tmp_path / "a" / "clips")
    assert len(read.train.clips) == 2


def test_webm_counts_where_a_video_is_there_twice(tmp_path):
    root = write(tmp_path)
    (root / "20bn-something-something-v2" / "7.mp4").touch()
    assert ssv2.read(root).train.clips[0].path.suffix == ".webm"


def test_rows_without_video_and_unknown_classes_are_counted_and_named(tmp_path):
    rows = [*TRAIN, {"id": "99", "template": "Holding [something]"}, {"id": "3", "template": "Eating [something]"}]
    read = ssv2.read(write(tmp_path, train=rows))
    counts = read.train.counts()
    assert (counts.listed, counts.used, counts.skipped) == (4, 2, ["3", "99"])
    assert read.train.skipped["99"] == "no video file"
    assert "Eating something" in read.train.skipped["3"]
    with pytest.raises(TadaError, match="2 of 4 videos"):
        read.train.check(0.1)


def test_videos_without_a_row_are_named(tmp_path):
    root = write(tmp_path)
    (root / "20bn-something-something-v2" / "5.webm").touch()
    (root / "20bn-something-something-v2" / "6.webm").touch()
    (root / "something-something-v2-test.json").write_text('[{"id": "5"}]')
    assert [path.stem for path in ssv2.read(root).unlisted] == ["6"]


def test_wrong_root_says_what_is_expected(tmp_path):
    with pytest.raises(TadaError, match=r"(?s)no such folder.*1\.webm"):
        ssv2.read(tmp_path / "absent")
    with pytest.raises(TadaError, match=r"(?s)no annotations.*train,validation,labels"):
        ssv2.read(tmp_path)


def test_annotations_in_part(tmp_path):
    root = write(tmp_path)
    (root / "something-something-v2-labels.json").unlink()
    with pytest.raises(TadaError, match=r"something-something-v2-labels\.json: missing"):
        ssv2.read(root)


def test_no_videos(tmp_path):
    root = write(tmp_path)
    for file in (root / "20bn-something-something-v2").iterdir():
        file.unlink()
    with pytest.raises(TadaError, match="no video files"):
        ssv2.read(root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": "[{"}, r"train\.json: not valid JSON"),
        ({"train": [{"label": "x"}]}, r"train\.json: row 0 has no id"),
        ({"labels": {"Holding something": "zero"}}, r"labels\.json: not a mapping"),
        ({"labels": ["Holding something"]}, r"labels\.json: not a mapping"),
        ({"labels": {"Holding something": "1"}}, r"labels\.json: the classes are not numbered"),
    ],
)
def test_malformed_annotations(tmp_path, changes, message):
    with pytest.raises(TadaError, match=message):
        ssv2.read(write(tmp_path, **changes))
