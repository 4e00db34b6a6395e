"""EPIC-KITCHENS-100 in the layouts that users have; the video files are empty, since nothing here opens them."""

import pytest

from tada.base.errors import TadaError
from tada.data import catalog
from tada.data.catalog import Place
from tada.data.readers import ek100

HEADING = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
TRAIN = [("P01_01", 0, "00:00:00.14", "00:00:03.37", 3, 3), ("P01_01", 1, "00:10:04.00", "01:00:06.50", 0, 298)]
VALIDATION = [("P12_101", 0, "00:00:10.00", "00:00:11.00", 96, 0)]


def csv(rows):
    lines = []
    for video, number, start, stop, verb, noun in rows:
        lines.append(
            f'{video}_{number},{video[:3]},{video},00:00:01.0,{start},{stop},8,202,"open the door, slowly",open,{verb},'
            f"door,{noun},\"['door', 'pan:lid']\",\"[{noun}, 5]\""
        )
    return HEADING + "\n".join(lines) + "\n"


PLACES = {
    "as distributed": "{person}/videos/{video}.MP4",
    "resized": "videos_512x288/{video}.mp4",
    "resized, by person": "EPIC-KITCHENS/{person}/videos/{video}.mp4",
    "frames as distributed": "{person}/rgb_frames/{video}/frame_0000000001.jpg",
    "frames": "frames/{video}/frame_0000000001.jpg",
}


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def write(root, place="{person}/videos/{video}.MP4", folder="annotations", train=TRAIN, validation=VALIDATION):
    for video in ("P01_01", "P12_101"):
        touch(root / place.format(person=video[:3], video=video))
    folder = root / folder
    folder.mkdir(exist_ok=True)
    (folder / "EPIC_100_train.csv").write_text(csv(train))
    (folder / "EPIC_100_validation.csv").write_text(csv(validation))
    info = "video_id,duration,fps,resolution\nP01_01,4000.5,59.9400599,1920x1080\nP12_101,90.1,50.0,1920x1080\n"
    (folder / "EPIC_100_video_info.csv").write_text(info)
    return root


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("folder", ["", "annotations", "epic-kitchens-100-annotations"])
def test_every_layout_is_read_alike(tmp_path, place, folder):
    read = ek100.read(write(tmp_path / "a folder", place, folder))
    first, second = read.train.clips
    assert (first.name, first.label, first.start, first.end) == ("P01_01_0", {"verb": 3, "noun": 3}, 0.14, 3.37)
    assert (second.label, second.start, second.end) == ({"verb": 0, "noun": 298}, 604.0, 3606.5)
    (third,) = read.validation.clips
    assert third.path.exists() and third.path.stem == "P12_101"
    frames = "frames" in place
    assert (first.fps, third.fps) == ((59.9400599, 50.0) if frames else (None, None))
    assert ("folders of frames" if frames else "2 of 2 videos") in read.layout
    assert {task: len(names) for task, names in read.classes.items()} == {"verb": 97, "noun": 300}
    assert read.unlisted == ()


def test_names_of_classes(tmp_path):
    root = write(tmp_path)
    for task, count in (("verb", 97), ("noun", 300)):
        lines = [f"{number},{task} {number},\"['a', 'b']\",x" for number in reversed(range(count))]
        path = root / "annotations" / f"EPIC_100_{task}_classes.csv"
        path.write_text("id,key,instances,category\n" + "\n".join(lines))
    assert ek100.read(root).classes["verb"][96] == "verb 96"
    (root / "annotations" / "EPIC_100_noun_classes.csv").write_text("id,key\n0,tap\n2,pan\n")
    with pytest.raises(TadaError, match=r"noun_classes\.csv: the 2 classes are not numbered 0 to 1"):
        ek100.read(root)


