"""Where networks look in the frames of validation videos (Figures 4 and A3).

A video is shown by the frames of one clip, and each network by the Grad-CAM (Selvaraju et al., 2017) of one of its
stages over these frames. A rule selects the videos, never a hand.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from captum.attr import LayerGradCam
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from tada.base import TadaError, unknown
from tada.base.files import replacing
from tada.classification.pipeline import sampling_of
from tada.data import catalog
from tada.data.catalog import Place
from tada.data.clips import Clip
from tada.data.dataset import TestClips
from tada.data.mini import find_object
from tada.data.mini.scenes import Track, object_masks
from tada.data.video.random_access import FileFrames
from tada.data.video.timeline import VideoError
from tada.data.views import Sampling, TestTransform, normalise
from tada.models.registry import model_options
from tada.report.figures.style import PAGE_WIDTH, Drawing, say
from tada.report.measure.results import DONE, FAILED, Problem, Results
from tada.report.measure.samples import Hits, Unusable, read_hits, read_scores
from tada.report.measure.values import finished
from tada.report.paper.figures import ActivationMaps, DrawnNetwork
from tada.runs.checkpoints import load_trained
from tada.runs.settings import Scale, TestSettings
from tada.runs.trained import TrainedNetwork

TEXT = 1.55
"""Width in inches of the networks' names and what they predict."""


BAR = 0.36
"""Height in inches of the colour bar with its labels."""


SAID_OF_BAR = "colours: share of the row's maximum; at 0 the frame shows as it is"
SAID_OF_OBJECT = "on the object: share of the maps; in brackets, of the pixels"


GAP = 0.04
"""Between frames, as a share of a frame's side."""


COLOURS = mpl.colormaps["inferno"]  # light means much, to every kind of colour vision


STRENGTH = 0.75
"""Of the colours at the map's maximum; where the map is 0, the frame shows as it is."""


@dataclass(frozen=True)
class Trained:
    """A trained network and its scores of the selected videos over all views, [videos, classes]."""

    network: nn.Module
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Activation:
    """A network's maps of a clip, [T, H, W] from 0 to 1, and its scores of the video over all views, [classes]."""

    maps: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class ShownVideo:
    """A video: its name, category and frames, uint8 [T, H, W, 3], and the activation of each network that is there.

    `masks` say where the object is, [T, H, W]; None where nobody knows, or it is nowhere in these frames.
    """

    name: str
    category: int
    frames: npt.NDArray[np.uint8]
    activations: tuple[Activation | None, ...]
    masks: npt.NDArray[np.bool_] | None = None

    def on_object(self, activation: Activation) -> float | None:
        """Share of the maps' mass that lies on the object; None where it is not known, or there is no mass."""
        total = float(activation.maps.sum())
        return float(activation.maps[self.masks].sum()) / total if self.masks is not None and total > 0 else None

    @property
    def covered(self) -> float:
        """Share of all pixels that the object covers: what a map has on it that knows nothing of it."""
        return float(self.masks.mean()) if self.masks is not None else math.nan


def draw(figure: ActivationMaps, results: Results, data: str) -> Drawing:
    """The picture: for each video its frames, and a row for each network; a missing network's row says so."""
    problems = [
        result.problem
        for network in figure.networks
        for result in results.runs(figure.dataset, network.model)[:1]
        if result.status != DONE
    ]
    shown: list[ShownVideo] = []
    names: tuple[str, ...] = ()
    try:
        if not data:
            raise TadaError(f"the videos of {figure.dataset} are not at hand: set data.{figure.dataset}")
        place = Place.parse(data)
        annotations = catalog.read(figure.dataset, place)
        if isinstance(annotations.classes, dict):
            raise TadaError(f"{figure.dataset} has classes of several tasks, and a video no single category")
        names = annotations.classes
        deterministic()
        clips = {clip.name: clip for clip in annotations.validation.clips}
        shown, failed = _show_videos(figure, results, clips, place.root)
        problems += failed
    except (TadaError, Unusable, VideoError) as error:
        reason, _, _ = str(error).partition("; expected there:")  # and then several lines on files and folders
        problems.append(Problem(figure.title, FAILED, reason))
    lines = list(dict.fromkeys(str(problem) for problem in problems))
    return Drawing(_canvas(figure, shown, names, results.scale, lines), _to_csv(figure, shown, names), lines)


