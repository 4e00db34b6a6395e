"""Where is decord right, and where is it faster? `uv run python -m benchmarks.decoding [FILE ...]` (a minute).

The suite decodes with PyAV. Each file, by default one of every kind that users have, is read by decord and the suite:
8 frames spread over it, 16 frames in a row, and all. Every frame is compared with the same one of a pass over the file,
and those that are another picture are counted. Times are of the processor, since workers share the cores: the least of
the rounds, opening included. decord's include the suite's scan of a file's packets, without which nobody notices a
truncated one. The exit status is 1 if the suite gives a wrong frame.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from tabulate import tabulate

from tada.base.devices import hardware
from tada.data.video.random_access import Video
from tada.data.video.timeline import VideoError

FRAMES, FPS = 150, 25
OTHER = 12.0
"""Mean difference in grey levels from which a frame is another picture."""

Size = tuple[int, int]
Read = Callable[[Path, np.ndarray], np.ndarray]

FAST, OPEN = {"preset": "fast"}, "keyint=12:scenecut=0:b-adapt=0:open-gop=1"
KINDS: dict[str, tuple[str, str, dict[str, str], Size]] = {
    "VP9, WebM": ("webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, (240, 426)),
    "VP8, WebM": ("webm", "libvpx", {"deadline": "realtime", "cpu-used": "8", "b": "1M"}, (240, 426)),
    "H.264, groups of 250, mp4": ("mp4", "libx264", {**FAST, "g": "250"}, (256, 340)),
    "H.264, groups of 12, mp4": ("mp4", "libx264", {**FAST, "g": "12"}, (256, 340)),
    "H.264, intra only, mp4": ("mp4", "libx264", {**FAST, "g": "1"}, (256, 340)),
    "H.264, 720p, mp4": ("mp4", "libx264", {**FAST, "g": "50"}, (720, 1280)),
    "H.264, open groups, mp4": ("mp4", "libx264", {**FAST, "x264-params": OPEN}, (256, 340)),
    "H.264, intra refresh, mp4": ("mp4", "libx264", {**FAST, "x264-params": "keyint=12:intra-refresh=1"}, (256, 340)),
    "H.264, avi": ("avi", "libx264", {**FAST, "g": "12"}, (256, 340)),
    "HEVC, open groups, mp4": ("mp4", "libx265", {**FAST, "x265-params": "keyint=25:log-level=none"}, (256, 340)),
    "HEVC, closed groups, mp4": (
        "mp4", "libx265", {**FAST, "x265-params": "keyint=25:open-gop=0:log-level=none"}, (256, 340)
    ),
    "MPEG-4, mp4": ("mp4", "mpeg4", {"g": "12", "bf": "0", "q": "4"}, (256, 340)),
    "MPEG-4 with B-frames, mp4": ("mp4", "mpeg4", {"g": "12", "bf": "2", "q": "4"}, (256, 340)),
    "MPEG-4 with B-frames, avi": ("avi", "mpeg4", {"g": "12", "bf": "2", "q": "4"}, (256, 340)),
}  # fmt: skip
"""Suffix, encoder, its options, height and width."""


@dataclass(frozen=True)
class DecoderRow:
    """What a way of reading does with a file: wrong frames of those asked for, or None where it fails; milliseconds."""

    wrong: int | None
    asked: int
    ms: tuple[float, ...]


def render(
    path: Path, codec: str, options: dict[str, str], size: Size, frames: int = FRAMES, fps: int = FPS, seed: int = 0
) -> None:
    """A view that wanders over a textured plane, crossed by a bar that stands in another place in every frame."""
    rng = np.random.default_rng(seed)
    height, width = size
    coarse = rng.integers(0, 255, (height // 8 + 20, width // 8 + 20, 3), dtype=np.uint8)
    plane = av.VideoFrame.from_ndarray(coarse, format="rgb24").reformat(width + 160, height + 160).to_ndarray()
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=fps, options=options))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(frames):
            top, left = (int(60 + 60 * np.sin(number / period)) for period in (40, 55))
            picture = plane[top : top + height, left : left + width].copy()
            bar = number * 61 % 8 * width // 8
            picture[:, bar : bar + width // 8] = 255 * (number * 37 % 2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def by_suite(path: Path, indices: np.ndarray) -> np.ndarray:
    """Frames as every run reads them."""
    return Video(path).read(indices.tolist())


def by_decord(path: Path, indices: np.ndarray) -> np.ndarray:
    """Frames by decord, after the same scan."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    Video(path)
    return decord.VideoReader(str(path), num_threads=1).get_batch(indices.tolist()).asnumpy()


def accesses(frames: int) -> Iterator[np.ndarray]:
    """Which frames are asked for: spread, in a row, all."""
    yield np.linspace(0, frames - 1, 8).astype(int)
    yield frames // 2 + np.arange(min(16, frames - frames // 2))
    yield np.arange(frames)


def measure(read: Read, path: Path, truth: np.ndarray, rounds: int) -> DecoderRow:
    """Read a file, and compare with all its frames in order."""
    wrong, asked, times = 0, 0, []
    for indices in accesses(len(truth)):
        seconds = []
        for _ in range(rounds):
            begun = time.process_time()
            try:
                frames = read(path, indices)
            except Exception:  # decord's own errors derive from nothing narrower
                return DecoderRow(None, len(truth), ())
            seconds.append(time.process_time() - begun)
        same = frames.shape == truth[indices].shape
        distance = (
            np.abs(frames.astype(np.int16) - truth[indices]).mean((1, 2, 3)) if same else np.full(len(indices), 255)
        )
        wrong, asked = wrong + int((distance > OTHER).sum()), asked + len(indices)
        times.append(1e3 * min(seconds))
    return DecoderRow(wrong, asked, tuple(times))


def compare(files: dict[str, Path], rounds: int) -> tuple[list[list[str]], int]:
    """A line of the table for each file, and how many wrong frames the suite gave."""
    lines, faults = [], 0
    for name, path in files.items():
        try:
            video = Video(path)
            truth = video.read(range(video.info.frames))
        except VideoError as error:
            lines.append([name, error.reason])
            continue
        theirs, ours = (measure(read, path, truth, rounds) for read in (by_decord, by_suite))
        faults += len(truth) if ours.wrong is None else ours.wrong
        shown = ["fails" if row.wrong is None else f"{row.wrong} of {row.asked}" for row in (theirs, ours)]
        ratios = [f"{a:.0f} / {b:.0f} ({a / b:.2f}x)" for a, b in zip(theirs.ms, ours.ms, strict=False)]
        lines.append([name, *shown, *(ratios or ["-"] * 3)])
    return lines, faults


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Where is decord right, and where is it faster?")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="videos; by default one of every kind")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each time (default: 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = {path.name: path for path in options.files}
        if not files:
            for number, (name, (suffix, codec, encoding, size)) in enumerate(KINDS.items()):
                files[name] = Path(folder) / f"{number}.{suffix}"
                render(files[name], codec, encoding, size)
        lines, faults = compare(files, options.rounds)
    heading = ["file", "decord: wrong", "suite: wrong", "8 frames, ms decord / suite", "16 in a row", "all"]
    print(f"{hardware().cpu}, one process\n")
    print(tabulate(lines, heading, tablefmt="github"))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
