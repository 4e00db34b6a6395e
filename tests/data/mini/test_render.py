import json

import numpy as np
import pytest

from tada.base import TadaError
from tada.data import mini
from tada.data.mini import trimmed
from tada.data.mini.rendering import RenderSpec
from tada.data.mini.scenes import object_masks
from tada.data.readers import ssv2
from tada.data.video.random_access import Video

SPEC = RenderSpec(train=26, validation=13, frames=(8, 12))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "ssv2"
    return root, mini.render(root, SPEC)


def test_reads_as_something_something(rendered):
    root, _ = rendered
    read = ssv2.read(root)
    assert (len(read.train.clips), len(read.validation.clips), len(read.classes)) == (26, 13, 13)
    assert read.train.skipped == read.validation.skipped == {}
    assert sorted(clip.label for clip in read.validation.clips) == list(range(13))
    assert sorted(clip.label for clip in read.train.clips) == sorted([*range(13)] * 2)
    assert list(read.classes) == sorted(read.classes)
    names = [clip.name for clip in (*read.train.clips, *read.validation.clips)]
    assert sorted(map(int, names)) == list(range(1, 40))
    swapped = {read.classes[one] for one in read.mirror}
    assert "Pulling something from left to right" in swapped
    assert len(swapped) == 4


def test_files_are_real_videos(rendered):
    for clip in ssv2.read(rendered[0]).train.clips[:5]:
        video = Video(clip.path)
        assert 8 <= video.info.frames <= 12
        assert video.info.fps == 12
        assert video.read([0]).shape == (1, 30, 30, 3)
        assert clip.path.suffix == ".webm"


def test_labels_name_the_object(rendered):
    rows = json.loads((rendered[0] / "something-something-v2-train.json").read_text())
    for row in rows:
        assert row["label"] == row["template"].replace("[something]", row["placeholders"][0]).lower()


def test_manifest_says_what_was_rendered(rendered):
    root, manifest = rendered
    assert json.loads((root / "manifest.json").read_text()) == manifest
    assert manifest["counts"] == {"train": 26, "validation": 13, "classes": 13}
    assert RenderSpec.of(manifest["spec"]) == SPEC
    assert len(manifest["sha256"]) == 64


def test_same_spec_gives_the_same_files_with_any_number_of_workers(rendered, tmp_path):
    assert mini.render(tmp_path / "again", SPEC, workers=2)["sha256"] == rendered[1]["sha256"]


def test_another_seed_gives_other_videos(rendered, tmp_path):
    other = mini.render(tmp_path / "other", RenderSpec(train=26, validation=13, frames=(8, 12), seed=1))
    assert other["sha256"] != rendered[1]["sha256"]


def test_nothing_is_done_twice(rendered, monkeypatch):
    monkeypatch.setattr(trimmed, "write_ssv2", lambda *_: pytest.fail("rendered again"))
    assert mini.render(rendered[0], SPEC) == rendered[1]


def test_interrupted_rendering_is_begun_anew(tmp_path, monkeypatch, rendered):
    real = trimmed.write_ssv2

    def interrupted(folder, spec, workers):
        real(folder, spec, workers)
        raise KeyboardInterrupt

    monkeypatch.setattr(trimmed, "write_ssv2", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mini.render(tmp_path / "ssv2", SPEC)
    assert not (tmp_path / "ssv2" / "manifest.json").exists()
    with pytest.raises(TadaError, match="no annotations"):
        ssv2.read(tmp_path / "ssv2")
    monkeypatch.setattr(trimmed, "write_ssv2", real)
    assert mini.render(tmp_path / "ssv2", SPEC) == rendered[1]


def test_changed_spec_replaces_the_rendering(tmp_path):
    small = {"train": 3, "validation": 2, "frames": [4, 4]}
    mini.render(tmp_path / "ssv2", {**small, "train": 5})
    manifest = mini.render(tmp_path / "ssv2", small)
    assert manifest["counts"]["train"] == 3
    assert len(list((tmp_path / "ssv2" / "20bn-something-something-v2").iterdir())) == 5


def test_other_peoples_files_are_left_alone(tmp_path):
    (tmp_path / "1.webm").write_bytes(b"a real video")
    with pytest.raises(TadaError, match="not rendered here"):
        mini.render(tmp_path, SPEC)
    assert (tmp_path / "1.webm").read_bytes() == b"a real video"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"trian": 5}, "unknown key 'trian'; did you mean 'train'"),
        ({"train": 0}, "train is 0"),
        ({"frames": [9, 4]}, r"frames is \[9, 4\]"),
    ],
)
def test_spec_that_cannot_be_rendered(spec, message):
    with pytest.raises(TadaError, match=message):
        RenderSpec.of(spec)


def test_the_object_is_found_again_in_every_video(rendered):
    root, _ = rendered
    for number in range(1, SPEC.train + SPEC.validation + 1):
        track = mini.find_object(root, "ssv2", str(number))
        frames = Video(root / "20bn-something-something-v2" / f"{number}.webm").read(list(range(len(track.x))))
        masks = object_masks(track, np.arange(len(frames)), SPEC.height, SPEC.height)
        bright = frames.max(3) > 0.7 * 255  # brighter than any background
        assert masks[bright].all() and masks.mean() < 0.5


def test_nobody_knows_the_object_of_other_folders_datasets_and_videos(rendered):
    root, _ = rendered
    assert mini.find_object(root, "ssv2", str(SPEC.train + SPEC.validation + 1)) is None
    assert mini.find_object(root, "ssv2", "one") is None
    assert mini.find_object(root, "k400", "1") is None
    assert mini.find_object(root.parent, "ssv2", "1") is None
