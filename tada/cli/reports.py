"""Commands that make pages and figures of results: tables, sentences, the overview, the snapshot and the README."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tada.base import TadaError, counted
from tada.base.files import existing_file, file_to_write, replacing
from tada.base.progress import Progress
from tada.base.provenance import version_and_commit
from tada.cli import completion
from tada.cli.runs import ExistingResultsOption, ResultsOption, ScaleOption, existing
from tada.report.paper import about_paper
from tada.runs.run import Run
from tada.runs.settings import MOST_SEEDS, Scale
from tada.runs.verification import is_finished

SeedsOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=MOST_SEEDS, help="Runs per row, with seeds 0, 1, ...; by default 1, and of a snapshot all of its."
    ),
]


ReadmeOption = Annotated[Path, typer.Option(help="File whose part between the markers is rewritten.")]
_NAME_README = "; name the one whose numbers are to be written with --readme"


SourcesOption = Annotated[
    list[Path],
    typer.Option("--results", help="Folder of results, or a snapshot, e.g. another machine's; may be repeated."),
]


SnapshotOption = Annotated[Path, typer.Option("--results", "--folder", help="Folder of the snapshot.")]


def list_targets() -> None:
    """Name every table, figure and page that can be asked for, and how many runs each trains at mini scale."""
    from tada.report.paper import pages
    from tada.report.paper.figures import figure_names, load_figure
    from tada.report.paper.tables import load_table, table_names
    from tada.report.plan import count_runs

    runs = count_runs()

    def line(target: str, about: str) -> None:
        count = runs.get(Path(target).stem, 0)
        print(target.ljust(26), (counted(count, "run") if count else "").rjust(8), "", about)

    for name in table_names():
        table = load_table(name)
        line(f"tables/{name}.md", f"{table.title}: {table.caption.split('. ')[0].rstrip('.')}")
    for name, about in pages().items():
        line(f"tables/{name}.md", about)
    for name in figure_names():
        figure = load_figure(name)
        line(f"figures/{name}.svg", f"{figure.title}: {figure.caption.split('. ')[0].rstrip('.')}")
    line("results/overview.html", "Overview: all of these on one page, with the verdicts and the cost in front")


def _keep(out: Path, name: str, scale: Scale, problems: Iterable[str] = ()) -> None:
    """Copy a page to the folder of its scale: `out` has those of the scale that was asked for last.

    Let Snakemake make it again if it was made before all its results were there: it looks at dates alone, and would
    take this page, which is newer than all that it is made of, for the real one.
    """
    from tada.report.measure.results import PENDING

    early = any(f": {PENDING}: " in problem for problem in problems)
    for file in out.glob(f"{name}.*"):
        with replacing(out / scale / file.name) as temporary:
            shutil.copyfile(file, temporary)
        if early:
            os.utime(file, (1, 1))


def _begin(name: str) -> None:
    """Tell a person that the seconds in which torch and pandas are imported are not a standstill."""
    progress = Progress(name)
    progress.say("loads its libraries and builds the page: some seconds")
    progress.close()


def _seeds(asked: int | None, *results: Path) -> int:
    """How many seeds are meant; where it is not said, one or, of a snapshot, its own."""
    from tada.report.measure.archive import is_archive, read_about

    return asked or max(read_about(folder).seeds if is_archive(folder) else 1 for folder in results)


def table(
    name: Annotated[str, typer.Argument(help="e.g. table3b", autocompletion=completion.tables)],
    scale: ScaleOption = Scale.MINI,
    seeds: SeedsOption = None,
    results: ResultsOption = Path("results"),
    out: Annotated[Path, typer.Option(help="Folder for the .md, .tex, .html and .csv files.")] = Path("tables"),
) -> None:
    """Build a table of the paper from the results that are there; what is missing is shown as missing."""
    from tada.report.paper.tables import load_table

    needed = load_table(name)
    if needed.runs or needed.complexities:  # Tables 1 and A1 need nothing
        existing(results)

    _begin(name)
    from tada.report.pages.tables import build_table

    problems = build_table(name, scale, _seeds(seeds, results), results, out)
    _keep(out, name, scale, problems)
    for problem in problems:
        print(f"{name}: {problem}", file=sys.stderr)
    print(f"wrote {out / name}.md, .tex, .html, .csv")


def figure(
    name: Annotated[str, typer.Argument(help="e.g. figure3", autocompletion=completion.figures)],
    scale: ScaleOption = Scale.MINI,
    seeds: SeedsOption = None,
    results: ExistingResultsOption = Path("results"),
    out: Annotated[Path, typer.Option(help="Folder for the .svg, .pdf, .png and .csv files.")] = Path("figures"),
    data: Annotated[str, typer.Option(help="Folder of the figure's dataset, where it shows videos or names.")] = "",
) -> None:
    """Draw a figure of the paper from the results that are there."""
    _begin(name)
    from tada.report.figures import build_figure

    problems = build_figure(name, scale, _seeds(seeds, results), results, out, data=data)
    _keep(out, name, scale, problems)
    for problem in problems:
        print(f"{name}: {problem}", file=sys.stderr)
    print(f"wrote {out / name}.svg, .pdf, .png, .csv")


def audit(
    out: Annotated[Path, typer.Option(help="Folder for audit.md, .tex, .html and .csv.")] = Path("tables"),
) -> None:
    """Recompute the paper's numbers that follow from others of its numbers; needs no results."""
    _begin("audit")
    from tada.report.pages.sentences import build_audit

    differ = build_audit(out)
    print(f"wrote {out / 'audit'}.md, .tex, .html, .csv; numbers and statements that differ: {len(differ)}")


