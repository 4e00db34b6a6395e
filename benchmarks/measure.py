"""Time and peak memory of functions, taken in turns so that whatever else the machine does meets all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True)
class Measurement:
    """What one call costs.

    Attributes:
        seconds: median over the rounds.
        slowdown: median over the rounds of the ratio to the first function's time in the same round.
        peak_bytes: most memory of tensors at any time, what was there before the call included.
    """

    seconds: float
    slowdown: float
    peak_bytes: int


@dataclass(frozen=True)
class Form:
    """A module and the input that it is measured on."""

    module: nn.Module
    x: Tensor

    def forward(self) -> None:
        """The forward pass in evaluation mode, nothing kept for gradients."""
        with torch.no_grad():
            self.module.eval()(self.x)

    def forward_and_backward(self) -> None:
        """Forward and backward pass in training mode, with gradients for parameters and input."""
        self.module.zero_grad(set_to_none=True)
        self.x.grad = None
        y = self.module.train()(self.x.requires_grad_())
        y.backward(torch.ones_like(y))

    @property
    def held_bytes(self) -> int:
        """Memory of input and parameters."""
        return sum(value.numel() * value.element_size() for value in (self.x, *self.module.parameters()))


def compare(
    forms: Mapping[str, Form], call: Callable[[Form], None], rounds: int, warmup: int = 2
) -> dict[str, Measurement]:
    """The cost of `call` for each form; slowdowns are relative to the first."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(warmup + rounds):
        for name, form in forms.items():
            times[name].append(_seconds(partial(call, form), form.x.device))
    times = {name: values[warmup:] for name, values in times.items()}
    first = next(iter(times.values()))
    return {
        name: Measurement(
            statistics.median(values),
            statistics.median(own / base for own, base in zip(values, first, strict=True)),
            peak_bytes(forms[name], call),
        )
        for name, values in times.items()
    }


def _seconds(call: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def peak_bytes(form: Form, call: Callable[[Form], None]) -> int:
    """Most memory of tensors during `call`, input and parameters included; a library's own scratch space is not."""
    form.module.zero_grad(set_to_none=True)
    form.x.grad = None
    if form.x.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(form.x.device)
        before = torch.cuda.memory_allocated(form.x.device)
        call(form)
        return form.held_bytes + torch.cuda.max_memory_allocated(form.x.device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call(form)
    now = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return form.held_bytes + peak
