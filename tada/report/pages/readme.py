"""The README's numbers, between two markers, and the page of all that was found: made of snapshots alone.

All but one paragraph and picture is of the snapshot of mini; these set the scales of the others beside it.
"""

import datetime
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from tada.base import TadaError, counted, files
from tada.base.files import write_text
from tada.base.provenance import machine
from tada.report.judge import Verdict
from tada.report.judge.cells import CellTexts, read_cells
from tada.report.judge.training import snapshot_folder
from tada.report.measure.results import of_earlier_recipes, rounded_time
from tada.report.pages.sentences import ANY_SCALE, AUDITED, all_counted, claims_counted
from tada.report.pages.snapshot import PICTURE, SCALES_PICTURE, Snapshot, Target
from tada.report.paper import about_paper
from tada.report.paper.printed import parse, show, show_ends

README = files.PROJECT / "README.md"


FOUND = Path("docs/found.md")
"""The page of all that was found, beside the README."""


BEGIN = "<!-- Numbers from snapshot/, written by `tada readme`; edit nothing down to the next such line. -->"


END = "<!-- End of the numbers from snapshot/. -->"


FRONT = "table3b"


HEADS = (
    *("TAdaConv", "FA.", "Sc.", "SepBN.", "Top-1: paper", "here", "sd", "95% interval"),
    *("Δ: paper", "here", "95% interval"),
)


COLUMNS = ("tadaconv", "aggregation", "shortcut", "separate")


def build_readme(snapshot: Snapshot, others: Sequence[Snapshot] = (), readme: Path = README) -> None:
    """Write the part between the markers into `readme`, and the page `FOUND` in its folder.

    Args:
        snapshot: what is told of in full.
        others: those of other scales.
        readme: the file.

    Raises:
        TadaError: the markers are missing in it.
    """
    write_text(readme, replaced(readme.read_text(encoding="utf-8"), block(snapshot, others), str(readme)))
    write_text(readme.parent / FOUND, found(snapshot, others))


def replaced(text: str, new: str, where: str) -> str:
    """The text with `new` in the place of what stands between the markers.

    Raises:
        TadaError: there is not one pair of markers in their order; `where` names the file.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise TadaError(f"{where}: there has to be one line {BEGIN!r} and, below it, one line {END!r}")
    return text[: text.index(BEGIN)] + f"{BEGIN}\n\n{new}\n{END}" + text[text.index(END) + len(END) :]


def block(snapshot: Snapshot, others: Sequence[Snapshot] = ()) -> str:
    """The README's part in Markdown: what was measured and from what, picture, claims and the front table."""
    parts = [
        "## What was found",
        *_head(snapshot, ""),
        _claims(snapshot, _FAILING),
        *_orders(snapshot),
        *_scales(snapshot, others, ""),
        f"{_audit(snapshot)} Every table and claim with its interval: [what was found]({FOUND}).",
        _front_table(snapshot),
    ]
    return "\n\n".join(parts) + "\n"


def found(snapshot: Snapshot, others: Sequence[Snapshot] = ()) -> str:
    """The page of all that was found: tables and figures, every claim with its interval, orders of rows, the audit."""
    parts = [
        "# What was found",
        "<!-- Written by `tada readme` from snapshot/; edit nothing here. -->",
        *_head(snapshot, "../"),
        "## Tables and figures",
        _targets(snapshot),
        "## Claims",
        _claims(snapshot),
        _claims_table(snapshot),
        *(["## Order of rows", *orders] if (orders := _orders(snapshot)) else []),
        *(["## Scales side by side", *scales] if (scales := _scales(snapshot, others, "../")) else []),
        "## Audit",
        _audit(snapshot),
    ]
    return "\n\n".join(parts) + "\n"


_FAILING = 8
"""So many claims that fail are named in the README."""


def _head(snapshot: Snapshot, root: str) -> list[str]:
    """What was measured and from what, and the picture; `root` leads from the page to the README's folder."""
    picture = f"![Reproduced against reported accuracies, {snapshot.scale} scale]({root}snapshot/{PICTURE})"
    return [_provenance(snapshot, root), *_outdated(snapshot), picture, _caption(snapshot)]


