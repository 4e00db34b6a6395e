"""The pages as LaTeX: signs, and a layout that fits the page, as LaTeX itself says of pages full of planted results."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from tada.report.pages import ColumnHead, Grid, Page, Piece
from tada.report.pages.latex import PACKAGES, TURNED, UPRIGHT, escaped, to_latex
from tada.report.pages.sentences import build_audit, build_claims
from tada.report.pages.settings import build_settings
from tada.report.pages.tables import build_table
from tada.report.paper.quantities import Metric
from tada.report.paper.tables import TABLES, load_table, table_names
from tada.runs.recipes import is_runnable
from tada.runs.settings import Scale


def test_signs():
    assert escaped("a_b & 5% $x$ #1 {y} ~ ^ \\") == (
        r"a\_b \& 5\% \$x\$ \#1 \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert escaped('a "b c" ("d")') == 'a ``b c" (``d")'
    assert escaped("✗ ✓ Δ ± × −") == r"$\times$ $\surd$ $\Delta$ $\pm$ $\times$ $-$"


def test_no_sign_of_any_table_is_left_to_chance(plant):
    for name in table_names():
        plant.build(name, specs=TABLES)
        assert plant.text(name, "tex").isascii(), name


def test_layout(small):
    small.done("tsn", top1=40.0)
    small.failed("tada2d", "50% of {x} & _y_ ^ ~ \\ gone")
    small.build()
    page = small.text(kind="tex")
    assert r"\multicolumn{4}{c}{Params}" in page and r"\multicolumn{3}{c}{Top-1}" in page
    assert r"\cmidrule(lr){2-5} \cmidrule(lr){6-8} \cmidrule(lr){9-11}\noalign{\vskip 2pt}" in page
    assert r"Small \& hand-made\_." in page
    assert r"50\% of \{x\} \& \_y\_" in page


def test_shared_headings_stand_once(plant):
    plant.build("table6", specs=TABLES)
    assert r"\multicolumn{3}{c}{Top-1} & \multicolumn{3}{c}{Top-5}" in plant.text("table6", "tex")


def test_columns_of_words_stand_left_and_columns_with_numbers_right(plant):
    for name, right in (("tableA1", False), ("table1", True)):
        plant.build(name, specs=TABLES)
        assert (r"\raggedleft" in plant.text(name, "tex")) == right, name


def test_only_tables_of_the_paper_are_called_reproduced(plant, tmp_path):
    build_settings(tmp_path)
    plant.build("table1", specs=TABLES)
    assert r"\caption{Settings of the paper's scale. Every" in (tmp_path / "settings.tex").read_text()
    assert r"\caption{Table~1, reproduced. " in plant.text("table1", "tex")


def page_of(*texts, lines=1, rules=frozenset(), stacked=False):
    heads = tuple(ColumnHead("ab", left=True) for _ in texts)
    return Page("t", "Table 0", "Small.", "here", Grid(heads, (tuple(map(Piece, texts)),) * lines, rules, stacked))


def test_narrow_tables_stand_upright_and_wide_ones_are_turned():
    assert r"\begin{longtable}{@{}ll@{}}" in to_latex(page_of("x", "y"))
    narrow, wide, long = to_latex(page_of("x", "y")), to_latex(page_of(*["w" * 9] * 7)), to_latex(page_of("so " * 999))
    assert [r"\begin{landscape}" in text for text in (narrow, wide, long)] == [False, True, True]


def test_long_texts_share_what_others_leave_of_the_line():
    text = to_latex(page_of("few words here " * 9, "x", "some more words " * 18))
    taken = float(re.search(r"\\dimexpr\\linewidth-(\d+)pt", text)[1])
    assert 16 < taken < 30  # two gaps of six points, and the heading "ab"
    shares = [float(share) for share in re.findall(r"p\{([.\d]+)\\dimexpr", text)]
    assert len(shares) == 2 and shares[0] < shares[1] and 0.99 < sum(shares) <= 1
    assert r"{\raggedright\arraybackslash}" in text and "l" in text


def test_what_no_page_holds_is_split_with_the_first_columns_in_each_part():
    heads = (ColumnHead("name", left=True), *(ColumnHead(f"n{place}", f"over{place // 2}") for place in range(12)))
    line = (Piece("row"), *(Piece("1" * 16) for _ in range(12)))
    text = to_latex(Page("t", "Table 0", "Small.", "here", Grid(heads, (line,))))
    parts = text.split(r"\begin{longtable}")[1:]
    assert 2 == len(parts) == text.count("{landscape}") / 2
    assert all(part.count(r"\\") and "row & 1" in part for part in parts)
    assert text.count(r"\caption{") == 1
    for number in range(6):  # under one heading, in one part
        assert sum(f"n{2 * number} & n{2 * number + 1}" in part for part in parts) == 1


def test_what_was_reproduced_stays_beside_what_the_paper_has():
    heads = (ColumnHead("name", left=True),)
    heads += tuple(ColumnHead(f"metric{n}", sub=sub) for n in range(4) for sub in ("paper", "here", "verdict"))
    text = to_latex(Page("t", "Table 0", "Small.", "here", Grid(heads, ((Piece("1" * 12),) * len(heads),))))
    assert text.count(r"\begin{longtable}") > 1
    assert text.count("paper & here & verdict") == 2 * 4  # in the first heading of a part, and in that of further pages


def test_a_part_has_the_lines_that_say_something_there():
    """Two rows that each fill half of the columns: each stands in its part alone, with the name of what came before."""
    heads = (ColumnHead("name", left=True), ColumnHead("", left=True))
    heads += tuple(ColumnHead(f"n{place}", f"over{place // 4}") for place in range(8))
    wide, none = [Piece("1" * 26)] * 4, [Piece()] * 4
    filled = [("first", wide + none), ("", none + wide)]
    lines = [
        (Piece(name * (label == "paper")), Piece(label), *cells)
        for name, cells in filled
        for label in ("paper", "here")
    ]
    text = to_latex(Page("t", "Table 0", "Small.", "here", Grid(heads, tuple(lines), frozenset([2]), stacked=True)))
    left, right = (part.partition(r"\endhead")[2] for part in text.split(r"\begin{longtable}")[1:])
    rows = [re.findall(r"^(\w*) & (\w+) & 1", part, re.MULTILINE) for part in (left, right)]
    assert rows == [[("first", "paper"), ("", "here")]] * 2
    assert "addlinespace" not in left + right


def test_a_column_of_words_does_not_get_a_part_of_its_own():
    """It goes where there is room; else the part has no column whose one text says nothing of its lines."""
    heads = [
        ColumnHead("name", left=True),
        ColumnHead("", left=True),
        ColumnHead("a"),
        ColumnHead("b"),
        ColumnHead("c"),
    ]
    names = ["1" * 60, "1" * 60, "1" * 60]
    for model, parts in (("tsn", 3), ("w" * 40, 4)):
        lines = [(*map(Piece, ("TSN", "paper", *names, model)),), (*map(Piece, ("", "here", *names, "")),)]
        grid = Grid((*heads, ColumnHead("model", left=True)), tuple(lines), stacked=True)
        tables = to_latex(Page("t", "Table 0", "Small.", "here", grid)).split(r"\begin{longtable}")[1:]
        assert len(tables) == parts
        assert [model in table for table in tables].index(True) == (0 if parts == 3 else 3)
        assert ["paper" in table for table in tables] == [True] * 3 + [False] * (parts - 3)


def test_a_number_and_its_interval_stay_on_one_line():
    text = to_latex(page_of("−44.2 [−57.7, +60.1]", "so many words " * 9))
    assert r"{@{}l>{\raggedright\arraybackslash}p{" in text  # the first column is as wide as its text
    assert r"Section~5.2, Table~3b" in to_latex(page_of("so many words " * 9, "Section 5.2, Table 3b and " * 3))
    assert r"$-$4.2~{[}$-$7.7,~+0.1]" in to_latex(page_of("some more words −4.2 [−7.7, +0.1]", "so many words " * 9))


def test_the_lines_of_a_row_stay_on_one_page():
    text = to_latex(page_of("x", lines=6, rules=frozenset([3]), stacked=True))
    assert re.findall(r"x (\\\\\*?|\\addlinespace)\n", text) == [r"\\*", r"\\*", r"\\"] * 2
    text = to_latex(page_of("x", lines=6, rules=frozenset([3])))
    assert r"\\*" not in text and text.count(r"\cmidrule(){1-1}") == 1


def test_pairs_that_are_turned_are_a_table_of_its_own(small):
    small.spec(small.small.replace('"63.8"', '"30.0"'))
    for model, count in (("tsn", 300), ("tada2d", 100)):
        small.hits(model, np.arange(400) >= count)
    small.build()
    text = small.text(kind="tex")
    assert text.count(r"\begin{longtable}") == 2 and text.count(r"\addtocounter{table}{-1}") == 1
    assert re.search(r"tsn \$>\$ tada2d & \+2\.0 & \$-\$50\.0 \{\[\}\$-\$\d", text)


def full(plant, scale, seeds):
    """Runs of everything that tables show, with all their metrics, and with videos where accuracies are of videos."""
    generator = np.random.default_rng(0)
    metrics = {}
    for name in table_names():
        for one in load_table(name).quantities:
            if isinstance(one, Metric):
                for model in one.models:
                    metrics.setdefault((one.dataset, model), set()).add(one.name)
    for (dataset, model), names in metrics.items():
        for seed in range(seeds) if is_runnable(scale, dataset, model) else ():
            run = plant.done(model, seed, scale, dataset, **{name: generator.uniform(30, 90) for name in names})
            if "top1" in names:
                plant.scores(run, generator.random((60, 12)), np.arange(60) % 12)


def compiled(folder, names, packages=PACKAGES):
    """What LaTeX says of the pages: each in turn, in a document of the class `article`."""
    inputs = "\n".join(rf"\typeout{{PAGE {name}}}\input{{{name}.tex}}\clearpage" for name in names)
    packages = ",".join(packages)
    document = rf"\documentclass{{article}}\usepackage{{{packages}}}\begin{{document}}{inputs}\end{{document}}"
    (folder / "all.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    for _ in range(2):  # a longtable knows its widths from the run before
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    return (folder / "all.log").read_text(encoding="latin-1")


def too_wide(log):
    """Boxes that stick out of the page by more than a point, with the page that they are of."""
    boxes = re.findall(r"Overfull \\[hv]box \(([\d.]+)pt.*", log)
    return [box for box in boxes if float(box) > 1] + re.findall(
        r".*(?:Float too large|Column widths have changed).*", log
    )


needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")


@needs_latex
@pytest.mark.parametrize(("scale", "seeds"), [("mini", 1), ("mini", 5), ("paper", 2)])
def test_latex_compiles(plant, small, scale, seeds):
    small.failed("tada2d", "50% of {x} & _y_ ^ ~ \\ [gone] <a|b>")
    small.build()
    full(plant, Scale(scale), seeds)
    for name in table_names():
        build_table(name, Scale(scale), seeds, plant.results, plant.out)
    build_claims(Scale(scale), seeds, plant.results, plant.out)
    build_audit(plant.out)
    build_settings(plant.out)
    names = ["small", *table_names(), "claims", "audit", "settings"]
    assert too_wide(compiled(plant.out, names)) == []


@needs_latex
def test_what_is_too_wide_is_seen(tmp_path):
    (tmp_path / "t.tex").write_text(to_latex(page_of("x", "w" * 90)))
    assert len(too_wide(compiled(tmp_path, ["t"]))) >= 1


@needs_latex
def test_the_line_of_an_article_is_as_long_as_is_assumed(tmp_path):
    (tmp_path / "t.tex").write_text(r"\typeout{LINES \the\textwidth\space\the\textheight}")
    width, height = re.search(r"LINES ([\d.]+)pt ([\d.]+)pt", compiled(tmp_path, ["t"])).groups()
    assert (float(width), float(height)) == (UPRIGHT, TURNED)
