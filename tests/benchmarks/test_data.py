"""The benchmark of clips: what it measures on a small video, and what is made of the times."""

from dataclasses import replace

import pytest

from benchmarks import data
from benchmarks.decoding import render
from tada.data.video.random_access import Video


@pytest.fixture
def originals(tmp_path):
    paths = [tmp_path / f"{number}.mp4" for number in range(2)]
    for seed, path in enumerate(paths):
        render(path, "libx264", {"preset": "veryfast"}, (240, 320), 12, 12, seed)
    return paths


@pytest.mark.parametrize("dataset", ["ssv2", "k400"])
def test_prepared_videos_give_clips_of_the_same_frames(tmp_path, originals, dataset):
    (tmp_path / "new").mkdir()
    prepared = data.prepared_videos(dataset, originals, tmp_path / "new")
    assert [Video(path).info for path in prepared] == [Video(path).info for path in originals]
    both = [data.training_clips(dataset, videos) for videos in (originals, prepared)]
    for index in range(2):
        (one, label), (other, same) = (clips[3, index] for clips in both)
        assert one.shape == other.shape == (3, 8, 224, 224)
        assert label == same
        # The same pictures at the same places; of two others of these the difference is some 60.
        assert (one.float() - other.float()).abs().mean() < 12


def test_another_rate_is_an_error(tmp_path, originals, monkeypatch):
    (tmp_path / "new").mkdir()
    monkeypatch.setattr(data, "Video", lambda path: type("Other", (), {"info": faster(path)}))
    with pytest.raises(SystemExit, match="became"):
        data.prepared_videos("ssv2", originals, tmp_path / "new")


def faster(path):
    """What a file holds, twice as fast if it is a new one."""
    info = Video(path).info
    return replace(info, fps=2 * info.fps) if path.parent.name == "new" else info


def test_summary_takes_medians_of_times_and_of_gains():
    times = {"original": [0.04, 0.08, 0.02], "prepared": [0.01, 0.01, 0.02]}
    assert data.summary(times) == {
        "original": {"ms": 40.0, "clips_per_second": 25.0},
        "prepared": {"ms": 10.0, "clips_per_second": 100.0},
        "gain": 4.0,
    }
