import pickle

import numpy as np
import pytest

from tada.data.mini.rendering import write_video
from tada.data.video import random_access, timeline
from tada.data.video.random_access import Video, VideoError

FRAMES, HEIGHT, WIDTH = 40, 48, 64


def numbered(frames=FRAMES, height=HEIGHT, width=WIDTH):
    """Frames that can be told apart after encoding: a bar that moves, on a grey that brightens."""
    content = np.empty((frames, height, width, 3), np.uint8)
    for index in range(frames):
        content[index] = 40 + 3 * index
        content[index, :, index : index + 8] = 255 - 3 * index
    return content


@pytest.fixture(params=["webm", "mp4"])
def path(tmp_path, request):
    file = tmp_path / f"name with spaces.{request.param}"
    write_video(file, numbered(), keyframe_every=10)
    return file


def close(frames, expected):
    return np.abs(frames.astype(int) - expected).mean() < 4


def test_info_says_what_the_file_holds(path):
    info = Video(path).info
    assert info.frames == FRAMES
    assert info.fps == pytest.approx(12)
    assert info.duration == pytest.approx(FRAMES / 12, abs=0.01)


@pytest.mark.parametrize("indices", [[0], [39], range(FRAMES), [3, 4, 5, 21, 37, 39], [9, 10, 11], [25, 2, 25, 0]])
def test_frames_are_those_asked_for(path, indices):
    assert close(Video(path).read(indices), numbered()[indices])


def test_missing_file(tmp_path):
    with pytest.raises(VideoError, match=r"absent\.webm: no such file"):
        Video(tmp_path / "absent.webm")


def test_empty_file(tmp_path):
    (tmp_path / "1.webm").touch()
    with pytest.raises(VideoError, match=r"1\.webm: empty file"):
        Video(tmp_path / "1.webm")


@pytest.mark.parametrize("content", [b"not a video\n" * 50, bytes(5000), b"\x1a\x45\xdf\xa3" + bytes(99)])
def test_file_that_is_no_video(tmp_path, content):
    (tmp_path / "1.webm").write_bytes(content)
    with pytest.raises(VideoError, match=r"1\.webm"):
        Video(tmp_path / "1.webm")


def test_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(VideoError):
        Video(tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.85])
def test_truncated_file(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(VideoError, match="truncated" if path.suffix == ".webm" else "damaged"):
        Video(path)


def test_more_frames_asked_for_than_there_are(path):
    with pytest.raises(VideoError, match="frame 40 was asked for, and it has 40 frames"):
        Video(path).read([3, 40])
    with pytest.raises(VideoError):
        Video(path).read([-1])


def packets(path):
    with timeline.opened(path) as (container, stream):
        return [(packet.pos, packet.size) for packet in container.demux(stream) if packet.size]


def test_damaged_frames_are_an_error_and_the_frames_before_them_are_not(tmp_path):
    path = tmp_path / "1.mp4"
    write_video(path, numbered())
    content = bytearray(path.read_bytes())
    for position, size in packets(path)[-10:]:
        content[position : position + size] = bytes(size)
    path.write_bytes(content)
    assert close(Video(path).read([0, 10]), numbered()[[0, 10]])
    with pytest.raises(VideoError, match="damaged"):
        Video(path).read([0, 39])


@pytest.fixture
def over_reported(tmp_path):
    """A file that counts 40 frames, of which 30 to 32 are marked "not to be shown" and never come out of a decoder."""
    path = tmp_path / "1.webm"
    write_video(path, numbered(), keyframe_every=1)
    content = bytearray(path.read_bytes())
    for position, _ in packets(path)[30:33]:
        header = content.index(b"\x49\x83\x42", position) - 1  # before VP9's sync code
        content[header] &= ~2  # show_frame
    path.write_bytes(content)
    return path


def test_frames_that_the_container_counts_and_nobody_can_decode(over_reported):
    assert Video(over_reported).info.frames == FRAMES
    assert close(Video(over_reported).read([0, 29, 33, 39]), numbered()[[0, 29, 33, 39]])
    with pytest.raises(VideoError, match="frame 30 of 40 cannot be decoded"):
        Video(over_reported).read(range(FRAMES))


def test_a_hidden_frame_is_never_taken_for_its_neighbour(over_reported):
    for indices in ([31], [0, 31, 39], [32, 33]):
        with pytest.raises(VideoError, match="cannot be decoded"):
            Video(over_reported).read(indices)


def test_error_survives_the_way_out_of_a_worker():
    error = pickle.loads(pickle.dumps(VideoError("a/1.webm", "empty file (0 bytes)")))
    assert (str(error), error.reason) == ("a/1.webm: empty file (0 bytes)", "empty file (0 bytes)")


def test_a_file_is_scanned_once_for_any_number_of_reads(path, monkeypatch):
    opened = Video(path)
    monkeypatch.setattr(random_access, "scan", lambda _: pytest.fail("scanned again"))
    assert close(opened.read([1]), numbered()[[1]])
    assert close(opened.read([2]), numbered()[[2]])
