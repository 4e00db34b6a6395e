"""Pages as HTML: the same cells as elsewhere, escaped, with links from notes, and readable as XML."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

from tada.report.pages import ColumnHead, Grid, Page, Piece
from tada.report.pages.markup import to_html, to_markdown
from tada.runs.settings import Scale


def parsed(text):
    """The page as a tree, without its head, which has elements without an end, and its script."""
    return ET.fromstring("<body>" + text.partition("<body>")[2].partition("<script>")[0] + "</body>")


def example(**changes):
    heads = (
        ColumnHead("Name", left=True),
        ColumnHead("Top-1", "SSV2", "paper"),
        ColumnHead("Top-1", "SSV2", "verdict", left=True),
    )
    lines = (
        (Piece("a <b> & c"), Piece("63.8", note=1), Piece("match")),
        (Piece("d"), Piece("–"), Piece("off −0.3")),
    )
    grid = Grid(heads, lines, frozenset([1]))
    values = {"name": "t", "title": "Table 0", "scale": Scale.MINI, "caption": "Small.", "place": "here", "grid": grid}
    values |= {"notes": ("why <so>",), "remarks": ("One.",), "footer": (("Code", "commit 1"),)}
    return Page(**{**values, **changes})


def test_cells_are_those_of_the_example():
    body = parsed(to_html(example()))
    rows = [["".join(cell.itertext()) for cell in row] for row in body.iter("tr")]
    assert rows == [
        ["", "SSV2"],
        ["", "Top-1"],
        ["Name", "paper", "verdict"],
        ["a <b> & c", "63.81", "match"],
        ["d", "–", "off −0.3"],
    ]
    assert [cell.get("colspan") for cell in next(body.iter("tr"))] == ["1", "2"]


def test_verdicts_have_colours_beside_their_words():
    classes = {"".join(cell.itertext()): cell.get("class") for cell in parsed(to_html(example())).iter("td")}
    assert (classes["match"], classes["off −0.3"], classes["–"]) == ("left good", "left bad", None)


def test_longer_texts_have_more_of_a_line_on_a_narrow_screen():
    lines = ((Piece("12.3 ± 0.4"),), (Piece("slowfast-4x16"),), (Piece("a whole sentence, with a verb"),))
    page = replace(example(), grid=Grid((ColumnHead("a"),), lines), forests=(), notes=())
    cells = list(parsed(to_html(page)).iter("td"))[:3]
    assert [cell.get("class") for cell in cells] == [None, "half", "wide"]


def test_notes_are_linked_and_told_apart_on_a_page_of_several_tables():
    body = parsed(to_html(example()))
    link = next(body.iter("a"))
    assert link.get("href") == "#t-note1"
    assert [note.text for note in body.iter("li") if note.get("id") == "t-note1"] == ["why <so>"]


def test_parts_that_a_page_lacks_are_left_out():
    text = to_html(example(notes=(), remarks=(), footer=(), scale=None))
    assert "<h1>Table 0</h1>" in text
    assert not re.search("<(dl|ul|ol)", text) and len(re.findall("<(dl|ul|ol)", to_html(example()))) == 3


def test_a_page_needs_no_other_file():
    text = to_html(example(title="A & B"))
    assert "<title>A &amp; B, mini scale</title>" in text
    assert "http" not in text and "src=" not in text


def test_a_row_says_its_columns_on_a_narrow_screen_and_keeps_its_lines_together():
    cells = list(parsed(to_html(example())).iter("td"))
    assert [cell.get("data-label") for cell in cells[:3]] == ["Name", "SSV2 Top-1 paper", "SSV2 Top-1 verdict"]
    grid = example().grid
    assert len(list(parsed(to_html(example())).iter("tbody"))) == 1
    assert len(list(parsed(to_html(example(grid=replace(grid, stacked=True)))).iter("tbody"))) == 2


def test_texts_do_nothing_in_markdown(tmp_path):
    """An error's text may hold anything."""
    text = "![x](http://a.b/c.png) [l](u) [r][s] <img> *i* [−0.1, 2.0] a & b &lt;"
    line = next(line for line in to_markdown(example(notes=(text,)), tmp_path).splitlines() if "img" in line)
    assert line.split(" ", 1)[1].strip() == (
        r"![x\](http://a.b/c.png) [l\](u) [r\][s] \<img> \*i\* [−0.1, 2.0] a & b &amp;lt;"
    )