def _show_videos(
    figure: ActivationMaps, results: Results, clips: Mapping[str, Clip], root: Path
) -> tuple[list[ShownVideo], list[Problem]]:
    """The selected videos with all networks' activations, and what keeps some from being there.

    The networks are those of the first seed of which both that select are there; without one, no video is shown.
    """
    first, last = figure.networks[0].model, figure.networks[-1].model
    seeds, missing = finished(figure.dataset, (first, last), results)
    if not seeds:
        return [], list(missing)
    base_run, other_run = seeds[0]
    base, other = read_hits([(base_run,)], "top1"), read_hits([(other_run,)], "top1")
    videos = np.intersect1d(base.videos, other.videos)
    base, other = base.only(videos), other.only(videos)
    certainty = read_scores(other_run, videos)[np.arange(len(videos)), other.labels]
    selected = select_videos(figure.rule, figure.videos, base, other, certainty)
    if not selected:
        return [], [Problem(figure.title, FAILED, f"no video that {last} gets right and {first} does not")]
    run = other_run.run
    test, frames = run.classification_recipe.test, model_options(last)["frames"]
    transform = TestTransform(test.short_side, test.crop, crops=1)
    sampling = sampling_of(run.classification_recipe.sampling, frames)
    layer = figure.layers[results.scale]
    networks, problems = _networks(figure, results, run.seed, np.array([name for name, _ in selected]))
    shown = []
    for number, (name, category) in enumerate(selected):
        if name not in clips:
            raise TadaError(f"video {name}, which was tested, is not in the dataset any more")
        views, _ = TestClips([clips[name]], sampling, transform, clips_per_video=1)[0]
        activations = tuple(
            Activation(activation_maps(one.network, layer, views[0], category), one.scores[number]) if one else None
            for one in networks
        )
        masks = _masks(find_object(root, figure.dataset, name), FileFrames(clips[name]), sampling, test)
        shown.append(ShownVideo(name, category, views[0].permute(1, 2, 3, 0).numpy(), activations, masks))
    return shown, problems


def _masks(
    track: Track | None, video: FileFrames, sampling: Sampling, test: TestSettings
) -> npt.NDArray[np.bool_] | None:
    """Where the object is in the frames of a video's only clip, [T, H, W]."""
    if track is None or len(track.x) != video.length:
        return None
    masks = object_masks(track, sampling.test(video.length, video.fps, 0, 1), test.short_side, test.crop)
    return masks if masks.any() else None


