"""The whole chain from videos to mAP on tiny data, and what may disturb it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from planting import plant_untrained
from typer.testing import CliRunner

from tada.base import TadaError, files
from tada.base.files import sha256
from tada.base.processes import Interrupted
from tada.base.progress import Silent
from tada.cli import app
from tada.data import mini
from tada.data.catalog import Place, localization_of
from tada.execute import execute
from tada.localization.feature_sources import clip_settings, write_features
from tada.localization.features import load_features
from tada.localization.ground_truth import read_ground_truth
from tada.localization.submission import read_submission, score_files
from tada.localization.videos import read_untrimmed
from tada.metrics.average_precision import action_precision, mean_average_precision
from tada.runs import recipes
from tada.runs.localization_settings import ClipSettings
from tada.runs.record import Initial, read_record
from tada.runs.run import Run
from tada.runs.trained import load_network

RENDERED = {
    "seed": 0, "height": 24, "width": 32, "frames": [20, 40], "fps": 12, "untrimmed": [96, 130], "segments": [1, 2],
    "pause": 8,
}  # fmt: skip
OF = {"hacs": {"train": 4, "validation": 3}, "ek100": {"train": 8, "validation": 5}}
ANNOTATION = {"hacs": "HACS_segments_v1.1.1.json", "ek100": "EPIC_100_validation.csv"}
PHASES = ["extracting features", "proposal network", "classifying proposals"]

FIRST = {
    "network": {"depth": [1, 1, 1, 1], "width": 8},
    "sampling": {"kind": "interval", "interval": 2, "target_fps": 12},
    "train": {
        "epochs": 1, "warmup_epochs": 0, "base_lr": 0.02, "warmup_lr": 0.002, "batch": 4, "batch_per_device": 4,
        "scale": [20, 24], "crop": 16, "flip": True, "initial": "scratch",
    },
    "test": {"clips": 2, "crops": 3, "short_side": 20, "crop": 20},
}  # fmt: skip
LOCATED = {
    "clips": {"target_fps": 12, "interval": 1, "stride": 4, "short_side": 16, "batch": 8},
    "suppression": {"keep": 40},
    "recall_at": 40,
    "max_skipped": 0.5,
}
SMALL = {"durations": 16, "base": 8, "summed": 8, "confidence": 8, "samples": 4, "epochs": 3, "batch": 2}
RECIPES = {
    "hacs": {**FIRST, "classes": 4, "data": {"render": {**RENDERED, **OF["hacs"]}}},
    "ek100": {**FIRST, "classes": {"verb": 8, "noun": 6}, "data": {"render": {**RENDERED, **OF["ek100"]}}},
    "hacs-localization": {
        "task": "localization",
        "videos": "hacs",
        **LOCATED,
        "bmn": {**SMALL, "window": None, "stride": None, "temporal": 16},
        "classification": {"of": "video", "top": 4},
        "thresholds": [round(0.5 + 0.05 * step, 2) for step in range(10)],
    },
    "ek100-localization": {
        "task": "localization",
        "videos": "ek100",
        **LOCATED,
        "bmn": {**SMALL, "window": 5.333, "stride": 2.667, "temporal": 16},
        "classification": {"of": "logits", "clips": 2, "top_verbs": 8, "top_nouns": 6, "top": 48},
        "thresholds": [0.1, 0.2, 0.3, 0.4, 0.5],
    },
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("config")
    (folder / "recipes").mkdir()
    shutil.copy(files.CONFIG / "models.yaml", folder)
    (folder / "recipes" / "mini.yaml").write_text(yaml.safe_dump(RECIPES))
    return folder


@pytest.fixture(scope="module", autouse=True)
def tiny_recipes(config):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tada.runs.run.load_recipe", partial(recipes.load_recipe, folder=config))
        patch.setattr("tada.runs.run.resolved", partial(recipes.resolved, folder=config))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for dataset, recipe in RECIPES.items():
        if "data" in recipe:
            mini.render(folder / dataset, recipe["data"]["render"], dataset=dataset)
    return folder


@pytest.fixture(scope="module")
def locate(data):
    """Runs the chain after a classification run that has not learnt anything."""

    def run(dataset, results, root=None, stop=lambda: False):
        located = Run("mini", f"{dataset}-localization", "tada2d", 0, results)
        plant_untrained(located.initial)
        execute(located, str(root or data / dataset), stop)
        return located

    return run


@pytest.fixture(scope="module", params=["hacs", "ek100"])
def finished(request, locate, tmp_path_factory):
    return request.param, locate(request.param, tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def undisturbed(locate, tmp_path_factory):
    return locate("ek100", tmp_path_factory.mktemp("undisturbed"))


class Disturbance:
    """A question whether to stop that does `what` the second time it is asked in a phase."""

    def __init__(self, run, phase, what):
        self.log, self.phase, self.what, self.asked = run.file("log.txt"), phase, what, 0

    def __call__(self):
        self.asked += f" {self.phase}: " in self.log.read_text()
        return self.asked == 2 and self.what()


def kill_in(phase, results, root):
    """Run the chain in this process, which does not survive it."""
    run = Run("mini", "ek100-localization", "tada2d", 0, Path(results))
    execute(run, root, Disturbance(run, phase, lambda: os.kill(os.getpid(), signal.SIGKILL)))


def assert_same_numbers(run, expected):
    assert read_record(run).metrics == read_record(expected).metrics
    curves = [pd.read_csv(of.file("curves.csv")).drop(columns="seconds") for of in (run, expected)]
    pd.testing.assert_frame_equal(*curves, check_exact=True)
    assert run.file("detections.json").read_bytes() == expected.file("detections.json").read_bytes()


def test_a_run_leaves_a_full_account(finished):
    dataset, run = finished
    record = read_record(run)
    for split, count in OF[dataset].items():
        counts = record.dataset[split]
        assert counts.used == counts.listed > 0 and counts.skipped == []
        assert dataset == "hacs" or counts.used == count
    first = read_record(run.initial)
    of = first.checkpoint
    assert record.initial == Initial(dataset, of.file, of.sha256, first.signature, weights=of.weights) and of.weights
    assert record.checkpoint.sha256 == sha256(run.file("checkpoint.pt"))
    assert record.cost.training_seconds > 0 and record.cost.device_hours > 0
    assert list(pd.read_csv(run.file("curves.csv"))["epoch"]) == [1, 2, 3]
    assert record.config["recipe"]["bmn"]["temporal"] == 16
    log = run.file("log.txt").read_text()
    assert all(f" {phase}: " in log for phase in PHASES[: 2 if dataset == "hacs" else 3])


def test_features_of_a_video_are_those_of_the_run(finished, data, tmp_path):
    """`tada features` knows the checkpoint and the files alone."""
    dataset, run = finished
    videos = read_untrimmed(dataset, Place(data / dataset)).validation
    command = ["features", *(str(video.path) for video in videos), "--out", str(tmp_path / "features")]
    done = CliRunner().invoke(app, [*command, "--checkpoint", str(run.initial.file("checkpoint.pt"))])
    assert done.exit_code == 0, done.stderr
    for video in videos:
        expected = load_features(run.file("features"), video)
        with np.load(tmp_path / "features" / f"{video.path.stem}.npz") as found:
            np.testing.assert_array_equal(found["features"], expected.values)
            np.testing.assert_array_equal(found["times"], expected.times)
            about = json.loads(str(found["about"]))
        assert about["clips"] == run.recipe.clips.identity()
        assert about["network"]["signature"] == run.initial.signature


def test_features_of_what_they_cannot_be_of(finished, data, tmp_path, monkeypatch):
    dataset, run = finished
    monkeypatch.chdir(tmp_path)

    def features(*arguments, of=run.initial):
        command = ["features", *map(str, arguments), "--out", "out", "--checkpoint", str(of.file("checkpoint.pt"))]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 1
        return done.stderr.splitlines()[-1]

    video = read_untrimmed(dataset, Place(data / dataset)).validation[0].path
    Path("page.mp4").write_text("<html>404</html>" * 100)
    assert features("page.mp4", video).startswith("page.mp4: damaged, or no video: ")
    assert [file.name for file in Path("out").iterdir()] == [f"{video.stem}.npz"]
    assert features(video, f"elsewhere/{video.name}").startswith(f"Error: {video.stem}: two of the videos have this")
    refused = features(video, of=run)
    assert refused.endswith(f"give the checkpoint of the run that gave it its features, {dataset}/tada2d")


def test_without_a_recipe_of_localization_the_options_say_which_clips(finished, data, tmp_path):
    """As of a network of Kinetics-400."""
    dataset, run = finished
    trained = replace(load_network(run.initial.file("checkpoint.pt")), dataset="k400")
    with pytest.raises(TadaError, match="no recipe locates actions with a network of k400, and says of which clips"):
        clip_settings(trained, 12.0, None, 4)
    settings = clip_settings(trained, 12.0, 1, 4)
    assert settings == ClipSettings(frames=8, interval=1, stride=4, target_fps=12.0, short_side=20)
    video = read_untrimmed(dataset, Place(data / dataset)).validation[0]
    write_features(trained, [video.path], tmp_path, replace(settings, short_side=16), Silent())
    with np.load(tmp_path / f"{video.path.stem}.npz") as found:
        expected = load_features(run.file("features"), video).values
        np.testing.assert_allclose(found["features"], expected, rtol=1e-4, atol=1e-5)


def test_contributions_of_videos_are_written(finished, data):
    """By the jackknife; checked for one video, which is left out of the official files."""
    dataset, run = finished
    metrics = {name: value for name, value in read_record(run).metrics.items() if name.startswith("map")}
    with np.load(run.file("scores.npz")) as contributions:
        assert set(contributions.files) == {"videos", *(f"shares_{name}" for name in metrics)}
        videos = contributions["videos"]
        shares = contributions["shares_map" if dataset == "hacs" else "shares_map_action"]
    truth = read_ground_truth(data / dataset / ANNOTATION[dataset])
    predictions, _ = read_submission(run.file("detections.json"), truth)
    assert videos.tolist() == sorted(set(truth.segments["video"]))
    rest = [table[table["video"] != videos[0]] for table in (truth.segments, predictions)]
    if dataset == "hacs":
        whole, without = metrics["map"], mean_average_precision(*rest, run.recipe.thresholds)
    else:
        whole, without = metrics["map_action"], action_precision(*rest, run.recipe.thresholds)["action"]
    count = len(videos)
    assert shares[0] == pytest.approx(count * whole - (count - 1) * 100 * without.mean)


def test_metrics_are_what_the_official_protocol_gives_the_submission_file(finished, data):
    dataset, run = finished
    metrics, recipe = read_record(run).metrics, run.recipe
    official = score_files(data / dataset / ANNOTATION[dataset], run.file("detections.json")).tasks
    tasks = official
    if dataset == "ek100":
        authors = score_files(
            data / dataset / ANNOTATION[dataset], run.file("detections.json"), protocol="authors"
        ).tasks
        assert authors["action"].mean == official["action"].mean
        tasks = authors | {f"{task}_official": official[task] for task in ("verb", "noun")}
    expected = {}
    for task, precision in tasks.items():
        prefix = "map" if task == "label" else f"map_{task}"
        values = precision.percent()
        expected |= {prefix if name == "average" else f"{prefix}@{name}": value for name, value in values.items()}
        assert values["average"] > 0
    recalls = {f"ar@{recipe.recall_at}", f"ar@{recipe.recall_at}_uniform"}
    assert metrics.keys() == expected.keys() | recalls
    assert {name: metrics[name] for name in expected} == expected
    assert all(0 < metrics[name] <= 100 for name in recalls)
    tasks = {"map"}
    if dataset == "ek100":
        tasks = {"map_verb", "map_noun", "map_action", "map_verb_official", "map_noun_official"}
    wanted = {f"{task}@{threshold:g}" for task in tasks for threshold in recipe.thresholds}
    assert tasks | wanted == set(expected)


@pytest.mark.parametrize("phase", PHASES)
def test_a_stopped_run_ends_with_the_same_numbers(phase, locate, tmp_path, undisturbed):
    run = Run("mini", "ek100-localization", "tada2d", 0, tmp_path)
    with pytest.raises(Interrupted):
        locate("ek100", tmp_path, stop=Disturbance(run, phase, lambda: True))
    assert not run.file("metrics.json").exists()
    assert_same_numbers(locate("ek100", tmp_path), undisturbed)


@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_run_ends_with_the_same_numbers(phase, locate, data, config, tmp_path, undisturbed):
    run = Run("mini", "ek100-localization", "tada2d", 0, tmp_path)
    plant_untrained(run.initial)
    script = "import sys, test_pipeline; test_pipeline.kill_in(*sys.argv[1:])"
    environment = {
        "TADA_CONFIG": str(config),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{files.PROJECT}{os.pathsep}{files.PROJECT / 'tests'}",
    }
    process = subprocess.run(
        [sys.executable, "-c", script, phase, str(tmp_path), str(data / "ek100")],
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert f" {phase}: " in process.stderr and not run.file("metrics.json").exists()
    assert_same_numbers(locate("ek100", tmp_path), undisturbed)


def break_videos(root, names):
    """Truncate one video, and leave nothing of the others."""
    for number, name in enumerate(names):
        (path,) = root.rglob(f"{name}.*")
        path.write_bytes(path.read_bytes()[: 0 if number else path.stat().st_size // 2])


def videos_of(root):
    entries = json.loads((root / ANNOTATION["hacs"]).read_text())["database"].items()
    return [
        [(f"v_{name}", len(entry["annotations"])) for name, entry in entries if entry["subset"] == subset]
        for subset in ("training", "validation")
    ]


def test_unreadable_videos_are_counted_and_named(locate, data, tmp_path):
    root = shutil.copytree(data / "hacs", tmp_path / "data")
    (lost, *others), (lost_too, *others_too) = videos_of(root)
    break_videos(root, [lost[0], lost_too[0]])
    run = locate("hacs", tmp_path / "results", root)
    for part, (name, segments), rest in (("train", lost, others), ("validation", lost_too, others_too)):
        counts = read_record(run).dataset[part]
        used = sum(count for _, count in rest)
        assert (counts.listed, counts.used) == (used + segments, used)
        assert len(counts.skipped) == segments
        assert all(one.startswith(name.removeprefix("v_")) for one in counts.skipped)


def cut_short(path, seconds=2.5):
    """Leave a video's header, which still says how long it is, and its first seconds, which can be decoded."""
    whole = path.with_name(f"whole{path.suffix}")
    with av.open(str(path)) as source, av.open(str(whole), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with av.open(str(whole)) as file:
        end = next(packet.pos for packet in file.demux(video=0) if packet.dts * packet.time_base > seconds)
    path.write_bytes(whole.read_bytes()[:end])
    whole.unlink()


@pytest.mark.parametrize("dataset", ["hacs", "ek100"])
def test_videos_that_end_early_are_counted_and_named(dataset, locate, data, tmp_path):
    root = shutil.copytree(data / dataset, tmp_path / "data")
    splits = read_untrimmed(dataset, Place(root))
    for lost, *_ in (splits.train, splits.validation):
        cut_short(lost.path)
    run = locate(dataset, tmp_path / "results", root)
    for part, (lost, *others) in (("train", splits.train), ("validation", splits.validation)):
        counts = read_record(run).dataset[part]
        assert counts.used == sum(len(video.segments) for video in others)
        assert counts.listed == counts.used + len(lost.segments)
        assert [one.split()[0] for one in counts.skipped] == [lost.name] * len(lost.segments)
        assert re.search(rf" {lost.name}: left out: ends at [123]\.\d\d s of ", run.file("log.txt").read_text())


def test_too_many_unreadable_videos_fail_the_run(locate, data, tmp_path):
    root = shutil.copytree(data / "hacs", tmp_path / "data")
    break_videos(root, [name for name, _ in videos_of(root)[0]])
    with pytest.raises(TadaError, match=r"train: \d of \d videos cannot be used, more than the 50.0%(.|\n)*empty file"):
        locate("hacs", tmp_path / "results", root)


def test_the_classification_run_comes_first(data, tmp_path):
    run = Run("mini", "hacs-localization", "tada2d", 0, tmp_path)
    with pytest.raises(TadaError, match="is not done; `tada run hacs tada2d --scale mini --seed 0` comes first"):
        execute(run, str(data / "hacs"), lambda: False)


def test_a_folder_is_needed(locate, tmp_path):
    run = Run("mini", "hacs-localization", "tada2d", 0, tmp_path)
    plant_untrained(run.initial)
    with pytest.raises(TadaError, match="needs the videos of hacs: set their folder in config"):
        execute(run, "", lambda: False)


def release_features(root, dataset, folder):
    """Features in the layout of the released ones that tell actions and classes, and nothing else of the dataset."""
    annotations, released = folder / "annotations", folder / "released"
    for path in (annotations, released):
        path.mkdir(parents=True)
    for file in [*root.glob("*.csv"), *root.glob("*.json")]:
        shutil.copy(file, annotations)
    splits = read_untrimmed(dataset, Place(root))
    clips = localization_of(dataset).clips
    stride, fps = clips.stride, clips.fps
    for video in [*splits.train, *splits.validation]:
        pieces = [(0.0, video.duration)]
        if dataset == "ek100":
            starts = np.arange(0, video.duration, 5.0)
            pieces = list(zip(starts, [*starts[1:], video.duration], strict=True))
        for start, end in pieces:
            times = start + np.arange(stride - 1, (end - start) * fps, stride) / fps
            values = torch.zeros(len(times), 16)
            for segment in video.segments:
                inside = torch.from_numpy((times >= segment.start) & (times <= segment.end))
                label = segment.label if dataset == "hacs" else segment.label["verb"]
                values[inside] = torch.eye(16)[[0, 1 + label]].sum(0)
                if dataset == "ek100":
                    values[inside, 9 + segment.label["noun"]] = 1
            name = video.name if dataset == "hacs" else f"{video.name}_{round(start * 1000)}_{round(end * 1000)}"
            torch.save(values, released / f"{name}.pkl")
    return json.dumps({"root": str(annotations), "features": str(released)})


@pytest.mark.parametrize("dataset", ["hacs", "ek100"])
def test_released_features_need_neither_videos_nor_a_classification_run(dataset, data, tmp_path):
    place = release_features(data / dataset, dataset, tmp_path / "data")
    run = Run("mini", f"{dataset}-localization", "tada2d", 0, tmp_path / "results")
    phase = "linear classifier"
    with pytest.raises(Interrupted):
        execute(run, place, Disturbance(run, phase, lambda: True))
    execute(run, place, lambda: False)
    record = read_record(run)
    assert record.initial.kind == "features" and "softmax regression" in record.initial.classifier
    assert not run.initial.folder.exists()
    assert record.metrics["map" if dataset == "hacs" else "map_action"] > 0
    score = score_files(data / dataset / ANNOTATION[dataset], run.file("detections.json"))
    task = {"hacs": "label", "ek100": "action"}[dataset]
    assert score.tasks[task].percent()["average"] == record.metrics["map" if dataset == "hacs" else "map_action"]
    truth = {video.name: video.segments[0].label for video in read_untrimmed(dataset, Place(data / dataset)).validation}
    if dataset == "hacs":
        names = read_untrimmed(dataset, Place(data / dataset)).classes
        for video, detections in json.loads(run.file("detections.json").read_text())["results"].items():
            best = max(detections, key=lambda detection: detection["score"])
            assert best["label"] == names[truth[video]]


def test_released_features_that_are_damaged_are_counted(data, tmp_path):
    place = release_features(data / "hacs", "hacs", tmp_path / "data")
    run = Run("mini", "hacs-localization", "tada2d", 0, tmp_path / "results")
    cut = videos_of(data / "hacs")[0][0][0].removeprefix("v_")
    path = tmp_path / "data" / "released" / f"{cut}.pkl"
    path.write_bytes(path.read_bytes()[:100])
    execute(run, place, lambda: False)
    skipped = read_record(run).dataset["train"].skipped
    assert skipped and all(one.startswith(cut) for one in skipped)
