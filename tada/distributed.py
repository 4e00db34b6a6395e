"""This process's place among those that train one network together, and its device."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class World:
    """Rank and number of processes, and the device of this one."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def single(cls) -> "World":
        """One process on the first GPU, or on the CPU where there is none."""
        return cls(0, 1, torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu"))

    @classmethod
    @contextmanager
    def from_environment(cls) -> Iterator["World"]:
        """The process group that RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT describe, while in use.

        NCCL between GPUs, gloo between CPU processes. Without these variables: a single process.
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
        dist.init_process_group("nccl" if cuda else "gloo")
        try:
            yield cls(dist.get_rank(), size, device)
        finally:
            dist.destroy_process_group()

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the processes; batch-norm statistics stay each process's own."""
        if self.size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def synchronised(self, model: nn.Module, last: bool) -> Any:
        """A context in which gradients are exchanged only for the last of the accumulated groups."""
        return nullcontext() if last or self.size == 1 else model.no_sync()

    def autocast(self, precision: str) -> Any:
        """A context of the asked precision: "float32" or "bfloat16"."""
        if precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, precision))

    def move(self, value: Any) -> Any:
        """A tensor, or a dict of tensors, on this process's device."""
        if isinstance(value, dict):
            return {key: self.move(part) for key, part in value.items()}
        return value.to(self.device, non_blocking=True)

    def sum(self, values: dict[str, float]) -> dict[str, float]:
        """Each value summed over all processes."""
        if self.size == 1:
            return values
        total = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return dict(zip(values, total.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in some process, so that all stop at the same step."""
        return self.sum({"flag": float(flag)})["flag"] > 0
