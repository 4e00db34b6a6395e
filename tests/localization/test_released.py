"""The authors' BMN and results of classification, as they would be released: written here in their formats."""

import csv
import json
import math
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from planting import plant_outcome
from torch import nn

from tada.base import TadaError, files
from tada.base.files import sha256
from tada.execute import execute
from tada.localization.bmn_training import build_bmn
from tada.localization.classes import VideoProposals, dense_probabilities
from tada.localization.features import Features
from tada.localization.released import ReleasedLogits, read_bmn
from tada.localization.submission import score_files
from tada.localization.videos import Segment, Untrimmed
from tada.localization.windows import windows_of
from tada.report.pages.tables import build_table
from tada.report.paper.tables import against_published, load_table
from tada.runs import recipes
from tada.runs.checkpoints import trained_checkpoint
from tada.runs.localization_settings import BmnSettings, ProposalClasses
from tada.runs.record import read_record
from tada.runs.run import Run
from tada.runs.settings import Scale

SIZES = {"temporal": 12, "durations": 8, "base": 8, "summed": 6, "confidence": 4, "samples": 5, "per_bin": 3}
SETTINGS = BmnSettings(window=3.2, stride=1.6, **SIZES)
CHANNELS = 16
CLASSES = {"verb": 4, "noun": 3}
CROPS = 3


