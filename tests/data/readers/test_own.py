"""Lists of one's own videos: what they say, and what is wrong with them by file and line."""

from pathlib import Path

import pytest

from tada.base import TadaError
from tada.data.catalog import Place
from tada.data.clips import Clip
from tada.data.readers.own import list_videos, read
from tada.data.validation import check, count_faults


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "clips/b.mp4", "c.mp4", "d.webm"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"a video")
    return tmp_path


def write(text, name="own.csv"):
    Path(name).write_text(text)
    return Path(name)


def test_one_list(folder):
    file = write(
        "path,label,start,end,split\n"
        "a.mp4,swipe left,,,train\n"
        '"clips/b.mp4", swipe right ,1.5,4,train\n'
        "clips/b.mp4,hold,4,,train\n"
        "c.mp4,hold,,2.25,validation\n"
    )
    found = read(file)
    assert found.classes == ("hold", "swipe left", "swipe right") and found.mirror == {1: 2, 2: 1}
    assert found.train.clips == (
        Clip("a.mp4", Path("a.mp4"), 1),
        Clip("clips/b.mp4 1.5-4", Path("clips/b.mp4"), 2, 1.5, 4.0),
        Clip("clips/b.mp4 4-", Path("clips/b.mp4"), 0, 4.0, None),
    )
    assert found.validation.clips == (Clip("c.mp4 -2.25", Path("c.mp4"), 0, None, 2.25),)
    assert not found.train.skipped and not found.validation.skipped


def test_two_lists_and_videos_elsewhere(folder):
    lists = folder / "lists"
    lists.mkdir()
    write("path,label\na.mp4,x\nc.mp4,y\n", lists / "train.csv")
    write("label,path\ny,d.webm\n", lists / "validation.csv")
    assert [clip.path for clip in read(lists, videos=folder).validation.clips] == [folder / "d.webm"]
    assert read(folder, annotations=lists).train.skipped == {
        "a.mp4": f"no video {lists}/a.mp4 ({lists}/train.csv, line 2)",
        "c.mp4": f"no video {lists}/c.mp4 ({lists}/train.csv, line 3)",
    }


def test_labels_that_the_mirror_exchanges_may_have_underscores(folder):
    file = write("path,label,split\na.mp4,swipe_left,train\nc.mp4,swipe_right,train\nd.webm,swipe_left,validation\n")
    assert read(file).mirror == {0: 1, 1: 0}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("gone.mp4,x,,,{}", "no video gone.mp4"),
        ("clips,x,,,{}", "no video clips"),
        (",x,,,{}", "no path"),
        ("a.mp4,,,,{}", "no label"),
        ("a.mp4,x,3,2,{}", "ends at 2.00 s, before it starts at 3.00 s"),
        ("a.mp4,x,2,2,{}", "no length: begins and ends at 2.00 s"),
        ("a.mp4,x,-0.5,2,{}", "begins at -0.50 s, before its video does"),
        ("a.mp4,x,,inf,{}", "its times 0.0 and inf are not finite"),
        ("a.mp4,x,0:05,,{}", "its start, '0:05', is no number of seconds"),
        ("c.mp4,z,,,validation", "label 'z' is not among those of the training videos"),
        ("d.webm,x,,,{}", "listed more than once"),
    ],
)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_lines_that_cannot_be_used_are_named(folder, row, reason, split):
    good = "".join(f"d.webm,{label},{start},,{split}\n" for label, start in (("x", ""), ("y", 1)) for split in SPLITS)
    file = write(f"path,label,start,end,split\n{good}{row.format(split)}\n")
    found = read(file)
    skipped = {**found.train.skipped, **found.validation.skipped}
    assert len(skipped) == 1
    where = "" if reason == "listed more than once" else " (own.csv, line 6)"
    assert list(skipped.values()) == [reason + where]
    with pytest.raises(TadaError, match="1 of 3 videos cannot be used"):
        found.train.check(0.0)
        found.validation.check(0.0)


SPLITS = ("train", "validation")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.mp4,x\n", "own.csv: no column 'split'; its heading has path, label"),
        ("path,lable,split\n", "own.csv: no column 'label'; its heading has path, lable, split"),
        ("path,label,split,stop\n", "own.csv, line 1: unknown column 'stop'; "),
        ("path,label,split\na.mp4,x,test\n", "own.csv, line 2: unknown split 'test'; valid names: train, validation."),
        ("path,label,split\na,b.mp4,x,train\n", "own.csv, line 2: more values than columns; "),
        ("path,label,split\na.mp4,x,train\nb.mp4,y,train\n", "own.csv: no video of the split validation; "),
        ("path,label,split\na.mp4,x,train\nc.mp4,x,validation\n", "own.csv: the training videos have 1 label; "),
        ("", "own.csv: no column 'path'; its heading has nothing"),
    ],
)
def test_lists_that_cannot_be_read(folder, text, message):
    with pytest.raises(TadaError) as error:
        read(write(text))
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_lists_that_are_missing(folder):
    for place, missing in (("gone.csv", "gone.csv"), ("clips", "clips/train.csv")):
        with pytest.raises(TadaError, match=rf"^{missing}: no such file; expected there: a CSV file with"):
            list_videos(Path(place))


def test_a_changed_list_is_read_anew(folder):
    rows = "path,label,split\na.mp4,x,train\nc.mp4,y,train\nd.webm,y,validation\n"
    first = list_videos(write(rows))
    assert list_videos(write(rows.replace("d.webm", "a.mp4"))).sha256 != first.sha256


def test_check_data(tiny_ssv2, tmp_path):
    """Missing videos, labels that training lacks, times behind the video's end, damage: each by name."""
    videos = tiny_ssv2 / "videos"
    (tmp_path / "page.mp4").write_text("<html>404</html>" * 100)
    rows = [f"{videos}/{number}.webm,{number % 2},,,train" for number in range(1, 9)]
    rows += [f"{videos}/9.webm,1,0.2,0.6,validation", f"{videos}/9.webm,0,70,71,validation"]
    rows += ["gone.mp4,0,,,train", "page.mp4,0,,,train", f"{videos}/10.webm,new,,,validation"]
    (tmp_path / "own.csv").write_text("\n".join(["path,label,start,end,split", *rows]))
    report = check("own", Place(tmp_path / "own.csv"), tmp_path / "record.jsonl")
    train, validation = (report["splits"][split] for split in SPLITS)
    assert (train["listed"], train["usable"], validation["listed"], validation["usable"]) == (10, 8, 3, 1)
    assert train["faults"]["missing"] == {"gone.mp4": f"no video {tmp_path}/gone.mp4 ({tmp_path}/own.csv, line 12)"}
    assert list(train["faults"]["unreadable"]) == ["page.mp4"]
    assert list(validation["faults"]["invalid"]) == [f"{videos}/10.webm"]
    assert list(validation["faults"]["unreadable"]) == [f"{videos}/9.webm 70-71"]
    assert count_faults(report) == 4
    assert train["classes"]["counts"] == {"0": 4, "1": 4}
