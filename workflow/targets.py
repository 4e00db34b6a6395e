"""From table and figure specs to the files that the DAG needs: plain functions, called by the rules."""

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tada.base import TadaError, counted, files, require_posix, typed_json
from tada.base.files import CONFIG, PAPER, DamagedFile, DiskError
from tada.base.tensorboard import require_tensorboard
from tada.base.yaml_files import read_yaml
from tada.data.catalog import Place
from tada.models.registry import model_options
from tada.report import paper
from tada.report.paper import pages
from tada.report.paper.figures import Figure, load_figure
from tada.report.paper.sentences import Claims, load_claims
from tada.report.paper.tables import Table, load_table
from tada.report.plan import Wanted
from tada.runs import recipes
from tada.runs.record import OUTCOME, Outcome, read_count
from tada.runs.run import Run
from tada.runs.settings import Scale
from tada.runs.verification import is_finished

_settings: dict[str, Any] = {}
_requested: set[Path] = set()


def check_config(config: dict[str, Any]) -> None:
    """Check config.yaml together with what --config changed, and keep it for the functions below.

    With weights=released, scale and seeds become what that and the release mean. A precision is that of all trainings,
    for this process and the rules' commands.

    Raises:
        SystemExit: with a message that names the key; snakemake would bury an exception in a traceback.
    """
    try:
        recipes.check_config(config)
        if config.get("tensorboard"):
            require_tensorboard()
    except TadaError as error:
        sys.exit(f"Error: {error}")
    config |= recipes.with_scale(config)
    files.use_precision(config.get("precision"))
    _settings.clear()
    _settings.update(config)


def check_folders(base: Path) -> None:
    """Refuse folders whose paths Snakemake cannot hold: it takes braces for places to be filled, and logs in UTF-8.

    Args:
        base: where the Snakefile lies; looked at are this folder, and those of the paper and of the recipes, too.

    Raises:
        SystemExit: with a message that names the folder; snakemake would end in a traceback.
    """
    for folder in (base, Path.cwd(), PAPER, CONFIG):
        path = str(folder.absolute())
        whole = path.encode(errors="ignore").decode() == path
        if not whole or set("{}") & set(path):
            what = "has braces" if whole else "is no UTF-8"
            sys.exit(f"Error: {path!r}: Snakemake cannot work in a folder whose name {what}; rename it")


def config_file() -> str:
    """`config/config.yaml` here; in a folder without one (`--directory`, `--snakefile`), the project's.

    Raises:
        SystemExit: this is Windows, or it is no YAML, or sets a key twice; Snakemake would end in a traceback, or take
            the last.
    """
    _checked(require_posix)
    file = files.config_file()
    _checked(lambda: read_yaml(file))
    return str(file)


def use_this_python() -> None:
    """Let the rules' `python` be the one that runs snakemake, also where its environment is not activated."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def remove_unreadable(results: Path = Path("results")) -> None:
    """Remove outcomes that nobody can read, and counts of networks that are damaged, so that Snakemake, which sees only
    that a file is there, has them made again; says which."""
    readers = {"*/*/*/seed*/outcome.json": partial(typed_json.load, Outcome), "complexity/*/*.json": read_count}
    for places, read in readers.items():
        for file in sorted(results.glob(places)):
            try:
                read(file)
            except FileNotFoundError:  # removed since by whoever makes it
                continue
            except DamagedFile as error:
                print(error, file=sys.stderr)
                file.unlink(missing_ok=True)
            except DiskError as error:  # it may be as good as ever, and who needs it says so, too
                print(error, file=sys.stderr)


def about_paper() -> dict[str, str]:
    """Title and venue of the paper, for the head of Snakemake's report."""
    about = _checked(paper.about_paper)
    return {"title": about.title, "venue": about.venue}


def specs(place: str) -> str:
    """A place among the paper's specs, e.g. "tables/{name}.yaml", as the rules name it."""
    return _from_here(PAPER / place)


