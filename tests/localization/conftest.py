"""A small network and small videos, for tests of features and classes."""

import numpy as np
import pytest
import torch
from torch import nn

from tada.data.mini.rendering import write_video
from tada.data.video.random_access import Video
from tada.data.views import normalise, resize_short_side
from tada.localization.videos import Segment, Untrimmed
from tada.models import build_model


@pytest.fixture(scope="package")
def model():
    torch.manual_seed(0)
    network = build_model("tada2d", {"verb": 4, "noun": 3}, frames=4, depth=[1, 1, 1, 1], width=8).eval()
    for linear in network.head.linear.values():
        nn.init.normal_(linear.weight)
    return network


def write_untrimmed(path, frames=100, fps=12, height=24, width=36):
    rng = np.random.default_rng(frames)
    noise = rng.integers(0, 256, (frames, 6, 9, 3), dtype=np.uint8).repeat(height // 6, 1).repeat(width // 9, 2)
    path.parent.mkdir(exist_ok=True, parents=True)
    write_video(path, noise, fps, keyframe_every=12)
    return Untrimmed(path.stem, path, frames / fps, (Segment(0.0, 1.0, 0),))


@pytest.fixture(scope="package")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return [
        write_untrimmed(folder / "a.mp4"),
        write_untrimmed(folder / "b.mp4", frames=33),
        write_untrimmed(folder / "fast.webm", frames=121, fps=25),
        write_untrimmed(folder / "slow.mp4", frames=20, fps=6),
        write_untrimmed(folder / "tall.mp4", height=36, width=18, frames=40),
        write_untrimmed(folder / "small.mp4", frames=2, height=12, width=18),
    ]


@pytest.fixture(scope="package")
def written():
    """Writes a video of noise and describes it."""
    return write_untrimmed


@pytest.fixture(scope="package")
def clip():
    """Reads the clip that is seen at some times of a video, decoded on its own, with a short side of 16 pixels."""

    def read(video, times):
        frames = Video(video.path)
        indices = np.floor(np.asarray(times) * frames.info.fps + 1e-3).astype(int).clip(0, frames.info.frames - 1)
        return normalise(resize_short_side(frames.read(indices), 16).transpose(0, 1)[None])

    return read
