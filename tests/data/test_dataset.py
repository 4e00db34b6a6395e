from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tada.base import TadaError
from tada.data import dataset
from tada.data.clips import IGNORED, Clip, Split
from tada.data.dataset import TestClips, TrainClips
from tada.data.mini.rendering import write_video
from tada.data.validation import SkipLog
from tada.data.video import cache, random_access
from tada.data.video.random_access import VideoError
from tada.data.views import IntervalSampling, SegmentSampling, TestTransform, TrainTransform

TRANSFORM = TrainTransform((32, 40), 32, flip=True)


def train_clips(split, **options):
    return TrainClips(split.clips, SegmentSampling(8), TRANSFORM, **{"seed": 3, **options})


def test_clips(split, count=2, **options):
    return TestClips(split.clips, SegmentSampling(8), TestTransform(32, 32), clips_per_video=count, **options)


test_clips.__test__ = False


def test_training_sample(split):
    clip, label = train_clips(split)[0, 4]
    assert (clip.shape, clip.dtype) == ((3, 8, 32, 32), torch.uint8)
    assert label == 1
    assert len(train_clips(split)) == 6


def test_sample_depends_on_seed_epoch_and_index_alone(split):
    one, two = train_clips(split), train_clips(split)
    backwards = {index: two[1, index] for index in reversed(range(6))}
    for index in range(6):
        assert torch.equal(one[1, index][0], backwards[index][0])
        assert not torch.equal(one[1, index][0], one[2, index][0])
        assert not torch.equal(one[1, index][0], train_clips(split, seed=4)[1, index][0])


def test_workers_change_nothing(split):
    keys = [[(0, 3), (0, 1)], [(1, 0), (0, 2)]]
    alone, helped = (
        list(torch.utils.data.DataLoader(train_clips(split), batch_sampler=keys, num_workers=n)) for n in (0, 2)
    )
    for (clips, labels), (same_clips, same_labels) in zip(alone, helped, strict=True):
        assert torch.equal(clips, same_clips)
        assert torch.equal(labels, same_labels)


def test_cache_changes_nothing(tmp_path, split):
    cached = cache.build(split, tmp_path)
    for index in range(6):
        assert torch.equal(train_clips(split)[0, index][0], train_clips(split, source=cached)[0, index][0])
        assert torch.equal(test_clips(split)[index][0], test_clips(split, source=cached)[index][0])


def test_mirrored_clip_has_the_mirrored_label(split, frames_of):
    # The bar moves to the right in every file, so a clip in which it moves to the left is a mirrored one.
    seen = set()
    for index in range(6):
        for epoch in range(8):
            clip, label = train_clips(split, mirror={0: 1, 1: 0})[epoch, index]
            columns = [int(frame.float().mean((0, 1)).argmax()) for frame in clip.transpose(0, 1)]
            visible = [column for column in columns if 0 < column < 31]
            mirrored = visible[-1] < visible[0]
            original = split.clips[index].label
            assert label == ({0: 1, 1: 0}.get(original, original) if mirrored else original)
            seen.add((mirrored, original))
    assert len(seen) == 6


def test_test_views_equal_decoding_and_cropping_each_view_by_itself(split):
    views, label = test_clips(split)[1]
    assert views.shape == (6, 3, 8, 32, 32)
    assert label == 1
    frames = dataset.FileFrames(split.clips[1])
    for view in range(2):
        indices = SegmentSampling(8).test(frames.length, frames.fps, view, 2)
        alone = TestTransform(32, 32)(frames.read(indices), np.arange(8)[None])
        assert torch.equal(views[3 * view : 3 * view + 3], alone)


