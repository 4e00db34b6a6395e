from typing import NamedTuple

import pytest
import torch

from tada.base import TadaError
from tada.base.devices import ProcessGroup, environment, peak_memory_bytes

META = ProcessGroup(0, 1, torch.device("meta"))


class Pair(NamedTuple):
    first: torch.Tensor
    second: tuple[torch.Tensor, ...]


def test_tensors_move_wherever_they_are_nested():
    one = torch.zeros(2)
    moved = META.move({"verb": (one, [one, (one,)]), "pair": Pair(one, (one, one)), "alone": one})
    assert type(moved["verb"]) is tuple and type(moved["verb"][1]) is list and type(moved["pair"]) is Pair
    first, (second, (third,)) = moved["verb"]
    tensors = [first, second, third, moved["pair"].first, *moved["pair"].second, moved["alone"]]
    assert [tensor.device.type for tensor in tensors] == ["meta"] * 7
    assert one.device.type == "cpu"


def test_alone_every_exchange_is_the_identity():
    alone = ProcessGroup(0, 1, torch.device("cpu"))
    assert alone.is_main
    assert alone.sum({"a": 0.5}) == {"a": 0.5}
    assert alone.any(True, False) == (True, False)
    assert alone.gather("a") == ["a"] and alone.broadcast("a") == "a"
    assert alone.on_main(lambda: 3) == 3
    model = torch.nn.Linear(1, 1)
    assert alone.wrap(model) is model


def test_autocast_computes_in_the_asked_precision():
    alone = ProcessGroup(0, 1, torch.device("cpu"))
    for precision, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with alone.autocast(precision):
            assert torch.nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == kind


def test_environment_and_memory_of_this_process():
    found = environment()
    assert found.packages["torch"] == torch.__version__.split("+")[0]
    assert found.hardware.cores >= 1 and found.hardware.cpu
    assert len(found.hardware.gpus) == torch.cuda.device_count()
    assert torch.cuda.is_available() or peak_memory_bytes() > 1e7


def test_a_process_that_is_lost_is_told_from_other_errors():
    closed = RuntimeError(
        "[/x/pair.cc:561] Connection closed by peer [127.0.0.1]:27339. This is typically caused by a crash"
    )
    pair = ProcessGroup(0, 2, torch.device("cpu"))
    assert "another of the run's 2 processes has ended" in str(pair.lost(closed))
    assert pair.lost(RuntimeError("shapes differ")) is None
    assert ProcessGroup.single().lost(closed) is None


@pytest.mark.parametrize(("precision", "there"), [("bfloat16", False), ("bfloat16", True), ("float32", False)])
def test_a_gpu_that_lacks_bfloat16_is_one_line(monkeypatch, precision, there):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: there)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla V100")
    group = ProcessGroup(0, 1, torch.device("cuda"))
    if there or precision == "float32":
        group.check_precision(precision, "train.precision")
        return
    with pytest.raises(
        TadaError, match=r"^train\.precision: Tesla V100 does not compute in bfloat16; set it to float32"
    ):
        group.check_precision(precision, "train.precision")