def sourced_files() -> list[str]:
    """Recipes of the paper's scale and networks, whose values name their sources, as the rules name them."""
    return [_from_here(CONFIG / "recipes" / Scale.PAPER.recipe_file), _from_here(CONFIG / "models.yaml")]


def _from_here(file: Path) -> str:
    """A file's path, relative where it lies below the folder that snakemake works in, so that a moved project's pages
    are not made again."""
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def sentences(wildcards: SimpleNamespace) -> list[str]:
    """The paper's numbers that follow from others, which stand under tables, too; none if it has no such spec."""
    return [specs("audit.yaml")] if "audit" in pages() else []


def names(kind: str) -> list[str]:
    """Names of the specs of a kind, "tables" or "figures"."""
    return sorted(path.stem for path in (PAPER / kind).glob("*.yaml"))


def everything() -> list[str]:
    """Every table and figure, as the file a person opens first, and the page that holds them all."""
    tables = [f"tables/{name}.md" for name in [*names("tables"), *pages()]]
    return [*tables, *(f"figures/{name}.svg" for name in names("figures")), "results/overview.html"]


def every_run(wildcards: SimpleNamespace) -> list[str]:
    """The outcomes of all runs that tables, figures and claims need, and the sizes of all networks; no page."""
    return _needed(_checked(Wanted.of_the_paper))


def overview_inputs(wildcards: SimpleNamespace) -> list[str]:
    """Pages, data and pictures of everything."""
    tables = [f"tables/{name}.{form}" for name in [*names("tables"), *pages()] for form in ("html", "csv")]
    return tables + [f"figures/{name}.svg" for name in names("figures")]


def about_table(wildcards: SimpleNamespace) -> dict[str, str]:
    """How Snakemake's report labels a table."""
    table = _load("table", wildcards.name)
    return {"table": table.title, "about": table.place}


def about_figure(wildcards: SimpleNamespace) -> dict[str, str]:
    """How Snakemake's report labels a figure."""
    figure = _load("figure", wildcards.name)
    return {"figure": figure.title, "about": figure.place}


def table_specs() -> list[str]:
    """The specs of all tables, which hold all numbers of the paper's tables."""
    return [specs(f"tables/{name}.yaml") for name in names("tables")]


def table_inputs(wildcards: SimpleNamespace) -> list[str]:
    """Results that a table needs."""
    return _needed(_load("table", wildcards.name))


def figure_inputs(wildcards: SimpleNamespace) -> list[str]:
    """Results that a figure needs."""
    return _needed(_load("figure", wildcards.name))


def claims_inputs(wildcards: SimpleNamespace) -> list[str]:
    """Results that the claims need at this scale."""
    return _needed(_checked(load_claims))


def run_inputs(wildcards: SimpleNamespace, note: Callable[[str], object] = lambda file: True) -> list[str]:
    """What has to be there before a run: the videos, where they are rendered; and the run whose weights it starts from,
    or whose network gives the features, unless these are given.

    An outcome of which Snakemake has no note (it was made by hand or imported, or results were copied without the
    folder `.snakemake`), and which is none of a finished run of today, is removed: Snakemake sees that a file is there,
    and could not tell that it is due.

    Args:
        wildcards: of the run.
        note: what Snakemake noted of how it made a file; nothing where it did not.
    """
    run = _run(wildcards)
    _requested.add(file := run.file(OUTCOME))  # whatever target this run is for
    outcome = _outcome(file)
    noted = outcome and outcome.attempt and note(str(file))
    if outcome and not noted and not _checked(lambda: _is_done(run, outcome)):
        file.unlink(missing_ok=True)
    rendered = [f"{run.scale.rendered_in}/{_videos(run)}/manifest.json"] if run.scale.renders else []
    first = None if _released(run) else _checked(lambda: run.initial)
    return rendered + ([str(first.file("outcome.json"))] if first else [])


