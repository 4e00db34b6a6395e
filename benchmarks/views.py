"""What decoding once saves in testing: `uv run python -m benchmarks.views` (half a minute on two cores).

Renders one video as Kinetics-400 has them (300 frames of 340 x 256 pixels, H.264), and prepares its 10 clips x 3 crops

- once: as the suite tests, which decodes every frame of the video once (`tada.data.dataset.TestClips`);
- per clip: the file opened and decoded for each clip, whose crops share that;
- per view: the file opened and decoded for each of the 30 views;

in turns within one run. The pixels are compared, and the exit status is 1 if they differ or if the suite is less than
five times as fast as decoding per view. Times are medians over the rounds, ratios the medians of each round's.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

from tada.base.devices import hardware
from tada.data.clips import Clip
from tada.data.dataset import TestClips
from tada.data.mini.rendering import write_video
from tada.data.video.random_access import FileFrames
from tada.data.views import IntervalSampling, TestTransform

FRAMES, HEIGHT, WIDTH, FPS = 300, 256, 340, 30
CLIPS, CROPS = 10, 3
SAMPLING = IntervalSampling(frames=8, interval=8, target_fps=30.0)
TRANSFORM = TestTransform(short_side=256, crop=256, crops=CROPS)
LEAST = 5.0


def render(path: Path) -> None:
    """A view that wanders over a textured plane, with some noise, as a camera would see it."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 40, 50)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(400, 500), mode="bicubic").clamp(0, 255)
    plane = smooth[0].permute(1, 2, 0).numpy()
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for number, frame in enumerate(frames):
        top, left = (int(60 + 60 * np.sin(number / period)) for period in (40, 55))
        noise = rng.normal(0, 4, (HEIGHT, WIDTH, 1))
        frame[:] = (plane[top : top + HEIGHT, left : left + WIDTH] + noise).clip(0, 255)
    write_video(path, frames, fps=FPS)


def once(clip: Clip) -> Tensor:
    """All views by the suite's test path."""
    return TestClips([clip], SAMPLING, TRANSFORM, clips_per_video=CLIPS)[0][0]


def per_clip(clip: Clip) -> Tensor:
    """All views, each clip decoded by itself."""
    return torch.cat([_clip(clip, number) for number in range(CLIPS)])


def per_view(clip: Clip) -> Tensor:
    """All views, each decoded by itself."""
    return torch.stack([_clip(clip, number)[crop] for number in range(CLIPS) for crop in range(CROPS)])


def _clip(clip: Clip, number: int) -> Tensor:
    frames = FileFrames(clip)
    pixels = frames.read(SAMPLING.test(frames.length, frames.fps, number, CLIPS).tolist())
    return TRANSFORM(pixels, np.arange(SAMPLING.frames)[None])


WAYS: dict[str, Callable[[Clip], Tensor]] = {"once": once, "per clip": per_clip, "per view": per_view}


def compare(clip: Clip, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds + 1):
        for name, way in WAYS.items():
            start = time.perf_counter()
            way(clip)
            times[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in times.items()}


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description="What decoding every frame once saves in testing.")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each way (default: 7)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a worker that decodes has one thread
    with tempfile.TemporaryDirectory() as folder:
        clip = Clip("video", Path(folder) / "video.mp4", 0)
        render(clip.path)
        print(f"{hardware().cpu}; {FRAMES} frames of {WIDTH} x {HEIGHT}, {clip.path.stat().st_size / 1e6:.1f} MB")
        views = {name: way(clip) for name, way in WAYS.items()}
        times = compare(clip, options.rounds)
    same = all(torch.equal(views["once"], other) for other in views.values())
    ratios = {
        name: statistics.median(a / b for a, b in zip(values, times["once"], strict=True))
        for name, values in times.items()
    }
    table = [[name, 1e3 * statistics.median(values), ratios[name]] for name, values in times.items()]
    print(f"\n{CLIPS} clips x {CROPS} crops of {SAMPLING.frames} frames\n")
    print(tabulate(table, ["decoded", "ms", "time x"], tablefmt="github", floatfmt=("", ".0f", ".1f")))
    print(f"\nThe pixels are {'the same' if same else 'NOT the same'}. Decoding once is {ratios['per view']:.1f} times")
    print(f"as fast as decoding per view ({LEAST:g} times is asked for).")
    return 0 if same and ratios["per view"] >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
