"""EPIC-KITCHENS-100 in the layouts that users have; the video files are empty, since nothing here opens them."""

import pytest

from tada.base import TadaError
from tada.data import catalog
from tada.data.catalog import Place
from tada.data.readers import ek100
from tada.data.video.random_access import FrameFolder

HEADING = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
TRAIN = [("P01_01", 0, "00:00:00.14", "00:00:03.37", 3, 3), ("P01_01", 1, "00:10:04.00", "01:00:06.50", 0, 298)]
VALIDATION = [("P12_101", 0, "00:00:10.00", "00:00:11.00", 96, 0)]


RATES = {"P01_01": 60, "P01_02": 60, "P12_101": 50}
LAST, SECONDS = {"P01_01": 216390, "P12_101": 550}, {"P01_01": 4000.5, "P12_101": 90.1}


def frame(time, rate):
    """The number of a frame as the annotations have it: its time's, rounded down."""
    try:
        return int(ek100.seconds(time) * rate + 1e-6)
    except ValueError:
        return 8


def csv(rows, rates=RATES):
    lines = []
    for video, number, start, stop, verb, noun in rows:
        frames = f"{frame(start, rates[video])},{frame(stop, rates[video])}"
        lines.append(
            f'{video}_{number},{video[:3]},{video},00:00:01.0,{start},{stop},{frames},"open it, slowly",open,{verb},'
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
        path = root / place.format(person=video[:3], video=video)
        touch(path)
        if path.suffix == ".jpg":  # and of the others, those that a reader asks for
            for number in (LAST[video] - RATES[video], (SECONDS[video] - 1) * RATES[video]):
                touch(path.with_name(f"frame_{round(number):010d}.jpg"))
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
    assert (first.fps, third.fps) == ((60.0, 50.0) if frames else (None, None))
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
    with pytest.raises(TadaError, match=r"noun_classes\.csv: the classes are not numbered 0 to 1"):
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
    for number in (1, LAST["P01_01"] - 60, (SECONDS["P01_01"] - 1) * 60):
        touch(root / "P01" / "rgb_frames" / "P01_01" / f"frame_{round(number):010d}.jpg")
    assert ek100.read(root).train.clips[0].path.suffix == ".MP4"
    read = ek100.read(root, layout="frames")
    assert read.train.clips[0].path.is_dir()
    assert read.validation.skipped == {"P12_101_0": "no video P12_101"}


def kitchen(root, rates, taken, seconds=20, info=True):
    """Two folders of frames `taken` so many a second, and annotations that count with `rates`."""
    for video, rate in taken.items():
        for number in range(1, round(seconds * rate) + 1):
            touch(root / video / f"frame_{number:010d}.jpg")
    rows = [("00:00:00.14", "00:00:03.37"), ("00:00:07.50", "00:00:12.08"), ("00:00:15.00", "00:00:19.96")]
    for split, video in (("train", "P01_01"), ("validation", "P12_101")):
        table = [(video, number, *times, 1, 1) for number, times in enumerate(rows)]
        (root / f"EPIC_100_{split}.csv").write_text(csv(table, rates))
    if info:  # the rates of the original videos, which say nothing of the frames
        lines = [f"{video},{seconds},59.9400599,1920x1080" for video in taken]
        (root / "EPIC_100_video_info.csv").write_text("video_id,duration,fps,resolution\n" + "\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("info", [True, False])
@pytest.mark.parametrize("rates", [(60, 50), (50, 60), (12, 30), (59.94, 25)])
def test_rate_of_frames_is_that_by_which_the_annotations_count(tmp_path, rates, info):
    rates = dict(zip(("P01_01", "P12_101"), rates, strict=True))
    read = ek100.read(kitchen(tmp_path, rates, rates, info=info))
    assert len(read.train.clips) == len(read.validation.clips) == 3
    (rate,) = {clip.fps for clip in read.train.clips}
    assert rate == pytest.approx(rates["P01_01"], abs=0.07)
    assert {clip.fps for clip in read.validation.clips} == {rates["P12_101"]}


def test_annotated_frames_are_those_that_are_read(tmp_path):
    """Every segment's first and last frame, against the numbers in the annotations."""
    root = kitchen(tmp_path, RATES, {"P01_01": 60, "P12_101": 50})
    for clip in (*ek100.read(root).train.clips, *ek100.read(root).validation.clips):
        frames = FrameFolder(clip.path, clip.fps, clip.start, clip.end)
        first, last = frames._first + 1, frames._first + frames.info.frames
        assert first == pytest.approx(clip.start * RATES[clip.path.name], abs=2)
        assert last == pytest.approx(clip.end * RATES[clip.path.name], abs=2)


@pytest.mark.parametrize("taken", [30, 50, 24])
@pytest.mark.parametrize("info", [True, False])
def test_frames_at_another_rate_than_annotated_are_named_with_both(tmp_path, taken, info):
    read = ek100.read(kitchen(tmp_path, RATES, {"P01_01": taken, "P12_101": 50}, info=info))
    assert len(read.validation.clips) == 3 and not read.train.clips
    (reason,) = set(read.train.skipped.values())
    lasts = 20.0 if info else 1197 / 60
    assert f"{20 * taken} frames, {20 * taken / lasts:.2f} a second of {lasts:.2f} s, and" in reason
    assert "the annotations number 60.00 a second" in reason
    with pytest.raises(TadaError, match=r"train: 3 of 3 videos cannot be used.*\n.*60\.00 a second"):
        read.train.check(0.05)


def test_more_frames_than_the_video_lasts_are_of_another_rate(tmp_path):
    read = ek100.read(kitchen(tmp_path, {"P01_01": 50, "P12_101": 50}, {"P01_01": 59.94, "P12_101": 50}))
    (reason,) = set(read.train.skipped.values())
    assert "59.95 a second of 20.00 s, and the annotations number 50.00 a second" in reason


def test_annotations_that_number_no_frames(tmp_path):
    root = kitchen(tmp_path, RATES, {"P01_01": 60, "P12_101": 50})
    table = root / "EPIC_100_train.csv"
    table.write_text(table.read_text().replace("start_frame,stop_frame", "first,last"))
    read = ek100.read(root)
    reason = "start_frame and stop_frame of P01_01 do not tell the rate of its frames"
    assert set(read.train.skipped.values()) == {reason}
    assert len(read.validation.clips) == 3


def test_numbered_rate_by_hand():
    assert ek100.numbered_rate([8, 202], [0.14, 3.37]) == 60
    assert ek100.numbered_rate([100000, 100100], [2000.0, 2002.0]) == 50
    assert ek100.numbered_rate([299, 600], [5.0, 10.0]) == 60
    assert ek100.numbered_rate([59940], [1000.0]) == pytest.approx(59.94)
    assert ek100.numbered_rate([60, 50], [1.0, 5.0]) is None
    assert ek100.numbered_rate([0, 0], [0.0, 0.0]) is None


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
    for wrong in (
        '{"root": "a",}',
        '{"root": 7}',
        '{"annotations": "a"}',
        '{"root": "a", "videos": ["b"]}',
        "{" * 9999,
    ):
        with pytest.raises(TadaError, match=r'--data: .*expected a folder, or {"root": FOLDER'):
            Place.parse(wrong)
    with pytest.raises(TadaError, match="unknown dataset 'thumos'"):
        catalog.read("thumos", Place(root))