def bin_masks(begin, end, cells, bins, points):
    """The authors' interpolation of one proposal, [cells, bins], point by point."""
    step = (end - begin) / (bins * points - 1.0)
    mask = np.zeros((cells, bins))
    for number in range(bins * points):
        fraction, whole = math.modf(begin + step * number)
        for cell, share in ((int(whole), 1 - fraction), (math.ceil(begin + step * number), fraction)):
            if 0 <= cell < cells:
                mask[cell, number // points] += share / points
    return mask


def interpolation(bins, ratio):
    """That of all proposals, [T, bins, D, T]; zero for those that end beyond the window."""
    temporal, durations = SIZES["temporal"], SIZES["durations"]
    masks = np.zeros((temporal, bins, durations, temporal), np.float32)
    for start in range(temporal):
        for duration in range(min(durations, temporal - start)):
            margin = (duration + 1) * ratio
            masks[:, :, duration, start] = bin_masks(start - margin, start + duration + margin, temporal, bins, 3)
    return torch.from_numpy(masks)


class AuthorsBmn(nn.Module):
    """BMN with the released names of its layers, and proposals sampled by a dense matrix."""

    def __init__(self):
        super().__init__()
        base, summed, wide = SIZES["base"], SIZES["summed"], SIZES["confidence"]

        def convolutions(*layers):
            return nn.Sequential(*(one for layer in layers for one in (layer, nn.ReLU())))

        def boundary():
            return nn.Sequential(*convolutions(nn.Conv1d(base, base, 3, padding=1, groups=4)), nn.Conv1d(base, 1, 1))

        self.backbone, self.head = nn.Module(), nn.Module()
        self.backbone.conv_layer = convolutions(
            nn.Conv1d(CHANNELS, base, 3, padding=1, groups=4), nn.Conv1d(base, base, 3, padding=1, groups=4)
        )
        mask = interpolation(SIZES["samples"], 0.5)
        self.head.sample_mask = nn.Parameter(mask.reshape(SIZES["temporal"], -1), requires_grad=False)
        self.head.x_1d_s, self.head.x_1d_e = boundary(), boundary()
        self.head.x_1d_p = convolutions(nn.Conv1d(base, base, 3, padding=1))
        self.head.x_3d_p = convolutions(nn.Conv3d(base, summed, (SIZES["samples"], 1, 1), (SIZES["samples"], 1, 1)))
        self.head.x_2d_p = nn.Sequential(
            *convolutions(
                nn.Conv2d(summed, wide, 1), nn.Conv2d(wide, wide, 3, padding=1), nn.Conv2d(wide, wide, 3, padding=1)
            ),
            nn.Conv2d(wide, 2, 1),
        )

    def forward(self, features):
        x, head = self.backbone.conv_layer(features), self.head
        sampled = head.x_1d_p(x) @ head.sample_mask
        sampled = sampled.view(*sampled.shape[:2], SIZES["samples"], SIZES["durations"], SIZES["temporal"])
        confidence = head.x_2d_p(head.x_3d_p(sampled).squeeze(2))
        return head.x_1d_s(x).squeeze(1), head.x_1d_e(x).squeeze(1), confidence[:, 0], confidence[:, 1]


@pytest.fixture(scope="module")
def authors():
    torch.manual_seed(3)
    network = AuthorsBmn().eval()
    for last in (network.head.x_1d_s[-1], network.head.x_1d_e[-1], network.head.x_2d_p[-1]):
        last.weight.data *= 20  # so that probabilities are of all kinds
    return network


@pytest.fixture
def checkpoint(authors, tmp_path):
    """The file that the authors would have published, and its content."""
    path = tmp_path / "checkpoint_epoch_00009.pyth"
    content = {"epoch": 8, "model_state": authors.state_dict(), "optimizer_state": {"state": {}}, "cfg": "{}"}
    torch.save(content, path)
    return path, content


def changed(checkpoint, path=None, **tensors):
    """The same file with other tensors; None leaves one out."""
    path, content = checkpoint
    state = {name: value for name, value in content["model_state"].items() if name not in tensors}
    added = {name: value for name, value in tensors.items() if value is not None}
    torch.save({**content, "model_state": state | added}, path)
    return path


def test_the_released_bmn_says_what_the_authors_network_says(authors, checkpoint):
    network = read_bmn(checkpoint[0], SETTINGS)
    assert not network.training and network.channels == CHANNELS
    features = torch.randn(2, CHANNELS, SIZES["temporal"])
    held = torch.arange(SIZES["durations"])[:, None] + torch.arange(SIZES["temporal"]) < SIZES["temporal"]
    with torch.no_grad():
        ours, theirs = network(features), authors(features)
    for place, part in enumerate(ours):
        where = (slice(None), held) if part.ndim == 3 else slice(None)
        torch.testing.assert_close(part.sigmoid()[where], theirs[place].sigmoid()[where], rtol=1e-4, atol=1e-5)


def test_layers_that_classify_are_not_used(checkpoint):
    read_bmn(changed(checkpoint, **{"head.x_2d_verb.0.weight": torch.zeros(2, 2)}), SETTINGS)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"head.sample_mask": None}, r"no BMN of the authors: .* no head\.sample_mask"),
        ({"backbone.conv_layer.0.weight": None}, r"no BMN of the authors: there is no backbone\.conv_layer\.0\.weight"),
        ({"head.x_1d_s.0.bias": None}, r"missing: start\.0\.bias \[8\]"),
        ({"head.x_2d_r.0.weight": torch.zeros(2)}, r"unexpected: head\.x_2d_r\.0\.weight"),
        ({"head.x_3d_p.0.weight": torch.zeros(6, 8, 4, 1, 1)}, r"shape of proposals\.2\.weight: \[6, 8, 4, 1, 1\] in"),
        (
            {"head.sample_mask": torch.zeros(12, 7)},
            r"is \[12, 7\], and the recipe's 12 cells, 8 durations and 5 samples",
        ),
        ({"head.sample_mask": interpolation(5, 0.25).reshape(12, -1)}, "proposals are sampled otherwise there"),
    ],
)
def test_a_checkpoint_of_another_bmn_is_refused(checkpoint, tensors, message):
    with pytest.raises(TadaError, match=message):
        read_bmn(changed(checkpoint, **tensors), SETTINGS)


KITCHEN = Untrimmed("P01_01", files.PROJECT / "none.MP4", 7.5, (Segment(1.0, 2.0, {"verb": 1, "noun": 2}),))


