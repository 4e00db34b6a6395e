"""What TAdaConv costs in time and memory: `uv run python -m benchmarks.tadaconv` (a few minutes on two cores).

Compares, in turns within one run,

- plain: the convolution without TAdaConv, in the memory format in which it runs fastest (channels-last);
- TAdaConv: this suite's form around one shared kernel;
- per frame: the published form, which builds the kernel of every frame and convolves the frames as groups;

on single layers (T = 8, batch 4) and in whole ResNet-50s, R2D and TAda2D, as they are and folded for testing. Times are
medians; "time x" is the median of the ratios within each round, "memory x" the ratio of peak memory. On a GPU the same
follows in bfloat16, with and without torch.compile, and so does what stands between two convolutions of TAda2D: a batch
norm alone, Eq. 7 by torch's operations, and Eq. 7 by the kernels of `tada.models.fused`, each with its ReLU. These
kernels pay where "fused" takes less time than "aggregation": then `aggregation: {fused: true}` is worth a line in
config/models.yaml. `--only aggregation` measures them alone.

Measure on a machine that does nothing else: threads that wait for a busy core slow many small operations down more than
one large one. The forward pass of a single layer, which may not touch its input, holds a scaled copy beside input and
output for a moment; in a network that is folded for testing, TAdaConv scales in place.
"""

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from tabulate import tabulate
from torch import Tensor, nn

from benchmarks.folding import fold_for_testing
from benchmarks.measure import Form, compare
from tada.base.devices import hardware
from tada.complexity import PerFrameTAdaConv2d
from tada.conv import Calibration, TAdaConv2d, VideoConv
from tada.models import build_model
from tada.models.blocks import AggregatedNorm, Bottleneck

LAYERS = ((64, 56), (128, 28), (256, 14), (512, 7))
BATCH, FRAMES = 4, 8
CALLS: dict[str, Callable[[Form], None]] = {
    "forward": Form.forward,
    "forward + backward": Form.forward_and_backward,
}


def layer_forms(channels: int) -> dict[str, nn.Module]:
    """The three forms of a 3x3 layer, with the same weights and a calibration that does something."""
    torch.manual_seed(0)
    ours = awaken(TAdaConv2d(channels, channels, 3, padding=1, bias=False))
    plain = VideoConv(channels, channels, (1, 3, 3), padding=(0, 1, 1), bias=False)
    plain.load_state_dict(ours.state_dict(), strict=False)
    published = PerFrameTAdaConv2d(channels, channels, 3, padding=1, bias=False)
    published.load_state_dict(ours.state_dict())
    return {"plain": plain, "TAdaConv": ours, "per frame": published}


def network_forms() -> dict[str, nn.Module]:
    """R2D, and TAda2D in both forms with the same weights."""
    torch.manual_seed(0)
    plain, ours = build_model("tsn", 400), awaken(build_model("tada2d", 400))
    return {"R2D": plain, "TAda2D": ours, "TAda2D, per frame": per_frame(copy.deepcopy(ours))}


def per_frame(network: nn.Module) -> nn.Module:
    """A TAda2D whose TAdaConvs are replaced, in place, by their published form with the same weights."""
    for block in (module for module in network.modules() if isinstance(module, Bottleneck)):
        conv = block.conv2
        block.conv2 = PerFrameTAdaConv2d(conv.in_channels, conv.out_channels, 3, conv.stride[1:], 1, bias=False)
        block.conv2.load_state_dict(conv.state_dict())
    return network


class Aggregation(nn.Module):
    """Eq. 7 with its ReLU, both batch norms with a weight that does something."""

    def __init__(self, channels: int, fused: bool) -> None:
        super().__init__()
        self.norm = AggregatedNorm(channels, fused=fused)
        assert self.norm.pooled is not None  # Eq. 7 has two
        nn.init.constant_(self.norm.pooled.weight, 0.5)

    def forward(self, y: Tensor) -> Tensor:
        """`[N, C, T, H, W]`, of the same shape."""
        return self.norm.rectified(y)


def aggregation_forms(channels: int) -> dict[str, nn.Module]:
    """What follows a middle convolution: a batch norm as in R2D, and Eq. 7 in two forms."""
    plain = nn.Sequential(nn.BatchNorm3d(channels), nn.ReLU(inplace=True))
    return {"batch norm": plain, "aggregation": Aggregation(channels, False), "fused": Aggregation(channels, True)}


