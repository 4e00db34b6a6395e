"""The settings as a page: every value of the paper-scale recipes, what is published for it, and why it is used."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tada.base import files
from tada.models.registry import model_options
from tada.report.pages import EMPTY, ColumnHead, Grid, Page, Piece
from tada.report.pages.markup import write_page
from tada.runs.recipes import Setting, load_recipe, network_settings, network_sources, recipe_sources, releases
from tada.runs.settings import Scale

CAPTION = (
    "Every value with which runs at the paper's scale are trained and tested, what the paper's text and the authors' "
    "two releases say of it, and why it is used. The paper's numbers are those of the first release, so where the two "
    "releases differ the first is followed. After the recipes come networks: how their weights start, and which frames "
    "a pathway sees. What is said of one holds for all entries of config/models.yaml that extend it."
)


def build_settings(out: Path, folder: Path = files.CONFIG) -> None:
    """Write `<out>/settings.md`, `.tex`, `.html` and `.csv` from `config/recipes/paper.yaml` and `config/models.yaml`.

    Raises:
        TadaError: a value without a source, or sources that disagree without a reason.
    """
    write_page(settings_page(folder), out)


def settings_page(folder: Path = files.CONFIG) -> Page:
    """The page; a line for each value, a rule above each recipe and each network."""
    recipes = recipe_sources(folder) | network_sources(folder)
    lines: list[tuple[Piece, ...]] = []
    rules: set[int] = set()
    for name, found in recipes.items():
        if lines:
            rules.add(len(lines))
        lines += [tuple(map(Piece, (name, one.name, *_cells(one), one.why or EMPTY))) for one in found]
    heads = ("Recipe or network", "Setting", "here", "text", "first release", "later release", "why")
    about = releases(folder)
    return Page(
        name="settings",
        title="Settings of the paper's scale",
        caption=CAPTION,
        place="Section 5, Appendix A",
        grid=Grid(tuple(ColumnHead(text, left=True) for text in heads), tuple(lines), frozenset(rules)),
        footer=tuple((f"{name} release".capitalize(), text) for name, text in about.items()),
        data=_data(recipes),
    )


def run_settings(dataset: str, model: str, folder: Path = files.CONFIG) -> list[tuple[str, str, str]]:
    """What a run at the paper's scale is trained with: setting, value, and where that comes from.

    Of a classification run, what a batch is made of stands first.

    Raises:
        TadaError: an unknown dataset or model.
    """
    recipe = load_recipe(Scale.PAPER, dataset, model, folder)
    found = {one.name: one for one in recipe_sources(folder)[dataset]}
    frames = {one.name.split(": ", 1)[1]: one for name, one in found.items() if name.startswith(f"{_frames(model)} ")}
    lines = []
    if recipe.task == "classification":
        train, gpus = recipe.train, recipe.resources.gpus
        accumulated = max(train.batch // train.batch_per_device // gpus, 1)
        micro = f"{train.batch_per_device} clips share batch-norm statistics"
        lines.append(("micro-batch", micro, "train.batch_per_device"))
        lines.append(("batch", f"{train.batch} clips", f"{gpus} GPUs; micro-batches on each: {accumulated}"))
    settings = {name: one for name, one in found.items() if " frames: " not in name} | frames
    settings |= {one.name: one for one in network_settings(model, folder)}
    return lines + [(name, _text(one.value), _source(one)) for name, one in settings.items()]


def _frames(model: str) -> str:
    return f"{model_options(model)['frames']} frames:"


def _source(setting: Setting) -> str:
    said = [f"text ({setting.section})"] if setting.text == setting.value and setting.section else []
    said += [f"{name} release" for name in ("first", "later") if getattr(setting, name) == setting.value]
    return "; ".join([*said, *([setting.why] if setting.why else [])])


def _cells(setting: Setting) -> tuple[str, str, str, str]:
    """The value here, in the text with its section, and in either release; a word where they say the same."""
    section = f" ({setting.section})" if setting.section else ""
    text = EMPTY if setting.text is None else _same(setting.text, setting.value) + section
    releases = (EMPTY if said is None else _same(said, setting.value) for said in (setting.first, setting.later))
    first, later = releases
    return _text(setting.value), text, first, later


def _same(said: Any, value: Any) -> str:
    return "same" if said == value else _text(said)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _data(recipes: Mapping[str, Sequence[Setting]]) -> pd.DataFrame:
    """One line for each value, as the file has it."""
    return pd.DataFrame([{"recipe": name, **vars(one)} for name, found in recipes.items() for one in found])
