"""What may be wrong with the files of any dataset, planted in each layout: found by name, and nothing else is."""

import json
import shutil

import numpy as np
import pytest

from tada.base import TadaError
from tada.data.catalog import Place
from tada.data.mini.rendering import write_video
from tada.data.readers import ek100
from tada.data.validation import check, count_faults

FOLDER = """it's "my" data, 100% (new)"""
SIZES = {"ssv2": (36, 9), "k400": (24, 6), "ek100": (24, 6)}
FILES = {
    "ssv2": ("videos/4.webm", "videos/5.webm", "videos/6.webm"),
    "k400": tuple(
        f"train/{name}/train____{number:02}_000005_000015.mp4"
        for number, name in ((3, "Pushing it left"), (4, "Pushing it right"), (5, "Holding it"))
    ),
    "ek100": tuple(f"{name[:3]}/videos/{name}.mp4" for name in ("P01_02", "P02_01", "P02_03")),
}
"""Training videos that are made empty, cut in the middle, and replaced by something else."""

NAMES = {
    "ssv2": (("4",), ("5",), ("6",)),
    "k400": (("train____03",), ("train____04",), ("train____05",)),
    "ek100": tuple(tuple(f"{name}_{n}" for n in range(6)) for name in ("P01_02", "P02_01", "P02_03")),
}


@pytest.fixture(params=SIZES)
def dataset(request):
    return request.param


@pytest.fixture
def root(dataset, request, tmp_path):
    place = shutil.copytree(request.getfixturevalue(f"tiny_{dataset}"), tmp_path / FOLDER)
    shutil.rmtree(place / ".cache", ignore_errors=True)
    counts = dict(zip(("train", "validation"), SIZES[dataset], strict=True))
    (place / "manifest.json").write_text(json.dumps({"counts": counts}))
    return place


def look(dataset, root, tmp_path, decode=True):
    return check(dataset, Place(root), tmp_path / "record.jsonl", decode=decode)


def test_a_folder_with_signs_in_its_name_is_as_good_as_any(dataset, root, tmp_path):
    report = look(dataset, root, tmp_path)
    assert count_faults(report) == 0, report["splits"]
    assert [split["usable"] for split in report["splits"].values()] == list(SIZES[dataset])


@pytest.mark.parametrize("decode", [True, False], ids=["decoding", "quick"])
def test_empty_truncated_and_foreign_files_are_named_and_no_others(dataset, root, tmp_path, decode):
    empty, cut, foreign = (root / name for name in FILES[dataset])
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    foreign.write_text("<html>404</html>" * 100)
    report = look(dataset, root, tmp_path, decode)
    faults = report["splits"]["train"]["faults"]
    assert set(faults["unreadable"]) == {name for names in NAMES[dataset] for name in names}
    for names, reason in zip(NAMES[dataset], ("empty file (0 bytes)", "", ""), strict=True):
        assert all(reason in faults["unreadable"][name] for name in names)
    assert count_faults(report) == len(faults["unreadable"])


def test_videos_and_rows_without_each_other_are_named_and_no_others(dataset, root, tmp_path):
    gone, stray, _ = (root / name for name in FILES[dataset])
    gone.unlink()
    shutil.copy(stray, stray.with_name(f"P77_{stray.name}"))
    report = look(dataset, root, tmp_path)
    assert set(report["splits"]["train"]["faults"]["missing"]) == set(NAMES[dataset][0])
    assert [path.rsplit("/", 1)[1] for path in report["unlisted"]] == [f"P77_{stray.name}"]
    assert count_faults(report) == len(NAMES[dataset][0]) + 1


def test_a_wrong_root_says_what_belongs_there(dataset, root, tmp_path):
    for place in (root / "absent", root.parent / "empty"):
        (root.parent / "empty").mkdir(exist_ok=True)
        with pytest.raises(TadaError, match=r"(?s)(no such folder|no annotations|no .*).*expected there"):
            look(dataset, place, tmp_path)


def test_durations_that_disagree_with_the_list_of_videos(tmp_path):
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    (annotations / "EPIC_100_train.csv").write_text("narration_id\n")
    assert ek100.durations(tmp_path) == {}
    rows = "video_id,duration,fps,resolution\nP01_01,10.5,59.94,x\nP01_02,unknown,50,x\n"
    (annotations / "EPIC_100_video_info.csv").write_text(rows)
    assert ek100.durations(tmp_path) == {"P01_01": 10.5}
    assert ek100.durations(tmp_path / "elsewhere", annotations) == {"P01_01": 10.5}
    assert ek100.disagreement(11.4, 10.5, 50.0) is None
    assert ek100.disagreement(1809.0, 1800.0, 50.0) is None
    reason = ek100.disagreement(1500.0, 1800.0, 59.94006)
    assert reason.startswith("lasts 1500.00 s at 59.94 frames per second, and EPIC_100_video_info.csv says 1800.00 s")


def test_a_frame_rate_that_is_not_true_is_a_finding_of_check_data(tiny_ek100, tmp_path, capsys):
    from tada.data.validation import check_data

    root = shutil.copytree(tiny_ek100, tmp_path / "data")
    shutil.rmtree(root / ".cache", ignore_errors=True)
    (root / "manifest.json").write_text(json.dumps({"counts": {"train": 24, "validation": 6}}))
    videos = ("P01_01", "P01_02", "P02_01", "P02_03", "P03_101")
    rows = [f"{video},10.0,12.0,32x24" for video in videos]
    (root / "EPIC_100_video_info.csv").write_text("\n".join(["video_id,duration,fps,resolution", *rows]) + "\n")

    def run():
        options = {"results": tmp_path / "results", "out": None, "workers": 1, "decode": False, "min_frames": 8}
        return check_data("ek100", Place(root), **options), capsys.readouterr().out

    code, output = run()
    assert code == 0 and "no fault found" in output
    slow = root / "P01/videos/P01_02.mp4"
    write_video(slow, np.zeros((120, 24, 32, 3), np.uint8), fps=6)  # ten seconds at 12 frames per second
    code, output = run()
    assert code == 1 and "1 fault found" in output
    assert "videos that last longer or shorter than stated, 1: P01_02 (lasts 20.00 s at 6 frames per second" in output
    report = json.loads((tmp_path / "results/data/ek100.json").read_text())
    assert list(report["durations"]) == ["P01_02"]
