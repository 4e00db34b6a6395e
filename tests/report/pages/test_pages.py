"""What stands on the Markdown pages: layout, headings, footer."""

import re

import pytest

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
    assert head == ["Name", "Params: paper", "here", "diff.", "verdict", "Top-1: paper", "here", "verdict",
                    "Δ: paper", "here", "verdict", "model"]  # fmt: skip
    assert tsn == [
        "TSN ✗",
        "23.1M",
        "23.150M",
        "+0.050",
        "match",
        "32.0",
        "40.0",
        "mini",
        "-",
        "",
        "",
        "tsn",
    ]
    assert tada2d[5:] == ["63.8", "90.3", "mini", "+31.8", "+50.3", "mini", "tada2d"]
    assert peer == ["Peer (2020)", "10M", "", "", "cited", "60.0", "", "cited", "+1.0", "", "cited", ""]


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


def test_footer_names_data_time_and_versions(small):
    small.done("tsn", top1=40.0)
    small.done("tada2d", top1=90.0)
    small.build()
    page = small.text()
    assert "train 99 of 100 used (1 skipped, named in metrics.json); validation 400 of 400 used" in page
    assert "2 min in 2 runs; mean of a run: tada2d 60 s, tsn 60 s" in page
    assert "Z80, 1 core" in page
    assert "Python 3.11.7, torch 2.0, decord 0.6" in page
    assert "256×256 pixels and 400 classes" in page
    assert "**Operators not counted**: batch\\_norm" in page


def test_shared_headings_stand_once(plant):
    plant.build("table6", specs=TABLES)
    head = rows_of(plant.text("table6"))[0]
    assert head[3:] == ["Top-1: Act.↑", "Verb", "Noun", "Top-5: Act.↑", "Verb", "Noun", "model"]
    assert r"\multicolumn{3}{c}{Top-1} & \multicolumn{3}{c}{Top-5}" in plant.text("table6", "tex")
