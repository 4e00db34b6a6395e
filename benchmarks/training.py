"""What a training step costs, and whether data keeps up: `uv run python -m benchmarks.training` (on a machine's GPU).

The training step of the suite itself (`tada.runs.step`): forward pass, backward pass and SGD step on clips of
8x224x224, compiled and eager, in float32 (convolutions multiply in TF32) and bfloat16, of

- R2D: ResNet-50 without temporal modelling;
- TAda2D: as the suite trains it;
- TAda2D, kernel per frame: the published form of TAdaConv, which builds the kernel of every frame.

Each network lives in a process of its own. They compile at the same time, and are then measured in turns, one at a
time, so that whatever else the machine does meets all of them. Times are medians over the rounds; ratios are medians of
each round's.

Then TAda2D is trained from end to end, on rendered videos of realistic size and on the same ones prepared, with as many
processes for data as the recipe gives a GPU: clips per second, and the share of time that the GPU waits for data.

`benchmarks/measured/<gpu>.json` gets the numbers after each part, with the card, torch and the commit; what was aimed
at is printed beside what was reached. `--tiny` goes through all of it on a processor, with networks and videos so small
that the numbers mean nothing.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import nn

from benchmarks.data import KINDS, VideoKind, paper_recipe, prepared_videos
from benchmarks.decoding import render
from benchmarks.tadaconv import awaken, per_frame
from tada.base.compilation import Compiler
from tada.base.devices import ProcessGroup
from tada.base.files import MEASURED, PRECISIONS, write_json
from tada.base.progress import Silent
from tada.base.provenance import git_state
from tada.classification.pipeline import sampling_of
from tada.classification.training import ClassificationObjective
from tada.data.clips import Clip
from tada.data.dataset import TrainClips
from tada.data.views import TrainTransform
from tada.models import build_model
from tada.runs.checkpoints import TrainingState
from tada.runs.settings import TrainSettings
from tada.runs.step import Figures, Supply, TrainingStep
from tada.runs.trainer import train

FORMS = ("R2D", "TAda2D", "TAda2D, kernel per frame")
MODES = ("compiled", "eager")
FRAMES, CLASSES = 8, 174

RATIO, PUBLISHED, WAITING = 1.15, 5.0, 0.2
"""Aimed at: TAda2D's time over R2D's at most, the published form's over TAda2D's at least, share of waiting below."""

CLIPS_PER_SECOND = {"bfloat16": 600.0, "float32": 360.0}
"""Aimed at: TAda2D's least, compiled, on an H100 or H200."""


@dataclass(frozen=True)
class Size:
    """How large the measurement is.

    Attributes:
        device: that computes.
        clips: of a step.
        side: of a clip, in pixels.
        rounds: measurements of each network.
        steps: that are timed together in a round.
        videos: of each kind that are rendered for the training from end to end.
        trained: steps of that training.
        workers: its processes that prepare clips.
        kind: of its videos.
        network: options of the networks.
    """

    device: str = "cuda"
    clips: int = 16
    side: int = 224
    rounds: int = 15
    steps: int = 5
    videos: int = 32
    trained: int = 200
    workers: int = 7
    kind: VideoKind = KINDS[0]
    network: dict[str, Any] = field(default_factory=dict)


TINY = Size(
    "cpu", 2, 24, 1, 1, 4, 3, 0, replace(KINDS[0], size=(48, 64), frames=12), {"depth": [1, 1, 1, 1], "width": 8}
)


def network(form: str, size: Size) -> nn.Module:
    """A network in the form that is asked for, with a calibration that does something."""
    torch.manual_seed(0)
    if form == "R2D":
        return build_model("tsn", CLASSES, **size.network)
    model = awaken(build_model("tada2d", CLASSES, **size.network))
    return per_frame(model) if form == "TAda2D, kernel per frame" else model


def settings_of(size: Size, precision: str) -> TrainSettings:
    """One epoch of the steps that are measured; rates so small that no loss leaves the finite."""
    return TrainSettings(
        epochs=1, warmup_epochs=0, base_lr=1e-3, warmup_lr=1e-3, batch=size.clips, batch_per_device=size.clips,
        scale=(size.side, size.side), crop=size.side, flip=True, initial="scratch", precision=precision,
    )  # fmt: skip


def group_of(size: Size, mode: str, said: list[str]) -> ProcessGroup:
    """This process alone, with a compiler where it is asked for; `said` gets its lines."""
    group = ProcessGroup(0, 1, torch.device(size.device))
    folder = Path(tempfile.gettempdir()) / "tada-benchmark-code"
    return replace(group, compiler=Compiler.of(mode == "compiled", group.device, folder, said.append))


