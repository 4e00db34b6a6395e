"""Mini Kinetics-400, EPIC-KITCHENS-100 and HACS are read by the readers of the real ones, and are whole."""

import csv
import json

import numpy as np
import pytest

from tada.base import TadaError
from tada.data import mini, validation
from tada.data.catalog import Place
from tada.data.mini import trimmed, untrimmed
from tada.data.mini.rendering import RenderSpec
from tada.data.mini.untrimmed import NOUNS, VERBS
from tada.data.readers import ek100, hacs, k400
from tada.data.video.random_access import Video

SPECS = {
    "k400": RenderSpec(train=24, validation=12, frames=(8, 12)),
    "ek100": RenderSpec(train=24, validation=8, frames=(10, 20), untrimmed=(80, 120), segments=(3, 5), pause=4),
    "hacs": RenderSpec(train=24, validation=12, frames=(10, 80), untrimmed=(100, 160), segments=(1, 3), pause=6),
}


@pytest.fixture(scope="module", params=SPECS)
def rendered(tmp_path_factory, request):
    root = tmp_path_factory.mktemp("data") / request.param
    return request.param, root, mini.render(root, SPECS[request.param], dataset=request.param)


def test_no_fault_is_found_in_them(rendered, tmp_path):
    dataset, root, manifest = rendered
    report = validation.check(dataset, Place(root), tmp_path / "record.jsonl")
    assert validation.count_faults(report) == 0, report
    counts = manifest["counts"]
    for split in ("train", "validation"):
        assert report["splits"][split]["usable"] == report["splits"][split]["expected"] == counts[split]
    assert report["files"]["files"] == counts.get("videos", 36)


def test_the_same_spec_gives_the_same_files(rendered, tmp_path):
    dataset, _, manifest = rendered
    again = mini.render(tmp_path / dataset, SPECS[dataset], workers=2, dataset=dataset)
    assert again["sha256"] == manifest["sha256"] and manifest["dataset"] == dataset


def test_kinetics_classes_and_names():
    assert sorted(trimmed.K400_CLASSES) == trimmed.K400_CLASSES
    assert len(trimmed.K400_CLASSES) == 12


def test_kinetics_is_as_its_files_say(tmp_path):
    root = tmp_path / "k400"
    mini.render(root, SPECS["k400"], dataset="k400")
    read = k400.read(root)
    assert read.classes == tuple(trimmed.K400_CLASSES)
    assert "official CSV" in read.layout and "<id>_<start>_<end>" in read.layout
    for clip in read.validation.clips:
        assert clip.path.parent.name == read.classes[clip.label]
        assert Video(clip.path).info.fps == 12 and len(clip.name) == 11


def changing(path, segments):
    """Whether each frame of a video differs clearly from its first, and whether it lies in a segment."""
    frames = Video(path).read(range(Video(path).info.frames)).astype(int)
    changed = np.abs(frames - frames[0]).max((1, 2, 3)) > 60
    inside = np.zeros(len(frames), bool)
    for start, end in segments:
        inside[round(start * 12) : round(end * 12)] = True
    return changed, inside


def test_kitchens_show_something_in_segments_and_nothing_in_pauses(tmp_path):
    root = tmp_path / "ek100"
    mini.render(root, SPECS["ek100"], dataset="ek100")
    read = ek100.read(root)
    assert read.classes == {"verb": tuple(VERBS), "noun": NOUNS}
    clips = [clip for clip in read.train.clips if clip.path.stem == "P01_01"]
    assert [clip.name for clip in clips] == [f"P01_01_{number}" for number in range(len(clips))]
    assert 3 <= len(clips) <= 5
    changed, inside = changing(clips[0].path, [(clip.start, clip.end) for clip in clips])
    assert not changed[~inside].any()
    assert changed[inside].mean() > 0.9  # all but a digit that is covered up
    with (root / "EPIC_100_train.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["video_id"] == "P01_01"]
    for clip, row in zip(clips, rows, strict=True):
        assert (int(row["start_frame"]), int(row["stop_frame"])) == (
            round(clip.start * 12) + 1, round(clip.end * 12),
        )  # fmt: skip
        assert 10 <= Video(clip.path, clip.start, clip.end).info.frames <= 20
    with (root / "EPIC_100_video_info.csv").open() as file:
        info = {row["video_id"]: row for row in csv.DictReader(file)}
    assert float(info["P01_01"]["duration"]) == pytest.approx(len(changed) / 12)


def test_hacs_shows_one_activity_in_segments_and_its_object_at_rest_in_pauses(tmp_path):
    root = tmp_path / "hacs"
    manifest = mini.render(root, SPECS["hacs"], dataset="hacs")
    assert manifest["counts"]["videos"] == 36
    assert hacs.read(root).classes == tuple(untrimmed.HACS_CLASSES)
    database = json.loads((root / untrimmed.HACS_FILE).read_text())["database"]
    for video, entry in list(database.items())[:6]:
        (label,) = {row["label"] for row in entry["annotations"]}
        path = root / label.replace(" ", "_") / f"v_{video}.mp4"
        segments = [row["segment"] for row in entry["annotations"]]
        frames = Video(path).read(range(Video(path).info.frames)).astype(int)
        assert float(entry["duration"]) == pytest.approx(len(frames) / 12, abs=1e-6)
        steps = np.abs(np.diff(frames, axis=0)).max((1, 2, 3)) > 60
        bounds = [0, *(round(12 * time) for segment in segments for time in segment), len(frames)]
        pauses = list(zip(bounds[::2], bounds[1::2], strict=True))
        # Between two segments the object is exchanged once, in the middle; before the first and after the last never.
        assert all(steps[begin : end - 1].sum() <= 1 for begin, end in pauses[1:-1])
        assert not any(steps[begin : end - 1].any() for begin, end in (pauses[0], pauses[-1]))
        for begin, end in pauses[:-1]:
            paler = np.abs(frames[end] - frames[end - 1]).max((1, 2)) if end > begin else np.zeros(1)
            assert paler.max() > 20 or "overing" in label  # what marks the beginning of an action


def test_long_segments_repeat_the_activity(tmp_path, monkeypatch):
    lengths = []
    real = untrimmed.draw_track
    monkeypatch.setattr(untrimmed, "draw_track", lambda *given: lengths.append(given[1]) or real(*given))
    spec = {"train": 8, "validation": 1, "frames": [120, 120], "untrimmed": [150, 150], "segments": [1, 1], "pause": 5}
    mini.render(tmp_path / "hacs", spec, dataset="hacs")
    assert lengths == [40] * 27


def test_unknown_dataset(tmp_path):
    with pytest.raises(TadaError, match="unknown dataset 'k600'; did you mean 'k400'"):
        mini.render(tmp_path / "k600", SPECS["k400"], dataset="k600")
