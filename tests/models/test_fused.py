"""The Triton kernels of Eq. 7: interpreted on the CPU, compared with the definition in float64, compiled for a GPU."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import torch

from tada.base import TadaError
from tada.models import build_model
from tada.models.blocks import AggregatedNorm, _AveragePool, temporal_pool

SHAPES = [
    (2, 5, 4, 3, 3),  # fewer positions and channels than a program takes
    (1, 70, 1, 5, 7),  # more channels than a program takes, one frame
    (1, 3, 2, 17, 130),  # more positions
    (3, 16, 8, 6, 6),
]


@pytest.fixture(scope="module")
def interpreted() -> Iterator[Callable[..., Any]]:
    """Calls a function of tests/fused_cases.py in a process in which Triton, once imported, interprets its kernels."""
    pytest.importorskip("triton")
    import fused_cases

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            yield lambda name, *arguments: pool.submit(getattr(fused_cases, name), *arguments).result()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "offset", "layout"),
    [
        ("float32", 0.0, "channels_last_3d"),
        ("float32", 100.0, "contiguous_format"),
        ("bfloat16", 0.5, "channels_last_3d"),
    ],
)
def test_equals_the_definition(interpreted, shape, dtype, offset, layout):
    found = interpreted("differences", shape, dtype, offset, layout)
    assert len(found) == 12
    in_type = {"result", "gradient of y"}  # what comes in the type of y
    allowed = {name: 2e-2 if dtype == "bfloat16" and name in in_type else 1e-4 for name in found}
    wrong = {name: value for name, value in found.items() if not value < allowed[name]}
    assert wrong == {}


def test_a_value_that_is_not_finite_shows(interpreted):
    assert interpreted("not_a_number_stays")


def test_composes_with_torch_compile(interpreted):
    assert interpreted("compiled_is_the_same")
    interpreted("custom_operations_are_sound")


@pytest.mark.parametrize("kernel", ["_statistics", "_normalise", "_gradient_sums", "_gradient"])
def test_kernels_compile_for_a_gpu(kernel):
    triton = pytest.importorskip("triton")
    if "nvidia" not in triton.backends.backends:
        pytest.skip("this Triton does not compile for NVIDIA's GPUs")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from tada.models import fused

    function = getattr(fused, kernel)
    types = dict.fromkeys(("ROWS", "COLUMNS"), "constexpr") | dict.fromkeys(("frames", "size", "channels"), "i32")
    types |= dict.fromkeys(("y", "gradient", "out"), "*bf16")
    signature = {name: types.get(name, "*fp32") for name in function.arg_names}
    source = ASTSource(function, signature, constexprs={"ROWS": 32, "COLUMNS": 64})
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    assert compiled.asm["cubin"]


def test_on_a_cpu_it_is_the_usual_form_to_the_bit():
    usual, fused = (
        build_model("tada2d", 5, depth=[1, 1, 1, 1], width=8, aggregation={"fused": how}) for how in (False, True)
    )
    fused.load_state_dict(usual.state_dict())
    x = torch.randn(2, 3, 8, 32, 32)
    torch.manual_seed(0)
    first = usual.train()(x)
    torch.manual_seed(0)
    assert torch.equal(fused.train()(x), first)


def test_what_is_not_equation_7_cannot_be_fused():
    for options in ({"pool": "max"}, {"separate_bn": False}):
        with pytest.raises(TadaError, match="fused is for Eq"):
            AggregatedNorm(4, fused=True, **options)


def test_without_triton_a_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.warns(UserWarning, match="fused needs Triton, which is not installed"):
        norm = AggregatedNorm(4, fused=True)
    assert not norm.fused


def test_the_average_pool_is_its_own_gradient():
    lines = torch.randn(2, 3, 5, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(_AveragePool.apply, lines)
    assert torch.autograd.gradgradcheck(_AveragePool.apply, lines)
    y = torch.randn(2, 3, 5, 2, 2, dtype=torch.double)
    assert torch.equal(_AveragePool.apply(y.flatten(3)), temporal_pool(y, "avg").flatten(3))