def clips(start, end):
    """Numbers of the clips whose centres lie in a part of a video, in seconds."""
    return [clip for clip in range(2000) if start <= (7 + 8 * clip) / 60 < end]


def save_pieces(folder, video, values):
    """Files of five seconds, each a part of `values` (or of each value of a dict)."""
    folder.mkdir(exist_ok=True)
    for start in np.arange(0, video.duration, 5.0):
        end = min(start + 5.0, video.duration)
        of = clips(start, end)
        part = {key: value[of] for key, value in values.items()} if isinstance(values, dict) else values[of]
        torch.save(part, folder / f"{video.name}_{round(start * 1000)}_{round(end * 1000)}.pkl")


def random_logits(video, seed=0):
    count = len(clips(0, video.duration))
    rng = np.random.default_rng(seed)
    return {
        f"{task}_class": rng.normal(0, 3, (count, CROPS * size)).astype(np.float32) for task, size in CLASSES.items()
    }


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_results_of_classification_are_put_together(tmp_path, kind):
    logits = random_logits(KITCHEN)
    save_pieces(tmp_path, KITCHEN, {name: kind(value) for name, value in logits.items()})
    read = ReleasedLogits("ek100", tmp_path, CLASSES).read(KITCHEN)
    assert read.values.shape == (56, 21) and read.times == pytest.approx([(7 + 8 * clip) / 60 for clip in range(56)])
    assert (read.values == np.concatenate([logits["verb_class"], logits["noun_class"]], 1)).all()


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"verb_class": torch.zeros(19, 12)},
            r"5000_7500\.pkl: expected noun_class \[n, 3 x 3\] of P01_01, found no te",
        ),
        (
            {"verb_class": torch.zeros(19, 4), "noun_class": torch.zeros(19, 9)},
            r"expected verb_class \[n, 3 x 4\] of P01_01, found \[19, 4\]",
        ),
        ({"verb_class": torch.zeros(19, 12), "noun_class": torch.zeros(18, 9)}, "19 and 18 clips of P01_01"),
        (torch.zeros(19, 21), r"expected verb_class \[n, 3 x 4\] of P01_01, found no tensor in Tensor"),
        ({"verb_class": torch.zeros(9, 12), "noun_class": torch.zeros(9, 9)}, "9 results of classification of P01_01"),
        (
            {"verb_class": Malicious()},
            r"refused\. Loading it would execute code .*; results of classification are read",
        ),
    ],
)
def test_results_that_do_not_fit(tmp_path, content, message):
    save_pieces(tmp_path, KITCHEN, {name: torch.from_numpy(value) for name, value in random_logits(KITCHEN).items()})
    torch.save(content, tmp_path / "P01_01_5000_7500.pkl")
    with pytest.raises(TadaError, match=message):
        ReleasedLogits("ek100", tmp_path, CLASSES).read(KITCHEN)
    with pytest.raises(TadaError, match="no released results of classification there"):
        ReleasedLogits("ek100", files.PROJECT / "docs", CLASSES)


def test_classes_of_proposals_are_those_of_the_authors_maps():
    """Their maps of a whole window, fused over windows, and read where the proposals are."""
    logits = np.concatenate(list(random_logits(KITCHEN).values()), 1)
    features = Features(logits, np.array([(7 + 8 * clip) / 60 for clip in range(56)]))
    windows = windows_of(KITCHEN, features, SETTINGS, 8 / 60)
    mask = interpolation(6, 0.0).reshape(12, -1)
    total, held = {task: torch.zeros(size, 8, 64) for task, size in CLASSES.items()}, torch.zeros(8, 64)
    inside = torch.arange(8)[:, None] + torch.arange(12) < 12
    for window in windows:
        place, offset = slice(window.first, window.first + 12), 0
        for task, size in CLASSES.items():
            part = torch.from_numpy(window.features[offset : offset + CROPS * size])
            offset += CROPS * size
            maps = (part @ mask).view(CROPS, size, 6, 8, 12).softmax(1).mean((0, 2))
            total[task][:, :, place] += maps * inside
        held[:, place] += inside
    cell = SETTINGS.window / 12
    places = [(0, 1), (0, 8), (5, 3), (11, 7), (20, 1), (26, 3)]
    starts, ends = (np.array([(start + add * length) * cell for start, length in places]) for add in (0, 1))
    of = VideoProposals(KITCHEN, starts, np.minimum(ends, KITCHEN.duration), np.ones(len(places)))
    how = ProposalClasses("logits", clips=6, points=3)
    found = dense_probabilities(of, features, CLASSES, how, SETTINGS, 8 / 60, crops=CROPS)
    for task, size in CLASSES.items():
        expected = [(total[task][:, length - 1, start] / held[length - 1, start]).numpy() for start, length in places]
        assert found[task].shape == (len(places), size) and found[task].dtype == np.float32
        np.testing.assert_allclose(found[task], expected, rtol=1e-5)
        assert found[task].sum(1) == pytest.approx(1)