def _provenance(snapshot: Snapshot, root: str) -> str:
    about, done = snapshot.about, snapshot.done
    text = f"Measured at **{snapshot.scale} scale**"
    if snapshot.scale.renders:
        networks = "small" if snapshot.scale.on_one_core else "the paper's"
        text += f" (rendered videos and {networks} networks: orders of rows and signs of differences, never levels)"
    if not done:
        return f"{text}; no run is finished yet."
    size = ", ".join(f"{_bytes(count)} of {what}" for what, count in about.bytes.items() if count)
    environments = [record.environment for record in done]
    commits = _distinct(f"`{(one.git_commit or 'none')[:10]}`" for one in environments)
    folder = snapshot_folder(snapshot.scale, Path("snapshot"))
    changed = " with uncommitted changes" if any(one.git_dirty for one in environments) else ""
    found = Counter(machine(one.hardware) for one in environments)
    machines = [name + (f" ({counted(count, 'run')})" if len(found) > 1 else "") for name, count in found.items()]
    failed = len(snapshot.archive.runs) - len(done)
    states = {"failed": failed, "pending": about.wanted - len(done) - failed}
    left = ", ".join(f"{count} {status}" for status, count in states.items() if count)
    return (
        f"{text}, {_day(about.date)}: {len(done)} of {about.wanted} runs{f' ({left})' if left else ''}, "
        f"{_seeds(snapshot)}. "
        f"Training and testing took {rounded_time(sum(one.cost.wall_seconds for one in done))}, summed over runs, on "
        f"{' and '.join(machines)}; {size}. Code: commit {', '.join(commits)}{changed}. Every run with its metrics, "
        f"data, cost, versions and checksum stands in `{folder.as_posix()}/` ([what is there]({root}docs/snapshot.md))."
    )


def _outdated(snapshot: Snapshot) -> list[str]:
    """That runs are of recipes that have changed since, if any are."""
    text = of_earlier_recipes(snapshot.done)
    return [f"**Of earlier recipes.** {text} Their verdicts are of the rules of then."] if text else []


def _seeds(snapshot: Snapshot) -> str:
    """How many seeds networks have, "5 seeds of 10 networks, 2 of 67"; `rows.csv` has it of each."""
    if snapshot.about.seeds == 1:
        return "one seed each"
    of_networks = Counter((record.run.dataset, record.run.model) for record in snapshot.done)
    (most, count), *others = sorted(Counter(of_networks.values()).items(), reverse=True)
    if not others and most == snapshot.about.seeds:
        return f"{most} seeds of each network"
    fewer = "".join(f", {number} of {networks}" for number, networks in others)
    return f"{counted(most, 'seed')} of {counted(count, 'network')}{fewer}"


def _caption(snapshot: Snapshot) -> str:
    """What the picture shows; its intervals are spoken of where it has any."""
    shown = (
        "Left, each network of the ablations: where the paper's order is kept, points rise from left to right. Right, "
        "what TAdaConv adds to each backbone of Table 2."
    )
    noise = (
        "Lines through points are 95% intervals: what networks may score that are trained from other seeds, or on "
        "another machine, and tested on other videos."
        if snapshot.numbers["here_low"].any()
        else "Points have no intervals, since nothing tells their noise."
    )
    return f"*{shown} {noise}*"


def _targets(snapshot: Snapshot) -> str:
    scale = snapshot.scale
    unjudged = Verdict(scale) if scale.renders else Verdict.MINI
    verdicts = (Verdict.MATCH, Verdict.OFF, Verdict.UNCLEAR, unjudged)
    lines = [_target(target, verdicts) for target in snapshot.read_targets()]
    heads = ("", "", f"reproduced at {scale}", *verdicts, "time of its runs")
    shown = [place for place in range(len(heads)) if place != (5 if scale.renders else 6)]
    if scale.renders:
        meaning = "`match`: the paper's count to its digits; `off`: another count; "
        meaning += f"`{unjudged}`: an accuracy at {scale} scale, which gets no verdict"
    else:
        meaning = "`match`: the paper's number; `off`: another; `unclear`: inside the noise, so that it may be either"
    table = _table([heads[place] for place in shown], [[line[place] for place in shown] for line in lines], left=3)
    return f"{table}\n\n{meaning}. Tables share runs, so their times do not add up."