def settings(
    out: Annotated[Path, typer.Option(help="Folder for settings.md, .tex, .html and .csv.")] = Path("tables"),
) -> None:
    """Set every value of the paper-scale recipes beside what is published for it; needs no results."""
    from tada.report.pages.settings import build_settings

    build_settings(out)
    print(f"wrote {out / 'settings'}.md, .tex, .html, .csv")


def claims(
    scale: ScaleOption = Scale.MINI,
    seeds: SeedsOption = None,
    results: ExistingResultsOption = Path("results"),
    out: Annotated[Path, typer.Option(help="Folder for claims.md, .tex, .html and .csv.")] = Path("tables"),
) -> None:
    """Judge the paper's sentences by the results that are there, at each scale."""
    _begin("claims")
    from tada.report.pages.sentences import build_claims

    problems = build_claims(scale, _seeds(seeds, results), results, out)
    _keep(out, "claims", scale, problems)
    print(
        f"wrote {out / 'claims'}.md, .tex, .html, .csv"
        + (f"; {counted(len(problems), 'result is', 'results are')} missing" if problems else "")
    )


def overview(
    scale: ScaleOption = Scale.MINI,
    seeds: SeedsOption = None,
    results: ExistingResultsOption = Path("results"),
    out: Annotated[Path, typer.Option(help="The page to write.", callback=file_to_write)] = Path(
        "results/overview.html"
    ),
) -> None:
    """Put everything that was built on one page, with the verdicts and the cost in front."""
    _begin("overview")
    from tada.report.pages.overview import build_overview

    build_overview(scale, _seeds(seeds, results), results, Path("figures"), out)
    _keep(out.parent, out.stem, scale)
    print(f"wrote {out}")


def snapshot(
    scale: ScaleOption = Scale.MINI,
    seeds: SeedsOption = None,
    results: SourcesOption = [Path("results")],  # noqa: B006
    data: Annotated[
        Path | None, typer.Option(help="Folder of rendered videos, whose size is noted; by default data/SCALE.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "--folder", help="Folder to write; default: snapshot, at other scales than mini snapshot/SCALE."
        ),
    ] = None,
    readme: Annotated[
        Path | None,
        typer.Option(help="File whose part between the markers is rewritten; at scale mini README.md."),
    ] = None,
    first: Annotated[bool, typer.Option("--first", help="Where they differ, the folder named first counts.")] = False,
) -> None:
    """Keep what was found, small enough to commit, and rewrite the README's numbers from it.

    Results of several machines are put together; a run that two of them have with other numbers is refused.
    """
    from tada.report.measure.results import check_results

    for source in results:
        check_results(source, scale)
    readme = readme or (Path("README.md") if scale is Scale.MINI else None)
    if readme:
        existing_file(readme, _NAME_README)

    from tada.report.judge.training import snapshot_folder
    from tada.report.pages.snapshot import collect

    out = out or snapshot_folder(scale, Path("snapshot"))
    for line in collect(
        scale, _seeds(seeds, *results), results, out, data=data or Path(scale.rendered_in), first=first
    ):
        print(line)
    if readme:
        _write_readme(readme, out)
    print(f"wrote {out}" + (f" and the numbers of {readme}" if readme else ""))


def publish(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|TABLE]...",
            help="Runs, e.g. ssv2/tada2d or paper/ssv2/tsn/seed0, and tables and figures, e.g. table3b, whose runs are "
            "meant; by default all runs that are finished.",
            autocompletion=completion.publishable,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="ZIP file to write.", callback=file_to_write)] = Path("runs.zip"),
    weights: Annotated[bool, typer.Option("--weights", help="Include the trained weights.")] = False,
    license: Annotated[str, typer.Option(help="Licence of the archive, by its name in the SPDX list.")] = "CC-BY-4.0",
    scale: ScaleOption = Scale.MINI,
    results: ExistingResultsOption = Path("results"),
) -> None:
    """Pack finished runs into an archive that describes itself, an RO-Crate, for others to `tada import`.

    The scale is that of the runs of tables and figures.
    """
    from tada.runs import exchange
    from tada.runs.crate import Work

    chosen, models, unfinished = _chosen(what or (), scale, results)
    networks = [file for model in sorted(models) for file in (results / exchange.NETWORKS / model).glob("*.json")]
    paper = about_paper()
    work = Work(paper.title, paper.venue, paper.authors, paper.url)
    exchange.publish(chosen, networks, out, weights=weights, license=license, paper=work)
    if unfinished:
        print(f"left out, since they are not finished: {', '.join(map(str, unfinished))}", file=sys.stderr)
    print(
        f"wrote {out}: {counted(len(chosen), 'run')} and {counted(len(networks), 'counted network')}, "
        f"{out.stat().st_size / 1e6:,.1f} MB, under the licence {license} (--license)"
    )


