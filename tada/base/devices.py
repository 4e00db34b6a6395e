"""The devices that compute: those of this process, and the group of processes that share the work on a run.

A process that works alone is a group of one, and every exchange is the identity.
"""

import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tada.base import TadaError
from tada.base.compilation import Compiler
from tada.base.processes import Interrupted
from tada.base.provenance import Environment, Hardware, git_state, packages

TIMEOUT = timedelta(hours=2)
"""Longest that a process waits for the others, e.g. while the main process reads through a dataset's files."""

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """A group of processes, seen from one of them.

    Attributes:
        rank: of this process, from 0; rank 0 is the main process.
        size: number of processes.
        device: where this process computes.
        compiler: of the networks that it computes with.
    """

    rank: int
    size: int
    device: torch.device
    compiler: Compiler = field(default_factory=Compiler, kw_only=True)

    @classmethod
    def single(cls) -> "ProcessGroup":
        """One process on the first GPU, or on the CPU where there is none."""
        return cls(0, 1, torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu"))

    @classmethod
    @contextmanager
    def from_environment(cls) -> Iterator["ProcessGroup"]:
        """The process group that RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT describe, while in use.

        NCCL between GPUs, gloo between CPU processes and for plain objects. Without these variables: a single process.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            yield cls.single()
            return
        cuda = torch.cuda.is_available()
        local = int(os.environ["LOCAL_RANK"]) if torch.cuda.device_count() > 1 else 0
        device = torch.device("cuda", local) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=TIMEOUT)
        try:
            yield cls(dist.get_rank(), size, device)
        finally:
            dist.destroy_process_group()

    def lost(self, error: Exception) -> TadaError | None:
        """What it means that another process of the group has ended; None for any other error."""
        signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")
        if self.size == 1 or not any(sign in str(error) for sign in signs):
            return None
        return TadaError(
            f"another of the run's {self.size} processes has ended (often: killed, or out of memory); the next call "
            "goes on from what is saved"
        )

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, rank 0: it writes the files and reports progress."""
        return self.rank == 0

    @property
    def tf32(self) -> bool:
        """Whether convolutions in float32 multiply in TF32, which rounds factors to 11 bits."""
        return (
            self.device.type == "cuda"
            and torch.cuda.get_device_capability(self.device) >= (8, 0)
            and torch.backends.cudnn.allow_tf32
        )

    def wrap(self, model: nn.Module, in_buckets: bool = False) -> nn.Module:
        """The model with gradients averaged over the processes; batch-norm statistics stay each process's own.

        Gradients are exchanged in buckets while the backward pass goes on; parameters' gradients lie `in_buckets` if
        asked for, and have to stay there.
        """
        if self.size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(
            model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=in_buckets
        )

    def synchronised(self, model: Callable[..., Any], last: bool) -> AbstractContextManager[None]:
        """A context in which a wrapped model exchanges gradients only for the `last` micro-batch of a step."""
        return nullcontext() if last or not isinstance(model, DistributedDataParallel) else model.no_sync()

    def autocast(self, precision: str) -> AbstractContextManager[None]:
        """A context of the asked precision: "float32", "bfloat16" or "float16"."""
        if precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, precision))

    def place(self, model: nn.Module) -> None:
        """Move a model to this process's device; on a GPU in the memory format in which it convolves fastest."""
        model.to(self.device)
        if self.device.type == "cuda":
            last = torch.channels_last_3d
            for weight in (parameter for parameter in model.parameters() if parameter.dim() == 5):
                if not weight.is_contiguous(memory_format=last):
                    weight.data = weight.data.contiguous(memory_format=last)

    def moved(self, batches: Iterator[T]) -> Iterator[T]:
        """Batches (see `move`) on this process's device; a GPU gets one while it computes with the one before."""
        if self.device.type != "cuda":
            yield from map(self.move, batches)
            return
        beside = torch.cuda.Stream(self.device)
        for batch in batches:
            with torch.cuda.stream(beside):
                there = self.move(batch)
            now = torch.cuda.current_stream(self.device)
            now.wait_stream(beside)
            for tensor in _tensors(there):
                tensor.record_stream(now)  # whose memory may serve again once this stream is done with it
            yield there

    def read_behind(self, results: Iterable[tuple[T, dict[str, Tensor]]]) -> Iterator[tuple[T, dict[str, Tensor]]]:
        """Results with their tensors on the CPU; those of a GPU come when the next have been started, so that it never
        waits for whoever reads them."""
        before: tuple[T, dict[str, Tensor], Any] | None = None
        for about, tensors in results:
            there = {name: tensor.to("cpu", non_blocking=True) for name, tensor in tensors.items()}
            if self.device.type != "cuda":
                yield about, there
                continue
            last, before = before, (about, there, self.mark())
            if last:
                last[2].synchronize()
                yield last[:2]
        if before:
            before[2].synchronize()
            yield before[:2]

    def mark(self) -> Any:
        """A point in time of what this process's device computes, for `seconds_between`."""
        if self.device.type != "cuda":
            return time.monotonic()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def seconds_between(self, first: Any, second: Any) -> float:
        """Seconds from one `mark` to a later one; waits until the device has come there."""
        if self.device.type != "cuda":
            return second - first
        second.synchronize()
        return first.elapsed_time(second) / 1e3

    def check_precision(self, precision: str, setting: str) -> None:
        """Raise a TadaError, which names the recipe's `setting`, where this process's device lacks a precision."""
        if precision != "bfloat16" or self.device.type != "cuda":
            return
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            name = torch.cuda.get_device_name(self.device)
            raise TadaError(
                f"{setting}: {name} does not compute in bfloat16; set it to float32, or take a GPU of compute "
                "capability 8.0 or later"
            )

    def move(self, value: Any) -> Any:
        """A tensor, or tensors in a dict, list or tuple, on this process's device."""
        if isinstance(value, dict):
            return {key: self.move(part) for key, part in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self.move, value))
        if isinstance(value, list | tuple):
            return type(value)(map(self.move, value))
        return value.to(self.device, non_blocking=True)

    def sum(self, values: dict[str, float]) -> dict[str, float]:
        """Each value summed over all processes."""
        if self.size == 1:
            return values
        total = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return dict(zip(values, total.tolist(), strict=True))

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether it is true in some process, so that all stop, or save, at the same step."""
        return tuple(value > 0 for value in self.sum({str(i): float(flag) for i, flag in enumerate(flags)}).values())

    def gather(self, value: Any) -> list[Any] | None:
        """The values of all processes by rank, in the main process; None in the others."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.is_main else None
        dist.gather_object(value, values)
        return values

    def broadcast(self, value: Any) -> Any:
        """The main process's value, in all of them."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Give every process the main process's batch-norm statistics, which are those that are saved."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """A context that the main process leaves before the others enter it, so that they find what it has prepared."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()

    def on_main(self, work: Callable[[], T]) -> T | None:
        """The result of what the main process alone does; None in the others.

        Raises:
            Interrupted: the work was asked to stop; in all processes.
        """
        result, stopped = None, None
        if self.is_main:
            try:
                result = work()
            except Interrupted as error:
                stopped = error
        if self.any(stopped is not None)[0]:
            raise stopped or Interrupted("stopped with the main process, which has saved its state")
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    """Those in nested dicts, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
        return
    for part in value.values() if isinstance(value, dict) else value:
        yield from _tensors(part)


def environment() -> Environment:
    """Code, interpreter, packages and hardware of this process."""
    return Environment(*git_state(), platform.python_version(), packages(), hardware())


def hardware() -> Hardware:
    """Processor, cores and GPUs of this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Hardware(_cpu_name(), cores, [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())])


def peak_memory_bytes() -> int:
    """Most memory held at once by this process: of the GPU where there is one, else resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if platform.system() == "Darwin" else usage * 1024  # macOS counts bytes, Linux kibibytes


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
