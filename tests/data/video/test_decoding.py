"""Frames that carry their numbers, read back through every way into the suite: each is the one that was asked for."""

import re

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tada.data.catalog import Place
from tada.data.clips import Clip, Split
from tada.data.dataset import TestClips, TrainClips
from tada.data.validation import check
from tada.data.video import cache, random_access, timeline
from tada.data.video.random_access import FileFrames, Video
from tada.data.video.sequential import SequentialReader
from tada.data.video.timeline import VideoError
from tada.data.views import IntervalSampling, SegmentSampling, TestTransform, TrainTransform
from tada.localization.clips import ClipBatches, ClipRequest

SIZE, FRAMES = 64, 100
KINDS = [
    "x264 closed", "x264 closed in mkv", "x264 open", "x264 open in mkv", "x264 in avi", "x264 open in avi",
    "x264 no B-frames in avi", "x264 intra refresh", "x265", "x265 open", "x265 open in mkv", "mpeg4 B-frames",
    "mpeg4 B-frames in mkv", "mpeg4 B-frames in avi", "mpeg2 B-frames in mkv", "vp8", "vp9",
]  # fmt: skip
ROTATIONS = [
    (turn, mirrored, flip) for turn in (0, 90, 180, 270) for mirrored in (False, True) for flip in (False, True)
]


def frames_of(video):
    """uint8 [3, T, H, W] as T pictures."""
    return video.permute(1, 2, 3, 0).numpy()


def test_list_is_whole(numbered):
    assert list(numbered.kinds) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_test_clips(numbered, numbered_files, kind):
    clips = [Clip("a", numbered_files[kind], 0)]
    for sampling in (SegmentSampling(8), IntervalSampling(8, 3, 25)):
        train = TrainClips(clips, sampling, TrainTransform((SIZE, SIZE), SIZE, False), seed=3)
        test = TestClips(clips, sampling, TestTransform(SIZE, SIZE, 1), clips_per_video=3)
        for epoch in range(4):
            expected = sampling.train(FRAMES, 25.0, np.random.default_rng((3, epoch, 0)))
            assert numbered.numbers(frames_of(train[epoch, 0][0])) == expected.tolist()
        for clip, view in enumerate(test[0][0]):
            assert numbered.numbers(frames_of(view)) == sampling.test(FRAMES, 25.0, clip, 3).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_annotated_segments(numbered, numbered_files, kind):
    for start, end in ((0.0, 0.4), (0.76, 2.0), (1.6, 1.84), (2.44, 9.0)):
        frames = FileFrames(Clip("a", numbered_files[kind], 0, start, end))
        first, behind = round(25 * start), min(round(25 * end), FRAMES)
        assert frames.length == behind - first
        assert numbered.numbers(frames.read(range(frames.length))) == list(range(first, behind))
        assert numbered.numbers(frames.read([frames.length - 1])) == [behind - 1]


@pytest.mark.parametrize("kind", KINDS)
def test_features(numbered, numbered_files, kind):
    expected = np.array([[0, 3, 9], [21, 22, 23], [38, 39, 40], [77, 88, 99]])
    (batch,) = ClipBatches([ClipRequest(numbered_files[kind], None, expected / 25 + 0.01)], SIZE, 8)
    found = numbered.numbers(batch.frames.permute(0, 2, 3, 1).numpy())
    assert np.array(found)[batch.places].tolist() == expected[batch.indices].tolist()
    assert batch.fault is None


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_pictures_stand_as_a_player_shows_them(numbered, tmp_path, rotation):
    kind = numbered.Kind("mp4", "mpeg4", {"g": "5", "bf": "0"}, rotation)
    path = kind.write(tmp_path / "1", frames=12)
    Video(path).check()
    assert numbered.numbers(Video(path).read([3, 11])) == [3, 11]
    assert numbered.numbers(Video(path, 0.2, 0.4).read([0, 4])) == [5, 9]
    assert numbered.numbers([frame for _, frame in SequentialReader(path).frames(np.array([0.01, 0.41]))]) == [0, 10]
    clip = Clip("a", path, 0)
    assert numbered.numbers(cache.build(Split("train", (clip,)), tmp_path)(clip).read([7])) == [7]


def test_a_quarter_turn_exchanges_height_and_width(tmp_path):
    path = tmp_path / "1.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 96, "yuv420p"
        stream.set_display_rotation(90)
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 96, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert Video(path).read([0, 2]).shape == (2, 96, 32, 3)