def test_rows_that_cannot_be_used_are_named(tmp_path):
    bad = [
        ("P01_02", 0, "00:00:01.00", "00:00:02.00", 1, 1),
        ("P01_01", 7, "00:00:05.00", "00:00:05.00", 1, 1),
        ("P01_01", 8, "half past", "00:00:05.00", 1, 1),
        ("P01_01", 9, "00:00:01.00", "00:00:05.00", 97, 1),
        ("P01_01", 0, "00:00:01.00", "00:00:05.00", 1, 1),
    ]
    root = write(tmp_path, train=[*TRAIN, *bad])
    touch(root / "P99" / "videos" / "P99_01.MP4")
    touch(root / "P01" / "videos" / "P01_77.MP4")
    (root / "annotations" / "EPIC_100_test_timestamps.csv").write_text("narration_id,video_id\nP01_77_0,P01_77\n")
    read = ek100.read(root)
    assert set(read.train.skipped) == {"P01_02_0", "P01_01_7", "P01_01_8", "P01_01_9", "P01_01_0 (row 2 of it)"}
    assert read.train.skipped["P01_02_0"] == "no video P01_02"
    assert "before it starts" in read.train.skipped["P01_01_7"]
    assert "cannot be read" in read.train.skipped["P01_01_8"]
    assert read.train.skipped["P01_01_9"] == "verb 97 is not one of the 97 classes"
    assert [path.stem for path in read.unlisted] == ["P99_01"]


def test_videos_and_frames_both_there(tmp_path):
    root = write(tmp_path)
    touch(root / PLACES["frames as distributed"].format(person="P01", video="P01_01"))
    assert ek100.read(root).train.clips[0].path.suffix == ".MP4"
    read = ek100.read(root, layout="frames")
    assert read.train.clips[0].path.is_dir()
    assert read.validation.skipped == {"P12_101_0": "no video P12_101"}


def test_frames_need_their_rate(tmp_path):
    root = write(tmp_path, PLACES["frames"])
    info = root / "annotations" / "EPIC_100_video_info.csv"
    info.write_text("video_id,duration,fps,resolution\nP01_01,4000.5,59.94,x\n")
    assert ek100.read(root).validation.skipped == {"P12_101_0": "no frame rate for P12_101 in EPIC_100_video_info.csv"}
    info.unlink()
    with pytest.raises(TadaError, match=r"EPIC_100_video_info\.csv: no such file"):
        ek100.read(root)


def test_folders_of_optical_flow_are_no_frames(tmp_path):
    root = write(tmp_path)
    touch(root / "P01" / "flow_frames" / "P01_01" / "u" / "frame_0000000001.jpg")
    assert ek100.read(root).train.clips[0].path.suffix == ".MP4"


def test_wrong_folders_say_what_is_expected(tmp_path):
    with pytest.raises(TadaError, match=r"(?s)no such folder.*EPIC_100_train"):
        ek100.read(tmp_path / "absent")
    with pytest.raises(TadaError, match=r"(?s)no annotations of EPIC-KITCHENS-100.*EPIC_100_train"):
        ek100.read(tmp_path)
    root = write(tmp_path)
    with pytest.raises(TadaError, match=r"none of the 2 annotated videos is there as frames"):
        ek100.read(root, layout="frames")
    with pytest.raises(TadaError, match="unknown layout 'video'; did you mean 'videos'"):
        ek100.read(root, layout="video")


def test_place_of_a_dataset_in_words_or_as_a_mapping(tmp_path):
    root = write(tmp_path / "data", folder="elsewhere")
    (tmp_path / "data" / "elsewhere").rename(tmp_path / "notes")
    assert Place.parse("/a b/c").root.name == "c"
    place = Place.parse(f'{{"root": "{root}", "annotations": "{tmp_path}/notes", "layout": "videos"}}')
    assert len(catalog.read("ek100", place).train.clips) == 2
    with pytest.raises(TadaError, match=r"data\.ek100: unknown option 'annotation'; did you mean 'annotations'"):
        catalog.read("ek100", Place(root, {"annotation": "x"}))
    with pytest.raises(TadaError, match="thumos: this dataset cannot be read"):
        catalog.read("thumos", Place(root))
