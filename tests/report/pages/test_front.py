"""README, page of all that was found, and picture against the committed snapshot, and changed and unfinished ones."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest
from typer.testing import CliRunner

from tada.base import TadaError
from tada.base.files import PROJECT
from tada.cli import app
from tada.report.figures import build_agreement, build_scales
from tada.report.figures.accuracies import draw_scales
from tada.report.measure.archive import add_tables, write_archive
from tada.report.measure.results import PENDING
from tada.report.pages.readme import BEGIN, END, FOUND, README, block, build_readme, found, replaced
from tada.report.pages.snapshot import PICTURE, SCALES_PICTURE, SNAPSHOT, load_others, load_snapshot
from tada.report.paper import about_paper
from tada.report.paper.tables import load_table
from tada.runs.run import Run


@pytest.fixture(scope="module")
def committed():
    return load_snapshot()


@pytest.fixture
def picture(tmp_path):
    """The picture of a snapshot as a text."""

    def draw(snapshot):
        build_agreement(snapshot.numbers, snapshot.scale, tmp_path / PICTURE)
        return (tmp_path / PICTURE).read_text(encoding="utf-8")

    return draw


def scales(snapshot, others, folder):
    """The picture of several scales as a text."""
    drawn = {one.scale: (one.numbers, one.correlations) for one in (snapshot, *others)}
    build_scales(drawn, folder / SCALES_PICTURE)
    return (folder / SCALES_PICTURE).read_text(encoding="utf-8")


def changed(snapshot, frame, rows, column, value):
    """The snapshot with another value in some rows of a table."""
    lines = getattr(snapshot, frame).copy()
    lines.loc[rows(lines), column] = value
    return replace(snapshot, **{frame: lines})


def with_runs(snapshot, change):
    """The snapshot with every run changed."""
    runs = {key: change(run) for key, run in snapshot.archive.runs.items()}
    return replace(snapshot, archive=replace(snapshot.archive, runs=runs))


def with_cost(run, **cost):
    return replace(run, record=replace(run.record, cost=replace(run.record.cost, **cost)))


def front_row(lines):
    return (lines["table"] == "table3b") & (lines["row"] == "tada2d") & (lines["column"] == "top1")


def test_the_readme_is_up_to_date(committed, picture, tmp_path):
    text = README.read_text(encoding="utf-8")
    others = load_others()
    hint = "run `uv run tada readme` and commit README.md, docs/ and snapshot/"
    assert replaced(text, block(committed, others), "README.md") == text, hint
    assert (README.parent / FOUND).read_text(encoding="utf-8") == found(committed, others), hint
    assert (SNAPSHOT / PICTURE).read_text(encoding="utf-8") == picture(committed), hint
    assert (SNAPSHOT / SCALES_PICTURE).exists() == bool(others), hint
    if others:
        assert (SNAPSHOT / SCALES_PICTURE).read_text(encoding="utf-8") == scales(committed, others, tmp_path), hint


def test_a_changed_number_is_seen(committed, picture):
    other = changed(committed, "numbers", front_row, "reproduced", "12.34")
    assert block(other) != block(committed) and picture(other) != picture(committed)
    assert "12.3 |" in block(other)
    other = changed(committed, "claims", lambda lines: lines.index == 0, "verdict", "fails")
    assert block(other) != block(committed) and found(other) != found(committed)
    slower = with_runs(committed, lambda run: with_cost(run, wall_seconds=86400.0))
    assert block(slower) != block(committed)


@pytest.mark.parametrize("make", [block, found])
def test_everything_is_labelled(committed, make):
    text = make(committed)
    about = committed.about
    assert f"**{about.scale} scale**" in text and "never levels" in text
    for environment in (record.environment for record in committed.done):
        assert environment.git_commit[:10] in text and environment.hardware.cpu in text
    assert f"{about.date[:4]}: " in text and (" min" in text or " h" in text)
    assert (PROJECT / "snapshot" / PICTURE).exists() and f"snapshot/{PICTURE})" in text
    assert f"]({'' if make is block else '../'}docs/snapshot.md)" in text


def test_every_table_and_claim_has_a_line(committed):
    text = found(committed)
    for title in ("Table 1", "Table 2", "Table 3a", "Table 8", "Table A3", "Figure 3", "Figure 4", "Figure A3"):
        assert f"| {title} " in text
    claims = committed.claims.drop_duplicates("claim")
    lines = [line for line in text.partition("## Claims")[2].splitlines() if line.startswith("| ")][1:]
    assert len(lines) == len(claims)
    assert all(sum(line.startswith(f"| {says} ") for line in lines) == 1 for says in claims["says"])


def test_what_speaks_against_the_paper_comes_first(committed):
    """The least of the two statements of this claim, as claims.csv has it, before any claim that holds."""

    def least(lines):
        return (lines["claim"] == "shortcut") & lines["statement"].str.contains("{ssv2/tsn+avg-sc}", regex=False)

    failing = changed(committed, "claims", lambda lines: lines["claim"] == "shortcut", "verdict", "fails")
    failing = changed(failing, "claims", least, ["margin", "low", "high"], ["-7.19", "-11.81", "-2.57"])
    lines = [line for line in found(failing).partition("## Claims")[2].splitlines() if line.startswith("| ")][1:]
    verdicts = [line.split("|")[3].strip() for line in lines]
    fails = verdicts.count("fails")
    assert fails and verdicts[:fails] == ["fails"] * fails and "holds" not in verdicts[: verdicts.index("undecided")]
    [line] = [line for line in lines if "Aggregation with a shortcut" in line]
    assert "| −7.2 [−11.8, −2.6] points |" in " ".join(line.split())


def test_of_many_claims_that_fail_the_readme_names_some(committed):
    every = changed(committed, "claims", lambda lines: lines.index >= 0, "verdict", "fails")
    count = len(every.claims.drop_duplicates("claim"))
    assert f"\n- and {count - 8} more\n" in block(every) and f"{count} fail" not in found(every).partition("more")[2]
    assert found(every).count("\n- ") == count


def test_runs_of_earlier_recipes_are_said_to_be_so(committed):
    def as_now(run):
        of = run.record.run
        now = Run(of.scale, of.dataset, of.model, of.seed).signature
        return replace(run, record=replace(run.record, signature=now))

    current = with_runs(committed, as_now)
    assert "earlier recipes" not in block(current)
    (key, first), *_ = current.archive.runs.items()
    old = replace(first, record=replace(first.record, signature="another"))
    runs = {**current.archive.runs, key: old}
    assert "**Of earlier recipes.** 1 of these runs" in block(
        replace(current, archive=replace(current.archive, runs=runs))
    )


def test_the_committed_snapshot_is_small_and_names_no_machine():
    files = [file for file in SNAPSHOT.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 5_000_000 * (1 + len(load_others()))
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not any(place in text for place in ("/tmp", "/home", "/root", "/work", "Traceback")), file


def test_nothing_is_there_yet(committed, picture):
    empty = replace(committed, archive=replace(committed.archive, runs={}))
    empty = changed(empty, "numbers", lambda lines: lines["verdict"] != "", "reproduced", "")
    empty = changed(empty, "numbers", lambda lines: lines["verdict"] != "", "verdict", PENDING)
    empty = changed(empty, "targets", lambda lines: lines["file"] != "", "done", "0")
    empty = changed(empty, "targets", lambda lines: lines["file"] != "", "verdicts", '{"pending": 3}')
    text = block(empty)
    assert "| not yet " in found(empty)
    assert "no run is finished yet" in text and "+31.8 | pending" in " ".join(text.split())
    assert picture(empty).startswith("<?xml")


def with_noise(snapshot):
    """TAda2D's accuracy with five seeds and intervals, as a snapshot of several seeds has them."""
    for column, values in (
        ("top1", ("93.3", "5", "1.25", "91.04", "95.56")),
        ("delta", ("46.9", "5", "1.5", "43.96", "49.84")),
    ):

        def cell(lines, column=column):
            return (lines["table"] == "table3b") & (lines["row"] == "tada2d") & (lines["column"] == column)

        for name, value in zip(("reproduced", "n", "std", "here_low", "here_high"), values, strict=True):
            snapshot = changed(snapshot, "numbers", cell, name, value)
    return snapshot