VIDEOS = {
    "P01_01": ("train", 9.0, [(1.0, 2.0, 0, 1), (4.0, 7.0, 2, 2)]),
    "P02_01": ("validation", 41 * 4 / 15, [(0.5, 1.6, 1, 0), (5.0, 6.4, 3, 2)]),
    "P02_02": ("validation", 28 * 4 / 15, [(2.0, 4.0, 0, 1)]),
}
"""Split, seconds (whole cells) and actions of each video."""
RECIPES = {
    "ek100": {
        "classes": CLASSES,
        "sampling": {"kind": "interval", "interval": 2, "target_fps": 12},
        "train": {
            "epochs": 1, "warmup_epochs": 0, "base_lr": 0.02, "warmup_lr": 0.002, "batch": 4, "batch_per_device": 4,
            "scale": [20, 24], "crop": 16, "flip": True, "initial": "scratch",
        },
        "test": {"clips": 1, "crops": 3, "short_side": 20, "crop": 20},
        "data": {},
    },
    "ek100-localization": {
        "task": "localization",
        "videos": "ek100",
        "clips": {"target_fps": 60, "interval": 8, "stride": 8, "short_side": 224},
        "bmn": {"window": SETTINGS.window, "stride": SETTINGS.stride, **SIZES},
        "suppression": {"keep_every": 0.25},
        "classification": {"of": "logits", "top_verbs": 4, "top_nouns": 3, "top": 5},
        "thresholds": [0.1, 0.2, 0.3, 0.4, 0.5],
        "recall_at": 40,
    },
}  # fmt: skip


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Recipes of full size that are small; the released checkpoints are the real ones."""
    folder = tmp_path / "config"
    (folder / "recipes").mkdir(parents=True)
    for name in ("models.yaml", "released.yaml"):
        shutil.copy(files.CONFIG / name, folder)
    (folder / "recipes/paper.yaml").write_text(yaml.safe_dump(RECIPES))
    monkeypatch.setattr("tada.runs.run.load_recipe", partial(recipes.load_recipe, folder=folder))
    monkeypatch.setattr("tada.runs.run.resolved", partial(recipes.resolved, folder=folder))
    return folder


def write(path, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(params=[False])
def released(tmp_path, checkpoint, request):
    """A folder of annotations, and beside it all that the authors would have released, as `--data` takes it.

    The parameter is whether that is of the training videos, too.
    """
    root = tmp_path / "annotations"
    root.mkdir()
    head = ["narration_id", "video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class"]
    for split in ("train", "validation"):
        rows = [
            [f"{video}_{number}", video, f"00:00:{start:05.2f}", f"00:00:{end:05.2f}", verb, noun]
            for video, (of, _, segments) in VIDEOS.items()
            for number, (start, end, verb, noun) in enumerate(segments)
            if of == split
        ]
        write(root / f"EPIC_100_{split}.csv", head, *rows)
    for task, size in CLASSES.items():
        write(root / f"EPIC_100_{task}_classes.csv", ["id", "key"], *([k, f"{task}{k}"] for k in range(size)))
    info = ([video, duration, 60.0, "1920x1080"] for video, (_, duration, _) in VIDEOS.items())
    write(root / "EPIC_100_video_info.csv", ["video_id", "duration", "fps", "resolution"], *info)
    for seed, (name, (split, duration, segments)) in enumerate(VIDEOS.items()):
        if split == "train" and not request.param:
            continue  # where nothing is trained, nothing of it is needed
        video = Untrimmed(name, root, duration, ())
        logits, rng = random_logits(video, seed), np.random.default_rng(seed)
        for start, end, verb, noun in segments:
            for task, label in (("verb", verb), ("noun", noun)):
                of_crops = logits[f"{task}_class"].reshape(-1, CROPS, CLASSES[task])
                of_crops[clips(start, end), :, label] += 9
        values = rng.normal(size=(len(clips(0, duration)), CHANNELS)).astype(np.float32)
        save_pieces(tmp_path / "features", video, torch.from_numpy(values))
        save_pieces(tmp_path / "results of classification", video, {n: torch.from_numpy(v) for n, v in logits.items()})
    parts = {"features": tmp_path / "features", "classification": tmp_path / "results of classification"}
    return {"root": str(root), **{name: str(path) for name, path in parts.items()}, "bmn": str(checkpoint[0])}


def iou(left, right):
    shared = max(0.0, min(left[1], right[1]) - max(left[0], right[0]))
    return shared / (left[1] - left[0] + right[1] - right[0] - shared)


def resampled(values, window):
    """Of the clips in a window, 24 with zeros behind the last, the values of its cells; [1, C, T]."""
    begin, end = window
    inside = [values[clip] for clip in range(len(values)) if begin <= (7 + 8 * clip) / 60 <= end]
    padded = torch.zeros(round((end - begin) * 60 / 8), values.shape[1])
    padded[: len(inside)] = torch.stack(inside)
    return nn.functional.interpolate(padded.T[None], size=SIZES["temporal"], mode="linear", align_corners=True)


def authors_maps(network, duration, features, logits):
    """Start, end, confidences and class probabilities of a whole video, the mean over its windows."""
    cells, durations, temporal = (len(features) + 1) // 2, SIZES["durations"], SIZES["temporal"]
    sizes = {"start": (cells,), "end": (cells,), "regression": (durations, cells), "classification": (durations, cells)}
    sizes |= {task: (size, durations, cells) for task, size in CLASSES.items()}
    sums = {name: torch.zeros(size) for name, size in sizes.items()}
    seen, held = torch.zeros(cells), torch.zeros(durations, cells)
    inside = (torch.arange(durations)[:, None] + torch.arange(temporal) < temporal).float()
    sampling = interpolation(6, 0.0).reshape(temporal, -1)
    for number in range(math.ceil(duration / SETTINGS.stride)):
        begin = number * SETTINGS.stride
        if duration - begin < 0.2:
            continue
        window = begin, begin + SETTINGS.window
        with torch.no_grad():
            start, end, *confidences = (part[0].sigmoid() for part in network(resampled(features, window)))
        maps = {
            "start": start,
            "end": end,
            "regression": confidences[0] * inside,
            "classification": confidences[1] * inside,
        }
        for task, size in CLASSES.items():
            of_crops = (resampled(logits[f"{task}_class"], window)[0] @ sampling).view(
                CROPS, size, 6, durations, temporal
            )
            maps[task] = of_crops.softmax(1).mean((0, 2)) * inside
        (places,) = torch.where(torch.tensor([window[0] <= (7 + 16 * cell) / 60 <= window[1] for cell in range(cells)]))
        for name, values in maps.items():
            sums[name][..., places] += values[..., : len(places)]
        seen[places] += 1
        held[:, places] += inside[:, : len(places)]
    return {name: total / (seen if total.ndim == 1 else held).clamp(min=1) for name, total in sums.items()}


def authors_detections(network, duration, features, logits):
    """The authors' test of one video, step by step: [score, verb, noun, start, end] of each detection."""
    maps = {name: values.double().numpy() for name, values in authors_maps(network, duration, features, logits).items()}
    cells = len(maps["start"])

    def likely(values, edge):
        found = {edge}
        for place in range(1, cells - 1):
            if values[place] > max(values[place - 1], values[place + 1]) or values[place] > 0.5 * values.max():
                found.add(place)
        return found

    starts, ends, left = likely(maps["start"], 0), likely(maps["end"], cells - 1), []
    for length in range(1, SIZES["durations"] + 1):
        for start in starts:
            if start + length in ends and start + length < cells:
                score = maps["classification"][length - 1, start] ** 1.2 * maps["regression"][length - 1, start]
                left.append([score, start / cells, (start + length) / cells, start, length])
    kept = []
    while len(left) > 1 and len(kept) < int(duration / 0.25) + 1:
        best = max(left)
        left.remove(best)
        kept.append(best)
        for other in left:
            overlap = iou(best[1:3], other[1:3])
            if overlap > 0.25 + 0.65 * (best[2] - best[1]):
                other[0] *= math.exp(-(overlap**2) / 0.4)
    detections = []
    for score, begin, end, start, length in kept:
        verbs, nouns = (maps[task][:, length - 1, start] for task in CLASSES)
        pairs = sorted(
            ((v * n, verb, noun) for verb, v in enumerate(verbs) for noun, n in enumerate(nouns)), reverse=True
        )
        detections += [[score * pair, verb, noun, begin * duration, end * duration] for pair, verb, noun in pairs[:5]]
    return np.array(sorted(detections, reverse=True))


