"""The front page: what was reproduced, at which scale, with which verdicts and at what cost, and all of it below."""

import base64
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd

from tada.base.files import write_text
from tada.report.judge import OF_CELLS, Verdict
from tada.report.measure.results import DONE, Results
from tada.report.pages.footer import MINI, PAPER, about_code, about_runs
from tada.report.pages.html import page, table
from tada.report.pages.sheet import Head, Piece, Sheet
from tada.report.paper.figures import Figure, figure_names, load_figure
from tada.report.paper.sentences import load_claims
from tada.report.paper.tables import Table, load_table, table_names

PAGES = {"claims": "Claims", "audit": "Audit"}


def build_overview(scale: str, seeds: int, results: Path, tables: Path, figures: Path, out: Path) -> None:
    """Write the page `out` from the pages, data and pictures of all tables, figures and sentences.

    It holds all of them, so that it can be sent by itself and read offline. What is not there is left out.

    Args:
        scale: "mini" or "paper".
        seeds: runs shown of each (dataset, model).
        results: the folder `results`.
        tables: folder of the tables' pages and of claims and audit.
        figures: folder of the figures' pictures.
        out: the file to write.
    """
    specs = [load_table(name) for name in table_names()]
    drawn = [load_figure(name) for name in figure_names()]
    available = Results(results, scale, seeds)
    parts = [
        "<h1>TAda! Temporally-Adaptive Convolutions for Video Understanding, reproduced</h1>",
        f"<p>Scale {escape(MINI if available.scale.renders else PAPER)}</p>",
        _navigation(drawn),
        "<h2>Numbers</h2>",
        _numbers(specs, tables),
        '<h2 id="sentences">Sentences</h2>',
        _sentences(scale, tables),
        "<h2>Cost</h2>",
        _cost(specs, drawn, available),
        '<h2 id="figures">Figures</h2>',
        *(_picture(figure, figures) for figure in drawn),
        '<h2 id="tables">Tables</h2>',
        *(_folded(spec.name, f"{spec.title}, {spec.place}", tables) for spec in specs),
        *(_folded(name, title, tables) for name, title in PAGES.items()),
    ]
    write_text(out, page("TAda, reproduced", *parts))


def _navigation(figures: Sequence[Figure]) -> str:
    places = {"sentences": "Sentences", "figures": "Figures"} | {figure.name: figure.title for figure in figures}
    places |= {"tables": "Tables", **PAGES}
    links = (f'<a href="#{place}">{escape(text)}</a>' for place, text in places.items())
    return f"<nav>{' '.join(links)}</nav>"


def _numbers(specs: Sequence[Table], folder: Path) -> str:
    """How many cells of each table have which verdict."""
    found = {spec.title: _verdicts(folder / f"{spec.name}.csv") for spec in specs}
    shown = [verdict for verdict in OF_CELLS if any(counts[verdict] for counts in found.values())]
    total = sum(found.values(), Counter())
    lines = [
        tuple(map(Piece, (title, str(sum(counts.values())), *(str(counts[verdict] or "") for verdict in shown))))
        for title, counts in {**found, "all": total}.items()
    ]
    heads = (Head("", left=True), Head("numbers"), *(Head(verdict) for verdict in shown))
    rules = frozenset([len(lines) - 1])
    sheet = Sheet("numbers", "", "", "", "", heads, tuple(lines), rules, ())
    meanings = "; ".join(f"{verdict}: {verdict.meaning}" for verdict in shown)
    return f"{table(sheet)}<p>{escape(meanings)}.</p>"


def _verdicts(path: Path) -> Counter:
    if not path.exists():
        return Counter()
    verdicts = pd.read_csv(path, dtype=str, keep_default_na=False)["verdict"]
    return Counter(verdict for verdict in verdicts if verdict)


def _sentences(scale: str, folder: Path) -> str:
    """Verdicts on the claims, those that fail by name, and what does not add up."""
    parts = []
    if (path := folder / "claims.csv").exists():
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        frame = frame[frame["scale"].isin([scale, "any"])].drop_duplicates("claim")
        says = {claim.id: claim.says for claim in load_claims().claims}
        parts.append(f"<p>Of {len(frame)} claims, {_counted(frame['verdict'])}.</p>")
        failing = [says.get(name, name) for name in frame.loc[frame["verdict"] == Verdict.FAILS, "claim"]]
        parts.append(_list("Not so here", failing))
    if (path := folder / "audit.csv").exists():
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        parts.append(
            f"<p>Of {len(frame)} numbers and statements that follow from others of the paper's numbers, "
            f"{_counted(frame['verdict'])}.</p>"
        )
        differ = frame[frame["verdict"] == Verdict.DIFFERS].drop_duplicates("quote")
        parts.append(_list("What differs", [f"{line.quote} ({line.place})" for line in differ.itertuples()]))
    return "".join(parts)


def _counted(verdicts: pd.Series) -> str:
    return ", ".join(f"{count} “{escape(verdict)}”" for verdict, count in verdicts.value_counts().items())


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<details><summary>{escape(title)}: {len(lines)}</summary><ul>{items}</ul></details>"


def _cost(specs: Sequence[Table], figures: Sequence[Figure], results: Results) -> str:
    wanted = load_claims().runs.union(*(one.runs for one in [*specs, *figures]))
    runs = results.all_runs(wanted)
    lines = about_runs(runs, results) + about_code([run.record["environment"] for run in runs if run.status == DONE])
    lines = [(label, text.partition(":")[0] if label == "Time" else text) for label, text in lines if label != "Scale"]
    told = "".join(f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in lines)
    return f"<dl>{told}</dl>"


def _picture(figure: Figure, folder: Path) -> str:
    path = folder / f"{figure.name}.svg"
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    text = f"{figure.title}. {figure.caption} ({figure.place})"
    return (
        f'<figure id="{figure.name}"><img alt="{escape(figure.title)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )


def _folded(name: str, title: str, folder: Path) -> str:
    """A table's page, closed until it is asked for."""
    path = folder / f"{name}.html"
    if not path.exists():
        return ""
    body = path.read_text(encoding="utf-8").partition("<body>")[2].partition("</body>")[0]
    return f'<details id="{name}"><summary>{escape(title)}</summary>{body}</details>'