def _target(target: Target, verdicts: Iterable[Verdict]) -> tuple[str, ...]:
    counts = Counter(target.verdicts)
    return (
        target.title,
        textwrap.shorten(target.about, 75, placeholder=" ..."),
        _reproduced(counts, target.runs, target.done),
        *(str(counts[verdict] or "") for verdict in verdicts),
        rounded_time(target.seconds) if target.done else "",
    )


def _reproduced(counts: Counter[str], runs: int, done: int) -> str:
    """How much of a table or figure is there: its numbers, or of a figure its runs."""
    total = sum(counts.values())
    there, what = (total - counts[Verdict.PENDING] - counts[Verdict.FAILED], "numbers") if total else (done, "runs")
    total = total or runs
    return "all" if there == total else "not yet" if not there else f"{there} of {total} {what}"


def _claims(snapshot: Snapshot, most: int | None = None) -> str:
    """How many claims hold, what could have been told, and which fail: all, or so many at most."""
    claims = snapshot.claims.drop_duplicates("claim")
    built = claims[claims["scale"] == ANY_SCALE]
    trained = claims.drop(built.index)
    failing = claims[claims["verdict"] == Verdict.FAILS].to_dict("records")
    lines = [f"- {one['says']} ({one['place']}){_margin(snapshot, one['claim'])}" for one in failing[:most]]
    lines += [f"- and {len(failing) - len(lines)} more"] if len(failing) > len(lines) else []
    margins = (float(text) for text in trained.loc[trained["verdict"] == Verdict.UNDECIDED, "detectable"] if text)
    claimed = f"**Claims.** {claims_counted(trained['verdict'].tolist(), built['verdict'].tolist(), margins)}"
    return "\n\n".join([f"{claimed} It is not so here that:", "\n".join(lines)] if lines else [claimed])


def _claims_table(snapshot: Snapshot) -> str:
    """A line for each claim, those that fail first."""
    claims = snapshot.claims.drop_duplicates("claim").to_dict("records")
    order = [Verdict.FAILS, Verdict.UNDECIDED, Verdict.HOLDS, Verdict.FAILED, Verdict.PENDING, Verdict.ELSEWHERE]
    claims.sort(key=lambda one: order.index(one["verdict"]))
    lines = [
        (one["says"], one["place"], one["verdict"], _margin(snapshot, one["claim"]).removeprefix(": "), _told(one))
        for one in claims
    ]
    heads = ("Claim", "Place", "verdict", "margin [95% interval]", "could have told")
    meaning = (
        "Of a claim of several statements, the margin is that of the one which is least so. A margin below zero is on "
        "the other side of what the paper says. `could have told`: the margin from which on an undecided claim would "
        "have been decided, in four of five repetitions; nothing there: the noise is not known, or it is decided."
    )
    return f"{_table(heads, lines, left=3)}\n\n{meaning}"


def _told(claim: Mapping[Any, str]) -> str:
    undecided = claim["verdict"] == Verdict.UNDECIDED and claim["detectable"]
    return f"{float(claim['detectable']):.1f} points" if undecided else ""


def _orders(snapshot: Snapshot) -> list[str]:
    """How the rows of tables stand, as one paragraph; nothing where no order is compared."""
    orders = [f"{one['title']}, {one['sentence']}" for one in snapshot.orders.to_dict("records")]
    return [f"**Order of rows.** {' '.join(orders)}"] if orders else []