def test_a_turn_by_another_angle_is_refused(numbered, tmp_path):
    path = numbered.Kind("mp4", "mpeg4", {}, (0, False, False)).write(tmp_path / "1", 5)
    content = path.read_bytes()
    plain = b"".join(value.to_bytes(4, "big") for value in (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30))
    turned = b"".join(
        value.to_bytes(4, "big") for value in (46341, 46341, 0, (1 << 32) - 46341, 46341, 0, 0, 0, 1 << 30)
    )
    place = content.index(plain, content.index(b"tkhd"))
    path.write_bytes(content[:place] + turned + content[place + len(plain) :])
    with pytest.raises(VideoError, match="no multiple of 90 degrees"):
        Video(path).read([0])


def remuxed(source, path, change):
    """A copy of a file whose packets pass through `change`, which gets (packet, its number) and gives packets."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(old.streams.video[0])):
            if packet.size:
                packet.stream = stream
                for changed in change(packet, number):
                    new.mux(changed)
    return path


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "avi" not in kind and "refresh" not in kind])
def test_keyframes_are_used_where_they_are_good(numbered, numbered_files, monkeypatch, kind):
    calls, decode_runs = [], random_access._decode_runs
    monkeypatch.setattr(random_access, "_decode_runs", lambda *given: calls.append(given[1]) or decode_runs(*given))
    for indices in ([27], [45, 66], [81, 82]):
        assert numbered.numbers(Video(numbered_files[kind]).read(indices)) == indices
    assert len(calls) == 3  # none was decoded again from the beginning
    assert all(key is not None for runs in calls for key, _ in runs)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_scan_has_read_gives_the_same_pixels_as_the_file(numbered_files, monkeypatch, kind):
    path, opened = numbered_files[kind], []
    open_file = timeline.av.open
    monkeypatch.setattr(timeline.av, "open", lambda *given: opened.append(given) or open_file(*given))
    requests = [[27], [2, 3, 99], [45, 66], [0], range(100), [81, 82, 30]]
    parts = [(None, None), (1.0, 2.5)]
    held = [[Video(path, *part).read([one % 35 for one in asked]) for asked in requests] for part in parts]
    if "avi" not in kind and "refresh" not in kind:
        assert len(opened) == len(requests) * len(parts)  # once for each, to scan and to decode
    monkeypatch.setattr(timeline, "HELD_BYTES", 0)
    read = [[Video(path, *part).read([one % 35 for one in asked]) for asked in requests] for part in parts]
    assert all(
        np.array_equal(one, other) for a, b in zip(held, read, strict=True) for one, other in zip(a, b, strict=True)
    )


def patched(packet, number):
    """Half of packet 45 lost: what a decoder makes of it is a guess, and it says so."""
    if number != 45:
        return [packet]
    content = bytes(packet)
    worse = av.Packet(content[: len(content) // 2] + b"\x55" * (len(content) - len(content) // 2))
    worse.pts, worse.dts, worse.time_base, worse.stream = packet.pts, packet.dts, packet.time_base, packet.stream
    return [worse]


@pytest.mark.parametrize("kind", ["mpeg4 B-frames in mkv", "x264 closed in mkv", "vp8", "vp9", "mpeg4 B-frames"])
def test_garbage_behind_a_keyframe_that_is_none_is_not_taken(numbered, numbered_files, tmp_path, kind):
    def marked(packet, _):
        packet.is_keyframe = True
        return [packet]

    source = numbered_files[kind]
    path = remuxed(source, tmp_path / source.name, marked)
    for indices in ([27], [55, 56, 93], [3, 70]):
        assert numbered.numbers(Video(path).read(indices)) == indices


@pytest.mark.parametrize(
    "kind", ["mpeg4 B-frames in mkv", "mpeg2 B-frames in mkv", "x264 closed in mkv", "x264 open in mkv"]
)
def test_what_a_decoder_patches_is_an_unusable_frame(numbered, numbered_files, tmp_path, kind):
    path = remuxed(numbered_files[kind], tmp_path / "1.mkv", patched)
    video, good = Video(path), 0
    for index in range(FRAMES):
        try:
            assert numbered.numbers(video.read([index])) == [index]
            good += 1
        except VideoError as error:
            assert "damaged" in error.reason
            assert 20 < index < 62
    assert 60 <= good < FRAMES
    with pytest.raises(VideoError, match="damaged"):
        video.check()
    reader = SequentialReader(path)
    shown = [frame for _, frame in reader.frames(np.arange(FRAMES) / 25 + 0.01)]
    assert numbered.numbers(shown) == list(range(len(shown)))
    assert "damaged" in reader.fault
    assert reader.ended < 62 / 25


def changing_size(numbered, path):
    kind = numbered.kinds["vp9"]
    with av.open(str(path), "w") as container, av.open(str(path.with_suffix(".other.webm")), "w") as other:
        _, first = kind.encoded(range(20), container)
        stream, second = kind.encoded(range(20, 40), other, size=96)
        for packet in first:
            container.mux(packet)
        for packet in second:
            packet.pts, packet.dts = packet.pts + 20, packet.dts + 20
            packet.stream = container.streams.video[0]
            container.mux(packet)
        del stream
    return path


def test_a_picture_that_changes_its_size_is_named(numbered, tmp_path):
    path = changing_size(numbered, tmp_path / "1.webm")
    reason = "the size of its picture changes from 64x64 to 96x96 at 0.80 s"
    for read in (Video(path).check, lambda: Video(path).read([5, 30]), lambda: Video(path).read([30])):
        with pytest.raises(VideoError, match=reason):
            read()
    reader = SequentialReader(path)
    assert numbered.numbers([frame for _, frame in reader.frames(np.array([0.01, 1.2]))]) == [0, 19]
    assert reason in reader.fault
    built = cache.build(Split("train", (Clip("a", path, 0),)), tmp_path)
    assert built.skipped == {"a": reason}


@pytest.mark.parametrize(("suffix", "default"), [("mkv", None), ("mkv", 0), ("mkv", 1), ("mp4", 0), ("mp4", 1)])
def test_of_two_pictures_the_default_one_is_read_else_the_larger(numbered, tmp_path, suffix, default):
    path = tmp_path / f"1.{suffix}"
    kind = numbered.Kind(suffix, "mpeg4", {"bf": "0"})
    with av.open(str(path), "w") as container:
        streams = [kind.encoded(range(first, first + 20), container, size) for first, size in ((0, 64), (100, 128))]
        for place, (stream, _) in enumerate(streams):
            stream.disposition = Disposition.default if place == default else Disposition(0)
        for packets in zip(*[packets for _, packets in streams], strict=True):
            for packet in packets:
                container.mux(packet)
    expected = {None: 107, 0: 7, 1: 107}[default]
    assert numbered.numbers(Video(path).read([7])) == [expected]
    assert numbered.numbers([frame for _, frame in SequentialReader(path).frames(np.array([0.29]))]) == [expected]


def with_cover(numbered, path, frames):
    with av.open(str(path), "w") as container:
        cover = container.add_stream("png", rate=25)
        cover.height, cover.width, cover.pix_fmt = 300, 400, "rgb24"
        cover.disposition = Disposition.attached_pic
        packets = numbered.Kind("mp4", "mpeg4", {}).encoded(range(frames), container)[1] if frames else []
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((300, 400, 3), np.uint8), format="rgb24")))
        for packet in packets:
            container.mux(packet)
    return path


def test_cover_art_is_no_video(numbered, tmp_path):
    video = Video(with_cover(numbered, tmp_path / "1.mp4", 12))
    assert video.info.frames == 12
    assert numbered.numbers(video.read([0, 11])) == [0, 11]
    with pytest.raises(VideoError, match="no video stream in it"):
        Video(with_cover(numbered, tmp_path / "2.mp4", 0))


def test_pictures_of_vp8_that_are_never_shown_are_no_frames(numbered, numbered_files, tmp_path):
    def hidden(packet, number):
        if number not in (7, 51):
            return [packet]
        content = bytes(packet)
        unseen = av.Packet(bytes([content[0] & ~0x10]) + content[1:])  # show_frame
        unseen.pts, unseen.dts, unseen.time_base, unseen.stream = (
            packet.pts,
            packet.dts,
            packet.time_base,
            packet.stream,
        )
        return [unseen]

    path = remuxed(numbered_files["vp8"], tmp_path / "1.webm", hidden)
    video = Video(path)
    expected = [number for number in range(FRAMES) if number not in (7, 51)]
    assert video.info.frames == len(expected)
    video.check()
    assert numbered.numbers(video.read(range(98))) == expected
    assert numbered.numbers(video.read([6, 7, 50, 97])) == [6, 8, 52, 99]


@pytest.mark.parametrize("kind", ["vp9", "vp8", "x264 closed", "x264 closed in mkv"])
def test_a_still_of_many_seconds_is_no_damage(numbered, numbered_files, tmp_path, kind):
    def late(packet, number):
        if number >= 60:  # a keyframe
            wait = int(5 / packet.time_base)
            packet.pts, packet.dts = packet.pts + wait, packet.dts + wait
        return [packet]

    source = numbered_files[kind]
    path = remuxed(source, tmp_path / source.name, late)
    video = Video(path)
    assert video.info.frames == FRAMES
    video.check()
    assert numbered.numbers(video.read([3, 59, 60, 99])) == [3, 59, 60, 99]


def test_relative_path_with_a_colon(numbered, tmp_path, monkeypatch):
    numbered.kinds["vp8"].write(tmp_path / "http:a b%03d", 12)
    monkeypatch.chdir(tmp_path)
    (name,) = (path.name for path in tmp_path.iterdir())
    assert numbered.numbers(Video(name).read([5])) == [5]


@st.composite
def encodings(draw, numbered):
    """A video as somebody might have encoded it."""
    group, b_frames = draw(st.integers(1, 30)), draw(st.integers(0, 4))
    codec = draw(st.sampled_from(["x264", "x265", "mpeg4", "mpeg2video", "libvpx", "libvpx-vp9"]))
    if codec.startswith("x26"):
        kind = getattr(numbered, codec)(
            draw(st.sampled_from(["mp4", "mkv", "avi", "mov"] if codec == "x264" else ["mp4", "mkv"])),
            keyint=group, bframes=b_frames, open_gop=draw(st.integers(0, 1)), scenecut=draw(st.sampled_from([0, 40])),
            b_adapt=draw(st.integers(0, 2)), ref=draw(st.integers(1, 4)),
        )  # fmt: skip
    elif codec.startswith("mpeg"):
        options = {"g": str(group), "bf": str(b_frames), "q": "3"}
        kind = numbered.Kind(draw(st.sampled_from(["mp4", "mkv", "avi"])), codec, options)
    else:
        lag = str(draw(st.sampled_from([0, 5, 16])))
        options = {"g": str(group), "cpu-used": "8", "lag-in-frames": lag, "auto-alt-ref": str(int(lag != "0"))}
        kind = numbered.Kind(draw(st.sampled_from(["webm", "mkv"])), codec, options)
    rotation = draw(st.sampled_from(ROTATIONS)) if kind.suffix in ("mp4", "mkv", "mov") else (0, False, False)
    return numbered.Kind(kind.suffix, kind.codec, kind.options, rotation)


@settings(
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_frames_of_any_encoding(numbered, tmp_path_factory, data):
    kind, frames = data.draw(encodings(numbered)), data.draw(st.integers(2, 70))
    path = kind.write(tmp_path_factory.mktemp("drawn") / "1", frames)
    video = Video(path)
    assert video.info.frames == frames
    for indices in data.draw(
        st.lists(st.lists(st.integers(0, frames - 1), min_size=1, max_size=8), min_size=4, max_size=4)
    ):
        assert numbered.numbers(video.read(indices)) == indices
    start = data.draw(st.integers(0, frames - 1))
    part = Video(path, start / 25, frames / 25)
    assert numbered.numbers(part.read(range(part.info.frames))) == list(range(start, frames))
    times = np.arange(frames) / 25 + 0.01
    assert numbered.numbers([frame for _, frame in SequentialReader(path).frames(times)]) == list(range(frames))


def test_check_data_names_each_kind_rightly(numbered, numbered_files, tmp_path):
    """Kinetics-400 as folders of classes: what is read rightly is fine, and all else has its reason."""
    for name, source in numbered_files.items():
        place = tmp_path / "train" / name / source.name
        place.parent.mkdir(parents=True)
        place.write_bytes(source.read_bytes())
    turned = numbered.Kind("mp4", "mpeg4", {"g": "5"}, (90, True, False))
    turned.write(tmp_path / "train" / KINDS[0] / "turned", 20)
    folder = tmp_path / "val" / KINDS[0]
    folder.mkdir(parents=True)
    changing_size(numbered, folder / "sizes.webm")
    with_cover(numbered, folder / "cover.mp4", frames=0)
    with_cover(numbered, folder / "covered.mp4", frames=12)
    remuxed(numbered_files["x264 closed in mkv"], folder / "patched.mkv", patched)
    report = check("k400", Place(tmp_path, {"layout": "folders"}), tmp_path / "record.jsonl")
    train, validation = report["splits"]["train"], report["splits"]["validation"]
    assert train["usable"] == len(KINDS) + 1
    assert not any(train["faults"].values())
    assert validation["usable"] == 1
    reasons = {name.rpartition("/")[2]: reason for name, reason in validation["faults"]["unreadable"].items()}
    assert {name.partition(".")[0] for name in reasons} == {"sizes", "cover", "patched"}, reasons
    for name, reason in reasons.items():
        assert re.fullmatch(
            {
                "sizes": "the size of its picture changes from 64x64 to 96x96 at 0.80 s",
                "cover": "no video stream in it",
                "patched": r"damaged at 1\.\d\d s",
            }[name.partition(".")[0]],
            reason,
        )
