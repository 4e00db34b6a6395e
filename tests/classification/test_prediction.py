"""`tada predict` gives what the test of a run gives, and says in a line what it cannot use."""

import json
import re
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from planting import released_state
from typer.testing import CliRunner

from tada.base import TadaError
from tada.base.files import sha256
from tada.base.progress import Silent
from tada.classification.pipeline import predict
from tada.cli import app
from tada.data.video.random_access import Video
from tada.data.views import SegmentSampling, normalise
from tada.execute import execute
from tada.models import build_model
from tada.report.figures.gradcam import activation_maps
from tada.runs import recipes
from tada.runs.record import read_record, read_record_of
from tada.runs.run import Run
from tada.runs.settings import TestSettings
from tada.runs.trained import load_network

CLASSES = ["Pushing [something] left", "Pushing [something] right", "Holding [something]"]


@pytest.fixture(scope="module")
def finished(tiny_config, tiny_ssv2, tmp_path_factory):
    """A finished run on tiny videos."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tada.runs.run.load_recipe", partial(recipes.load_recipe, folder=tiny_config))
        patch.setattr("tada.runs.run.resolved", partial(recipes.resolved, folder=tiny_config))
        run = Run("mini", "ssv2", "tada2d", 0, tmp_path_factory.mktemp("results"))
        execute(run, str(tiny_ssv2), lambda: False)
    return run


@pytest.fixture
def tada(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


def test_scores_are_those_of_the_test(finished, tiny_ssv2, tada, tmp_path):
    """Of one video alone and of all: those of scores.npz, but for rounding, which may depend on the batch."""
    scores = np.load(finished.file("scores.npz"))
    videos = [tiny_ssv2 / "videos" / f"{name}.webm" for name in scores["videos"]]
    for asked in (videos[4:5], videos):
        done = tada(
            *("predict", *asked, "--checkpoint", finished.file("checkpoint.pt")),
            *("--data", tiny_ssv2, "--json", "out.json", "--top", 2),
        )
        assert done.exit_code == 0, done.stderr
        found = json.loads((tmp_path / "out.json").read_text())
        for path, entry in zip(asked, found["videos"], strict=True):
            expected = scores["scores"][scores["videos"].tolist().index(path.stem)]
            assert entry["video"] == str(path)
            np.testing.assert_allclose(np.float32(entry["scores"]), expected, rtol=1e-6)
            assert [one["class"] for one in entry["top"]] == np.argsort(-expected, kind="stable")[:2].tolist()
            assert entry["top"][0]["name"] == found["classes"][entry["top"][0]["class"]]
            assert entry["top"][0]["score"] == max(entry["scores"])
    assert found["classes"] == [name.replace("[", "").replace("]", "") for name in CLASSES]
    assert found["network"]["sha256"] == sha256(finished.file("checkpoint.pt"))
    assert found["network"]["signature"] == read_record_of(finished.folder).signature
    shutil.copy(videos[0], tmp_path / "a[b].webm")
    done = tada("predict", "a[b].webm", "--checkpoint", finished.file("checkpoint.pt"), "--data", tiny_ssv2)
    best = found["videos"][0]["top"][0]
    assert re.search(rf"^a\[b\].webm +{best['score']:.4f} +{best['name']} *$", done.stdout, re.MULTILINE)


def test_the_record_says_what_the_network_is_not_today_s_recipes(finished):
    """The project's own recipe of this name has 13 classes, 16 channels and other views."""
    trained = load_network(finished.file("checkpoint.pt"))
    assert read_record(Run("mini", "ssv2", "tada2d", 0, finished.results)) is None  # of another signature
    assert trained.classes == {"": 3} and trained.network.stem.conv1.out_channels == 8
    assert (trained.test.clips, trained.test.crops, trained.test.short_side) == (2, 3, 20)
    assert not trained.network.training


def test_maps_are_those_of_the_predicted_class(finished, tiny_ssv2, tada, tmp_path):
    video = tiny_ssv2 / "videos/1.webm"
    done = tada("predict", video, "--checkpoint", finished.file("checkpoint.pt"), "--maps", "maps", "--layer", "res3")
    assert done.exit_code == 0, done.stderr
    pixels = np.asarray(Image.open(tmp_path / "maps/1.webm.png"))
    assert pixels.shape == (20 + 1 + 20, 8 * 21 - 1, 3)
    frames = np.stack([pixels[:20, 21 * t : 21 * t + 20] for t in range(8)])
    heated = np.stack([pixels[21:, 21 * t : 21 * t + 20] for t in range(8)])
    network = load_network(finished.file("checkpoint.pt")).network
    clip = torch.from_numpy(frames.copy()).permute(3, 0, 1, 2)
    with torch.inference_mode():
        category = int(network((clip[None].float() / 255 - 0.45) / 0.225).argmax())
    maps = activation_maps(network, "res3", clip, category)
    np.testing.assert_array_equal(heated[maps == 0], frames[maps == 0])  # where nothing speaks for it, the frame shows
    assert (heated != frames).any(-1)[maps > 0.2].all()


