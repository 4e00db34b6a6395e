"""What the paper asks of runs, and what a call will cost before anything is submitted. Imports no torch.

The cost is runs, device-hours and disk. A run's device-hours are those of the same run with another seed, where one is
finished. Otherwise the recipe says them for a ResNet-50 on 8 frames; they are scaled with the network's FLOPs, where
these have been counted, and with what the finished runs of the same dataset took in comparison with their own recipes.

Of a GPU whose training steps were measured (`benchmarks.training`), a run's hours follow from its clips: those that the
recipe trains, validates and tests, and the network's FLOPs. What was measured of clips (`benchmarks.data`) says how
many processes such a GPU needs that prepare them. At scale gpu the GPU of this machine counts, if it was measured.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.table import Table

from tada.base import TadaError, unknown
from tada.base.files import DamagedFile, config_file, use_precision
from tada.base.yaml_files import load_yaml, parse_yaml
from tada.data import catalog
from tada.models.registry import model_options
from tada.report.cards import MEASURED_FRAMES, MEASURED_SIDE, Card
from tada.report.paper import pages
from tada.report.paper.figures import Accuracies, Categories, Curves, Figure, figure_names, load_figure
from tada.report.paper.quantities import CurvePoint, Difference, Metric, category_of
from tada.report.paper.sentences import Claims, load_claims
from tada.report.paper.tables import Table as PaperTable
from tada.report.paper.tables import load_table, table_names
from tada.runs.recipes import check_config, is_runnable, released_parts, with_scale
from tada.runs.record import read_count, read_record
from tada.runs.run import Run
from tada.runs.settings import Scale
from tada.runs.verification import is_finished

REFERENCE_MACS = 43e9
"""Multiply-adds of the ResNet-50 on 8 frames of 256x256 that the recipes' hours are for (Table 3b)."""


REFERENCE_PARAMETERS = 24e6


TESTING = 0.01
"""A test's share of a run: 0.6 (Kinetics-400) and 0.15 million clips forward, of 24 and 11 million also backward."""


STATE = 12
"""Bytes of a parameter in training: its value, gradient and momentum."""


FEATURE_BYTES = 2048 * 4
"""Of a clip's feature from a ResNet-50."""


FORWARD = 1 / 3
"""A forward pass's share of a training step: the backward pass has twice its multiply-adds."""


@dataclass(frozen=True)
class Wanted:
    """What the paper's specs ask of runs."""

    tables: tuple[PaperTable, ...]
    figures: tuple[Figure, ...]
    claims: Claims

    @classmethod
    def of_the_paper(cls) -> "Wanted":
        """All tables, figures and claims."""
        tables, figures = (load_table(name) for name in table_names()), (load_figure(name) for name in figure_names())
        claims = load_claims() if "claims" in pages() else Claims("", "", "", (), ())
        return cls(tuple(tables), tuple(figures), claims)

    @cached_property
    def runs(self) -> set[tuple[str, str]]:
        """(dataset, model) of all runs."""
        return self.claims.runs.union(*(one.runs for one in (*self.tables, *self.figures)))

    @cached_property
    def metrics(self) -> list[Metric]:
        """Every metric that is shown, compared or drawn; that of a single class follows from the one of all."""
        of_claims = [quantity for claim in self.claims.claims for quantity in claim.quantities]
        found: list[Metric] = []
        for quantity in [*(one for table in self.tables for one in table.quantities), *of_claims]:
            if isinstance(quantity, Metric):
                found.append(quantity if category_of(quantity.name) is None else replace(quantity, name="top1"))
            found += [quantity.metric, quantity.base] if isinstance(quantity, Difference) else []
        for figure in self.figures:
            if isinstance(figure, Accuracies | Categories):
                name = figure.metric if isinstance(figure, Accuracies) else "top1"
                found += [Metric(dataset, (model,), name) for dataset, model in figure.runs]
        return sorted(set(found), key=lambda one: (one.dataset, one.models, one.name))

    @cached_property
    def curves(self) -> set[tuple[str, str]]:
        """(dataset, model) of the runs whose curves are drawn or compared."""
        quantities = (quantity for claim in self.claims.claims for quantity in claim.quantities)
        drawn = (figure.runs for figure in self.figures if isinstance(figure, Curves))
        return set().union(*drawn, *(one.runs for one in quantities if isinstance(one, CurvePoint)))

    @cached_property
    def complexities(self) -> set[tuple[str, int, int]]:
        """(model, classes, resolution) of every network that is counted."""
        return self.claims.complexities.union(*(table.complexities for table in self.tables))


