"""What stands on the Markdown and LaTeX pages: layout, signs, footer."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from planting import COST, plant_record

from tada.base.provenance import Environment, Hardware
from tada.report.measure import provenance
from tada.report.pages.latex import PACKAGES, escaped
from tada.report.paper.tables import TABLES, load_table, table_names


def rows_of(page):
    """The cells of the page's table, line by line, without the line of dashes."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in [lines[0], *lines[2:]]]


def test_markdown_has_the_papers_rows_and_columns(small):
    small.done("tsn", top1=40.0)
    small.done("tada2d", top1=90.26)
    small.build()
    head, tsn, tada2d, peer = rows_of(small.text())
    assert head == ["Name", "Params: paper", "here", "diff.", "verdict", "Top-1: paper", "here", "diff.", "verdict",
                    "Δ: paper", "here", "diff.", "verdict", "model"]  # fmt: skip
    assert tsn == [
        "TSN ✗",
        "23.1M",
        "23.150M",
        "+0.050",
        "match",
        "32.0",
        "40.0",
        "+8.0",
        "mini",
        "-",
        "",
        "",
        "",
        "tsn",
    ]
    assert tada2d[5:] == ["63.8", "90.3", "+26.5", "mini", "+31.8", "+50.3", "+18.5", "mini", "tada2d"]
    assert peer == ["Peer (2020)", "10M", "", "", "cited", "60.0", "", "", "cited", "+1.0", "", "", "cited", ""]


def test_more_measured_columns_are_stacked(plant):
    plant.build("table2", specs=TABLES)
    lines = rows_of(plant.text("table2"))
    assert lines[0] == ["Base Model", "TAdaConv", "Frames", "", "Params.", "GFLOPs", "K400", "Δ", "SSV2", "Δ", "model"]
    assert [line[3] for line in lines[1:]] == ["paper", "here", "verdict"] * 11
    assert lines[4][4:10] == ["35.6M", "54.53", "75.85", "+1.29", "63.30", "+2.99"]


@pytest.mark.parametrize("name", table_names())
def test_every_table_can_be_built_from_nothing(plant, name):
    problems = plant.build(name, specs=TABLES)
    assert bool(problems) == bool(load_table(name).runs or load_table(name).complexities)
    reported = {cell["reported"] for cell in plant.cells(name).values()}
    assert {cell.reported for _, cell in load_table(name).cells() if cell.kind != "blank"} == reported


def test_latex_signs():
    assert escaped("a_b & 5% $x$ #1 {y} ~ ^ \\") == (
        r"a\_b \& 5\% \$x\$ \#1 \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert escaped("✗ ✓ Δ ± × −") == r"\ding{55} \ding{51} $\Delta$ $\pm$ $\times$ $-$"


def test_no_sign_of_any_table_is_left_to_chance(plant):
    for name in table_names():
        plant.build(name, specs=TABLES)
        assert plant.text(name, "tex").isascii(), name


def test_latex_layout(small):
    small.done("tsn", top1=40.0)
    small.failed("tada2d", "50% of {x} & _y_ ^ ~ \\ gone")
    small.build()
    page = small.text(kind="tex")
    assert r"\multicolumn{4}{c}{Top-1}" in page
    assert r"\cmidrule(lr){2-5} \cmidrule(lr){6-9} \cmidrule(lr){10-13}" in page
    assert r"Small \& hand-made\_." in page
    assert r"50\% of \{x\} \& \_y\_" in page
    assert page.count(r"\\") >= 5


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
def test_latex_compiles(plant, small):
    small.failed("tada2d", "50% of {x} & _y_ ^ ~ \\ [gone] <a|b>")
    small.build()
    names = ["small", "table2", "tableA1", "complexity", "table8"]
    for name in names[1:]:
        plant.build(name, specs=TABLES)
    inputs = "\n".join(rf"\input{{{name}.tex}} \clearpage" for name in names)
    packages = ",".join(PACKAGES)
    document = rf"\documentclass{{article}}\usepackage{{{packages}}}\begin{{document}}{inputs}\end{{document}}"
    (plant.out / "all.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=plant.out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_footer_names_data_time_and_versions(small):
    small.done("tsn", top1=40.0)
    small.done("tada2d", top1=90.0)
    small.build()
    page = small.text()
    assert "train 99 of 100 used (1 skipped, named in metrics.json); validation 400 of 400 used" in page
    assert "2 min in 2 runs: tada2d 60 s, tsn 60 s" in page
    assert "Z80, 1 cores" in page
    assert "Python 3.11.7, torch 2.0, decord 0.6" in page
    assert "256×256 pixels and 400 classes" in page
    assert "**Operators not counted**: batch\\_norm" in page


def environment(commit, dirty=False):
    return Environment(commit, dirty, "3", {}, Hardware("Z80", 1, ["H100", "H100"]))


def code_line(environments, monkeypatch, current):
    monkeypatch.setattr(provenance, "git_state", lambda: (current, False))
    return dict(provenance.about_code(environments))["Code"]


def test_results_of_this_commit(monkeypatch):
    assert code_line([environment("a" * 40)], monkeypatch, "a" * 40) == "commit aaaaaaaaaa"
    line = code_line([environment("a" * 40, dirty=True)], monkeypatch, "a" * 40)
    assert line == "commit aaaaaaaaaa with uncommitted changes"


def test_results_of_older_and_several_commits_say_so(monkeypatch):
    line = code_line([environment("a" * 40)], monkeypatch, "b" * 40)
    assert line == "commit aaaaaaaaaa; the code is at commit bbbbbbbbbb now"
    line = code_line([environment("a" * 40)] * 2 + [environment("b" * 40)], monkeypatch, "b" * 40)
    assert "several states of the code: commit aaaaaaaaaa (2 results), commit bbbbbbbbbb (1 results)" in line


def test_hardware_counts_gpus():
    assert dict(provenance.about_code([environment("a")]))["Hardware"] == "Z80, 1 cores, 2 × H100"


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.6, "60 s"), (119, "119 s"), (120, "2 min"), (7200, "2.0 h"), (200000, "2.3 days")]
)
def test_duration(seconds, text):
    assert provenance.duration(seconds) == text


def test_gpu_hours_of_runs_on_gpus(small):
    run = small.done("tsn", top1=40.0)
    cost = replace(COST, wall_seconds=7200.0, device_hours=32.0)
    plant_record(run, {"top1": 40.0}, environment=environment("a" * 40), cost=cost)
    small.build()
    assert "2.0 h (32 GPU hours) in 1 runs: tsn 2.0 h" in small.text()


def test_shared_headings_stand_once(plant):
    plant.build("table6", specs=TABLES)
    head = rows_of(plant.text("table6"))[0]
    assert head[3:] == ["Top-1: Act.↑", "Verb", "Noun", "Top-5: Act.↑", "Verb", "Noun", "model"]
    assert r"\multicolumn{3}{c}{Top-1} & \multicolumn{3}{c}{Top-5}" in plant.text("table6", "tex")
