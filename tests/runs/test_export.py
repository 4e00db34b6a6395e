"""Exported networks compute what the network does, and say what they are; a file that computes something else goes."""

import json
import re
import resource
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from planting import plant_record
from typer.testing import CliRunner

from tada.base import TadaError
from tada.base.files import DiskError, sha256
from tada.cli import app
from tada.data.clips import Counts
from tada.models import build_model
from tada.runs import recipes, trained
from tada.runs.checkpoints import TrainingState, save_state
from tada.runs.record import Checkpoint
from tada.runs.run import Run
from tada.runs.trained import export, load_network, numbered

METRICS = {"top1": 61.25, "top5": 100.0}


@pytest.fixture(scope="module")
def leave(tiny_config, tmp_path_factory):
    """Leaves what a finished run leaves, of a network that has learnt nothing."""
    results = tmp_path_factory.mktemp("exported") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tada.runs.run.load_recipe", partial(recipes.load_recipe, folder=tiny_config))
        patch.setattr("tada.runs.run.resolved", partial(recipes.resolved, folder=tiny_config))

        def leave(dataset, model="tada2d", seed=0):
            run = Run("mini", dataset, model, seed, results)
            torch.manual_seed(seed)
            network = build_model(model, run.recipe.classes, **run.recipe.network)
            optimizer = torch.optim.SGD(network.parameters())
            file = run.file("checkpoint.pt")
            file.parent.mkdir(parents=True, exist_ok=True)
            save_state(file, {"signature": run.signature, "seed": seed}, network, optimizer, TrainingState())
            counts = {"train": Counts(36, 35, ["7"]), "validation": Counts(9, 9, [])}
            checkpoint = Checkpoint("checkpoint.pt", sha256(file))
            plant_record(run, METRICS, config=run.configuration, dataset=counts, checkpoint=checkpoint)
            return run

        yield leave


@pytest.fixture(scope="module")
def run(leave):
    return leave("ssv2")


@pytest.fixture
def tada(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


def clips_and_logits(run, count=4):
    """Clips of another number than the file was made with, and what the network says of them."""
    network = load_network(run.file("checkpoint.pt")).network
    clips = torch.randn(count, 3, 8, 20, 20, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        return clips, network(clips)


def check_card(card, run):
    assert card["network"] == "tada2d" and card["trained on"] == "ssv2" and card["signature"] == run.signature
    assert json.loads(card["metrics"]) == METRICS and json.loads(card["classes"]) == ["left", "right", "still"]
    assert json.loads(card["data"]) == {"train": [35, 36], "validation": [9, 9]}
    assert json.loads(card["configuration"])["recipe"]["test"]["crop"] == 20
    assert card["input"] == "float32 [N, 3, 8, 20, 20]: RGB from 0 to 1, minus 0.45, divided by 0.225"
    assert card["checkpoint sha256"] == sha256(run.file("checkpoint.pt"))


@pytest.fixture
def written(run, tada, tmp_path):
    """The file that the command has written in a format."""

    def write(to):
        (tmp_path / "names.txt").write_text("left\nright\nstill\n")
        done = tada(
            "export", "mini/ssv2/tada2d", f"a.{to}", "--to", to, "--results", run.results, "--classes", "names.txt"
        )
        assert done.exit_code == 0, done.stderr
        assert re.match(rf"wrote a.{to}: tada2d of ssv2, scale mini; logits of 3 random clips within", done.stdout)
        assert (tmp_path / f"a.{to}").stat().st_mode == (tmp_path / "names.txt").stat().st_mode
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"a.{to}", "names.txt"])
        return tmp_path / f"a.{to}"

    return write


def test_safetensors(run, written):
    safetensors = pytest.importorskip("safetensors")
    file = written("safetensors")
    with safetensors.safe_open(file, "pt") as found:
        check_card(found.metadata(), run)
        tensors = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118
    network = build_model("tada2d", 3, depth=[1, 1, 1, 1], width=8).eval()
    network.load_state_dict(tensors)
    clips, logits = clips_and_logits(run)
    with torch.inference_mode():
        assert torch.equal(network(clips), logits)


def test_a_program_of_torch(run, written, caplog):
    extra = {"card.json": ""}
    file = written("torch")
    assert "archive file" not in caplog.text and "load package" not in caplog.text
    program = torch.export.load(file.open("rb"), extra_files=extra)
    check_card(json.loads(extra["card.json"]), run)
    clips, logits = clips_and_logits(run)
    torch.testing.assert_close(program.module()(clips), logits, atol=1e-5, rtol=0)


def test_onnx(run, written):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(written("onnx"), providers=["CPUExecutionProvider"])
    check_card(session.get_modelmeta().custom_metadata_map, run)
    clips, logits = clips_and_logits(run)
    (found,) = session.run(["logits"], {"clips": clips.numpy()})
    np.testing.assert_allclose(found, logits, atol=1e-4, rtol=0)


def test_onnx_of_verbs_and_nouns(leave, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    run = leave("ek100", "tsm")
    network = load_network(run.file("checkpoint.pt"))
    export(network, "onnx", tmp_path / "a.onnx", numbered(network))
    session = runtime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    clips = torch.randn(1, 3, 8, 20, 20, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        expected = network.network(clips)
    for task, found in zip(("verb", "noun"), session.run(["verb", "noun"], {"clips": clips.numpy()}), strict=True):
        np.testing.assert_allclose(found, expected[task], atol=1e-4, rtol=0)


def test_a_file_that_computes_something_else_is_not_kept(run, tmp_path, monkeypatch):
    network = load_network(run.file("checkpoint.pt"))
    wrong = lambda *arguments: lambda clips: [torch.full((3, 3), float("nan"))]  # noqa: E731
    monkeypatch.setattr(trained, "_to_torch", lambda *arguments: arguments[3].write_bytes(b"x") and wrong(*arguments))
    with pytest.raises(TadaError, match="the exported file computes other logits, by up to nan; it was not kept"):
        export(network, "torch", tmp_path / "a.pt2", numbered(network))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["safetensors", "torch"])
def test_a_disk_that_takes_no_more_is_named_and_nothing_is_left(to, run, tmp_path):
    """As a full one does; torch would end the whole process."""
    network = load_network(run.file("checkpoint.pt"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, before[1]))
    try:
        with pytest.raises(DiskError, match=rf"{tmp_path}/network: not written: the disk at"):
            export(network, to, tmp_path / "network", numbered(network))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_one_line(run, leave, tada, monkeypatch):
    def refused(*arguments):
        done = tada("export", *arguments, "--results", run.results)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1) and not Path("a").exists(), done.stderr
        return done.stderr

    leave("ssv2", seed=1)
    assert "mini/ssv2/tada2d: " in (said := refused("mini/ssv2/tada2d", "a", "--to", "torch"))
    assert "seed0, " in said and said.endswith("seed1 are meant; name one of them\n")
    assert "unknown run 'ssv2/tda2d'; did you mean 'ssv2/tada2d'" in refused("ssv2/tda2d", "a", "--to", "torch")
    checkpoint = run.file("checkpoint.pt")
    assert "unknown format 'onx'; did you mean 'onnx'?" in tada("export", checkpoint, "a", "--to", "onx").stderr
    monkeypatch.setattr(trained, "find_spec", lambda name: None if name == "onnxscript" else name)
    said = tada("export", checkpoint, "a", "--to", "onnx").stderr.splitlines()[-1]
    expected = "an export to onnx needs the packages onnxscript: pip install 'tada-reproducibility[export]'"
    assert said == f"Error: {expected}"