def _chosen(what: Sequence[str], scale: Scale, results: Path) -> tuple[list[Run], set[str], list[Run]]:
    """The runs that are meant and finished, the networks whose counts go with them, and runs that are not finished.

    A run that is named has to be finished; of tables, and where nothing is named, those go in that are.

    Raises:
        TadaError: a name that means no run, table or figure, or no run is finished.
    """
    from tada.cluster.status import find_runs, no_runs
    from tada.report.paper.figures import figure_names, load_figure
    from tada.report.paper.tables import load_table, table_names

    tables, figures, there = table_names(), figure_names(), find_runs(results)
    named, pairs, models = list[str](), set[tuple[str, str]](), set[str]()
    for one in what:
        name = Path(one).stem
        if name in tables:
            pairs |= load_table(name).runs
            models |= {model for model, _, _ in load_table(name).complexities}
        elif name in figures:
            pairs |= load_figure(name).runs
        else:
            named.append(one)
    chosen = find_runs(results, named) if named else []
    of_pages = [
        run
        for run in there
        if (run.scale == scale and (run.dataset, run.model) in pairs if what else run.scale.of_paper)
    ]
    unfinished = [run for run in of_pages if not is_finished(run)]
    runs = dict.fromkeys([*chosen, *(run for run in of_pages if run not in unfinished)])
    if not there:
        raise TadaError(no_runs(results))
    if not runs:
        meant = f"of {', '.join(what)} at scale {scale}" if what else "there"
        raise TadaError(f"{results}: no finished run {meant}; nothing is published")
    return list(runs), models | {run.model for run in runs}, unfinished


def import_runs(
    source: Annotated[Path, typer.Argument(metavar="FILE.zip", help="An archive of tada publish, or a snapshot.")],
    results: ResultsOption = Path("results"),
    replace: Annotated[bool, typer.Option("--replace", help="Replace other results of the same runs.")] = False,
) -> None:
    """Take the runs of an archive, or of a snapshot, into the folder of results, where tables find them."""
    from tada.report.measure.archive import ABOUT, import_snapshot, is_archive
    from tada.runs.exchange import import_archive

    if source.is_dir() and not is_archive(source):
        raise TadaError(
            f"{source.absolute()}: a folder that is no snapshot, since {ABOUT} is missing. What can be imported is a "
            "ZIP file that `tada publish` made of a folder of results, or a folder that `tada snapshot` wrote"
        )
    taken = (import_snapshot if source.is_dir() else import_archive)(source, results, replace)
    for line in taken.lines():
        print(line)


def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="Folder of results, or a snapshot.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another one, e.g. of another machine.")],
    scale: ScaleOption = Scale.MINI,
    out: Annotated[Path, typer.Option(help="Folder for comparison.md, .tex, .html and .csv.")] = Path("tables"),
) -> None:
    """Say whether two sets of results agree: exit status 0 if they do, 1 if not, 2 where they cannot be compared."""
    from tada.report.measure.results import check_results

    try:
        for folder in (one, other):
            check_results(folder, scale)

        from tada.report.pages.compare import build_comparison, summary

        comparison = build_comparison(one, other, scale, out)
    except TadaError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print("\n".join(summary(comparison)))
    print(f"wrote {out / 'comparison'}.md, .tex, .html, .csv")
    raise typer.Exit(0 if comparison.agrees else 1)


def readme(results: SnapshotOption = Path("snapshot"), readme: ReadmeOption = Path("README.md")) -> None:
    """Rewrite the README's numbers and pictures from the committed snapshot, and those of other scales below it."""
    from tada.report.measure.archive import read_about

    read_about(results)
    existing_file(readme, _NAME_README)
    drawn = _write_readme(readme, results)
    print(f"wrote {', '.join(map(str, drawn))} and the numbers of {readme}")


def _write_readme(readme: Path, folder: Path) -> list[Path]:
    """The part between the README's markers, and the pictures in it, which are returned."""
    from tada.report.figures import build_agreement, build_scales
    from tada.report.pages.readme import build_readme
    from tada.report.pages.snapshot import PICTURE, SCALES_PICTURE, load_others, load_snapshot

    snapshot, others = load_snapshot(folder), load_others(folder)
    build_readme(snapshot, others, readme)
    build_agreement(snapshot.numbers, snapshot.scale, folder / PICTURE)
    if not others:
        return [folder / PICTURE]
    build_scales({one.scale: (one.numbers, one.correlations) for one in (snapshot, *others)}, folder / SCALES_PICTURE)
    return [folder / PICTURE, folder / SCALES_PICTURE]


def cite() -> None:
    """Print how to cite the paper and this version of the suite, in BibTeX."""
    if paper := about_paper().bibtex:
        print(paper)
    print("@misc{tada-reproducibility,\n  title = {{TAda} reproducibility suite},")
    print(f"  note = {{Version {version_and_commit()}}}\n}}")
