"""Commands on videos of one's own: what a trained network says of them, and the network for other programs."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tada.base import TadaError, counted
from tada.base.files import config_file, existing_file, file_to_write, write_json
from tada.base.yaml_files import read_yaml
from tada.cli.runs import ResultsOption
from tada.data.catalog import Place
from tada.runs.settings import Scale

if TYPE_CHECKING:
    from tada.runs.trained import Names, TrainedNetwork

VideosArgument = Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video files.")]


CheckpointOption = Annotated[
    Path,
    typer.Option(
        help="checkpoint.pt in the folder of a finished run, or a file that the authors released.",
        callback=lambda checkpoint: existing_file(checkpoint, " of weights"),
    ),
]


ClassesOption = Annotated[Path | None, typer.Option(help="Names of the classes, one a line, or JSON.")]


DataOption = Annotated[str, typer.Option(help="Where the network's dataset lies, for the names of its classes.")]


def predict(
    videos: VideosArgument,
    checkpoint: CheckpointOption,
    top: Annotated[int, typer.Option(min=1, help="How many classes to name for each video.")] = 5,
    classes: ClassesOption = None,
    data: DataOption = "",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="JSON file for all scores.", callback=file_to_write)
    ] = None,
    maps: Annotated[Path | None, typer.Option(help="Folder for Grad-CAM of the first class over the frames.")] = None,
    layer: Annotated[str, typer.Option(help="Layer of the Grad-CAM: res2 to res5.")] = "res5",
) -> None:
    """Name the actions in videos: the scores that the test of a trained network gives them, each as a whole."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from tada.base.progress import Progress
    from tada.classification.pipeline import predict
    from tada.runs.trained import as_json, highest, load_network

    trained = load_network(checkpoint)
    names = _class_names(trained, classes, data)
    progress = Progress(str(trained))
    try:
        found = predict(trained, videos, progress)
    finally:
        progress.close()
    several = "" not in names
    table = Table(
        Column("video", overflow="fold"), *(["task"] if several else []), "score", "class", box=None, pad_edge=False
    )
    entries = []
    for video, scores in found.scores.items():
        best = {task: highest(scores[task], names[task], top) for task in names}
        every = {task: scores[task].tolist() for task in names}
        entries.append(
            {"video": str(video), "top": best if several else best[""], "scores": every if several else every[""]}
        )
        for task, classes_of in best.items():
            for place, one in enumerate(classes_of):
                first = [escape(str(video)) if place == 0 else "", *([task] if several else [])]
                table.add_row(*first, f"{one['score']:.4f}", escape(one["name"]))
            if maps:
                from tada.report.figures.gradcam import write_strip

                file = maps / ".".join([video.name, *([task] if task else []), "png"])
                write_strip(file, trained, video, layer, classes_of[0]["class"], task)
    if found.scores:
        Console().print(table, highlight=False)
    if json_file:
        said = dict(names) if several else names[""]
        write_json(json_file, {"network": as_json(trained), "classes": said, "videos": entries})
    _report(found.faults)


def _class_names(trained: "TrainedNetwork", file: Path | None, data: str) -> "Names":
    """Those in a file, or of the dataset where that can be read, else numbers, and a line that says so."""
    from tada.runs.trained import names_in, names_of_dataset, numbered, recorded_names

    if file:
        return names_in(file, trained)
    if names := recorded_names(trained):
        return names
    if data:
        return names_of_dataset(trained, data)
    if place := _place_of(trained.dataset, trained.scale):
        try:
            return names_of_dataset(trained, place)
        except TadaError as error:
            print(f"classes are numbered: {error}", file=sys.stderr)
    else:
        print("classes are numbered; --classes or --data gives their names", file=sys.stderr)
    return numbered(trained)


def _place_of(dataset: str, scale: str) -> str:
    """Where a dataset lies by config/config.yaml, or was rendered; empty where nothing says it."""
    if Scale.named(scale).renders:
        rendered = Path(Scale.named(scale).rendered_in, dataset)
        return str(rendered) if rendered.is_dir() else ""
    file = config_file()
    place = (read_yaml(file).get("data") or {}).get(dataset) or "" if file.exists() else ""
    if isinstance(place, dict):
        return json.dumps({key: value for key, value in place.items() if key not in Place.RELEASED})
    return str(place)


def features(
    videos: VideosArgument,
    checkpoint: CheckpointOption,
    out: Annotated[Path, typer.Option(help="Folder for one file per video, <name>.npz.")],
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames per second at which videos are read.")] = None,
    interval: Annotated[int | None, typer.Option(min=1, help="Step between a clip's frames, in such frames.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Step between clips, in such frames.")] = None,
) -> None:
    """Compute the features of clips all along videos, as localization does: `features` [n, C], `times` [n] in seconds.

    Which clips these are, the recipe of localization of the network's dataset says; where there is none, the options.
    """
    from tada.base.progress import Progress
    from tada.localization.feature_sources import clip_settings, write_features
    from tada.runs.trained import load_network

    trained = load_network(checkpoint)
    settings = clip_settings(trained, fps, interval, stride)
    progress = Progress(str(trained))
    try:
        written = write_features(trained, videos, out, settings, progress)
    finally:
        progress.close()
    for video, note in written.short.items():
        print(f"{video}: {note}", file=sys.stderr)
    print(f"wrote the features of {counted(written.videos, 'video')} to {out}")
    _report(written.skipped)


def export(
    network: Annotated[str, typer.Argument(metavar="RUN_OR_CHECKPOINT", help="E.g. own/tada2d, or a checkpoint.")],
    file: Annotated[Path, typer.Argument(help="File to write.", callback=file_to_write)],
    to: Annotated[str, typer.Option(help="safetensors: the weights; torch: a program of torch.export; or onnx.")],
    classes: ClassesOption = None,
    data: DataOption = "",
    results: ResultsOption = Path("results"),
) -> None:
    """Write a trained network for other programs, with a model card inside, and compare what the file computes."""
    from tada.cluster.status import find_runs

    place = Path(network)
    if place.suffix in (".pt", ".pth", ".pyth"):
        existing_file(place, " of weights")
    elif not place.is_file():
        if len(runs := find_runs(results, [network])) > 1:
            raise TadaError(f"{network}: {', '.join(str(run.folder) for run in runs)} are meant; name one of them")
        place = runs[0].file("checkpoint.pt")

    from tada.runs.trained import export, load_network  # torch, which an unknown name need not wait for

    trained = load_network(place)
    compared = export(trained, to, file, _class_names(trained, classes, data))
    print(f"wrote {file}: {trained}; {compared}")


def _report(faults: Mapping[str, str]) -> None:
    """Name the videos that could not be used; exit status 1 if there is any."""
    for video, reason in faults.items():
        print(f"{video}: {reason}", file=sys.stderr)
    if faults:
        raise SystemExit(1)