def test_numbers_stand_with_their_noise(committed, picture):
    text = " ".join(block(with_noise(committed)).split())
    assert "| 93.3 | 1.2 | 91.0 to 95.6 | +31.8 | +46.9 | +44.0 to +49.8 |" in text
    assert "standard deviation of one seed, and 95% interval" in text
    drawn = picture(with_noise(committed))
    assert 'id="table3b-intervals"' in drawn and 'id="table3b-intervals"' not in picture(without_noise(committed))


def without_noise(snapshot):
    everywhere = slice(None)
    return changed(with_noise(snapshot), "numbers", lambda lines: everywhere, ["std", "here_low", "here_high"], "")


def test_a_number_whose_noise_is_not_known_says_so(committed):
    text = " ".join(block(without_noise(committed)).split())
    assert "Points have no intervals" in text and "Points have no" not in block(with_noise(committed))
    assert "| 93.3 | ? | ? | +31.8 | +46.9 | ? |" in text and "?: nothing tells the noise" in text


def test_runs_of_several_machines_and_missing_seeds_are_counted(committed):
    single = {key: run for key, run in committed.archive.runs.items() if key[2] == 0}
    first, *others = sorted(single)
    run = committed.archive.runs[first]
    hardware = replace(run.record.environment.hardware, cpu="6502")
    moved = replace(run, record=replace(run.record, environment=replace(run.record.environment, hardware=hardware)))
    runs = {**single, first: moved, (*first[:2], 1): run}
    about = replace(committed.about, seeds=2, wanted=2 * len(single))
    text = block(replace(committed, archive=replace(committed.archive, runs=runs, about=about)))
    assert "6502, 2 cores (1 run)" in text and f"cores ({len(others) + 1} runs)" in text
    assert f"({len(others)} pending), 2 seeds of 1 network, 1 of {len(others)}. " in text
    every = {(*key[:2], seed): one for key, one in single.items() for seed in (0, 1)}
    whole = replace(committed, archive=replace(committed.archive, runs=every, about=about))
    assert f"{len(every)} of {len(every)} runs, 2 seeds of each network. " in block(whole)