class Step:
    """The suite's training step of a network on one batch that stays where it is."""

    def __init__(self, form: str, precision: str, mode: str, size: Size) -> None:
        self.said: list[str] = []
        self.group = group_of(size, mode, self.said)
        self.model = network(form, size)
        self.group.place(self.model)
        self.model.train()
        clips = torch.randint(256, (size.clips, 3, FRAMES, size.side, size.side), dtype=torch.uint8)
        batch = self.group.move((clips, torch.randint(CLASSES, (size.clips,))))
        learned = ClassificationObjective(range(size.clips), settings_of(size, precision), 0, lambda _: {})
        self.figures = Figures(learned.sums, {}, self.group.device)
        supply = Supply(repeat(batch), TrainingState(), "", self.group, self.said.append)
        optimizer = learned.optimizer(self.model)
        self._take = TrainingStep(self.model, learned, optimizer, supply, self.figures, 0, self.group, self.said.append)
        self._done = 0

    def __call__(self) -> None:
        """Take it."""
        self._take(self._done, 1e-3)
        self._done += 1


def serve(pipe: Connection, form: str, precision: str, mode: str, size: Size) -> None:
    """Answer each request over `pipe`, a number of steps, with the milliseconds that one took."""
    try:
        step = Step(form, precision, mode, size)
        while steps := pipe.recv():
            begun = step.group.mark()
            for _ in range(steps):
                step()
            seconds = step.group.seconds_between(begun, step.group.mark())
            if mode == "compiled" and not step.group.compiler.active:
                raise RuntimeError(step.group.compiler.obstacle)
            pipe.send({"ms": 1e3 * seconds / steps, "loss": float(step.figures.loss)})
        pipe.send({"peak_bytes": torch.cuda.max_memory_reserved() if size.device == "cuda" else 0})
    except Exception as error:  # shown in place of the number, so that the others are measured
        pipe.send({"error": f"{type(error).__name__}: {str(error)[-2000:]}"})


@dataclass
class Worker:
    """A process with one network, and what it has measured."""

    form: str
    process: Any
    pipe: Connection
    times: list[float]
    error: str | None = None
    peak_bytes: int = 0

    def ask(self, steps: int) -> None:
        """Start a number of steps."""
        if self.error is None:
            self.pipe.send(steps)

    def answer(self) -> dict[str, Any]:
        """Wait for what they took."""
        if self.error is not None:
            return {}
        try:
            said = self.pipe.recv()
        except EOFError:
            said = {"error": "the process ended"}
        self.error = said.get("error")
        return said


def measure(precision: str, mode: str, size: Size, forms: tuple[str, ...] = FORMS) -> list[Worker]:
    """Compile all forms at the same time, then measure them in turns."""
    context = multiprocessing.get_context("spawn")
    workers = []
    for form in forms:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, form, precision, mode, size), daemon=True)
        process.start()
        theirs.close()
        workers.append(Worker(form, process, ours, []))
    began = time.monotonic()
    for worker in workers:
        worker.ask(min(size.steps + 1, 6))  # compiles, records graphs
    for worker in workers:
        worker.answer()
    print(f"{precision}, {mode}: ready after {time.monotonic() - began:.0f} s", flush=True)
    for _ in range(size.rounds + 1):
        for worker in workers:
            worker.ask(size.steps)
            worker.times.append(worker.answer().get("ms", float("nan")))
    for worker in workers:
        worker.times.pop(0)
        worker.ask(0)
        worker.peak_bytes = worker.answer().get("peak_bytes", 0)
        worker.process.join(30)
    return workers


def summary(workers: list[Worker], clips: int) -> dict[str, Any]:
    """Form -> milliseconds a step, clips per second, ratio to the first form, peak memory; or its error."""
    first = workers[0]
    found: dict[str, Any] = {}
    for worker in workers:
        if worker.error is not None:
            found[worker.form] = {"error": worker.error}
            continue
        middle = statistics.median(worker.times)
        ratio = statistics.median(own / base for own, base in zip(worker.times, first.times, strict=True))
        found[worker.form] = {
            "ms": round(middle, 3),
            "clips_per_second": round(1e3 * clips / middle, 1),
            "ratio": round(ratio, 4),
            "peak_bytes": worker.peak_bytes,
        }
    return found


def end_to_end(size: Size, precision: str, mode: str) -> dict[str, Any]:
    """TAda2D trained on rendered videos and on prepared ones: clips per second, and the share of time that it waits."""
    found: dict[str, Any] = {"videos": str(size.kind), "workers": size.workers, "cores": len(os.sched_getaffinity(0))}
    with tempfile.TemporaryDirectory() as name:
        folder, kind = Path(name), size.kind
        originals = [folder / f"{number}.{kind.suffix}" for number in range(size.videos)]
        for seed, path in enumerate(originals):
            render(path, kind.codec, kind.options, kind.size, kind.frames, kind.fps, seed)
        (folder / "prepared").mkdir()
        prepared = prepared_videos(kind.dataset, originals, folder / "prepared")
        for form, videos in (("original", originals), ("prepared", prepared)):
            found[form] = trained(videos, size, precision, mode, folder / f"{form}.pt")
    return found