def test_maps_of_a_layer_that_there_is_not(finished, tiny_ssv2, tada, tmp_path):
    command = ("predict", tiny_ssv2 / "videos/1.webm", "--checkpoint", finished.file("checkpoint.pt"))
    done = tada(*command, "--maps", "maps", "--layer", "res6")
    assert done.exit_code == 1 and not (tmp_path / "maps").exists()
    assert "Error: maps of tada2d, a ResNet: unknown layer 'res6'; did you mean 'res" in done.stderr


def test_a_released_checkpoint(tiny_ssv2, tmp_path):
    """Classes and frames in the file say whose recipe it is tested by; full size, so of one small view here."""
    torch.manual_seed(0)
    for classes, frames in ((7, 8), (174, 16)):
        network = build_model("tada2d", classes, frames=frames).eval()
        torch.nn.init.normal_(network.head.linear.weight)
        config = json.dumps({"DATA": {"NUM_INPUT_FRAMES": frames}})
        torch.save({"model_state": released_state(network), "cfg": config}, tmp_path / f"{classes}.pyth")
    trained = load_network(tmp_path / "174.pyth")
    assert (trained.dataset, trained.model, trained.classes, trained.record) == ("ssv2", "tada2d-16f", {"": 174}, None)
    recipe = recipes.load_recipe("paper", "ssv2", "tada2d-16f")
    assert (trained.sampling, trained.test) == (recipe.sampling, recipe.test)
    trained = replace(trained, test=TestSettings(clips=1, crops=1, short_side=24, crop=24))
    video = tiny_ssv2 / "videos/1.webm"
    scores = predict(trained, [video], Silent()).scores[video][""]
    frames = Video(video).read(SegmentSampling(16).test(10, 12.0, 0, 1).tolist())
    clip = normalise(torch.from_numpy(frames[:, :, 4:28]).permute(3, 0, 1, 2)[None])
    with torch.inference_mode():
        np.testing.assert_allclose(scores, network(clip)[0].softmax(0), rtol=1e-3, atol=1e-6)
    with pytest.raises(TadaError, match="a released network for 7 classes and 8 frames; there is no recipe that says"):
        load_network(tmp_path / "7.pyth")


def test_names_of_classes_from_a_file(finished, tiny_ssv2, tada, tmp_path):
    arguments = ("predict", tiny_ssv2 / "videos/1.webm", "--checkpoint", finished.file("checkpoint.pt"))
    (tmp_path / "names.txt").write_text("to the left\nto the right\n\nstill\n")
    done = tada(*arguments, "--classes", "names.txt", "--top", 3)
    assert done.exit_code == 0 and "to the left" in done.stdout and "still" in done.stdout
    done = tada(*arguments)
    assert done.exit_code == 0 and "class 2" in done.stdout
    assert done.stderr.startswith("classes are numbered; --classes or --data gives their names")
    (tmp_path / "names.txt").write_text("to the left\nto the right\n")
    done = tada(*arguments, "--classes", "names.txt")
    assert done.exit_code == 1 and done.stderr == (
        f"Error: names.txt: these are names of 2 classes, and {finished.file('checkpoint.pt')} tells 3 apart; give the "
        "names of those, in their order\n"
    )
    (tmp_path / "names.json").write_text('{"verb": [1]}')
    assert 'names.json: expected names of classes, ["...", ...]' in tada(*arguments, "--classes", "names.json").stderr


def test_videos_that_are_none_are_named_and_the_others_scored(finished, tiny_ssv2, tada, tmp_path):
    (tmp_path / "page.mp4").write_text("<html>404</html>" * 100)
    good = tiny_ssv2 / "videos/1.webm"
    (tmp_path / "folder.mp4").mkdir()
    done = tada("predict", "page.mp4", good, "gone.mp4", "folder.mp4", "--checkpoint", finished.file("checkpoint.pt"))
    assert done.exit_code == 1
    said = [line for line in done.stderr.splitlines() if not line.startswith(("classes", "["))]
    assert said[1:] == ["gone.mp4: no such file", "folder.mp4: a folder, and no file"]
    assert said[0].startswith("page.mp4: damaged, or no video: ")
    assert str(good) in done.stdout.replace("\n", "") and "page" not in done.stdout


def test_checkpoints_of_something_else(finished, tada, tmp_path):
    def refused(file):
        done = tada("predict", "a.mp4", "--checkpoint", file)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        return done.stderr

    assert refused("gone.pt") == "Error: gone.pt: no such file of weights\n"
    (tmp_path / "text.pt").write_text("no weights")
    assert "text.pt: not a file of weights" in refused("text.pt")
    shutil.copy(finished.file("checkpoint.pt"), tmp_path / "alone.pt")
    assert "alone.pt: neither a checkpoint that the authors released, nor one with the record" in refused("alone.pt")
    folder = shutil.copytree(finished.folder, tmp_path / "other")
    torch.save({"model": build_model("tsn", 3).state_dict()}, folder / "checkpoint.pt")
    assert "not the checkpoint that other/metrics.json was measured with" in refused("other/checkpoint.pt")
    (folder / "metrics.json").write_text("{}")
    assert "other/metrics.json: run is missing" in refused("other/checkpoint.pt")