def test_claims_say_what_could_have_been_told(committed):
    undecided = changed(committed, "claims", lambda lines: lines["verdict"] == "undecided", "detectable", "4.26")
    of = committed.claims.loc[committed.claims["verdict"] == "undecided", "claim"]
    assert found(undecided).count("4.3 points |") == of.nunique() and found(committed).count("points |  ") > 0
    assert "Undecided ones would have been told with a margin of 4.3 points (median)." in block(undecided)
    never = changed(committed, "claims", lambda lines: lines["verdict"] == "undecided", "detectable", "")
    assert "would have been told" not in block(never)


def test_the_order_of_rows_has_its_noise(committed):
    sentence = (
        "Top-1: 3 of 6 pairs of rows stand in the paper's order (rank correlation 0.20, 95% interval 0.10 to 0.30)."
    )
    orders = pd.DataFrame([("table4", "Table 4", sentence)], columns=["table", "title", "sentence"])
    assert f"**Order of rows.** Table 4, {sentence}" in block(replace(committed, orders=orders))
    assert "**Order of rows.**" not in block(replace(committed, orders=orders.iloc[:0]))


def test_the_command_writes_between_the_markers_and_the_picture(tmp_path):
    shutil.copytree(SNAPSHOT, tmp_path / "snapshot")
    (tmp_path / "snapshot" / PICTURE).unlink()
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n\n{BEGIN}\nstale number\n{END}\n\nafter\n", encoding="utf-8")
    command = ["readme", "--results", str(tmp_path / "snapshot"), "--readme", str(readme)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(f"before\n\n{BEGIN}\n\n## ") and text.endswith(f"\n{END}\n\nafter\n") and "stale" not in text
    assert (tmp_path / "snapshot" / PICTURE).read_bytes() == (SNAPSHOT / PICTURE).read_bytes()
    assert (tmp_path / FOUND).read_text(encoding="utf-8") == found(load_snapshot())
    build_readme(load_snapshot(tmp_path / "snapshot"), load_others(tmp_path / "snapshot"), readme)
    assert readme.read_text(encoding="utf-8") == text


def test_a_readme_that_is_not_there_is_named(tmp_path):
    done = CliRunner().invoke(app, ["readme", "--results", str(SNAPSHOT), "--readme", str(tmp_path / "README.md")])
    assert (done.exit_code, done.stdout) == (1, "") and "README.md: no such file; name the one" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture
def two_scales(tmp_path):
    """The committed snapshot, and one of gpu below it: 12.5 for TAda2D with an interval, TSN pending, a correlation."""
    folder = tmp_path / "snapshot"
    shutil.copytree(SNAPSHOT, folder, ignore=shutil.ignore_patterns("gpu", SCALES_PICTURE))
    shutil.copytree(folder, folder / "gpu")

    def at_gpu(run):
        return replace(
            run, run=replace(run.run, scale="gpu"), record=replace(run.record, run=replace(run.record.run, scale="gpu"))
        )

    mini = with_runs(load_snapshot(folder), at_gpu).archive
    write_archive(replace(mini, folder=folder / "gpu", about=replace(mini.about, scale="gpu")))
    numbers = pd.read_csv(folder / "gpu" / "numbers.csv", dtype=str, keep_default_na=False)
    numbers.loc[front_row(numbers), ["reproduced", "here_low", "here_high"]] = ["12.5", "11.25", "13.75"]
    tsn = (numbers["table"] == "table3b") & (numbers["row"] == "tsn") & (numbers["column"] == "top1")
    numbers.loc[tsn, ["reproduced", "verdict"]] = ["", PENDING]
    line = ("table3b", "Table 3b", "as one.", "0.25, 95% interval 0.10 to 0.50")
    orders = pd.DataFrame([line], columns=["table", "title", "sentence", "correlation"])
    add_tables(folder / "gpu", {**tables_of(folder), "numbers": numbers, "orders": orders})
    return folder


def tables_of(folder):
    """The CSV files of a snapshot, as they are."""
    return {file.stem: pd.read_csv(file, dtype=str, keep_default_na=False) for file in folder.glob("*.csv")}


def test_a_second_scale_stands_beside_the_first(two_scales, tmp_path):
    """In a paragraph and a picture of their own; all else is as without it."""
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    command = ["readme", "--results", str(two_scales), "--readme", str(readme)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0 and f"{two_scales / SCALES_PICTURE} and the numbers of" in done.output, done.output
    mini, others = load_snapshot(two_scales), load_others(two_scales)
    assert [one.scale for one in others] == ["gpu"] and load_others(two_scales / "gpu") == []
    for text, alone, root in (
        (readme.read_text(encoding="utf-8"), block(mini), ""),
        ((tmp_path / FOUND).read_text(encoding="utf-8"), found(mini), "../"),
    ):
        assert f"]({root}snapshot/{SCALES_PICTURE})" in text and SCALES_PICTURE not in alone
        assert "gpu scale: 0.25, 95% interval 0.10 to 0.50" in text
        assert f"mini scale: {mini.correlations['table3b']}" in text
        assert "Measured at **gpu scale**" in text and "stands in `snapshot/gpu/`" in text
        assert all(part in text for part in alone.split("\n\n"))
    drawn = (two_scales / SCALES_PICTURE).read_text(encoding="utf-8")
    for part in ('id="mini"', 'id="gpu"', 'id="gpu-intervals"', 'id="paper"', "<!-- rank correlation 0.25, -->"):
        assert part in drawn, part
    assert drawn.count("<!-- pending -->") == 1 and "<!-- 95% interval 0.10 to 0.50 -->" in drawn
    printed = [cell.reported for row, cell in load_table("table3b").cells() if cell.column == "top1"]
    assert len(printed) == 10 and all(f"<!-- {number} -->" in drawn for number in printed)
    assert drawn == scales(mini, others, tmp_path)


def test_rows_of_the_picture_stand_where_they_should(two_scales):
    """TAda2D, the paper's best, on top; 12.5 with its ends in the panel of gpu."""
    mini, [gpu] = load_snapshot(two_scales), load_others(two_scales)
    canvas = draw_scales({one.scale: (one.numbers, one.correlations) for one in (mini, gpu)})
    of_mini, of_gpu, of_paper = canvas.axes
    assert [axes.get_title() for axes in canvas.axes][:2] == ["here: mini scale", "here: gpu scale"]
    labels = [label.get_text() for label in of_mini.get_yticklabels()]
    assert labels[0] == about_paper().picture.scales.rows["tada2d"] and labels[-1] == "TSN"
    assert of_mini.get_ylim()[0] > of_mini.get_ylim()[1]  # from the top down
    points, lines = of_gpu.collections
    assert points.get_offsets()[0].tolist() == [12.5, 0] and len(points.get_offsets()) == 9
    assert lines.get_segments()[0].tolist() == [[11.25, 0], [13.75, 0]]
    printed = of_paper.collections[0].get_offsets()[:, 0].tolist()
    assert printed == sorted(printed, reverse=True) and (printed[0], printed[-1]) == (63.8, 32.0)


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_missing_markers(text):
    with pytest.raises(TadaError, match="README: there has to be one line"):
        replaced(text, "new", "README")