def test_ten_clips_and_three_crops_of_an_mp4_equal_decoding_each_view_by_itself(tmp_path):
    frames = np.empty((300, 48, 64, 3), np.uint8)
    frames[:] = np.arange(300)[:, None, None, None] // 2
    for number, frame in enumerate(frames):
        frame[:, number // 5 : number // 5 + 4] = 240
    write_video(tmp_path / "1.mp4", frames, fps=30)
    clip = Clip("1", tmp_path / "1.mp4", 0)
    sampling, transform = IntervalSampling(8, 8, 30.0), TestTransform(40, 40)
    views, _ = TestClips([clip], sampling, transform, clips_per_video=10)[0]
    assert views.shape == (30, 3, 8, 40, 40)
    for view in range(30):
        opened = dataset.FileFrames(clip)
        pixels = opened.read(sampling.test(opened.length, opened.fps, view // 3, 10))
        assert torch.equal(views[view], transform(pixels, np.arange(8)[None])[view % 3])
    assert len({view.numpy().tobytes() for view in views}) == 30


def test_every_frame_of_a_video_is_decoded_once(split, monkeypatch):
    reads = []
    real = random_access.Video.read
    monkeypatch.setattr(random_access.Video, "read", lambda self, indices: reads.append(indices) or real(self, indices))
    sampling = IntervalSampling(8, 2, 12.0)
    TestClips(split.clips, sampling, TestTransform(32, 32), clips_per_video=10)[0]
    (indices,) = reads
    assert len(set(indices)) == len(indices)


def test_labels_of_several_tasks_pass_through(video_files):
    clips = [Clip("a", video_files[0], {"verb": 3, "noun": 7})]
    assert train_clips(Split("train", clips), mirror={3: 4})[0, 0][1] == {"verb": 3, "noun": 7}


def test_unusable_video_is_an_error_where_nobody_takes_note(damaged_split):
    with pytest.raises(VideoError, match="empty file"):
        train_clips(damaged_split)[0, 1]
    with pytest.raises(VideoError, match="empty file"):
        test_clips(damaged_split)[1]


def test_unusable_video_is_noted_and_taught_to_nobody(tmp_path, damaged_split):
    log = SkipLog(tmp_path / "skipped.jsonl", damaged_split, max_skipped=0.5)
    clips = train_clips(damaged_split, skip_log=log)
    clip, label = clips[0, 1]
    assert label == IGNORED
    assert clip.float().std() > 0
    assert torch.equal(clip, clips[0, 1][0])
    assert list(log.read()) == ["empty"]
    loader = torch.utils.data.DataLoader(clips, batch_sampler=[[(0, i) for i in range(9)]], num_workers=2)
    ((_, labels),) = loader
    assert (labels == IGNORED).nonzero().flatten().tolist() == [1, 5, 6]
    assert set(log.read()) == {"empty", "cut", "gone"}


def test_unusable_test_video_is_noted(tmp_path, damaged_split):
    log = SkipLog(tmp_path / "skipped.jsonl", damaged_split, max_skipped=0.5)
    views, label = test_clips(damaged_split, skip_log=log)[5]
    assert label == IGNORED
    assert views.shape == test_clips(damaged_split)[0][0].shape
    assert "truncated" in log.read()["cut"]


def test_too_many_unusable_videos_stop_the_run(tmp_path, damaged_split):
    log = SkipLog(tmp_path / "skipped.jsonl", damaged_split, max_skipped=0.2)
    clips = train_clips(damaged_split, skip_log=log)
    clips[0, 1]
    loader = torch.utils.data.DataLoader(clips, batch_sampler=[[(0, 5)], [(0, 6)]], num_workers=1)
    with pytest.raises(TadaError, match=r"train: 2 of 9 videos cannot be used, more than the 20\.0%"):
        list(loader)


def test_no_usable_video_at_all(tmp_path):
    gone = Split("train", (Clip("a", Path("a.webm"), 0), Clip("b", Path("b.webm"), 0)))
    log = SkipLog(tmp_path / "skipped.jsonl", gone, max_skipped=1.0)
    with pytest.raises(TadaError, match="none of 2 videos"):
        train_clips(gone, skip_log=log)[0, 0]


def test_annotated_part_that_begins_after_the_video(split):
    late = replace(split.clips[0], start=99.0, end=100.0)
    with pytest.raises(VideoError, match=r"ends at 1\.67 s, before 99\.00 s"):
        train_clips(Split("train", (late,)))[0, 0]
