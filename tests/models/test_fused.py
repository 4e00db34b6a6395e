"""Temporal aggregation by Triton's kernels against the layers that it stands for, interpreted and on a GPU."""

import copy
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from tada.models import fused
from tada.models.blocks import AggregatedNorm, Design, stage

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")

# Compares values, all gradients and running statistics; by the interpreter, which needs no GPU.
COMPARE = """
import copy
import torch
from torch import nn
from tada.models import fused
from tada.models.blocks import AggregatedNorm

device = "cuda" if torch.cuda.is_available() else "cpu"
for shape in ((2, 24, 4, 5, 3), (2, 70, 8, 4, 4), (1, 8, 1, 3, 3), (2, 64, 3, 9, 8)):
    torch.manual_seed(0)
    y = (2 * torch.randn(shape, device=device) + 3).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    norm = AggregatedNorm(shape[1]).to(device)
    for part in (norm, norm.pooled):
        nn.init.normal_(part.weight)
        nn.init.normal_(part.bias)
    layers = copy.deepcopy(norm)
    normal = layers(y)
    given, expected = fused.aggregate(y, norm), normal.relu()
    clear = normal.abs() > 1e-3  # nearer to zero, rounding decides what the ReLU lets through
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        d = (torch.randn_like(expected) * clear).contiguous(memory_format=layout)
        found = torch.autograd.grad(given, [y, *norm.parameters()], d, retain_graph=True)
        wanted = torch.autograd.grad(expected, [y, *layers.parameters()], d, retain_graph=True)
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(norm.state_dict(), layers.state_dict(), rtol=1e-4, atol=1e-4)
"""


def test_aggregation_is_that_of_the_layers():
    environment = os.environ | ({} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"})
    subprocess.run([sys.executable, "-c", COMPARE], check=True, env=environment)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="compiled kernels need a GPU")
def test_a_compiled_block_has_the_gradients_of_the_layers():
    torch.manual_seed(0)
    block = stage(2, 128, 32, 1, Design(tada={}, aggregation={})).cuda().train()
    for norm in (part.bn2.pooled for part in block):
        torch.nn.init.normal_(norm.weight, std=0.3)
    x = torch.randn(4, 128, 8, 28, 28, device="cuda").contiguous(memory_format=torch.channels_last_3d)
    d = torch.randn_like(x)

    def gradients(call, model, autocast):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
            y = call(x)
        y.backward(d.to(y.dtype))
        return [parameter.grad for parameter in model.parameters()]

    copies = [copy.deepcopy(block) for _ in range(3)]
    exact = gradients(copies[0], copies[0], False)
    layers = gradients(copies[1], copies[1], True)
    compiled = gradients(torch.compile(copies[2], fullgraph=True), copies[2], True)
    for truth, one, other in zip(exact, layers, compiled, strict=True):
        if truth.norm() > 1e-3:  # the bias before a batch norm has none
            assert (other - truth).norm() < 2 * (one - truth).norm() + 0.01 * truth.norm()


def test_layers_stay_where_it_does_not_pay():
    y = torch.randn(1, 4, 2, 3, 3).bfloat16().contiguous(memory_format=torch.channels_last_3d)
    assert not fused.aggregates(y, AggregatedNorm(4))  # on a CPU, not compiled
    assert not fused.aggregates(y, torch.nn.BatchNorm3d(4))
