"""Kinetics-400 in the layouts that users have; the video files are empty, since nothing here opens them."""

import pytest

from tada.base import TadaError
from tada.data.readers import k400

HEADING = "label,youtube_id,time_start,time_end,split,is_cc\n"
TRAIN = [("air drumming", "-0ab_XYZ123", 1, 11), ("massaging person's head", "zzzzzzzzzzz", 120, 130)]
VALIDATION = [("massaging person's head", "a b c d e f", 0, 10)]


def csv(rows, split, quoted=True):
    quote = '"' if quoted else ""
    lines = [f"{quote}{label}{quote},{video},{start},{end},{split},0" for label, video, start, end in rows]
    return HEADING + "\n".join(lines) + "\n"


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def names(clip):
    return f"{clip[1]}_{clip[2]:06d}_{clip[3]:06d}.mp4", f"{clip[1]}.mp4"


PLACES = {
    "class folders with spaces": lambda split, clip: f"{split}/{clip[0]}/{names(clip)[0]}",
    "class folders with underscores": lambda split, clip: f"{split}_256/{clip[0].replace(' ', '_')}/{names(clip)[0]}",
    "flat, as CVDF serves it": lambda split, clip: f"{split}/{names(clip)[0]}",
    "flat, by identifier": lambda split, clip: f"videos/{names(clip)[1]}",
    "class folders, by identifier": lambda split, clip: f"videos_{split}/{clip[0]}/{names(clip)[1]}",
    "beside the annotations": lambda split, clip: names(clip)[0],
}


def place_videos(root, place):
    for split, rows in (("train", TRAIN), ("val", VALIDATION)):
        for clip in rows:
            touch(root / place(split, clip))


FLAT = PLACES["flat, as CVDF serves it"]


def write(root, place=FLAT, folder="", val="val", train=TRAIN, validation=VALIDATION, **how):
    place_videos(root, place)
    (root / folder).mkdir(exist_ok=True)
    (root / folder / "train.csv").write_text(csv(train, "train", **how))
    (root / folder / f"{val}.csv").write_text(csv(validation, val, **how))
    return root


def seen(split):
    return [(clip.name, clip.label) for clip in split.clips]


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("folder", "val"), [("", "val"), ("annotations", "validate")])
def test_official_files_and_videos_in_every_place(tmp_path, place, folder, val):
    read = k400.read(write(tmp_path / "a folder, with 'signs'", place, folder, val))
    assert seen(read.train) == [("-0ab_XYZ123", 0), ("zzzzzzzzzzz", 1)]
    assert seen(read.validation) == [("a b c d e f", 1)]
    assert read.classes == ("air drumming", "massaging person's head")
    assert all(clip.path.is_file() for clip in (*read.train.clips, *read.validation.clips))
    assert "official CSV" in read.layout and "3 videos <id>" in read.layout
    assert (read.unlisted, read.mirror) == ((), {})


def test_labels_need_no_quotes(tmp_path):
    assert seen(k400.read(write(tmp_path, quoted=False)).validation) == [("a b c d e f", 1)]


def test_replacements_of_corrupted_videos_count(tmp_path):
    root = write(tmp_path)
    touch(root / "replacement" / "replacement_for_corrupted_k400" / names(TRAIN[1])[0])
    read = k400.read(root)
    assert [clip.path.parent.name for clip in read.train.clips] == ["train", "replacement_for_corrupted_k400"]
    assert read.unlisted == ()


def test_rows_without_video_and_videos_without_row_are_named(tmp_path):
    train = [*TRAIN, ("air drumming", "gone-------", 1, 11), ("air drumming", "-0ab_XYZ123", 1, 11)]
    root = write(tmp_path, train=train, validation=[*VALIDATION, ("singing", "zzzzzzzzzzz", 120, 130)])
    touch(root / "train" / "nobody_0123_000001_000011.mp4")
    read = k400.read(root)
    assert read.train.skipped == {"gone-------": "no video file", "-0ab_XYZ123 (row 2 of it)": "listed more than once"}
    assert read.validation.skipped == {"zzzzzzzzzzz": "class 'singing' is not among those of the training videos"}
    assert [path.name for path in read.unlisted] == ["nobody_0123_000001_000011.mp4"]


def test_test_videos_beside_the_others_are_no_strangers(tmp_path):
    root = write(tmp_path)
    (root / "test.csv").write_text("youtube_id,time_start,time_end,split\nnobody_0123,1,11,test\n")
    touch(root / "test" / "nobody_0123_000001_000011.mp4")
    assert k400.read(root).unlisted == ()


def test_a_time_that_is_none(tmp_path):
    root = write(tmp_path)
    (root / "train.csv").write_text(csv(TRAIN, "train") + "singing,x,?,11,train,0\n")
    assert k400.read(root).train.skipped == {"x": "time '?' to '11' is no time"}


LISTS = {
    "relative to the videos": ("{folder}/{file} {label}", "videos_{split}"),
    "comma": ("{folder}/{file},{label}", "videos_{split}"),
    "comma and space, quoted": ('"videos_{split}/{folder}/{file}", {label}', "videos_{split}"),
    "paths of another machine": ("/somewhere/else/{folder}/{file} {label}", "{split}"),
    "tab": ("{file}\t{label}", "{split}"),
}