def _networks(
    figure: ActivationMaps, results: Results, seed: int, videos: npt.NDArray[np.str_]
) -> tuple[list[Trained | None], list[Problem]]:
    """Every network of the figure with its scores of the videos, and what keeps one from being there."""
    networks: list[Trained | None] = []
    problems: list[Problem] = []
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
    figure: ActivationMaps, shown: Sequence[ShownVideo], names: Sequence[str], scale: Scale, problems: Sequence[str]
) -> Canvas:
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
    canvas = Canvas(figsize=(PAGE_WIDTH, 0.3 + block * len(shown) + BAR))
    total = canvas.get_figheight()
    about = f"Grad-CAM of {figure.layers[scale]} for the right category; p: probability of what is predicted"
    canvas.text(0.005, 1 - 0.12 / total, f"here: {scale.shown}. {about}", va="center")
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
    bar = canvas.add_axes((TEXT / PAGE_WIDTH, (BAR - 0.12) / total, 0.3, 0.09 / total))
    canvas.colorbar(ScalarMappable(Normalize(0, 1), COLOURS), cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    about = "\n".join([SAID_OF_BAR, *([SAID_OF_OBJECT] if any(one.masks is not None for one in shown) else [])])
    canvas.text(TEXT / PAGE_WIDTH + 0.32, (BAR - 0.08) / total, about, va="center", fontsize="small")
    return canvas


def _row(axes: Axes, figure: ActivationMaps, one: ShownVideo, row: int, names: Sequence[str]) -> str:
    """Draw the frames (row 0) or what a network sees in them; returns the text beside it."""
    axes.axis("off")
    if row == 0:
        axes.imshow(_strip(one.frames / 255.0), interpolation="nearest", aspect="auto")
        return "frames"
    network, activation = figure.networks[row - 1], one.activations[row - 1]
    if activation is None:
        say(axes, "not there yet")
        return network.label
    picture = _overlaid(one.frames, activation.maps)
    axes.imshow(_strip(picture), interpolation="nearest", aspect="auto", gid=f"{one.name}-{network.model}")
    if np.isnan(activation.scores).any():
        return f"{network.label}\nnot tested on it"
    predicted = int(activation.scores.argmax())
    right = "✓" if predicted == one.category else "✗"
    said = fill(names[predicted].replace("omething", "th."), 26)
    text = f"{network.label} {right} p = {activation.scores[predicted]:.2f}\n{said}"
    return "\n".join([text, *([found] if (found := _said_of_object(one, activation)) else [])])


def _said_of_object(one: ShownVideo, activation: Activation) -> str:
    """How much of a map is on the object, and whether it misses it: has no more on it than any map would."""
    share = one.on_object(activation)
    if share is None:
        return "" if activation.maps.any() else "the map is zero"
    return f"{'on' if share > one.covered else 'misses'} the object: {share:.0%} ({one.covered:.0%})"


def _overlaid(frames: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """uint8 frames [T, H, W, 3] with their maps [T, H, W] over them in colours; from 0 to 1."""
    shares = STRENGTH * maps[..., None]
    coloured: np.ndarray = (1 - shares) * frames / 255.0 + shares * COLOURS(maps)[..., :3]
    return coloured


def _strip(frames: np.ndarray) -> np.ndarray:
    """Frames [T, H, W, 3] side by side, with white between them."""
    gap = np.ones((frames.shape[1], max(1, round(GAP * frames.shape[2])), 3))
    return np.concatenate([part for frame in frames for part in (frame, gap)][:-1], axis=1).clip(0, 1)


def _title(one: ShownVideo, names: Sequence[str]) -> str:
    return f"{names[one.category].replace('omething', 'th.')} (video {one.name})"


def _to_csv(figure: ActivationMaps, shown: Sequence[ShownVideo], names: Sequence[str]) -> str:
    """One line for each frame: its share of the whole clip's activation, and where the map is highest.

    Where the object is known, also the share of the clip's activation on it, and that of the pixels that it covers.
    """
    lines = [
        _line(one, network, activation, frame, names)
        for one in shown
        for network, activation in zip(figure.networks, one.activations, strict=True)
        if activation is not None
        for frame in range(len(activation.maps))
    ]
    columns = ["video", "category", "model", "predicted", "score", "frame", "share", "row", "column"]
    columns += ["on_object", "covered"]
    return pd.DataFrame(lines, columns=columns).to_csv(index=False)


def _line(
    one: ShownVideo, network: DrawnNetwork, activation: Activation, frame: int, names: Sequence[str]
) -> dict[str, object]:
    predicted = int(activation.scores.argmax())
    heat = activation.maps[frame]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return {
        "video": one.name,
        "category": names[one.category],
        "model": network.model,
        "predicted": names[predicted],
        "score": f"{activation.scores[predicted]:.4f}",
        "frame": frame,
        "share": f"{heat.sum() / max(activation.maps.sum(), 1e-12):.4f}",
        "row": row,
        "column": column,
        "on_object": None if (share := one.on_object(activation)) is None else f"{share:.4f}",
        "covered": None if one.masks is None else f"{one.covered:.4f}",
    }


def write_strip(file: Path, trained: TrainedNetwork, video: Path, layer: str, category: int, task: str = "") -> None:
    """Write a picture of the middle clip of a video: its frames side by side and, below, the maps of a category.

    Args:
        file: .png.
        trained: the network, and how its test takes clips.
        video: a video file.
        layer: as in `activation_maps`.
        category: whose logit is explained.
        task: of this task, where the network has several.

    Raises:
        TadaError: the network has no such layer.
        VideoError: the video cannot be used.
    """
    network = trained.network.cpu()
    if layer not in dict(network.named_children()):
        valid = [name for name, _ in network.named_children() if name.startswith("res")]
        raise unknown("layer", layer, valid, where=f"maps of {trained.model}, a {type(network).__name__}")
    transform = TestTransform(trained.test.short_side, trained.test.crop, crops=1)
    sampling = sampling_of(trained.sampling, network.frames)
    views, _ = TestClips([Clip(str(video), video, 0)], sampling, transform, clips_per_video=1)[0]
    maps = activation_maps(network, layer, views[0], category, task)
    frames = views[0].permute(1, 2, 3, 0).numpy()
    rows = [_strip(frames / 255.0), _strip(_overlaid(frames, maps))]
    gap = np.ones((max(1, round(GAP * frames.shape[1])), *rows[0].shape[1:]))
    pixels = np.rint(np.concatenate([rows[0], gap, rows[1]]) * 255).astype(np.uint8)
    with replacing(file) as temporary:
        Image.fromarray(pixels).save(temporary, format="png")


def activation_maps(
    network: nn.Module, layer: str, clip: Tensor, category: int, task: str = ""
) -> npt.NDArray[np.float32]:
    """Grad-CAM of a category over a clip, [T, H, W], from 0 to 1.

    The channels of the layer's output are weighted by the gradient of the category's logit, averaged over all frames
    and places, and summed; what speaks against the category is cut off, and the largest value of the clip becomes 1.

    Args:
        network: of the resnet family, in evaluation mode.
        layer: "res2" to "res5".
        clip: uint8 [3, T, H, W].
        category: whose logit is explained.
        task: of this task, where the network has several.
    """
    x = normalise(clip[None]).requires_grad_()
    logits = (lambda of: network(of)[task]) if task else network
    found = LayerGradCam(logits, network.get_submodule(layer)).attribute(x, target=category)  # [1, 1, T, h, w]
    heat = F.relu(found.detach())[0].transpose(0, 1)  # [T, 1, h, w]
    heat = F.interpolate(heat, size=clip.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return (heat / heat.max().clamp(min=1e-12)).numpy()


def deterministic() -> None:
    """One thread: sums in the same order give the same picture."""
    torch.set_num_threads(1)


def select_videos(
    rule: str, videos: int, base: Hits, other: Hits, certainty: npt.NDArray[np.floating]
) -> list[tuple[str, int]]:
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
        by_name = sorted(range(len(labels)), key=lambda place: _by_number(str(other.videos[place])))
        order = [place for category in spread for place in by_name if labels[place] == category]
    return _one_each(order, labels, other.videos, videos)


def _one_each(
    order: Sequence[int], labels: npt.NDArray[np.integer], names: npt.NDArray[np.str_], videos: int
) -> list[tuple[str, int]]:
    """The first place of every category, up to so many."""
    first: dict[int, int] = {}
    for place in order:
        first.setdefault(int(labels[place]), place)
    return [(str(names[place]), category) for category, place in list(first.items())[:videos]]


def _by_number(name: str) -> tuple[int, str]:
    """Sorts numbers in their order, everything else by the alphabet."""
    return (int(name), "") if name.isdigit() else (-1, name)
