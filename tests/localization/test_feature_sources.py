"""Features of one decoding pass are those of clips that are decoded one by one, however the work is cut."""

import os
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from tada.base import TadaError
from tada.base.compilation import Compiler
from tada.base.devices import ProcessGroup
from tada.base.processes import Interrupted
from tada.base.progress import Silent
from tada.data.catalog import Place
from tada.data.video.random_access import Video
from tada.data.views import normalise, resize_short_side
from tada.localization.feature_sources import NetworkFeatureSource, dense_times, extract
from tada.localization.features import Features, FeatureStamp, load_features, save_features
from tada.runs.localization_settings import ClipSettings
from tada.runs.run import Run

SETTINGS = ClipSettings(frames=4, interval=3, stride=5, target_fps=12, short_side=16, batch=7)


def test_dense_clips_lie_in_the_middle_of_equal_cells():
    settings = replace(SETTINGS, stride=4, interval=2)
    times, centres = dense_times(2.0, settings)
    assert centres * 12 == pytest.approx([2, 6, 10, 14, 18, 22])
    assert times[2] * 12 == pytest.approx([7, 9, 11, 13])
    assert times[0] * 12 == pytest.approx([0, 1, 3, 5])
    assert len(dense_times(1.9, settings)[1]) == 6 and len(dense_times(1.8, settings)[1]) == 5
    assert dense_times(0.1, settings)[1] == pytest.approx([0.05])


@pytest.mark.parametrize("workers", [0, 2])
def test_features_are_those_of_clips_decoded_one_by_one(videos, model, tmp_path, workers, clip):
    settings = replace(SETTINGS, workers=workers)
    result = extract(model, videos, tmp_path, settings, checkpoint="a", progress=Silent())
    assert (result.videos, result.skipped, result.short) == (6, {}, {})
    for video in videos:
        times, centres = dense_times(video.duration, settings)
        with torch.inference_mode():
            expected = [model.features(clip(video, of))[0].numpy() for of in times]
        found = load_features(tmp_path, video)
        assert (found.times == centres).all() and found.values.dtype == np.float32
        np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", [{"batch": 1}, {"batch": 1000}])
def test_cutting_into_batches_changes_nothing(videos, model, tmp_path, change):
    for folder, settings in (("one", SETTINGS), ("other", replace(SETTINGS, **change))):
        extract(model, videos[:2], tmp_path / folder, settings, checkpoint="a", progress=Silent())
    for video in videos[:2]:
        one, other = (load_features(tmp_path / folder, video) for folder in ("one", "other"))
        np.testing.assert_allclose(one.values, other.values, rtol=1e-4, atol=1e-5)


def test_a_video_is_decoded_once_and_its_frames_move_once(videos, model, tmp_path, monkeypatch):
    from tada.localization import clips

    opened, moved = [], []
    real = clips.SequentialReader
    monkeypatch.setattr(clips, "SequentialReader", lambda *request: opened.append(request[0]) or real(*request))
    real_clips = clips.ClipBatch.clips
    count = lambda self, *where: moved.append(len(self.frames)) or real_clips(self, *where)  # noqa: E731
    monkeypatch.setattr(clips.ClipBatch, "clips", count)
    settings = replace(SETTINGS, stride=1, interval=1, batch=20)
    extract(model, videos[:1], tmp_path, settings, checkpoint="a", progress=Silent())
    assert opened == [videos[0].path]
    assert max(moved) <= 20 + 3 and sum(moved) <= 100 + 3 * len(moved)


def test_compiled_features_are_those_of_eager_ones(videos, model, tmp_path, compiling):
    """Batches of a video that are not full are filled up: 7 clips of each, of videos of two sizes."""
    said: list[str] = []
    plain = ProcessGroup(0, 1, torch.device("cpu"))
    group = replace(plain, compiler=Compiler.of(True, plain.device, tmp_path, said.append))
    for folder, where in (("eager", plain), ("compiled", group)):
        extract(model, videos[:2], tmp_path / folder, SETTINGS, checkpoint="a", progress=Silent(), group=where)
    assert group.compiler.active and not said
    for video in videos[:2]:
        eager, compiled = (load_features(tmp_path / folder, video) for folder in ("eager", "compiled"))
        assert (eager.times == compiled.times).all()
        np.testing.assert_allclose(eager.values, compiled.values, rtol=1e-4, atol=1e-5)


def test_folders_of_images(model, tmp_path, written):
    import av

    video = written(tmp_path / "a.mp4", frames=30)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(Video(video.path).read(range(30)), start=1):
        with av.open(str(folder / f"frame_{number:010d}.jpg"), "w", format="image2") as container:
            stream = container.add_stream("mjpeg", rate=1)
            stream.height, stream.width, stream.pix_fmt = 24, 36, "yuvj444p"
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = 1
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    images = replace(video, path=folder, fps=12.0)
    from tada.data.video.random_access import FrameFolder

    read = FrameFolder(folder, 12.0)
    extract(model, [images], tmp_path / "out", SETTINGS, checkpoint="a", progress=Silent())
    times, _ = dense_times(video.duration, SETTINGS)
    pixels = read.read(np.floor(times[2] * 12 + 1e-3).astype(int))
    with torch.inference_mode():
        expected = model.features(normalise(resize_short_side(pixels, 16).transpose(0, 1)[None]))[0]
    found = load_features(tmp_path / "out", images)
    assert len(found.times) == 6
    np.testing.assert_allclose(found.values[2], expected, rtol=1e-4, atol=1e-5)


