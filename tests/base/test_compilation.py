"""Whatever hinders compilation is one line, and the numbers come all the same."""

import importlib.util
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch
from torch import nn

from tada.base.compilation import Compiler
from tada.models import build_model

CPU = torch.device("cpu")


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("wanted", "device", "pays", "active"),
    [
        (None, "cpu", True, False),  # a processor gains little
        (True, "cpu", False, True),  # but for whoever wants it
        (False, "cuda", True, False),
        (None, "cuda", False, False),  # networks of mini
        (None, "cuda", True, True),
    ],
)
def test_it_compiles_where_it_pays_or_is_wanted(tmp_path, monkeypatch, wanted, device, pays, active):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # what is set below is put back
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    said: list[str] = []
    compiler = Compiler.of(wanted, torch.device(device), tmp_path, said.append, pays)
    assert (compiler.active, bool(compiler.obstacle), said) == (active, not active, [])
    network = small()
    assert active or compiler.compile(network) is network


@pytest.mark.parametrize(
    ("capability", "triton", "line"),
    [
        ((9, 0), None, "the package triton is not installed"),
        ((6, 1), "there", "Tesla P40, of compute capability 6.1, is older than Triton supports"),
    ],
)
def test_what_hinders_it_on_a_gpu_is_one_line(tmp_path, monkeypatch, capability, triton, line):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla P40")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: triton)
    said: list[str] = []
    compiler = Compiler.of(None, torch.device("cuda"), tmp_path, said.append)
    assert (compiler.active, compiler.obstacle) == (False, line)
    assert said == [f"networks are not compiled, and slower: {line}"]


def killed(*arguments, **options):
    raise BrokenProcessPool("A process in the process pool was terminated abruptly")


FAULTS = {
    "a killed compiler": (killed, "BrokenProcessPool: A process in the process pool was terminated abruptly"),
    "a full disk": (OSError(28, "No space left on device"), r"OSError: [Errno 28] No space left on device"),
    "no C++ compiler": (RuntimeError("No working C++ compiler found\nsee ..."), "No working C++ compiler found"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_compile_is_one_line_and_what_follows_is_eager(tmp_path, monkeypatch, compiling, fault):
    planted, words = FAULTS[fault]
    calls = []

    def fail(*arguments, **options):
        calls.append(arguments)
        raise planted if isinstance(planted, Exception) else BrokenProcessPool(words.partition(": ")[2])

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", fail)
    said: list[str] = []
    compiler, network = Compiler.of(True, CPU, tmp_path, said.append), small()
    compiled, x = compiler.compile(network), torch.ones(2, 3)
    for _ in range(2):
        assert torch.equal(compiled(x), network(x))
    assert len(calls) == 1 and not compiler.active
    assert len(said) == 1 and words in said[0] and "\n" not in said[0] and str(tmp_path / "code") in said[0]
    assert torch.equal(Compiler.of(True, CPU, tmp_path, said.append).compile(network)(x), network(x))


def test_a_folder_for_compiled_code_that_cannot_be_made_is_one_line(tmp_path, compiling):
    folder = tmp_path / "code"
    folder.write_text("")
    said: list[str] = []
    compiler = Compiler.of(True, CPU, tmp_path / "not this one", said.append)
    assert not compiler.active
    line = f"{folder}, the folder for compiled code, cannot be made (File exists)"
    assert said == [f"networks are not compiled, and slower: {line}"]


def test_damaged_code_costs_the_speed_and_no_run(tmp_path, compiling):
    folder, x = tmp_path / "code", torch.ones(2, 3)
    said: list[str] = []
    network = small()
    Compiler.of(True, CPU, folder, said.append).compile(network)(x)
    torch._dynamo.reset()
    torch._inductor.codecache.PyCodeCache.cache_clear()
    written = [file for file in folder.rglob("*") if file.is_file()]
    assert written, "nothing was kept"
    for file in written:
        content = file.read_bytes()
        file.unlink()  # what this process has mapped stays whole
        file.write_bytes(content[:10])
    compiler = Compiler.of(True, CPU, folder, said.append)
    compiled = compiler.compile(network)
    for _ in range(2):
        torch.testing.assert_close(compiled(x), network(x))
    assert len(said) == (not compiler.active) and "\n" not in "".join(said)


def test_an_error_of_the_function_itself_is_raised_as_it_is(tmp_path, compiling):
    compiled = Compiler.of(True, CPU, tmp_path, lambda _: None).compile(small())
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        compiled(torch.ones(2, 5))


@pytest.mark.parametrize("name", ["tsn", "tada2d", "slowfast-4x16"])
def test_a_network_is_compiled_whole(compiling, name):
    """There is nothing in it that the compiler has to leave out."""
    network = build_model(name, 3, depth=[1, 1, 1, 1], width=8)
    found = torch._dynamo.explain(network)(torch.zeros(1, 3, network.frames, 32, 32))
    assert (found.graph_count, found.graph_break_count) == (1, 0)