def awaken(module: nn.Module) -> nn.Module:
    """Give the calibrations' last layers weights, so that they do not scale by one."""
    for part in module.modules():
        if isinstance(part, Calibration):
            nn.init.normal_(part.emit.weight, std=0.02)
    return module


def largest_difference(forms: dict[str, Form], training: bool) -> float:
    """Between the outputs of all forms but the first, in that mode, relative to the largest value."""
    with torch.no_grad():
        values = [form.module.train(training)(form.x).float() for form in list(forms.values())[1:]]
    return max(float((value - values[0]).abs().max() / values[0].abs().max()) for value in values)


@dataclass(frozen=True)
class Settings:
    """How a comparison is measured."""

    device: str
    dtype: torch.dtype
    compiled: bool
    rounds: int

    def __str__(self) -> str:
        return f"{self.device}, {str(self.dtype).removeprefix('torch.')}{', torch.compile' if self.compiled else ''}"


def show(
    title: str, modules: dict[str, nn.Module], shape: tuple[int, ...], calls: tuple[str, ...], settings: Settings
) -> None:
    """Measure and print one comparison; the first module is what the others are compared with."""
    x = torch.randn(shape).to(settings.device, settings.dtype)
    forms = {}
    for name, module in modules.items():
        moved = module.to(settings.device, settings.dtype)
        layout = torch.contiguous_format if name == "per frame" else torch.channels_last_3d  # each in its best
        if settings.compiled:
            moved.compile()
        forms[name] = Form(moved, x.detach().contiguous(memory_format=layout))
    table = []
    for call in calls:
        costs = compare(forms, CALLS[call], settings.rounds)
        base = next(iter(costs.values()))
        for name, cost in costs.items():
            memory = cost.peak_bytes / base.peak_bytes
            table.append([call, name, cost.seconds * 1e3, cost.slowdown, cost.peak_bytes / 2**20, memory])
    print(f"\n{title}; {settings}\n")
    heads = ["pass", "form", "ms", "time x", "peak MiB", "memory x"]
    print(tabulate(table, heads, tablefmt="github", floatfmt=("", "", ".1f", ".2f", ".0f", ".2f")))
    difference = largest_difference(forms, training="forward" not in calls)
    print(f"\nAll forms but the first differ by {difference:.0e} of the largest value.", flush=True)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="What TAdaConv costs in time and memory.")
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each form (default: 15)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU (default: all)")
    parser.add_argument("--size", type=int, default=224, help="height and width of the networks' clip (default: 224)")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="leave out the other")
    parser.add_argument("--only", choices=["layers", "aggregation", "networks"], help="leave out the others")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    machine = hardware()
    devices = [f"{machine.cpu} with {options.threads} threads", *machine.gpus]
    print(f"{', '.join(devices)}; torch {torch.__version__}")
    every = [Settings("cpu", torch.float32, False, options.rounds)]
    if torch.cuda.is_available():
        every += [Settings("cuda", torch.bfloat16, compiled, options.rounds) for compiled in (False, True)]
    for settings in (one for one in every if options.device in (None, one.device)):
        if options.only in (None, "layers"):
            for channels, size in LAYERS:
                shape = (BATCH, channels, FRAMES, size, size)
                forms = layer_forms(channels)
                show(f"C = {channels}, {size} x {size}", forms, shape, tuple(CALLS), settings)
        if settings.device == "cuda" and options.only in (None, "aggregation"):  # the kernels are for GPUs
            for channels, size in LAYERS:
                shape = (BATCH, channels, FRAMES, size, size)
                show(f"Eq. 7, C = {channels}", aggregation_forms(channels), shape, ("forward + backward",), settings)
        if options.only in (None, "networks"):
            networks = network_forms()
            shape = (1 if settings.device == "cpu" else BATCH, 3, FRAMES, options.size, options.size)
            show("ResNet-50", networks, shape, tuple(CALLS), settings)
            if settings.device == "cuda":
                fused = build_model("tada2d", 400, aggregation={"fused": True})
                fused.load_state_dict(networks["TAda2D"].state_dict())
                pair = {"TAda2D": networks["TAda2D"], "TAda2D, fused": fused}
                show("ResNet-50, Eq. 7 fused", pair, shape, ("forward + backward",), settings)
            folded = {f"{name}, folded": fold_for_testing(module) for name, module in networks.items()}
            show("ResNet-50, folded for testing", folded, shape, ("forward",), settings)


if __name__ == "__main__":
    main()