def test_detections_are_those_of_the_authors_test(authors, small, released, tmp_path):
    run = Run("later-release", "ek100-localization", "tada2d", 0, tmp_path / "results")
    execute(run, json.dumps(released), lambda: False)
    results = json.loads(run.file("detections.json").read_text())["results"]
    for video in ("P02_01", "P02_02"):
        parts = {}
        for part in ("features", "classification"):
            names = sorted(Path(released[part]).glob(f"{video}_*"), key=lambda path: int(path.stem.split("_")[2]))
            parts[part] = [torch.load(path, weights_only=True) for path in names]
        logits = {
            name: torch.cat([one[name] for one in parts["classification"]]) for name in ("verb_class", "noun_class")
        }
        expected = authors_detections(authors, VIDEOS[video][1], torch.cat(parts["features"]), logits)
        found = [[one["score"], one["verb"], one["noun"], *one["segment"]] for one in results[video]]
        found = np.array(sorted(found, reverse=True))
        assert found.shape == expected.shape and len(found) > 100
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_released_localization_fills_its_rows_of_table_8(small, released, tmp_path):
    run = Run("first-release", "ek100-localization", "tada2d", 0, tmp_path / "results")
    execute(run, json.dumps(released), lambda: False)
    record = read_record(run)
    assert record.checkpoint.file == "checkpoint_epoch_00009.pyth"
    assert record.checkpoint.sha256 == sha256(tmp_path / "checkpoint_epoch_00009.pyth")
    assert record.initial.classifier == "the results of classification that the authors released"
    assert record.cost.training_seconds == 0 and not run.file("checkpoint.pt").exists()
    assert {name: (one.listed, one.used) for name, one in record.dataset.items()} == {"validation": (3, 3)}
    truth = tmp_path / "annotations/EPIC_100_validation.csv"
    tasks = score_files(truth, run.file("detections.json"), protocol="authors").tasks
    for task in ("verb", "noun", "action"):
        assert record.metrics[f"map_{task}"] == tasks[task].percent()["average"] > 0

    plant_outcome(run)
    build_table("table8", Scale.FIRST_RELEASE, 1, tmp_path / "results", tmp_path)
    lines = [line.split(",") for line in (tmp_path / "table8.csv").read_text().splitlines()]
    cells = {tuple(line[1:3]): ",".join(line) for line in lines}
    for task, number in (("verb", "16.78"), ("noun", "17.39"), ("action", "13.18")):
        cell = cells[f"tada2d/{task}", "ek100"]
        assert number in cell and f"{record.metrics[f'map_{task}']:.2f}"[:4] in cell and ",off" in cell
    assert "32.3" in cells["tada2d/verb", "hacs"] and "cited" in cells["tada2d/verb", "hacs"]
    assert "cited" in cells["tsn/verb", "ek100"]
    page = (tmp_path / "table8.md").read_text()
    assert "Actions were classified by the results of classification that the authors released; proposals are" in page
    assert "Protocol, ek100-localization" in page