def write_list(root, line, videos, names="kinetics400_{split}_list_videos.txt"):
    for split, rows in (("train", TRAIN), ("val", VALIDATION)):
        lines = []
        for number, clip in enumerate(rows):
            label = number if split == "train" else 399
            folder, file = clip[0], names_of(clip)
            touch(root / videos.format(split=split) / folder / file)
            lines.append(line.format(folder=folder, file=file, label=label, split=split))
        (root / names.format(split=split)).write_text("\n".join(lines) + "\n\n")
    return root


def names_of(clip):
    return names(clip)[0]


@pytest.mark.parametrize(("line", "videos"), LISTS.values(), ids=LISTS)
def test_lists_of_paths_with_spaces(tmp_path, line, videos):
    read = k400.read(write_list(tmp_path, line, videos))
    assert [clip.label for clip in read.train.clips] == [0, 1]
    assert [clip.path.name for clip in read.train.clips] == [names_of(clip) for clip in TRAIN]
    assert [clip.label for clip in read.validation.clips] == [399]
    assert len(read.classes) == 400 and "lists" in read.layout


def test_absolute_paths_outside_the_folder(tmp_path):
    root = write_list(tmp_path / "lists", "{file} {label}", "{split}", names="{split}.csv")
    touch(tmp_path / "elsewhere" / "x y.mp4")
    with (root / "train.csv").open("a") as file:
        file.write(f"{tmp_path}/elsewhere/x y.mp4 7\n")
    assert k400.read(root).train.clips[-1].path == tmp_path / "elsewhere" / "x y.mp4"


def test_bad_lines_of_a_list_are_named(tmp_path):
    root = write_list(tmp_path, "{file} {label}", "{split}")
    with (root / "kinetics400_train_list_videos.txt").open("a") as file:
        file.write("absent.mp4 3\nno label here\n" + f"{names_of(VALIDATION[0])} 400\n")
    assert k400.read(root).train.skipped == {
        "absent.mp4": "no video file",
        "line 5": "no label at the end of 'no label here'",
        names_of(VALIDATION[0]): "label 400 is not one of the 400 classes",
    }


@pytest.mark.parametrize("folders", ["class folders with spaces", "class folders with underscores"])
def test_folders_alone(tmp_path, folders):
    place_videos(tmp_path, PLACES[folders])
    touch(next(tmp_path.glob("train*")) / "astray.mp4")
    touch(next(tmp_path.glob("val*")) / "unheard of" / "x.mp4")
    read = k400.read(tmp_path)
    assert read.classes == ("air drumming", "massaging person's head")
    assert seen(read.train) == [("-0ab_XYZ123", 0), ("zzzzzzzzzzz", 1)]
    assert seen(read.validation) == [("a b c d e f", 1)]
    assert set(read.train.skipped) == {"astray"} and set(read.validation.skipped) == {"x"}
    assert "no annotations" in read.layout


def test_layout_can_be_chosen(tmp_path):
    root = write(tmp_path, PLACES["class folders with spaces"])
    assert "no annotations" in k400.read(root, layout="folders").layout
    with pytest.raises(TadaError, match="no annotations of Kinetics-400"):
        k400.read(root, layout="list")
    with pytest.raises(TadaError, match="unknown layout 'folder'; did you mean 'folders'"):
        k400.read(root, layout="folder")


def test_annotations_and_videos_elsewhere(tmp_path):
    write(tmp_path / "a", folder="mine")
    (tmp_path / "root").mkdir()
    read = k400.read(tmp_path / "root", annotations=tmp_path / "a" / "mine", videos=tmp_path / "a" / "train")
    assert len(read.train.clips) == 2
    assert read.validation.skipped == {"a b c d e f": "no video file"}


def test_wrong_folders_say_what_is_expected(tmp_path):
    with pytest.raises(TadaError, match=r"(?s)no such folder.*youtube_id"):
        k400.read(tmp_path / "absent")
    with pytest.raises(TadaError, match=r"(?s)no annotations and no class folders.*youtube_id"):
        k400.read(tmp_path)
    with pytest.raises(TadaError, match=r"(?s)no annotations of Kinetics-400"):
        k400.read(tmp_path, annotations=tmp_path)
    (tmp_path / "train.csv").write_text(csv(TRAIN, "train"))
    with pytest.raises(TadaError, match=r"train\.csv: is there, and the validation annotations beside it are not"):
        k400.read(tmp_path)
    (tmp_path / "val.csv").write_text(csv(VALIDATION, "val"))
    with pytest.raises(TadaError, match=r"(?s)no video files.*youtube_id"):
        k400.read(tmp_path)


def test_a_heading_without_a_column(tmp_path):
    root = write(tmp_path)
    (root / "val.csv").write_text("label,youtube_id,start\nx,y,1\n")
    with pytest.raises(TadaError, match=r"val\.csv: no column 'time_start'; its heading has label, youtube_id, start"):
        k400.read(root)
