"""Figures of the paper as SVG, PDF, PNG and CSV, and the README's pictures; one module for each kind of figure.

A kind's module is imported when a figure of that kind is drawn: some load networks.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure as Canvas

from tada.base.files import replacing, write_text
from tada.report.figures.style import STYLE, Drawing
from tada.report.measure.results import Results, provenance
from tada.report.paper.figures import FIGURES, Accuracies, ActivationMaps, Categories, Curves, Figure, load_figure
from tada.runs.settings import Scale


def build_figure(
    name: str, scale: Scale, seeds: int, results: Path, out: Path, *, data: str = "", specs: Path = FIGURES
) -> list[str]:
    """Write `<out>/<name>.svg`, `.pdf`, `.png` and `.csv` from what is under `results`.

    A failed or missing run is a place in the picture that says so.

    Args:
        name: a spec's name, e.g. "figure3".
        scale: whose runs are shown.
        seeds: runs shown of each (dataset, model): seeds 0 to seeds - 1.
        results: the folder `results`.
        out: folder of the files.
        data: folder of the figure's dataset (or more about it, see `Place.parse`), whose videos and classes'
            names some figures show; by default the rendered one, where there is one.
        specs: folder of the specs.

    Returns:
        One line for each failed or missing run; empty if the figure is complete.

    Raises:
        TadaError: the spec is unknown or faulty.
    """
    figure = load_figure(name, specs)
    available = Results(results, scale, seeds)
    if not data and available.scale.renders and isinstance(figure, Categories | ActivationMaps):
        data = f"{scale.rendered_in}/{figure.dataset}"
    with mpl.rc_context(STYLE):
        drawing = _draw(figure, available, data)
        _save(drawing.canvas, out / name, figure, available)
    write_text(out / f"{name}.csv", drawing.csv)
    return drawing.problems


def build_agreement(numbers: pd.DataFrame, scale: Scale, out: Path) -> None:
    """Write the README's picture as SVG: the same file for the same numbers.

    Args:
        numbers: cells of all tables as of `Snapshot.numbers`.
        scale: of what was reproduced.
        out: the file.
    """
    from tada.report.figures.accuracies import draw_agreement

    with mpl.rc_context(STYLE):
        _save_svg(draw_agreement(numbers, scale), out)


def build_scales(scales: Mapping[Scale, tuple[pd.DataFrame, Mapping[str, str]]], out: Path) -> None:
    """Write the README's picture of several scales as SVG: the same file for the same numbers.

    Args:
        scales: of each scale its numbers, and in words how ranks agree with the paper's, as of a `Snapshot`.
        out: the file.
    """
    from tada.report.figures.accuracies import draw_scales

    with mpl.rc_context(STYLE):
        _save_svg(draw_scales(scales), out)


def _save_svg(canvas: Canvas, out: Path) -> None:
    """Without the date, and without blanks at the ends of lines."""
    target = io.StringIO()
    canvas.savefig(target, format="svg", metadata={"Date": None})
    write_text(out, "\n".join(line.rstrip() for line in target.getvalue().splitlines()) + "\n")


def _draw(figure: Figure, results: Results, data: str) -> Drawing:
    match figure:
        case Accuracies():
            from tada.report.figures import accuracies

            return accuracies.draw(figure, results)
        case Categories():
            from tada.report.figures import categories

            return categories.draw(figure, results, data)
        case Curves():
            from tada.report.figures import curves

            return curves.draw(figure, results)
        case ActivationMaps():
            from tada.report.figures import gradcam

            return gradcam.draw(figure, results, data)


def _save(canvas: Canvas, path: Path, figure: Figure, results: Results) -> None:
    """Write SVG, PDF and PNG, which carry caption and provenance as metadata."""
    lines = provenance(results.all_runs(figure.runs), results)
    reading = [("Reading", figure.reading)] if figure.reading else []
    about = "\n".join([figure.caption, *(f"{label}: {text}" for label, text in [*reading, *lines])])
    described = {"Title": figure.title, "Description": about}
    metadata: dict[str, dict[str, str | None]] = {
        "svg": {**described, "Date": None},
        "pdf": {"Title": figure.title, "Subject": about, "CreationDate": None},
        "png": {**described},
    }
    for form, about_file in metadata.items():
        with replacing(path.with_suffix(f".{form}")) as temporary:
            canvas.savefig(temporary, format=form, dpi=300, metadata=about_file)
