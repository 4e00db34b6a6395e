"""Parts of long videos: found by their times, without reading the rest of the file; and folders of images."""

import av
import numpy as np
import pytest
from PIL import Image

from tada.data.mini.rendering import write_video
from tada.data.video import random_access, timeline
from tada.data.video.random_access import FrameFolder, Video
from tada.data.video.timeline import VideoError

FPS, FRAMES = 12, 120


def numbered(frames=FRAMES):
    """Frames whose bar stands in another place each; grey tells the tens."""
    content = np.empty((frames, 48, 128, 3), np.uint8)
    for index in range(frames):
        content[index] = 20 + 12 * (index // 10)
        content[index, :, 10 * (index % 10) : 10 * (index % 10) + 8] = 255
    return content


@pytest.fixture(scope="module", params=["P.webm", "P.mp4", "reordered.mp4"])
def path(tmp_path_factory, request):
    file = tmp_path_factory.mktemp("long") / request.param
    write_reordered(file) if "reordered" in request.param else write_video(file, numbered(), FPS, keyframe_every=25)
    return file


def write_reordered(path):
    """H.264 as most of it is: frames are stored in another order than they are shown in."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"g": "25", "bf": "3", "b-adapt": "0", "crf": "20"})
        stream.height, stream.width, stream.pix_fmt = 48, 128, "yuv420p"
        for frame in numbered():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def close(frames, expected):
    return frames.shape == expected.shape and np.abs(frames.astype(int) - expected).mean() < 6


@pytest.mark.parametrize(
    ("start", "end", "first", "behind"),
    [
        (0.0, 2.0, 0, 24),
        (1.0, 1.5, 12, 18),
        (2.05, 2.15, 25, 26),
        (2.08, 4.17, 25, 50),
        (6.26, 9.0, 75, 108),
        (9.5, 99.0, 114, 120),
        (9.5, None, 114, 120),
        (None, 0.5, 0, 6),
    ],
)
def test_a_part_has_the_frames_of_its_time(path, monkeypatch, start, end, first, behind):
    monkeypatch.setattr(random_access, "scan", lambda _: pytest.fail("the whole file was scanned"))
    part = Video(path, start, end)
    assert (part.info.frames, part.info.fps) == (behind - first, pytest.approx(FPS, rel=0.02))
    assert close(part.read(range(behind - first)), numbered()[first:behind])
    assert close(part.read([behind - first - 1, 0]), numbered()[[behind - 1, first]])


def test_a_part_is_found_without_reading_the_file(path, monkeypatch):
    asked = []
    real = timeline._tell_apart
    monkeypatch.setattr(timeline, "_tell_apart", lambda packets: asked.append(len(packets)) or real(packets))
    Video(path, 8.5, 9.0)
    assert asked[0] <= 25 + 6  # from the keyframe before it to its end, and what the encoder put ahead of it


def test_a_part_is_the_same_where_times_do_not_help(path, monkeypatch):
    expected = Video(path, 6.26, 9.0).read([0, 5, 32])
    monkeypatch.setattr(random_access, "scan_part", lambda *_: None)
    part = Video(path, 6.26, 9.0)
    assert part.info.frames == 33
    assert np.abs(part.read([0, 5, 32]).astype(int) - expected).max() <= 1


def test_a_part_behind_the_end(path):
    with pytest.raises(VideoError, match=r"ends at 10\.0\d s, before 12\.00 s"):
        Video(path, 12.0, 13.0)


def test_a_wrong_frame_rate_of_the_container_is_not_believed(tmp_path):
    path = tmp_path / "1.webm"
    write_video(path, numbered(), fps=FPS)
    content = bytearray(path.read_bytes())
    place = content.index(b"\x23\xe3\x83") + 4  # DefaultDuration, in nanoseconds
    size = content[place - 1] & 0x7F
    content[place : place + size] = (1_000_000).to_bytes(size, "big")
    path.write_bytes(content)
    with timeline.opened(path) as (_, stream):
        assert stream.average_rate == 1000
    assert Video(path).info.fps == pytest.approx(FPS, rel=0.01)
    part = Video(path, 2.08, 4.17)
    assert part.info.fps == pytest.approx(FPS, rel=0.01)
    assert abs(part.info.frames - 25) <= 1


def spoil(path, new, first, count):
    """A copy of the file whose packets from `first` on hold zeros."""
    content = path.read_bytes()
    with timeline.opened(path) as (container, stream):
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    for packet in packets[first : first + count]:
        content = content.replace(packet, bytes(len(packet)))
    new.write_bytes(content)
    return new


def test_every_frame_is_decoded_in_a_check(path, tmp_path):
    Video(path).check()
    spoilt = spoil(path, tmp_path / path.name, 60, 1)
    assert Video(spoilt).info.frames == FRAMES
    with pytest.raises(VideoError, match=r"damaged|cannot be decoded"):
        Video(spoilt).check()


def test_a_hole_in_the_middle_is_found_without_decoding(tmp_path):
    path = tmp_path / "1.webm"
    write_video(path, numbered(), fps=FPS, keyframe_every=25)
    with timeline.opened(path) as (container, stream):
        place = [packet.pos for packet in container.demux(stream) if packet.size][60]
    content = bytearray(path.read_bytes())
    content[place : place + 40] = bytes(40)  # a block's own header: the rest of its cluster is lost
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"damaged: no frame from 4\.92 s to \d\.\d\d s"):
        Video(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames") / "P01_01"
    folder.mkdir()
    for number, frame in enumerate(numbered(50), start=1):
        Image.fromarray(frame).save(folder / f"frame_{number:010d}.jpg", quality=95)
    return folder


@pytest.mark.parametrize(
    ("start", "end", "first", "behind"),
    [(None, None, 0, 50), (1.0, 2.0, 12, 24), (2.05, 2.15, 25, 26), (4.0, 9.0, 48, 50)],
)
def test_frames_of_a_folder(folder, start, end, first, behind):
    frames = FrameFolder(folder, FPS, start, end)
    assert (frames.info.frames, frames.info.fps) == (behind - first, FPS)
    assert close(frames.read(range(behind - first)), numbered(50)[first:behind])
    assert close(frames.read([behind - first - 1, 0, 0]), numbered(50)[[behind - 1, first, first]])


def test_colours_of_a_folder_are_those_of_its_images(folder):
    with Image.open(folder / "frame_0000000007.jpg") as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    difference = np.abs(FrameFolder(folder, FPS).read([6])[0] - expected)
    assert difference.mean() < 1.5


def test_faults_of_a_folder(folder, tmp_path):
    with pytest.raises(VideoError, match=r"ends at 4\.17 s, before 5\.00 s"):
        FrameFolder(folder, FPS, 5.0, 6.0)
    with pytest.raises(VideoError, match=r"no frame_0000000001\.jpg in it"):
        FrameFolder(tmp_path, FPS, 0.0, 1.0)
    for number in (1, 2, 3):
        (tmp_path / f"frame_{number:010d}.jpg").write_bytes((folder / f"frame_{number:010d}.jpg").read_bytes())
    FrameFolder(tmp_path, FPS).check()
    (tmp_path / "frame_0000000002.jpg").write_bytes(b"")
    with pytest.raises(VideoError, match=r"frame_0000000002\.jpg: empty file"):
        FrameFolder(tmp_path, FPS).check()
