"""Where networks look in the frames of validation videos: Grad-CAM over the frames (Figures 4 and A3).

Where a trained network looks in the frames of a clip: Grad-CAM (Selvaraju et al., 2017) of one of its stages.

Which validation videos a picture shows: by a rule, never by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from captum.attr import LayerGradCam
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from torch import Tensor, nn
from torch.nn import functional as F

from tada.base.errors import TadaError
from tada.classification.inputs import sampling_of
from tada.data import catalog
from tada.data.catalog import Place
from tada.data.dataset import TestClips
from tada.data.video.timeline import VideoError
from tada.data.views import TestTransform, normalise
from tada.models.registry import model_options
from tada.report.figures.style import PAGE_WIDTH, Drawing, say
from tada.report.measure.results import DONE, FAILED, Problem, Results
from tada.report.measure.samples import Hits, Unusable, read_hits, read_scores
from tada.report.measure.values import finished
from tada.report.paper.figures import ActivationMaps, DrawnNetwork
from tada.runs.checkpoints import load_trained
from tada.runs.settings import Scale

TEXT = 1.55
"""Width in inches of the networks' names and what they predict."""


GAP = 0.04
"""Between frames, as a share of a frame's side."""


COLOURS = mpl.colormaps["inferno"]  # light means much, to every kind of colour vision


STRENGTH = 0.75
"""Of the colours at the map's maximum; where the map is 0, the frame shows as it is."""


@dataclass(frozen=True)
class Trained:
    """A trained network and its scores of the chosen videos over all views, [videos, classes]."""

    network: nn.Module
    scores: np.ndarray


@dataclass(frozen=True)
class Looked:
    """What a network makes of a video: maps [T, H, W] from 0 to 1 of the shown clip, and scores over all views."""

    maps: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Shown:
    """A video: its name, category and frames [T, H, W, 3], and what each network makes of it (None: not there)."""

    video: str
    category: int
    frames: np.ndarray
    looked: tuple[Looked | None, ...]


def draw(figure: ActivationMaps, results: Results, data: str) -> Drawing:
    """The picture: for each video its frames, and a row for each network; a missing network's row says so."""
    problems = [
        result.problem
        for network in figure.networks
        for result in results.runs(figure.dataset, network.model)[:1]
        if result.status != DONE
    ]
    shown, names = [], ()
    try:
        if not data:
            raise TadaError(f"the videos of {figure.dataset} are not at hand: set data.{figure.dataset}")
        annotations = catalog.read(figure.dataset, Place.parse(data))
        names = annotations.classes
        deterministic()
        clips = {clip.name: clip for clip in annotations.validation.clips}
        shown, failed = _look(figure, results, clips)
        problems += failed
    except (TadaError, Unusable, VideoError) as error:
        problems.append(Problem(figure.title, FAILED, str(error).split("\n")[0]))
    told = list(dict.fromkeys(str(problem) for problem in problems))
    return Drawing(_canvas(figure, shown, names, results.scale, told), _to_csv(figure, shown, names), told)


def _look(figure: ActivationMaps, results: Results, clips: dict) -> tuple[list[Shown], list[Problem]]:
    """The chosen videos as the networks of the first seed see them; none while the runs to choose by are missing."""
    first, last = figure.networks[0].model, figure.networks[-1].model
    seeds, problems = finished(figure.dataset, (first, last), results)
    if not seeds:
        return [], list(problems)
    base, other = (read_hits([(run,)], "top1") for run in seeds[0])
    videos = np.intersect1d(base.videos, other.videos)
    base, other = base.only(videos), other.only(videos)
    certainty = read_scores(seeds[0][1], videos)[np.arange(len(videos)), other.labels]
    chosen = choose(figure.rule, figure.videos, base, other, certainty)
    if not chosen:
        return [], [Problem(figure.title, FAILED, f"no video that {last} gets right and {first} does not")]
    run = seeds[0][1].run
    test, frames = run.recipe.test, model_options(last)["frames"]
    transform = TestTransform(test.short_side, test.crop, crops=1)
    layer = figure.layers[results.scale]
    networks, problems = _networks(figure, results, run.seed, np.array([name for name, _ in chosen]))
    shown = []
    for number, (name, category) in enumerate(chosen):
        if name not in clips:
            raise TadaError(f"video {name}, which was tested, is not in the dataset any more")
        views, _ = TestClips([clips[name]], sampling_of(run, frames), transform, clips_per_video=1)[0]
        looked = tuple(
            trained and Looked(activation_maps(trained.network, layer, views[0], category), trained.scores[number])
            for trained in networks
        )
        shown.append(Shown(name, category, views[0].permute(1, 2, 3, 0).numpy(), looked))
    return shown, problems