def run_signature(wildcards: SimpleNamespace) -> str:
    """Hash of all that the run's numbers depend on."""
    return _checked(lambda: _run(wildcards).signature)


def run_attempt(wildcards: SimpleNamespace) -> int:
    """Number of the attempt that is due: that of the finished one, or one more than that of a failed or damaged one.

    A run that was finished by hand or imported counts as a first attempt, as Snakemake remembers most runs.
    """
    run = _run(wildcards)
    outcome = _outcome(run.file(OUTCOME))
    return max(outcome.attempt + (not _checked(lambda: _is_done(run, outcome))), 1) if outcome else 1


def data_root(wildcards: SimpleNamespace) -> str:
    """Folder of a run's videos and annotations, or a mapping as JSON; empty where the user has set none."""
    run = _run(wildcards)
    return _data_root(run.scale, _videos(run), _released(run))


def figure_data(wildcards: SimpleNamespace) -> str:
    """The same for the dataset whose videos or names of classes a figure shows; empty for other figures."""
    dataset = getattr(_load("figure", wildcards.name), "dataset", "")
    return _data_root(Scale(_settings["scale"]), dataset) if dataset else ""


def weights(wildcards: SimpleNamespace) -> str:
    """Local file of the weights that a run begins with: ImageNet's, empty where torchvision is to download them; or,
    where these are tested, the authors'."""
    if release := Scale(wildcards.scale).release:
        datasets = (_settings.get("released") or {}).get(release) or {}
        return (datasets.get(wildcards.dataset) or {}).get(wildcards.model) or ""
    return _settings.get("imagenet_weights") or ""


def tensorboard(wildcards: SimpleNamespace) -> str:
    """The option of `tada run` by which a training is logged for TensorBoard, where the user wants that."""
    return "--tensorboard" if _settings.get("tensorboard") else ""


def compiles(wildcards: SimpleNamespace) -> str:
    """The option of `tada run` by which networks are compiled or not, where the user says so."""
    wanted = _settings.get("compile")
    return "" if wanted is None else "--compile" if wanted else "--no-compile"


def processors(wildcards: SimpleNamespace) -> int:
    """Those of this machine; a cluster's profile promises many more, for runs that only wait here."""
    return os.cpu_count() or 1


def run_threads(wildcards: SimpleNamespace) -> int:
    """All processors for a run that uses all GPUs of this machine: such runs take turns."""
    return 1 if Scale(wildcards.scale).on_one_core else processors(wildcards)


def render_spec(wildcards: SimpleNamespace) -> str:
    """What the rendered videos of a scale show, as one string that changes when any of it does."""
    spec = _checked(lambda: recipes.render_spec(wildcards.dataset, wildcards.scale))
    return json.dumps(spec, sort_keys=True)


def model_definition(wildcards: SimpleNamespace) -> str:
    """What is counted of a model, as one string that changes when any of it does; how its weights start is not."""
    options = _checked(lambda: model_options(wildcards.model))
    return json.dumps({key: value for key, value in options.items() if key != "initial"}, sort_keys=True)


_OF_ENDED_JOBS = ("Error in rule", "CalledProcessError", "At least one job did not complete successfully")
"""Snakemake's words for a job that did not end by itself; an error of another kind is none of Ctrl-C."""


class _Interruption(logging.Filter):
    """After Ctrl-C says what becomes of the work, and not that each job which ended as it was asked to is an error."""

    asked = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether snakemake's message is shown."""
        message, before = record.getMessage(), self.asked
        if "on user request" in message:
            self.asked = True
            record.msg = "Stopping as asked; the same command goes on where this one ends."
            return not before
        return not (self.asked and any(words in message for words in _OF_ENDED_JOBS))


def explain_interruption(logger: logging.Logger) -> None:
    """Have snakemake's `logger` say in one line what Ctrl-C does."""
    logger.addFilter(_Interruption())