def flipped(file):
    """One bit of the values is wrong; the file can be read."""
    content = bytearray(file.read_bytes())
    content[130] ^= 1  # behind the header of 128 bytes
    file.write_bytes(content)


DAMAGE = {
    "foreign": lambda file: file.write_bytes(b"cut short"),
    "empty": lambda file: os.truncate(file, 0),
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
    "zeros": lambda file: file.write_bytes(bytes(300)),
    "archive": lambda file: np.savez(file.open("wb"), a=np.ones(3)),
    "objects": lambda file: np.save(file.open("wb"), np.array([{}], object)),
    "values alone": lambda file: np.save(file.open("wb"), np.ones((3, 2), np.float32)),
    "a bit": flipped,
}


def test_what_is_done_is_not_done_again(videos, model, tmp_path, monkeypatch):
    def run(settings=SETTINGS, checkpoint="a"):
        calls = []
        monkeypatch.setattr(type(model), "features", lambda self, x: calls.append(len(x)) or torch.ones(len(x), 2))
        result = extract(model, videos[:2], tmp_path, settings, checkpoint=checkpoint, progress=Silent())
        assert result.videos == 2
        return bool(calls)

    assert run()
    assert not run()
    assert not run(replace(SETTINGS, batch=3))
    assert run(checkpoint="b")
    assert run(replace(SETTINGS, stride=6), checkpoint="b")
    whole = (tmp_path / "a.npy").read_bytes()
    for damage in DAMAGE.values():
        damage(tmp_path / "a.npy")
        assert run(replace(SETTINGS, stride=6), checkpoint="b")
        assert not run(replace(SETTINGS, stride=6), checkpoint="b")
        assert (tmp_path / "a.npy").read_bytes() == whole


@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if kind != "a bit"])
def test_a_damaged_file_is_named_where_it_is_read(tmp_path, videos, kind):
    features = Features(np.ones((3, 2), np.float32), np.array([0.1, 0.2, 0.3]))
    save_features(tmp_path, videos[0].name, features, FeatureStamp("identity", None))
    file = tmp_path / f"{videos[0].name}.npy"
    DAMAGE[kind](file)
    with pytest.raises(TadaError, match=str(file)):
        load_features(tmp_path, videos[0])


def test_a_stop_keeps_what_is_finished(videos, model, tmp_path):
    asked = []
    settings = replace(SETTINGS, batch=1000)
    with pytest.raises(Interrupted, match="after 2 of 6 videos"):
        stop = lambda: len(asked.append(1) or asked) == 2  # noqa: E731
        extract(model, videos, tmp_path, settings, checkpoint="a", progress=Silent(), stop=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.npy"]
    assert extract(model, videos, tmp_path, settings, checkpoint="a", progress=Silent()).videos == 6


def test_bad_videos_are_skipped_by_name_and_short_ones_noted(videos, model, tmp_path, written):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    whole = written(tmp_path / "whole.webm", frames=240)
    content = whole.path.read_bytes()
    (tmp_path / "cut.webm").write_bytes(content[: len(content) * 9 // 10])
    cut = replace(whole, name="cut", path=tmp_path / "cut.webm")
    (tmp_path / "half.webm").write_bytes(content[: len(content) // 2])
    half = replace(whole, name="half", path=tmp_path / "half.webm")
    bad = [replace(whole, name=name, path=tmp_path / f"{name}.mp4") for name in ("empty", "text", "gone")]
    for _ in range(2):  # the notes survive a restart
        all_videos = [*bad, whole, cut, half]
        result = extract(model, all_videos, tmp_path / "out", SETTINGS, checkpoint="a", progress=Silent())
        assert result.videos == 2
        assert result.skipped["empty"] == "empty file (0 bytes)" and result.skipped["gone"] == "no such file"
        assert "no video" in result.skipped["text"]
        assert set(result.skipped) == {"empty", "text", "gone", "half"}
        assert re.match(r"ends at (9|10|11)\.\d\d s of 20\.00 s", result.skipped["half"])
        assert list(result.short) == ["cut"]
        assert result.short["cut"].startswith("ends at ") and "of 20.00 s" in result.short["cut"]
    there, all_of_it = load_features(tmp_path / "out", cut), load_features(tmp_path / "out", whole)
    ended = float(result.short["cut"].split()[2])
    assert 15 < ended < 19 and there.times[-1] < ended <= there.times[-1] + 5 / 12
    inside = there.times < ended - 0.6
    np.testing.assert_allclose(there.values[inside], all_of_it.values[: inside.sum()], rtol=1e-4, atol=1e-5)


def test_video_that_is_longer_than_annotated_ends_where_its_annotation_does(videos, model, tmp_path):
    short = replace(videos[0], duration=3.0)
    assert extract(model, [short], tmp_path, SETTINGS, checkpoint="a", progress=Silent()).short == {}
    assert load_features(tmp_path, short).times[-1] < 3.0


def test_released_checkpoints_compute_no_features(tmp_path):
    run = Run("first-release", "hacs-localization", "tada2d", 0, tmp_path)
    with pytest.raises(TadaError, match="at scale first-release no run trains the network that computes features"):
        NetworkFeatureSource(run, Place(tmp_path), lambda: False, Silent(), ProcessGroup.single())