def _networks(
    figure: ActivationMaps, results: Results, seed: int, videos: np.ndarray
) -> tuple[list[Trained | None], list[Problem]]:
    """Every network of the figure with its scores of the videos, and what keeps one from being there."""
    networks: list[Trained | None] = []
    problems = []
    for network in figure.networks:
        result = results.runs(figure.dataset, network.model)[seed]
        try:
            there = result.status == DONE
            networks.append(Trained(load_trained(result.run), read_scores(result, videos)) if there else None)
        except (TadaError, Unusable) as error:
            networks.append(None)
            problems.append(Problem(str(result.run), FAILED, str(error), result.run.file("log.txt")))
    return networks, problems


def _canvas(
    figure: ActivationMaps, shown: list[Shown], names: tuple[str, ...], scale: Scale, problems: list[str]
) -> Canvas:
    where = "mini scale (rendered videos, small networks)" if scale.renders else "paper scale"
    if not shown:
        canvas = Canvas(figsize=(PAGE_WIDTH, 1.6), layout="constrained")
        axes = canvas.subplots()
        say(axes, fill("; ".join(problem.split(" (log")[0] for problem in problems), 100))
        return canvas
    rows = 1 + len(figure.networks)
    frames = shown[0].frames
    ratio = frames.shape[1] / (len(frames) * frames.shape[2] * (1 + GAP))
    height = (PAGE_WIDTH - TEXT) * ratio
    block = rows * (height + 0.03) + 0.2
    canvas = Canvas(figsize=(PAGE_WIDTH, 0.3 + block * len(shown)))
    total = canvas.get_figheight()
    about = f"Grad-CAM of {figure.layers[scale]} for the right category; beside it, what is predicted over all views"
    canvas.text(0.005, 1 - 0.12 / total, f"{where}; {about}", va="center")
    top = total - 0.25
    for one in shown:
        canvas.text(TEXT / PAGE_WIDTH, (top - 0.1) / total, _title(one, names), va="center", fontsize="medium")
        for row in range(rows):
            bottom = top - 0.2 - (row + 1) * (height + 0.03)
            place = (TEXT / PAGE_WIDTH, bottom / total, 1 - (TEXT + 0.03) / PAGE_WIDTH, height / total)
            axes = canvas.add_axes(place)
            text = _row(axes, figure, one, row, names)
            canvas.text(0.005, (bottom + height / 2) / total, text, va="center", fontsize="small", linespacing=1.1)
        top -= block
    return canvas


def _row(axes: Axes, figure: ActivationMaps, one: Shown, row: int, names: tuple[str, ...]) -> str:
    """Draw the frames (row 0) or what a network sees in them; returns the text beside it."""
    axes.axis("off")
    if row == 0:
        axes.imshow(_strip(one.frames / 255.0), interpolation="nearest", aspect="auto")
        return "frames"
    network, looked = figure.networks[row - 1], one.looked[row - 1]
    if looked is None:
        say(axes, "not there yet")
        return network.label
    shares = STRENGTH * looked.maps[..., None]
    picture = (1 - shares) * one.frames / 255.0 + shares * COLOURS(looked.maps)[..., :3]
    axes.imshow(_strip(picture), interpolation="nearest", aspect="auto", gid=f"{one.video}-{network.model}")
    if np.isnan(looked.scores).any():
        return f"{network.label}\nnot tested on it"
    predicted = int(looked.scores.argmax())
    right = "✓" if predicted == one.category else "✗"
    said = fill(names[predicted].replace("omething", "th."), 26)
    return f"{network.label} {right} {looked.scores[predicted]:.2f}\n{said}"