def report_problems() -> None:
    """Name the runs of this call that failed and end with exit status 1 if there are any; the tables are there."""
    failed = []
    for file in sorted(_requested):
        outcome = _outcome(file)
        if outcome and outcome.failed:
            reason = (outcome.error or "unknown error").splitlines()[-1]
            failed.append(f"  {file.parent}: {reason} (log: {file.parent / 'log.txt'})")
    if failed:
        print(f"{counted(len(failed), 'run')} failed; the next call tries again:", *failed, sep="\n", file=sys.stderr)
        raise SystemExit(1)


def check_data() -> None:
    """End with one message, before anything starts, where runs that are due need a dataset whose folder nobody has set.

    Raises:
        SystemExit: with the keys that lack.
    """
    lacking: dict[str, str] = {}
    for file in _requested:
        *_, scale, dataset, model, seed = file.parent.parts
        run = Run(Scale(scale), dataset, model, int(seed.removeprefix("seed")))
        if run.scale.renders or not run.scale.of_paper or _data_root(run.scale, _videos(run), _released(run)):
            continue
        outcome = _outcome(file)
        if not (outcome and _is_done(run, outcome)):
            lacking[_videos(run)] = scale
    if lacking:
        keys = ", ".join(f"data.{dataset}" for dataset in sorted(lacking))
        sys.exit(
            f"Error: {keys} in config/config.yaml: not set, and scale {max(lacking.values())} needs the folder of each "
            "dataset; docs/data.md shows what has to be there. Nothing was started"
        )


def _outcome(file: Path) -> Outcome | None:
    """That of the last attempt, of whatever signature; None if there is none, or none that can be read."""
    try:
        return typed_json.load(Outcome, file)
    except (FileNotFoundError, DamagedFile, DiskError):
        return None


def _is_done(run: Run, outcome: Outcome) -> bool:
    return not outcome.failed and outcome.signature == run.signature and is_finished(run)


def _needed(wanted: Table | Figure | Claims | Wanted) -> list[str]:
    runs = [
        Run(_settings["scale"], dataset, model, seed)
        for dataset, model in sorted(wanted.runs)
        if _is_runnable(dataset, model)  # the other cells stay pending
        for seed in range(_settings["seeds"])
    ]
    outcomes = [run.file("outcome.json") for run in runs]
    _requested.update(outcomes)
    sizes = [
        f"results/complexity/{model}/{classes}x{resolution}.json"
        for model, classes, resolution in sorted(wanted.complexities)
    ]
    return [str(file) for file in outcomes] + sizes


def _is_runnable(dataset: str, model: str) -> bool:
    return _checked(lambda: recipes.is_runnable(_settings["scale"], dataset, model))


def _data_root(scale: Scale, dataset: str, released: Mapping[str, str] | None = None) -> str:
    if scale.renders:
        return f"{scale.rendered_in}/{dataset}"
    place = _settings["data"].get(dataset) or ""
    if not isinstance(place, dict):
        return place
    place = {key: value for key, value in place.items() if key not in Place.RELEASED}
    return json.dumps(place | dict(released or {}))


def _videos(run: Run) -> str:
    return _checked(lambda: run.recipe.videos)


def _released(run: Run) -> dict[str, str]:
    """What a run of localization uses of what the authors released; without features it is to extract its own."""
    return _checked(lambda: recipes.released_parts(_settings["data"], run.scale, run.dataset, run.model))


def _load(kind: str, name: str) -> Any:
    return _checked(lambda: load_table(name) if kind == "table" else load_figure(name))


def _run(wildcards: SimpleNamespace) -> Run:
    return Run(wildcards.scale, wildcards.dataset, wildcards.model, int(wildcards.seed))


def _checked(action: Any) -> Any:
    """The action's value; an error of the user's input ends snakemake with its message alone."""
    try:
        return action()
    except TadaError as error:
        sys.exit(f"Error: {error}")
