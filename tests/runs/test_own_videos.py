"""A list of videos is trained on, tested and fine-tuned to like any other dataset; a toy of three classes is learnt."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from planting import released_state

from tada.base import TadaError, files
from tada.base.files import sha256
from tada.data.mini.rendering import RenderSpec, write_video
from tada.data.mini.scenes import draw_digit, draw_track, draw_video
from tada.models import build_model
from tada.models.weights import load_backbone, read_checkpoint
from tada.runs.recipes import load_recipe, resolved, signature

MOTIONS = {
    "left": "Pulling [something] from right to left", "right": "Pulling [something] from left to right",
    "up": "Moving [something] up", "down": "Moving [something] down",
    "closer": "Approaching [something] with your camera",
}  # fmt: skip
TOY = ("up", "down", "closer")
SMALL = {"depth": [1, 1, 1, 1], "width": 16, "dropout": 0.0}


def recipe(path, epochs, initial, base_lr):
    return {
        "data": {"list": path, "max_skipped": 0.0, "cache": True},
        "network": SMALL,
        "sampling": {"kind": "segment"},
        "train": {
            "epochs": epochs, "warmup_epochs": 1, "base_lr": base_lr, "warmup_lr": 0.002, "batch": 15,
            "batch_per_device": 15, "scale": [24, 30], "crop": 24, "flip": True, "initial": initial,
            "validate_every": epochs,
        },
        "test": {"clips": 2, "crops": 1, "short_side": 24, "crop": 24},
    }  # fmt: skip


def render(folder, motions, train, validation, seed):
    """A list of so many videos of each motion."""
    spec = RenderSpec(seed=seed, frames=(20, 28), strength=(0.4, 0.7))
    rows = ["path,label,split"]
    for split, count in (("train", train), ("validation", validation)):
        for place in range(count * len(motions)):
            label, rng = motions[place % len(motions)], spec.rng(split, place)
            track = draw_track(MOTIONS[label], int(rng.integers(20, 29)), spec.strength, rng)
            frames = draw_video(draw_digit(int(rng.integers(10)), rng), track, spec.size, spec.texture, rng)
            name = f"{folder.name}/{split}{place}.mp4"
            folder.mkdir(exist_ok=True)
            write_video(folder.parent / name, frames, spec.fps)
            rows.append(f"{name},{label},{split}")
    (folder.parent / f"{folder.name}.csv").write_text("\n".join(rows) + "\n")


def config(folder, **recipes):
    (folder / "config/recipes").mkdir(parents=True, exist_ok=True)
    shutil.copy(files.CONFIG / "models.yaml", folder / "config")
    (folder / "config/recipes/own.yaml").write_text(yaml.safe_dump(recipes))
    return folder / "config"


def call(folder, *arguments, module="tada"):
    environment = {**os.environ, "TADA_CONFIG": str(folder / "config"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A network trained on four motions, and fine-tuned to three by 60 videos; one of them is new to it."""
    folder = tmp_path_factory.mktemp("toy")
    render(folder / "base", ("left", "right", "up", "down"), 75, 5, 1)
    render(folder / "toy", TOY, 15, 5, 2)
    first = "results/own/base/tada2d/seed0/checkpoint.pt"
    config(
        folder,
        base=recipe("base.csv", 14, "scratch", 0.05),
        toy=recipe("toy.csv", 30, first, 0.02),
        own=recipe("own.csv", 1, "scratch", 0.02),
    )
    for name in ("base", "toy"):
        code, output = call(folder, "run", name, "tada2d", "--scale", "own")
        assert code == 0, output
    return folder


def record(folder, dataset):
    return json.loads((folder / f"results/own/{dataset}/tada2d/seed0/metrics.json").read_text())


def test_sixty_videos_of_three_classes_are_learnt(toy):
    found = record(toy, "toy")
    assert found["metrics"]["top1"] > 90
    assert [found["dataset"][split]["used"] for split in ("train", "validation")] == [45, 15]
    checkpoint = toy / "results/own/base/tada2d/seed0/checkpoint.pt"
    assert found["initial"] == {"kind": "checkpoint", "file": "checkpoint.pt", "sha256": sha256(checkpoint)}
    assert found["config"]["initial"] == sha256(checkpoint)
    assert found["config"]["recipe"]["own"] == {"classes": sorted(TOY), "sha256": sha256(toy / "toy.csv")}
    code, output = call(toy, "run", "toy", "tada2d", "--scale", "own")
    assert code == 0 and "training" not in output  # it is there
    code, output = call(toy, "verify")
    assert code == 0 and output.startswith("2 finished runs"), output