@pytest.mark.parametrize("scale", [Scale.FIRST_RELEASE, Scale.LATER_RELEASE])
def test_both_releases_locate_with_the_paper_s_network(scale):
    rows = {row.id: row.cells for row in against_published(load_table("table8"), scale).rows}
    cell = rows["tada2d/noun"]["ek100_0.5"]
    assert (cell.kind, cell.reported, cell.tolerance.value) == ("measured", "13.39", 0.3)
    assert cell.note == "The reported number is published for this very checkpoint; the paper prints 13.39."
    assert rows["tada2d/verb"]["hacs_0.5"].kind == rows["tsn/noun"]["ek100"].kind == "cited"


@pytest.mark.parametrize("released", [True], indirect=True)
def test_released_results_classify_the_proposals_of_a_network_that_is_trained(small, released, tmp_path):
    run = Run("paper", "ek100-localization", "tada2d", 0, tmp_path / "results")
    execute(run, json.dumps(released), lambda: False)
    record = read_record(run)
    trained = run.file("checkpoint.pt")
    bmn = build_bmn(CHANNELS, run.recipe.bmn)
    bmn.load_state_dict(torch.load(trained, weights_only=True)["model"])
    assert record.checkpoint == trained_checkpoint(trained, bmn)
    assert record.initial.classifier == "the results of classification that the authors released"
    assert record.dataset["train"].used == 2 and record.metrics["map_action"] > 0


