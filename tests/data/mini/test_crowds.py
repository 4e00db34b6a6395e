"""Crowded scenes: what a single frame tells of the motion (nothing), and what two frames tell."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp

from tada.base import TadaError
from tada.data import catalog, mini
from tada.data.catalog import Place
from tada.data.mini.crowds import draw_act, draw_stage, paint_act
from tada.data.mini.rendering import RenderSpec
from tada.data.mini.scenes import MOTIONS, Track, draw_digit
from tada.data.video.random_access import Video

SPEC = RenderSpec(height=32, width=32, strength=(0.4, 0.9), weak=0.0, texture=0.3, others=(1, 2), pan=0.1)
RIGHT, LEFT = "Pulling [something] from left to right", "Pulling [something] from right to left"
FRAMES = 12


def seen(template, seed):
    """The digit as a random frame shows it: place on the ring, size, angle, opacity."""
    rng = np.random.default_rng((list(MOTIONS).index(template), seed))
    track, frame = draw_act(template, FRAMES, SPEC, rng), rng.integers(FRAMES)
    return (
        track.x[frame] % 1,
        track.y[frame] % 1,
        track.size[frame],
        track.angle[frame] % (2 * np.pi),
        (track.opacity[frame]),
    )


def test_a_random_frame_has_the_same_distribution_whatever_the_motion():
    """Kolmogorov and Smirnov's test of each class against all others, in each of five attributes."""
    drawn = {template: np.array([seen(template, seed) for seed in range(300)]) for template in MOTIONS}
    chances = []
    for template, values in drawn.items():
        others = np.concatenate([drawn[one] for one in MOTIONS if one != template])
        chances += [ks_2samp(values[:, place], others[:, place])[1] for place in range(5)]
    assert min(chances) > 0.01 / len(chances)
    # The test is sharp enough to see that digits never stand in the last fifth of the frame.
    moved = (drawn[RIGHT][:, 0] * 0.8) % 1
    assert ks_2samp(moved, drawn[LEFT][:, 0])[1] < 0.05


@pytest.fixture(scope="module")
def clips():
    """Videos of a digit that moves to the right or to the left, and whether it is to the right."""
    videos, right = [], []
    for number in range(240):
        rng = np.random.default_rng((7, number))
        stage = draw_stage(FRAMES, SPEC, rng)
        template = (RIGHT, LEFT)[number % 2]
        paint_act(stage, draw_digit(int(rng.integers(10)), rng), draw_act(template, FRAMES, SPEC, rng), 0.3, rng)
        videos.append(stage)
        right.append(template == RIGHT)
    return np.array(videos), np.array(right)


def test_a_linear_classifier_of_single_frames_stays_at_chance(clips):
    videos, right = clips
    frames = videos[:, FRAMES // 2].reshape(len(videos), 8, 4, 8, 4, 3).mean((2, 4)).reshape(len(videos), -1)
    frames -= frames[:120].mean(0)
    signs = np.where(right, 1.0, -1.0)
    weights = frames[:120].T @ np.linalg.solve(frames[:120] @ frames[:120].T + 0.1 * np.eye(120), signs[:120])
    assert ((frames[:120] @ weights > 0) == right[:120]).mean() > 0.8  # it learns them by heart
    assert abs(((frames[120:] @ weights > 0) == right[120:]).mean() - 0.5) < 0.13  # 2.8 standard errors


def test_motion_tells_the_class(clips):
    """How alike frames are that are moved against each other; what has moved to the right is alike to the right."""
    videos, right = clips
    bright = videos.max(-1)  # digits are brighter than most
    bright = np.maximum(bright - 0.5, 0)
    moved = sum(way * (np.roll(bright[:, :-1], way, 3) * bright[:, 1:]).sum((1, 2, 3)) for way in (-3, -2, -1, 1, 2, 3))
    hit = ((moved > 0) == right).mean()
    assert hit > 0.6  # 3.1 standard errors above chance


def test_what_leaves_the_frame_enters_on_the_other_side():
    plate = np.pad(np.ones((8, 8), np.float32), 1)
    still = {"size": np.array([0.4]), "angle": np.zeros(1), "opacity": np.ones(1)}
    painted = []
    for x in (0.5, -0.5, 0.0):
        stage = np.zeros((1, 32, 32, 3), np.float32)
        paint_act(stage, plate, Track(np.array([x]), np.zeros(1), **still), 0.3, np.random.default_rng(0))
        painted.append(stage[0])
    assert (painted[0] == painted[1]).all() and painted[0].any()
    np.testing.assert_array_equal(np.roll(painted[2], 16, 1), painted[0])


def test_backgrounds_pan_and_others_glide():
    bare = draw_stage(24, replace(SPEC, others=(0, 0)), np.random.default_rng(1))
    assert (bare[0] != bare[-1]).any() and bare.min() >= 0 and bare.max() <= 1
    pans = np.abs(np.diff(bare, axis=0)).mean((1, 2, 3))
    assert pans.max() < 0.1  # without jumps
    crowded = draw_stage(24, SPEC, np.random.default_rng(1))
    assert crowded.shape == (24, 32, 32, 3) and (np.abs(np.diff(crowded, axis=0)).max((1, 2, 3)) > 0.05).all()


@pytest.mark.parametrize("dataset", ["ssv2", "k400", "ek100", "hacs"])
def test_every_dataset_is_rendered_in_its_layout_and_again_to_the_byte(dataset, tmp_path):
    extra = {"untrimmed": [60, 90], "segments": [2, 3], "pause": 4, "frames": [12, 20]}
    spec = {"train": 6, "validation": 3, "height": 32, "width": 32, "others": [1, 2], "pan": 0.1}
    spec |= extra if dataset in ("ek100", "hacs") else {"frames": [8, 12]}
    one = mini.render(tmp_path / "one", spec, 1, dataset)
    assert mini.render(tmp_path / "two", spec, 2, dataset)["sha256"] == one["sha256"]
    read = catalog.read(dataset, Place(tmp_path / "one"))
    assert len(read.train.clips) == one["counts"]["train"] and len(read.validation.clips) == one["counts"]["validation"]
    clip = read.train.clips[0]
    if dataset == "ssv2":
        track = mini.find_object(tmp_path / "one", dataset, clip.name)
        assert len(track.x) == Video(clip.path).info.frames and abs(track.x).max() <= 0.5
    frames = Video(clip.path, clip.start, clip.end).read([0, 5])
    assert frames.shape == (2, 32, 32, 3) and np.abs(np.diff(frames.astype(int), axis=0)).max() > 20


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"others": [1, 2]}, "others and pan: either both"),
        ({"pan": 0.1}, "others and pan: either both"),
        ({"others": [3, 1], "pan": 0.1}, r"others is \[3, 1\], and must be a range"),
        ({"others": [1, 2], "pan": 0.5, "height": 128, "width": 128}, "need 257 pixels of a background"),
    ],
)
def test_crowds_that_cannot_be_are_refused(values, message):
    with pytest.raises(TadaError, match=message):
        RenderSpec.of(values)