def test_its_names_are_known_without_its_videos(toy):
    test_of = np.load(toy / "results/own/toy/tada2d/seed0/scores.npz")
    arguments = ("predict", test_of["videos"][0], "--checkpoint", "results/own/toy/tada2d/seed0/checkpoint.pt")
    shutil.move(toy / "toy.csv", toy / "kept.csv")
    code, output = call(toy, *arguments, "--json", "out.json")
    shutil.move(toy / "kept.csv", toy / "toy.csv")
    assert code == 0, output
    found = json.loads((toy / "out.json").read_text())
    assert found["classes"] == sorted(TOY)
    # Of a run that is not of mini, batches may change the last bits of a float32.
    np.testing.assert_allclose(found["videos"][0]["scores"], test_of["scores"][0], atol=1e-6)


def test_every_command_of_the_tutorial(toy):
    """In a folder where the list is called as there."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("safetensors")
    lines = (files.PROJECT / "docs/own-videos.md").read_text().splitlines()
    commands = [line.strip() for line in lines if re.match(r" *tada ", line)]
    assert [command.split()[1] for command in commands] == ["check-data", "run", "predict", "features", *["export"] * 3]
    shutil.copy(toy / "toy.csv", toy / "own.csv")
    for place, name in enumerate(("a.mp4", "b.mp4")):
        shutil.copy(toy / f"toy/validation{place}.mp4", toy / name)
    for command in commands:
        code, output = call(toy, *command.split()[1:])
        assert code == 0, (command, output)
    made = {path.name for path in toy.iterdir()}
    assert {"scores.json", "maps", "features", "own.safetensors", "own.pt2", "own.onnx"} <= made
    assert {path.name for path in (toy / "maps").iterdir()} == {"a.mp4.png", "b.mp4.png"}
    with np.load(toy / "features/a.npz") as found:
        assert found["features"].shape == (len(found["times"]), 512)
        np.testing.assert_allclose(np.diff(found["times"]), 4 / 12)


def test_snakemake_and_status_know_it(toy):
    target = "results/own/toy/tada2d/seed3/outcome.json"
    environment = {**os.environ, "TADA_CONFIG": str(toy / "config")}
    for name in ("config.yaml", "released.yaml"):
        shutil.copy(files.CONFIG / name, toy / "config")
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-n",
        "-p",
        "-s",
        str(files.PROJECT / "workflow/Snakefile"),
        "--cores",
        "1",
    ]
    done = subprocess.run(
        [*command, "--", target], cwd=toy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and re.search(r"^run +1$", done.stdout, re.MULTILINE), done.stdout + done.stderr
    code, output = call(toy, "status", "own/toy/tada2d")
    assert code == 0 and "1 run: 1 done" in output


def test_what_is_wrong_is_one_line(toy, tmp_path):
    shutil.copytree(toy / "toy", tmp_path / "toy")
    rows = (toy / "toy.csv").read_text().splitlines()
    config(tmp_path, toy=recipe("toy.csv", 1, "scratch", 0.05), late=recipe("toy.csv", 1, "gone.pt", 0.05))

    def run(*lines, dataset="toy", more=()):
        (tmp_path / "toy.csv").write_text("\n".join([*rows, *lines]) + "\n")
        code, output = call(tmp_path, "run", dataset, "tada2d", "--scale", "own", *more)
        assert code == 1 and "Traceback" not in output, output
        return output

    assert "1 x no video gone.mp4 (toy.csv, line 62) (e.g. gone.mp4)" in run("gone.mp4,up,train")
    new = run("toy/train0.mp4,sideways,validation")
    assert "1 x label 'sideways' is not among those of the training videos (toy.csv, line 62)" in new
    (tmp_path / "toy/page.mp4").write_text("no video")
    assert "toy/page.mp4" in run("toy/page.mp4,up,train")
    missing = run(dataset="late")
    assert "config/recipes/own.yaml: late.train.initial: gone.pt: no such file; give a checkpoint" in missing
    assert "unknown dataset 'tox'; did you mean 'toy'?" in run(dataset="tox")
    assert "its recipe names the videos, data.list: toy.csv; leave out --data x" in run(more=("--data", "x"))
    (tmp_path / "toy.csv").unlink()
    code, output = call(tmp_path, "run", "toy", "tada2d", "--scale", "own")
    assert code == 1 and "config/recipes/own.yaml: toy.data.list: toy.csv: no such file; expected there" in output


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("k400", {}, "'k400' cannot be the name of a dataset of your own"),
        ("My toy", {}, "'My toy' cannot be the name"),
        ("toy", {"classes": 3}, "toy.classes: these are the labels of toy.csv; leave it out"),
        ("toy", {"data": {}}, "toy.data.list: no list of videos; name a CSV file"),
        ("toy", {"data": {"lists": "a", "list": "a"}}, "unknown key 'lists'; did you mean 'list'"),
        ("toy", {"train": {"initial": "scrach"}}, "unknown value 'scrach'; did you mean 'scratch'?"),
    ],
)
def test_recipes_that_cannot_be(name, change, message, tmp_path):
    made = recipe("toy.csv", 1, "scratch", 0.05)
    made |= {"train": {**made["train"], **change["train"]}} if "train" in change else change
    folder = config(tmp_path, **{name: made})
    with pytest.raises(TadaError) as error:
        load_recipe("own", name, "tada2d", folder)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_what_changes_the_numbers_changes_the_signature(tmp_path, monkeypatch):
    """The list and the checkpoint by their content, wherever they lie."""
    monkeypatch.chdir(tmp_path)
    folder = config(tmp_path, toy=recipe("toy.csv", 1, "first.pt", 0.05))
    rows = "path,label,split\na.mp4,x,train\nb.mp4,y,train\nc.mp4,x,validation\n"

    def of_now():
        return signature(resolved("own", "toy", "tada2d", folder))

    Path("toy.csv").write_text(rows)
    Path("first.pt").write_bytes(b"1")
    first = of_now()
    Path("toy.csv").write_text(rows.replace("c.mp4", "d.mp4"))
    second = of_now()
    Path("first.pt").write_bytes(b"2")
    assert len({first, second, of_now()}) == 3
    Path("toy.csv").write_text(rows)
    Path("first.pt").write_bytes(b"1")
    assert of_now() == first
    Path("elsewhere").mkdir()
    for name in ("toy.csv", "first.pt"):
        shutil.move(name, f"elsewhere/{name}")
    config(tmp_path / "moved", toy=recipe("elsewhere/toy.csv", 1, "elsewhere/first.pt", 0.05))
    assert signature(resolved("own", "toy", "tada2d", tmp_path / "moved/config")) == first


def test_the_recipe_that_comes_with_the_project_is_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TadaError, match=r"own\.yaml: own\.data\.list: own\.csv: no such file; expected there"):
        load_recipe("own", "own", "tada2d")
    Path("own.csv").write_text("path,label,split\na.mp4,x,train\nb.mp4,y,train\nc.mp4,x,validation\n")
    assert load_recipe("own", "own", "tada2d").classes == 2


def test_fine_tuning_from_a_released_checkpoint(tmp_path):
    """The authors' backbone, under their names, whatever its classes; another network is refused by name."""
    torch.manual_seed(1)
    network = build_model("tada2d", 5)
    torch.save({"model_state": released_state(network)}, tmp_path / "k400.pyth")
    fresh = build_model("tada2d", 3)
    head = fresh.head.linear.weight.clone()
    loaded = load_backbone(fresh, tmp_path / "k400.pyth")
    assert set(loaded.fresh) == {"head.linear.weight", "head.linear.bias"} and loaded.sha256
    for name, value in network.state_dict().items():
        if not name.startswith("head.") and "num_batches" not in name:
            assert torch.equal(fresh.state_dict()[name], value), name
    assert torch.equal(fresh.head.linear.weight, head)
    assert read_checkpoint(tmp_path / "k400.pyth")["model_state"]
    with pytest.raises(TadaError, match=r"k400.pyth does not fit ResNet:\n  unexpected: res2.0.bn2.pooled"):
        load_backbone(build_model("tsn+tada", 3), tmp_path / "k400.pyth")
