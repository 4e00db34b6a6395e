"""What clips cost, of videos as they are and prepared ones: `uv run python -m benchmarks.data` (three minutes).

A few videos of realistic size are rendered for each dataset and prepared as `tada prepare` does by default. Training
clips of both are then decoded, scaled and cropped as the paper's recipe says, in one process, in turns, so that
whatever else the machine does meets both. Times are of the processor, since workers share the cores; they are medians
over the rounds, and the gain is the median of each round's. `benchmarks/measured/<processor>.json` gets the numbers.
"""

import argparse
import re
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.decoding import render
from tada.base.devices import hardware
from tada.base.files import write_json
from tada.base.provenance import git_state
from tada.classification.pipeline import sampling_of
from tada.data.clips import Clip
from tada.data.dataset import TrainClips
from tada.data.video.random_access import Video
from tada.data.video.sequential import Encoding, encode
from tada.data.views import TrainTransform
from tada.runs.run import Run
from tada.runs.settings import ClassificationRecipe, Scale

VP9, H264 = {"deadline": "realtime", "cpu-used": "8", "g": "128"}, {"preset": "fast", "g": "250"}


@dataclass(frozen=True)
class VideoKind:
    """Videos as users have them: container, encoder, its options; height, width, frames, frames per second."""

    dataset: str
    suffix: str
    codec: str
    options: dict[str, str]
    size: tuple[int, int]
    frames: int
    fps: int

    def __str__(self) -> str:
        height, width = self.size
        return f"{self.dataset}: {self.codec}, {width}x{height}, {self.frames / self.fps:g} s at {self.fps} a second"


KINDS = (
    VideoKind("ssv2", "webm", "libvpx-vp9", VP9, (240, 427), 48, 12),
    VideoKind("ssv2", "webm", "libvpx-vp9", VP9, (320, 426), 120, 12),
    VideoKind("k400", "mp4", "libx264", H264, (256, 340), 300, 30),
    VideoKind("k400", "mp4", "libx264", H264, (320, 426), 300, 30),
)


def paper_recipe(dataset: str) -> ClassificationRecipe:
    """The recipe of networks of 8 frames at the paper's scale."""
    return Run(Scale.PAPER, dataset, "tada2d", 0, Path("results")).classification_recipe


def training_clips(dataset: str, videos: list[Path]) -> TrainClips:
    """Clips of 8 frames as a run at the paper's scale trains on them."""
    recipe = paper_recipe(dataset)
    train = recipe.train
    return TrainClips(
        [Clip(video.stem, video, 0) for video in videos],
        sampling_of(recipe.sampling, 8),
        TrainTransform(train.scale, train.crop, train.flip),
        seed=0,
    )


def prepared_videos(dataset: str, originals: list[Path], folder: Path) -> list[Path]:
    """The same videos as `tada prepare` makes them; their frames and rates are the same, or it is an error."""
    how = Encoding(*paper_recipe(dataset).quick_videos, crf=18)
    made: list[Path] = []
    for original in originals:
        made.append(folder / f"{original.stem}.mp4")
        encode(original, made[-1], how)
        one, other = Video(original).info, Video(made[-1]).info
        if (one.frames, one.fps) != (other.frames, other.fps):
            raise SystemExit(f"{original}: {one} became {other}")
    return made


def measure(forms: dict[str, TrainClips], rounds: int) -> dict[str, Any]:
    """Form -> milliseconds a clip, clips per second and core; how many times faster the second form is."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for epoch in range(rounds + 1):
        for name, clips in forms.items():
            begun = time.process_time()
            for index in range(len(clips)):
                clips[epoch, index]
            times[name].append((time.process_time() - begun) / len(clips))
    return summary({name: values[1:] for name, values in times.items()})  # the first warms up


def summary(times: dict[str, list[float]]) -> dict[str, Any]:
    """The same from seconds a clip in each round."""
    first, second = times.values()
    found: dict[str, Any] = {}
    for name, values in times.items():
        middle = statistics.median(values)
        found[name] = {"ms": round(1e3 * middle, 2), "clips_per_second": round(1 / middle, 1)}
    return found | {"gain": round(statistics.median(a / b for a, b in zip(first, second, strict=True)), 2)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What clips cost, of videos as they are and prepared ones.")
    parser.add_argument("--videos", type=int, default=4, help="of each kind (default: 4)")
    parser.add_argument("--rounds", type=int, default=10, help="measurements of each (default: 10)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/measured"), help="folder of the JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as in the workers of a run
    processor = hardware().cpu
    commit, dirty = git_state()
    record: dict[str, Any] = {"cpu": processor, "torch": torch.__version__, "git_commit": commit, "git_dirty": dirty}
    record |= {"videos": options.videos, "rounds": options.rounds, "kinds": []}
    rows = []
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            originals = [Path(folder) / f"{number}.{kind.suffix}" for number in range(options.videos)]
            for seed, path in enumerate(originals):
                render(path, kind.codec, kind.options, kind.size, kind.frames, kind.fps, seed)
            (Path(folder) / "prepared").mkdir()
            prepared = prepared_videos(kind.dataset, originals, Path(folder) / "prepared")
            forms = {"original": originals, "prepared": prepared}
            found = measure({name: training_clips(kind.dataset, of) for name, of in forms.items()}, options.rounds)
            sizes = {name: sum(path.stat().st_size for path in of) for name, of in forms.items()}
        found |= {"bytes": round(sizes["prepared"] / sizes["original"], 2)}
        record["kinds"].append({"dataset": kind.dataset, "videos": str(kind), **found})
        speeds = [f"{found[name]['ms']} ms, {found[name]['clips_per_second']} clips/s" for name in forms]
        rows.append([str(kind), *speeds, f"{found['gain']}x", f"{found['bytes']}x"])
    print(f"{processor}, one core; clips of 8x224x224\n")
    print(tabulate(rows, ["videos", "original", "prepared", "gain", "bytes"], tablefmt="github"))
    write_json(options.out / f"{re.sub('[^a-z0-9]+', '-', processor.lower()).strip('-')}.json", record)


if __name__ == "__main__":
    main()