@dataclass
class Needs:
    """What a table or figure needs."""

    target: str
    runs: set[Run]
    without_recipe: list[str] = field(default_factory=list)


@dataclass
class Plan:
    """The needs of several tables and figures, and what is there."""

    scale: Scale
    lines: list[Needs]
    results: Path
    card: Card | None = None

    def __post_init__(self) -> None:
        self.runs = set().union(*(line.runs for line in self.lines)) if self.lines else set()
        self._records = {run: record for run in self.runs if is_finished(run) and (record := read_record(run))}
        # Hours of another GPU say nothing of this one.
        self._comparable = {
            run: record
            for run, record in self._records.items()
            if self.card is None or self.card.name in record.environment.hardware.gpus
        }
        self._sizes: dict[str, tuple[float, float]] = {}
        self._ratios = {dataset: self._ratio(dataset) for dataset in {run.dataset for run in self.runs}}

    def finished(self, runs: Iterable[Run]) -> set[Run]:
        """Those that are there and of the present configuration."""
        return {run for run in runs if run in self._records}

    def shared(self, line: Needs) -> set[Run]:
        """Runs that another of the lines needs, too."""
        return {run for run in line.runs if any(run in other.runs for other in self.lines if other is not line)}

    def device_hours(self, runs: Iterable[Run]) -> float:
        """Expected for those of the runs that are not finished."""
        return sum(self._device_hours(run) for run in runs if run not in self._records)

    def gigabytes(self, runs: Iterable[Run]) -> float:
        """Disk for those of the runs that are not finished: two checkpoints with momentum, scores of all views."""
        return sum(self._gigabytes(run) for run in runs if run not in self._records)

    def basis(self) -> str:
        """Where the expected hours come from."""
        measured = {dataset: ratio for dataset, ratio in self._ratios.items() if ratio is not None}
        counted = sum(self._size(run.model)[0] != REFERENCE_MACS for run in self.runs)
        parts = [
            f"{dataset}: {ratio:.2f} x the recipe's hours, as measured" for dataset, ratio in sorted(measured.items())
        ]
        others = sorted(set(self._ratios) - set(measured))
        if self.card:
            found = [
                f"{rates['R2D']:g} clips/s of R2D and {rates['TAda2D']:g} of TAda2D in {precision}"
                for precision, rates in self.card.rates.items()
                if precision in self._precisions()
            ]
            parts.append(
                f"{self.card.name}: {', '.join(found)}, measured ({self.card.conditions}, {MEASURED_FRAMES} x "
                f"{MEASURED_SIDE} x {MEASURED_SIDE}); other sizes by their pixels; other networks by their FLOPs, or "
                "by their frames where these are not counted; a forward pass is a third of a step; no time to compile "
                "or to wait for data"
            )
            others = sorted({run.dataset for run in self.runs if self._on_card(run) is None})
        if others:
            parts.append(f"{', '.join(others)}: the recipe's hours")
        if counted:
            parts.append(f"scaled with the counted FLOPs of {counted} of {len(self.runs)} runs' networks")
        return "; ".join(parts) or "nothing is to be trained"

    def memory(self) -> tuple[float, Run] | None:
        """Gigabytes of the card that a training step takes of the runs' largest one, and which that is.

        The measured step's memory without weights, gradients and momentum grows with a micro-batch's clips, pixels and
        multiply-adds; None without a card whose memory was measured.
        """
        needs = [(one, run) for run in self.runs if (one := self._memory(run)) is not None]
        return max(needs, key=lambda one: (one[0], str(one[1]))) if needs else None

    def _memory(self, run: Run) -> float | None:
        recipe = run.recipe
        if self.card is None or recipe.task == "localization" or recipe.train.precision not in self.card.peaks:
            return None
        form, reference = self._likeness(run.model)
        activations = self.card.peaks[recipe.train.precision][form] - STATE * self._size(reference)[1]
        share = recipe.train.batch_per_device / self.card.clips * (recipe.train.crop / MEASURED_SIDE) ** 2
        share *= self._multiply_adds(run.model) / self._multiply_adds(reference)
        return (activations * share + STATE * self._size(run.model)[1]) / 1e9

    def _likeness(self, model: str) -> tuple[str, str]:
        """The measured network that a model is taken to be like, and that one's name among the models."""
        return ("TAda2D", "tada2d") if model_options(model).get("tada") else ("R2D", "tsn")

    def _precisions(self) -> set[str]:
        """Those that the runs' networks train in."""
        return {recipe.train.precision for run in self.runs if (recipe := run.recipe).task == "classification"}

    def _device_hours(self, run: Run) -> float:
        same = [record for other, record in self._comparable.items() if _same_but_seed(run, other)]
        if same:
            return sum(record.cost.device_hours for record in same) / len(same)
        return self._expected(run) * (self._ratios[run.dataset] or 1.0)

    def _expected(self, run: Run) -> float:
        if (on_card := self._on_card(run)) is not None:
            return on_card
        needs = run.recipe.resources
        share = 1.0 if run.scale.trains else TESTING
        return share * needs.hours * max(needs.gpus, 1) * self._size(run.model)[0] / REFERENCE_MACS

    def _on_card(self, run: Run) -> float | None:
        """Hours of the card; None without one, or where nothing says how many clips there are."""
        recipe = run.recipe
        if self.card is None or recipe.task == "localization":
            return None
        clips = catalog.find(recipe.videos).clips
        if clips and recipe.data.render:
            clips = {split: int(recipe.data.render[split]) for split in clips}
        rates = self.card.rates.get(recipe.train.precision)
        if not clips or rates is None:
            return None
        train, test = recipe.train, recipe.test
        steps = train.epochs * clips["train"] * (train.crop / MEASURED_SIDE) ** 2 if run.scale.trains else 0.0
        views = clips["validation"] * test.clips * test.crops
        views += clips["validation"] * (train.epochs // train.validate_every) if run.scale.trains else 0
        steps += FORWARD * views * (test.crop / MEASURED_SIDE) ** 2
        form, reference = self._likeness(run.model)
        return steps * self._multiply_adds(run.model) / self._multiply_adds(reference) / rates[form] / 3600

    def _multiply_adds(self, model: str) -> float:
        """At 256x256, as counted, else in proportion to its frames."""
        counted = self._size(model)[0]
        if counted != REFERENCE_MACS:
            return counted
        return REFERENCE_MACS * model_options(model).get("frames", MEASURED_FRAMES) / MEASURED_FRAMES

    def _ratio(self, dataset: str) -> float | None:
        finished = [(run, record) for run, record in self._comparable.items() if run.dataset == dataset]
        if not finished:
            return None
        measured = sum(record.cost.device_hours for _, record in finished)
        return measured / sum(self._expected(run) for run, _ in finished)

    def _size(self, model: str) -> tuple[float, float]:
        """Multiply-adds at 256x256 and parameters, as counted or else of the reference."""
        if model not in self._sizes:
            self._sizes[model] = (REFERENCE_MACS, REFERENCE_PARAMETERS)
            for file in sorted((self.results / "complexity" / model).glob("*x[0-9]*.json")):
                try:
                    count = read_count(file)
                except (FileNotFoundError, DamagedFile):  # it is counted anew
                    continue
                resolution = int(file.stem.rpartition("x")[2])
                self._sizes[model] = (count.macs * (256 / resolution) ** 2, count.params)
        return self._sizes[model]

    def _gigabytes(self, run: Run) -> float:
        recipe = run.recipe
        if recipe.task == "localization":
            seconds = 0 if run.scale.renders else catalog.localization_of(recipe.videos).hours * 3600
            return seconds * recipe.clips.target_fps / recipe.clips.stride * FEATURE_BYTES / 1e9
        small = (recipe.network.get("width", 64) / 64) ** 2 * sum(recipe.network.get("depth", [16])) / 16
        classes = sum(recipe.classes.values()) if isinstance(recipe.classes, dict) else recipe.classes
        videos = 0 if run.scale.renders else catalog.find(recipe.videos).validation_size
        scores = videos * classes * (2 * recipe.test.clips * recipe.test.crops + 4)
        return (self._size(run.model)[1] * small * 16 + scores) / 1e9


def make_plan(
    targets: Sequence[str], changes: Sequence[str] = (), results: Path = Path("results"), gpu: str = ""
) -> Plan:
    """The plan of tables and figures.

    Args:
        targets: e.g. "tables/table2.md", "figure3" or "all".
        changes: of config/config.yaml, as given to snakemake, e.g. "scale=paper".
        results: folder of all results.
        gpu: a measured GPU that the runs are to be planned for, e.g. "h200"; empty: whatever they run on, at scale gpu
            this machine's.

    Raises:
        TadaError: a table, figure or key that does not exist, or a GPU that was not measured.
    """
    config = _config(changes)
    names = {name: load_table for name in table_names()} | {name: load_figure for name in figure_names()}
    wanted: list[str] = []
    for target in targets:
        name = Path(target).stem
        if name != "all" and name not in names:
            raise unknown("table or figure", name, [*names, "all"])
        wanted += [name] if name != "all" else list(names)
    lines = []
    for name in dict.fromkeys(wanted):
        line = Needs(name, set())
        for dataset, model in sorted(names[name](name).runs):
            if not is_runnable(config["scale"], dataset, model):
                line.without_recipe.append(f"{dataset}/{model}")
                continue
            for seed in range(config["seeds"]):
                run = Run(config["scale"], dataset, model, seed, results)
                line.runs |= set(_with_those_before(run, config["data"]))
        lines.append(line)
    scale = Scale(config["scale"])
    if gpu and scale.on_one_core:
        raise TadaError(f"--gpu {gpu}: the runs of scale {scale} take no GPU; --config scale=gpu or scale=paper")
    here = Card.here() if scale is Scale.GPU and not gpu else None
    return Plan(scale, lines, results, Card.named(gpu) if gpu else here)


def count_runs() -> dict[str, int]:
    """How many mini runs with one seed each table, figure and page needs, those that others start from included."""
    lines = {line.target: line.runs for line in make_plan(["all"], ["scale=mini", "seeds=1"]).lines}
    claims = Wanted.of_the_paper().claims.runs
    lines["claims"] = {run for one in sorted(claims) for run in _with_those_before(Run(Scale.MINI, *one, 0), {})}
    return {name: len(runs) for name, runs in lines.items()} | {"overview": len(set().union(*lines.values()))}


def as_table(plan: Plan) -> Table:
    """The plan as a table for the terminal: a line for each target, and what they need together."""
    unit = "core-hours" if plan.scale.on_one_core else "device-hours"
    table = Table(box=None, pad_edge=False)
    for name in ("", "runs", "shared", "there", "to do", unit, "disk", ""):
        table.add_column(name, justify="left" if name == "" else "right")
    for line in plan.lines:
        remark = f"{len(line.without_recipe)} more cannot be run at this scale" if line.without_recipe else ""
        table.add_row(line.target, *_figures(plan, line.runs, len(plan.shared(line))), remark)
    table.add_section()
    table.add_row("together", *_figures(plan, plan.runs, None), "each run once", style="bold")
    return table


def _figures(plan: Plan, runs: set[Run], shared: int | None) -> list[str]:
    there = len(plan.finished(runs))
    return [
        str(len(runs)),
        "" if shared is None else str(shared),
        str(there),
        str(len(runs) - there),
        f"{plan.device_hours(runs):,.1f}",
        f"{plan.gigabytes(runs):,.1f} GB",
    ]


def _with_those_before(run: Run | None, data: Mapping[str, Any]) -> Iterator[Run]:
    """The run, the one whose weights it starts from, and so on; `data` may give features in place of a network."""
    while run:
        yield run
        run = None if released_parts(data, run.scale, run.dataset, run.model) else run.initial


def _same_but_seed(run: Run, other: Run) -> bool:
    return (run.dataset, run.model) == (other.dataset, other.model)


def _config(changes: Sequence[str]) -> dict[str, Any]:
    file = config_file()
    config = load_yaml(file, "config", catalog.NAMES) if file.exists() else {}
    config = {"scale": Scale.MINI.value, "seeds": 1, "data": {}, **config}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise TadaError(f"--config {change}: KEY=VALUE is expected, e.g. scale=paper")
        config[key] = parse_yaml(value, f"--config {key}")
    check_config(config)
    use_precision(config.get("precision"))
    return with_scale(config)