def _scales(snapshot: Snapshot, others: Sequence[Snapshot], root: str) -> list[str]:
    """A table's rows at each scale beside what the paper prints, and what else was measured; nothing of one scale."""
    picture = about_paper().picture
    if not others or picture is None:
        return []
    shown = picture.scales
    there = [snapshot, *others]
    ranks = [f"{one.scale} scale: {one.correlations.get(shown.table, 'not known yet')}" for one in there]
    text = (
        f"**Scales side by side.** {shown.title} at {' and '.join(one.scale for one in there)} scale, beside what the "
        "paper prints. Each scale has levels of its own: what can be compared is the order of rows. Rank correlation "
        f"with the paper, {'; '.join(ranks)}."
    )
    about = [part for one in others for part in (_provenance(one, root), *_outdated(one))]
    drawn = f"![{shown.title} at several scales and in the paper]({root}snapshot/{SCALES_PICTURE})"
    caption = (
        "*Rows from the paper's best one down: where its order is kept, points move to the left. Lines through points "
        "are 95% intervals; where there are none, nothing tells the noise.*"
    )
    return [text, *about, drawn, caption]


def _audit(snapshot: Snapshot) -> str:
    what = "numbers and statements that follow from others of the paper's numbers"
    return f"**Audit.** {all_counted(what, snapshot.audit['verdict'].tolist(), AUDITED)}"


def _margin(snapshot: Snapshot, claim: str) -> str:
    """The margin of the claim's statement that is least so, e.g. ": −9.1 [−12.6, −5.7] points"; empty of counts."""
    of = snapshot.claims[snapshot.claims["claim"] == claim]
    measured = [one for one in of.to_dict("records") if one["high"] and "videos" in one["noise"]]
    if not measured:
        return ""
    least = min(measured, key=lambda one: float(one["high"]))
    ends = show_ends((float(least["low"]), float(least["high"])), 1)
    return f": {show(float(least['margin']), 1, signed=True)} {ends} points"


def _front_table(snapshot: Snapshot) -> str:
    """The table of the snapshot's numbers, paper beside here."""
    cells = read_cells(snapshot.numbers, FRONT)
    by_place = {(cell.row, cell.column): cell for cell in cells}
    lines = []
    for row in _distinct(cell.row for cell in cells):
        top1, delta = by_place[row, "top1"], by_place[row, "delta"]
        settings = [by_place[row, column].reported for column in COLUMNS]
        here = [top1.reported, _mean(top1), _std(top1), _interval(top1)]
        lines.append([*settings, *here, delta.reported, _mean(delta), _interval(delta)])
    counts = sorted({int(cell.n) for cell in cells if cell.n and cell.column == "top1"})
    seeds = " or ".join(str(count) for count in counts) or "no"
    title = (
        f"*Table 3b, {snapshot.scale} scale: feature aggregation on Something-Something-V2. Here: mean over {seeds} "
        f"seed{'' if counts == [1] else 's'}, standard deviation of one seed, and 95% interval with the noise of "
        "training and of test videos; ?: nothing tells the noise.*"
    )
    return f"{title}\n\n{_table(HEADS, lines, left=4)}"


def _mean(cell: CellTexts) -> str:
    printed = parse(cell.reported)
    if printed is None or not cell.verdict:
        return ""
    return printed.show(float(cell.reproduced)) if cell.reproduced else cell.verdict


def _std(cell: CellTexts) -> str:
    if not cell.reproduced:
        return ""
    return show(float(cell.std), 1) if cell.std else "?"


def _interval(cell: CellTexts) -> str:
    if not cell.reproduced or not cell.verdict:
        return ""
    printed = parse(cell.reported)
    if printed is None or cell.interval is None:
        return "?"
    return " to ".join(printed.show(end) for end in cell.interval)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]], left: int) -> str:
    aligned = ["left"] * left + ["right"] * (len(heads) - left)
    return tabulate(lines, headers=heads, tablefmt="pipe", disable_numparse=True, colalign=aligned)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _day(date: str) -> str:
    day = datetime.date.fromisoformat(date)
    return f"{day.day} {day:%B %Y}"
