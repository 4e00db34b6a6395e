"""What a training step costs: `uv run python -m benchmarks.training` (ten minutes on a GPU, most of it compilation).

Forward pass, backward pass and SGD step on clips of 8x224x224, compiled, of

- R2D: ResNet-50 without temporal modelling;
- TAda2D: as the suite trains it;
- TAda2D, kernel per frame: the published form of TAdaConv, which builds the kernel of every frame.

Each network lives in a process of its own. They compile at the same time, and are then measured in turns, one at a
time, so that whatever else the machine does meets all of them. Times are medians over the rounds; ratios are medians of
each round's. `benchmarks/measured/<gpu>.json` gets the numbers, with the card, torch and the commit.
"""

import argparse
import multiprocessing
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import nn

from benchmarks.tadaconv import awaken
from tada.base.files import write_json
from tada.base.provenance import git_state
from tada.complexity import PerFrameTAdaConv2d
from tada.models import build_model
from tada.models.blocks import Bottleneck

FORMS = ("R2D", "TAda2D", "TAda2D, kernel per frame")
PRECISIONS = {"bfloat16": torch.bfloat16, "float32": None}
"""Name in recipes -> type of autocast; float32 multiplies in TF32 inside of convolutions."""

SIDE, FRAMES, CLASSES = 224, 8, 174
STEPS = 5  # that are timed together in each round


def network(form: str) -> nn.Module:
    """A network in the form that is asked for, with a calibration that does something."""
    torch.manual_seed(0)
    if form == "R2D":
        return build_model("tsn", CLASSES)
    model = awaken(build_model("tada2d", CLASSES))
    if form == "TAda2D, kernel per frame":
        for block in (module for module in model.modules() if isinstance(module, Bottleneck)):
            conv = block.conv2
            block.conv2 = PerFrameTAdaConv2d(conv.in_channels, conv.out_channels, 3, conv.stride[1:], 1, bias=False)
            block.conv2.load_state_dict(conv.state_dict())
    return model


class Step:
    """A training step of a network on one batch that stays where it is."""

    def __init__(self, form: str, precision: str, mode: str, clips: int, device: str = "cuda") -> None:
        torch.backends.cuda.matmul.allow_tf32 = True
        self.device, self.type = device, PRECISIONS[precision]
        self.model = network(form).to(device).to(memory_format=torch.channels_last_3d).train()
        parameters, on_gpu = self.model.parameters(), device == "cuda"
        self.optimizer = torch.optim.SGD(parameters, 1e-3, 0.9, nesterov=True, weight_decay=1e-4, fused=on_gpu)
        x = torch.randn(clips, 3, FRAMES, SIDE, SIDE, device=device)
        self.x = x.contiguous(memory_format=torch.channels_last_3d)
        self.labels = torch.randint(CLASSES, (clips,), device=device)
        self.loss = self._loss if mode == "eager" else torch.compile(self._loss, mode=mode)

    def _loss(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device, dtype=self.type, enabled=self.type is not None):
            return nn.functional.cross_entropy(self.model(x), labels)

    def __call__(self) -> torch.Tensor:
        """The loss before the step."""
        loss = self.loss(self.x, self.labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss


def serve(pipe: Connection, form: str, precision: str, mode: str, clips: int) -> None:
    """Answer each request over `pipe`, a number of steps, with the milliseconds that one took."""
    try:
        step = Step(form, precision, mode, clips)
        while steps := pipe.recv():
            events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            torch.cuda.synchronize()
            events[0].record()
            for _ in range(steps):
                loss = step()
            events[1].record()
            torch.cuda.synchronize()
            pipe.send({"ms": events[0].elapsed_time(events[1]) / steps, "loss": float(loss.detach())})
        pipe.send({"peak_bytes": torch.cuda.max_memory_reserved()})
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


def measure(precision: str, mode: str, clips: int, rounds: int, forms: tuple[str, ...] = FORMS) -> list[Worker]:
    """Compile all forms at the same time, then measure them in turns."""
    context = multiprocessing.get_context("spawn")
    workers = []
    for form in forms:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, form, precision, mode, clips), daemon=True)
        process.start()
        theirs.close()
        workers.append(Worker(form, process, ours, []))
    began = time.monotonic()
    for worker in workers:
        worker.ask(6)  # compiles, records graphs
    for worker in workers:
        worker.answer()
    print(f"{precision}, {mode}: compiled after {time.monotonic() - began:.0f} s", flush=True)
    for _ in range(rounds + 1):
        for worker in workers:
            worker.ask(STEPS)
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


def main() -> None:
    """Measure what the command line asks for, print it, write it."""
    parser = argparse.ArgumentParser(description="What a training step costs on this GPU.")
    parser.add_argument("--clips", type=int, default=16, help="clips of 8x224x224 in a step (default: 16)")
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each form (default: 15)")
    parser.add_argument("--mode", default="reduce-overhead", help="of torch.compile, or eager (default: %(default)s)")
    parser.add_argument("--precision", choices=PRECISIONS, action="append", help="leave out the others")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/measured"), help="folder of the JSON file")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks.training needs a GPU")
    card = torch.cuda.get_device_name()
    commit, dirty = git_state()
    record: dict[str, Any] = {"gpu": card, "torch": torch.__version__, "git_commit": commit, "git_dirty": dirty}
    record |= {"clips": options.clips, "frames": FRAMES, "side": SIDE, "mode": options.mode, "rounds": options.rounds}
    for precision in options.precision or PRECISIONS:
        found = summary(measure(precision, options.mode, options.clips, options.rounds), options.clips)
        record[precision] = found
        rows = [
            [form, *(values.get(key) for key in ("ms", "clips_per_second", "ratio")), values.get("error")]
            for form, values in found.items()
        ]
        print(f"\n{card}, torch {torch.__version__}; {options.clips} clips of {FRAMES}x{SIDE}x{SIDE}; {precision}\n")
        print(tabulate(rows, ["form", "ms", "clips/s", "time x", ""], tablefmt="github"), flush=True)
        write_json(options.out / f"{card.lower().replace(' ', '-')}.json", record)


if __name__ == "__main__":
    main()
