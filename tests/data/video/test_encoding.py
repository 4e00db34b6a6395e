"""Videos encoded anew: the same frames at the same times, upright, of the size that clips would have."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tada.data.video.random_access import Video
from tada.data.video.sequential import Encoding, SequentialReader, encode
from tada.data.video.timeline import VideoError, scan
from tada.data.views import resize_short_side

HOW = Encoding(short_side=64, group=5, crf=18)


def textured(height: int, width: int, number: int = 0) -> np.ndarray:
    """A smooth picture that moves with its number; uint8 [height, width, 3]."""
    rows, columns = np.mgrid[:height, :width] / 20
    waves = np.stack([np.sin(rows + number / 4), np.cos(columns), np.sin(rows + columns)], -1)
    return (127 + 100 * waves).astype(np.uint8)


def write(path: Path, pictures, times=None, unit=1000, **options) -> Path:
    """A video whose frames are shown at `times` (in units of 1 / unit seconds), 25 a second by default."""
    times = range(0, 40 * len(pictures), 40) if times is None else times
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "10", **options})
        stream.height, stream.width = pictures[0].shape[:2]
        odd = stream.height % 2 or stream.width % 2
        stream.pix_fmt = "yuv444p" if odd else "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, unit)
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def seconds(path: Path) -> np.ndarray:
    """When the frames of a file are shown, from the first on, by their packets alone."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = sorted(packet.pts for packet in container.demux(stream) if packet.size)
        return (np.array(times) - times[0]) * float(stream.time_base)


def keyframes(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    return [place for place, packet in enumerate(packets) if packet.is_keyframe]


KINDS = ["x264 closed", "x264 open in mkv", "x264 in avi", "x265 open", "mpeg4 B-frames in avi", "vp8", "vp9"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_keeps_its_frames_and_times(numbered, numbered_files, tmp_path, kind):
    source, target = numbered_files[kind], tmp_path / "new.mp4"
    made = encode(source, target, HOW)
    before, after = Video(source), Video(target)
    assert numbered.numbers(after.read(range(100))) == list(range(100))
    assert (after.info.frames, after.info.fps) == (before.info.frames, before.info.fps) == (100, 25.0)
    assert after.info == made.info
    assert after.info.duration == pytest.approx(before.info.duration, abs=0.04)
    assert seconds(target) == pytest.approx(np.arange(100) / 25, abs=1e-9)
    assert keyframes(target) == list(range(0, 100, 5))


@pytest.mark.parametrize("rotation", [(0, True, False), (90, False, False), (180, False, False), (270, False, True)])
def test_turned_videos_become_upright_ones(numbered, tmp_path, rotation):
    source = numbered.Kind("mp4", "libx264", {"preset": "veryfast"}, rotation).write(tmp_path / "turned", frames=12)
    encode(source, tmp_path / "new.mp4", HOW)
    assert numbered.numbers(Video(tmp_path / "new.mp4").read(range(12))) == list(range(12))
    with av.open(str(tmp_path / "new.mp4")) as container:
        assert not next(container.decode(video=0)).rotation


@pytest.mark.parametrize("size", [(90, 161), (161, 90), (75, 101), (64, 97), (51, 75), (80, 120)])
def test_sizes_are_those_of_clips(tmp_path, size):
    source = write(tmp_path / "a.mp4", [textured(*size, number) for number in range(6)])
    encode(source, tmp_path / "new.mp4", HOW)
    original, made = Video(source).read(range(6)), Video(tmp_path / "new.mp4").read(range(6))
    expected = resize_short_side(original, min(64, *size)).permute(0, 2, 3, 1).numpy()
    assert made.shape == expected.shape
    assert np.abs(made.astype(float) - expected).mean() < 5


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        ([0, 40, 80, 200, 210, 220, 500, 540, 600, 1000], 1000),
        ([0, 1001, 2002, 3003, 4004, 5005, 6006, 7007, 8008, 9009], 30000),
        ([0, 83, 167, 250, 333, 417, 500, 583, 667, 750], 1000),
        ([900, 940, 980, 1020, 1060, 1100, 1140, 1180, 1220, 1260], 1000),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_any_rate_keeps_its_times(tmp_path, times, unit, suffix):
    source = write(tmp_path / f"a.{suffix}", [textured(48, 64, 3 * time) for time in range(10)], times, unit)
    encode(source, tmp_path / "new.mp4", HOW)
    assert seconds(tmp_path / "new.mp4") == pytest.approx(seconds(source), abs=1e-6)
    assert scan(tmp_path / "new.mp4")[0].fps == pytest.approx(scan(source)[0].fps, rel=1e-6)
    # Between them, too, the same frame is seen.
    wanted = np.arange(0, seconds(source)[-1], 0.013)
    shown = [[count for count, _ in SequentialReader(path).frames(wanted)] for path in (source, tmp_path / "new.mp4")]
    assert shown[0] == shown[1]


def test_parts_begin_and_end_at_the_same_frames(numbered, numbered_files, tmp_path):
    encode(numbered_files["x264 closed"], tmp_path / "new.mp4", HOW)
    for start, end in ((None, 1.0), (0.98, 2.5), (2.02, None)):
        parts = [Video(path, start, end) for path in (numbered_files["x264 closed"], tmp_path / "new.mp4")]
        one, other = (numbered.numbers(part.read(range(part.info.frames))) for part in parts)
        assert one == other


def test_likeness_is_that_of_all_pixels(tmp_path):
    source = write(tmp_path / "a.mp4", [textured(48, 64, number) for number in range(9)])
    made = encode(source, tmp_path / "new.mp4", Encoding(64, 1, 30))
    difference = Video(source).read(range(9)).astype(float) - Video(tmp_path / "new.mp4").read(range(9))
    assert made.psnr == pytest.approx(10 * np.log10(255**2 / (difference**2).mean()), abs=1e-3)
    assert made.psnr < encode(source, tmp_path / "better.mp4", Encoding(64, 1, 5)).psnr


def test_the_same_video_gives_the_same_file(numbered_files, tmp_path):
    for name in "ab":
        encode(numbered_files["vp9"], tmp_path / f"{name}.mp4", HOW)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_damage_is_named_and_not_encoded(numbered_files, tmp_path):
    content = bytearray(numbered_files["x264 closed"].read_bytes())
    content[len(content) // 3 : len(content) // 3 + 400] = bytes(400)
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=r"bad\.mp4: damaged at"):
        encode(tmp_path / "bad.mp4", tmp_path / "new.mp4", HOW)