def trained(videos: Sequence[Path], size: Size, precision: str, mode: str, checkpoint: Path) -> dict[str, Any]:
    """What a training of `size.trained` steps on such videos took, its first step left out."""
    said: list[str] = []
    group, recipe = group_of(size, mode, said), paper_recipe(size.kind.dataset)
    settings = settings_of(size, precision)
    scale = recipe.train.scale if size.side == recipe.train.crop else settings.scale
    names = [videos[number % len(videos)] for number in range(size.clips * size.trained)]
    clips = TrainClips(
        [Clip(str(number), path, number % CLASSES) for number, path in enumerate(names)],
        sampling_of(recipe.sampling, FRAMES),
        TrainTransform(scale, size.side, flip=True),
        seed=0,
    )
    learned = ClassificationObjective(clips, settings, 0, lambda _: {})
    state = train(
        network("TAda2D", size), learned, seed=0, checkpoint=checkpoint, identity={}, progress=Silent(), group=group,
        workers=size.workers,
    )  # fmt: skip
    return {
        "clips_per_second": round(size.clips * (size.trained - 1) / state.stepped, 1),
        "data_wait": round(state.data_wait or 0.0, 4),
        "compiled": group.compiler.active,
    }


def aims(record: dict[str, Any]) -> list[tuple[str, float, bool]]:
    """What was aimed at in words, what was reached, and whether that is enough; of what was measured without error."""
    rows: list[tuple[str, float, bool]] = []
    for precision in PRECISIONS:
        found = record.get(precision, {})
        ours, published = (found.get(form, {}) for form in FORMS[1:])
        if "ratio" in ours:
            rows.append((f"{precision}: time over R2D's, at most {RATIO}", ours["ratio"], ours["ratio"] <= RATIO))
            speed, least = ours["clips_per_second"], CLIPS_PER_SECOND[precision]
            rows.append((f"{precision}: clips/s, at least {least:g}", speed, speed >= least))
        if "ms" in ours and "ms" in published:
            gain = round(published["ms"] / ours["ms"], 2)
            aim = f"{precision}: times as fast as the published form, at least {PUBLISHED:g}"
            rows.append((aim, gain, gain >= PUBLISHED))
    if "end_to_end" in record:
        share = record["end_to_end"]["prepared"]["data_wait"]
        rows.append((f"prepared videos: share of time that waits, below {WAITING}", share, share < WAITING))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, print it, write it."""
    parser = argparse.ArgumentParser(description="What a training step costs on this GPU.")
    parser.add_argument("--clips", type=int, default=Size.clips, help="clips of 8x224x224 in a step (default: 16)")
    parser.add_argument("--rounds", type=int, default=Size.rounds, help="measurements of each form (default: 15)")
    parser.add_argument("--mode", choices=MODES, action="append", help="leave out the other")
    parser.add_argument("--precision", choices=PRECISIONS, action="append", help="leave out the other")
    parser.add_argument("--steps-only", action="store_true", help="no training from end to end")
    parser.add_argument("--tiny", action="store_true", help="a trial of this program on a processor; needs --out")
    parser.add_argument("--out", type=Path, help="folder of the JSON file (default: benchmarks/measured)")
    options = parser.parse_args(arguments)
    if options.tiny and options.out is None:
        parser.error("--tiny: its numbers mean nothing; name another folder by --out")
    if not options.tiny and not torch.cuda.is_available():
        parser.error("needs a GPU; --tiny tries it on a processor")
    size = TINY if options.tiny else replace(Size(), clips=options.clips, rounds=options.rounds)
    modes, precisions = options.mode or MODES, options.precision or PRECISIONS
    card = "tiny" if options.tiny else torch.cuda.get_device_name()
    file = (options.out or MEASURED) / f"{card.lower().replace(' ', '-')}.json"
    commit, dirty = git_state()
    record: dict[str, Any] = {"gpu": card, "torch": torch.__version__, "git_commit": commit, "git_dirty": dirty}
    record |= {"clips": size.clips, "frames": FRAMES, "side": size.side, "mode": modes[0], "rounds": size.rounds}
    for mode in modes:
        into = record if mode == modes[0] else record.setdefault(mode, {})  # the plan reads those of the first
        for precision in precisions:
            into[precision] = found = summary(measure(precision, mode, size), size.clips)
            rows = [
                [form, *(values.get(key) for key in ("ms", "clips_per_second", "ratio")), values.get("error")]
                for form, values in found.items()
            ]
            about = f"{size.clips} clips of {FRAMES}x{size.side}x{size.side}; {precision}, {mode}"
            print(f"\n{card}, torch {torch.__version__}; {about}\n")
            print(tabulate(rows, ["form", "ms", "clips/s", "time x", ""], tablefmt="github"), flush=True)
            write_json(file, record)
    if not options.steps_only:
        fastest = precisions[-1]
        record["end_to_end"] = end_to_end(size, fastest, modes[0])
        write_json(file, record)
        rows = [[form, *record["end_to_end"][form].values()] for form in ("original", "prepared")]
        print(f"\nfrom end to end, {fastest}: {record['end_to_end']['videos']}, {size.workers} processes for data\n")
        print(tabulate(rows, ["videos", "clips/s", "waits", "compiled"], tablefmt="github"), flush=True)
    print("\n" + tabulate(aims(record), ["aim", "reached", "enough"], tablefmt="github"))


if __name__ == "__main__":
    main()