def _strip(frames: np.ndarray) -> np.ndarray:
    """Frames [T, H, W, 3] side by side, with white between them."""
    gap = np.ones((frames.shape[1], max(1, round(GAP * frames.shape[2])), 3))
    return np.concatenate([part for frame in frames for part in (frame, gap)][:-1], axis=1).clip(0, 1)


def _title(one: Shown, names: tuple[str, ...]) -> str:
    return f"{names[one.category].replace('omething', 'th.')} (video {one.video})"


def _to_csv(figure: ActivationMaps, shown: list[Shown], names: tuple[str, ...]) -> str:
    """One line for each frame: its share of the whole clip's activation, and where the map is highest."""
    lines = [
        _line(one, network, looked, frame, names)
        for one in shown
        for network, looked in zip(figure.networks, one.looked, strict=True)
        if looked is not None
        for frame in range(len(looked.maps))
    ]
    columns = ["video", "category", "model", "predicted", "score", "frame", "share", "row", "column"]
    return pd.DataFrame(lines, columns=columns).to_csv(index=False)


def _line(one: Shown, network: DrawnNetwork, looked: Looked, frame: int, names: tuple[str, ...]) -> dict[str, object]:
    predicted = int(looked.scores.argmax())
    heat = looked.maps[frame]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return {
        "video": one.video,
        "category": names[one.category],
        "model": network.model,
        "predicted": names[predicted],
        "score": f"{looked.scores[predicted]:.4f}",
        "frame": frame,
        "share": f"{heat.sum() / max(looked.maps.sum(), 1e-12):.4f}",
        "row": row,
        "column": column,
    }


def activation_maps(network: nn.Module, layer: str, clip: Tensor, category: int) -> npt.NDArray[np.float32]:
    """Grad-CAM of a category over a clip, [T, H, W], from 0 to 1.

    The channels of the layer's output are weighted by the gradient of the category's logit, averaged over all frames
    and places, and summed; what speaks against the category is cut off, and the largest value of the clip becomes 1.

    Args:
        network: of the resnet family, in evaluation mode.
        layer: "res2" to "res5".
        clip: uint8 [3, T, H, W].
        category: whose logit is looked at.
    """
    x = normalise(clip[None]).requires_grad_()
    found = LayerGradCam(network, network.get_submodule(layer)).attribute(x, target=category)  # [1, 1, T, h, w]
    heat = F.relu(found.detach())[0].transpose(0, 1)  # [T, 1, h, w]
    heat = F.interpolate(heat, size=clip.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return (heat / heat.max().clamp(min=1e-12)).numpy()


def deterministic() -> None:
    """One thread: sums in the same order give the same picture."""
    torch.set_num_threads(1)


def choose(rule: str, videos: int, base: Hits, other: Hits, certainty: np.ndarray) -> list[tuple[str, int]]:
    """Names and categories of up to `videos` videos, each of another category.

    Args:
        rule: "gained", videos that the other network gets right and the base does not, those of the highest certainty
            first; or "any", the first video by name of categories that are spread evenly over all.
        videos: how many.
        base: hits of a network; its first seed counts.
        other: hits of another network on the same videos in the same order.
        certainty: the other network's score of each video's right category, [V].
    """
    labels = other.labels
    if rule == "gained":
        gained = other.right[0] & ~base.right[0]
        order = [place for place in np.argsort(-certainty, kind="stable") if gained[place]]
    else:
        categories = np.unique(labels)
        spread = categories[np.linspace(0, len(categories) - 1, min(videos, len(categories))).round().astype(int)]
        by_name = sorted(range(len(labels)), key=lambda place: _key(other.videos[place]))
        order = [place for category in spread for place in by_name if labels[place] == category]
    return _one_each(order, labels, other.videos, videos)


def _one_each(order: Sequence[int], labels: np.ndarray, names: np.ndarray, videos: int) -> list[tuple[str, int]]:
    """The first place of every category, up to so many."""
    first: dict[int, int] = {}
    for place in order:
        first.setdefault(int(labels[place]), place)
    return [(str(names[place]), category) for category, place in list(first.items())[:videos]]


def _key(name: str) -> tuple[int, str]:
    """Numbers in their order, everything else by the alphabet."""
    return (int(name), "") if str(name).isdigit() else (-1, str(name))