@pytest.mark.parametrize("part", ["features", "classification", "bmn"])
def test_a_part_that_is_not_given_is_asked_for(small, released, tmp_path, part):
    run = Run("later-release", "ek100-localization", "tada2d", 0, tmp_path / "results")
    place = {key: value for key, value in released.items() if key != part}
    with pytest.raises(
        TadaError, match=rf"what the authors released\? Set data\.ek100\.{part}\.tada2d in config"
    ) as caught:
        execute(run, json.dumps(place), lambda: False)
    assert "\n" not in str(caught.value)


def test_a_bmn_that_is_refused_ends_the_run_before_anything_is_read(small, released, checkpoint, tmp_path):
    changed(checkpoint, **{"head.sample_mask": torch.zeros(12, 7)})
    run = Run("first-release", "ek100-localization", "tada2d", 0, tmp_path / "results")
    with pytest.raises(TadaError, match=r"head\.sample_mask is \[12, 7\]"):
        execute(run, json.dumps(released), lambda: False)
    assert not run.file("features").exists() and not run.file("metrics.json").exists()


def test_training_does_not_enter_the_signature(small, tmp_path):
    def signature(**changes):
        content = {**RECIPES, "ek100-localization": {**RECIPES["ek100-localization"], **changes}}
        (small / "recipes/paper.yaml").write_text(yaml.safe_dump(content))
        recipes._load_scale.cache_clear()
        return Run("first-release", "ek100-localization", "tada2d", 0, tmp_path).signature

    bmn = RECIPES["ek100-localization"]["bmn"]
    assert signature() == signature(bmn={**bmn, "epochs": 77, "base_lr": 0.5, "high": 0.8})
    assert signature() != signature(bmn={**bmn, "classification_power": 1.0})
