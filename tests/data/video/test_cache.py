import json
import multiprocessing
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tada.data.clips import Clip, Split
from tada.data.video import cache, random_access
from tada.data.video.random_access import VideoError


def same(cached, clip):
    original = random_access.FileFrames(clip)
    assert (cached.length, cached.fps) == (original.length, original.fps)
    return (cached.read([0, 5, 5, 19]) == original.read([0, 5, 5, 19])).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_cached_frames_are_the_decoded_ones(tmp_path, split, workers):
    built = cache.build(split, tmp_path, workers=workers)
    assert built.skipped == {}
    assert all(same(built(clip), clip) for clip in split.clips)


def test_second_build_decodes_nothing(tmp_path, split, monkeypatch):
    cache.build(split, tmp_path)
    monkeypatch.setattr(cache, "_decode", lambda *_: pytest.fail("decoded again"))
    assert same(cache.build(split, tmp_path)(split.clips[1]), split.clips[1])


def test_changed_file_is_decoded_anew_and_the_old_cache_goes(tmp_path, split, monkeypatch):
    cache.build(split, tmp_path)
    (before,) = tmp_path.glob("train-*")
    status = split.clips[0].path.stat()
    os.utime(split.clips[0].path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    cache.build(split, tmp_path)
    (after,) = tmp_path.glob("train-*")
    assert before != after


def test_a_folder_of_images_of_another_rate_is_another_video(tmp_path):
    """Annotated from 1 s to 2 s, it has frames 12 to 24 at 12 a second, and others at 24."""
    (tmp_path / "frames").mkdir()
    clip, names = Clip("a", tmp_path / "frames", 0, 1.0, 2.0, fps=12.0), set()
    for rate in (12.0, 24.0):
        cache.build(Split("train", (replace(clip, fps=rate),)), tmp_path)
        names |= {path.name for path in tmp_path.glob("train-*")}
    assert len(names) == 2


def test_interrupted_build_leaves_nothing_that_is_used(tmp_path, split, monkeypatch):
    real = cache._decode

    def fails_late(clip, short_side):
        if clip.name == "3":
            raise KeyboardInterrupt
        return real(clip, short_side)

    monkeypatch.setattr(cache, "_decode", fails_late)
    with pytest.raises(KeyboardInterrupt):
        cache.build(split, tmp_path)
    assert not list(tmp_path.glob("train-*"))
    monkeypatch.setattr(cache, "_decode", real)
    assert all(same(cache.build(split, tmp_path)(clip), clip) for clip in split.clips)


def test_unusable_videos_are_recorded_with_their_reason(tmp_path, damaged_split):
    built = cache.build(damaged_split, tmp_path, workers=2)
    assert set(built.skipped) == {"empty", "cut", "gone"}
    assert "empty file" in built.skipped["empty"]
    assert "truncated" in built.skipped["cut"]
    usable = damaged_split.without(built.skipped)
    assert (len(usable.clips), usable.listed) == (6, 9)
    assert all(same(built(clip), clip) for clip in usable.clips)
    with pytest.raises(VideoError, match="empty file"):
        built(damaged_split.clips[1])


def test_several_at_once_share_one_build(tmp_path, split, monkeypatch):
    real, decoded = cache._decode, []
    monkeypatch.setattr(cache, "_decode", lambda clip, short_side: decoded.append(clip.name) or real(clip, short_side))
    with ThreadPoolExecutor(3) as pool:
        caches = list(pool.map(lambda _: cache.build(split, tmp_path), range(3)))
    assert len(decoded) == len(split.clips)
    assert all(same(built(split.clips[2]), split.clips[2]) for built in caches)


def test_stored_at_another_size(tmp_path, split):
    built = cache.build(split, tmp_path, short_side=18)
    assert built(split.clips[0]).read([0, 1]).shape == (2, 18, 32, 3)


def test_part_of_a_video(tmp_path, split, frames_of):
    whole = split.clips[0]
    part = Clip("part", whole.path, 0, start=0.5, end=1.25)
    built = cache.build(type(split)("train", (whole, part)), tmp_path)
    assert built(part).length == 9
    assert (built(part).read([0, 8]) == built(whole).read([6, 14])).all()


def test_worker_processes_map_the_file_instead_of_receiving_it(tmp_path, split):
    built = cache.build(split, tmp_path)
    built(split.clips[0])
    assert len(pickle.dumps(built)) < 5000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (pixels,) = pool.map(built, split.clips[:1])
    assert np.array_equal(pixels.read([3]), built(split.clips[0]).read([3]))


def test_empty_split_has_an_empty_cache(tmp_path, split):
    assert cache.build(type(split)("train", ()), tmp_path).skipped == {}


def test_index_is_plain_json(tmp_path, split):
    cache.build(split, tmp_path)
    (index,) = tmp_path.glob("train-*/index.json")
    assert set(json.loads(index.read_text())) == {"clips", "skipped", "short_side", "bytes", "checksum"}


def zeroed(path):
    """The second half of a file becomes zeros; its size and date stay, as where a disk has lost blocks."""
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def swapped(path):
    """Two clips of the index change places: valid JSON of wrong content."""
    index = json.loads(path.read_text())
    index["clips"]["0"], index["clips"]["1"] = index["clips"]["1"], index["clips"]["0"]
    path.write_text(json.dumps(index))


DAMAGE = {
    "truncated": ("frames.bin", lambda path: os.truncate(path, path.stat().st_size // 2)),
    "emptied": ("frames.bin", lambda path: os.truncate(path, 0)),
    "lengthened": ("frames.bin", lambda path: path.open("ab").write(b"0")),
    "deleted": ("frames.bin", lambda path: path.unlink()),
    "index deleted": ("index.json", lambda path: path.unlink()),
    "index emptied": ("index.json", lambda path: os.truncate(path, 0)),
    "index cut": ("index.json", lambda path: os.truncate(path, 100)),
    "index of another kind": ("index.json", lambda path: path.write_text("[1, null]")),
    "index swapped": ("index.json", swapped),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_cache_is_made_anew_and_said(tmp_path, split, kind):
    cache.build(split, tmp_path)
    (folder,) = tmp_path.glob("train-*")
    name, damage = DAMAGE[kind]
    damage(folder / name)
    said: list[str] = []
    built = cache.build(split, tmp_path, say=said.append)
    assert all(same(built(clip), clip) for clip in split.clips)
    assert len(said) == 1 and name in said[0] and said[0].endswith("; the videos are decoded again")
    again: list[str] = []
    cache.build(split, tmp_path, say=again.append)
    assert again == []


def test_frames_lost_in_the_middle_are_decoded_again_and_mended(tmp_path, split, capsys):
    cache.build(split, tmp_path)
    (frames,) = tmp_path.glob("train-*/frames.bin")
    whole = frames.read_bytes()
    zeroed(frames)
    built = cache.build(split, tmp_path)
    assert all(same(built(clip), clip) for clip in split.clips)
    assert capsys.readouterr().err.count("damaged at") == 1
    assert frames.read_bytes() == whole


def test_frames_lost_while_the_cache_is_open_are_noticed(tmp_path, split, capsys):
    built = cache.build(split, tmp_path)
    built(split.clips[0])
    (frames,) = tmp_path.glob("train-*/frames.bin")
    with frames.open("r+b") as file:
        file.write(bytes(frames.stat().st_size))
    assert all(same(built(clip), clip) for clip in split.clips[1:])
    assert "damaged at 1" in capsys.readouterr().err


def test_where_nothing_can_be_written_frames_are_right_all_the_same(tmp_path, split, monkeypatch):
    cache.build(split, tmp_path)
    (frames,) = tmp_path.glob("train-*/frames.bin")
    zeroed(frames)
    real = type(frames).open

    def refusing(self, mode="r", *arguments, **options):
        if "+" in mode:
            raise PermissionError(self)
        return real(self, mode, *arguments, **options)

    built = cache.build(split, tmp_path)
    monkeypatch.setattr(type(frames), "open", refusing)
    assert all(same(built(clip), clip) for _ in range(2) for clip in split.clips)


def test_a_clip_that_is_damaged_here_and_lost_there_is_unusable(tmp_path, split):
    copy = shutil.copy(split.clips[0].path, tmp_path / "copy.webm")
    alone = Split("train", (Clip("copy", Path(copy), 0),))
    built = cache.build(alone, tmp_path)
    (frames,) = tmp_path.glob("train-*/frames.bin")
    zeroed(frames)
    Path(copy).unlink()
    with pytest.raises(VideoError, match=r"copy\.webm"):
        built(alone.clips[0])


def test_a_folder_that_is_only_read_from_has_its_cache_elsewhere(tmp_path, monkeypatch):
    own, other = tmp_path / "data", tmp_path / "results/cache/ssv2"
    own.mkdir()
    assert cache.place(own, other) == own / ".cache"

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache, "TemporaryFile", refuse)
    assert cache.place(own, other) == other
