"""The front page: counts against the tables' data, everything inside, and a real browser that finds nothing missing."""

import re

import numpy as np
import pytest

from tada.report.figures.build import build_figure
from tada.report.pages.audit import build_audit
from tada.report.pages.overview import build_overview
from tada.report.paper.tables import TABLES


@pytest.fixture
def built(plant):
    """A front page over two tables, a figure, the audit and claims as planted data."""
    for model in ("tsn", "tada2d"):
        run = plant.done(model, top1=50.0)
        run.file("curves.csv").write_text("epoch,train_top1,val_top1\n1,10,20\n2,30,40\n")
        plant.scores(run, np.eye(3), [0, 1, 2])
    plant.build("table3b", specs=TABLES)
    plant.build("table6", specs=TABLES)
    build_audit(plant.out)
    figures = plant.folder / "figures"
    build_figure("figureA2", "mini", 1, plant.results, figures)
    (plant.out / "claims.csv").write_text(
        "claim,scale,verdict\noverall,mini,holds\npooling,mini,fails\noverall,paper,pending\nmagnitude,any,holds\n"
    )
    page = plant.folder / "overview.html"
    build_overview("mini", 1, plant.results, plant.out, figures, page)
    return page


def test_what_it_says(built):
    text = built.read_text(encoding="utf-8")
    row = re.search(r"<td class=\"left\">Table 3b</td>(.*?)</tr>", text)[1]
    # Ten accuracies and nine differences, of which TSN's and TAda2D's are there
    assert re.findall(r"<td[^>]*>(\d*)</td>", row) == ["19", "3", "16"]
    assert "Of 3 claims, 2 “holds”, 1 “fails”." in text
    assert "Max and mix pooling are below average pooling" in text
    assert "18 “differs”" in text and "overall improvement of 31.7%" in text
    assert "2 min in 2 runs" in text
    assert "mini: rendered videos and small networks" in text


def test_it_holds_everything_and_needs_nothing(built):
    text = built.read_text(encoding="utf-8")
    assert re.findall(r'<details id="(\w+)"', text) == ["table3b", "table6", "audit"]
    assert re.findall(r'<figure id="(\w+)"', text) == ["figureA2"]
    assert set(re.findall(r'(?:src|href)="([^"#]{0,5})', text)) == {"data:", ""}
    assert len(re.findall(r' id="[^"]+"', text)) == len(set(re.findall(r' id="[^"]+"', text)))


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_finds_nothing_missing(built, browse, width):
    assert browse(built, width) == "missing 0 of 1, fetched 0, too wide: false, faults: none"


def test_a_browser_would_find_faults(tmp_path, browse):
    page = tmp_path / "page.html"
    broken = '<img src="data:image/png;base64,AAAA"><div style="width: 500px">wide</div>'
    page.write_text(f"<html><head></head><body>{broken}</body></html>")
    found = browse(page, 400)
    assert found.startswith("missing 1 of 1, fetched 0, too wide: true, faults: <img")
    page.write_text("<html><head></head><body><script>nonsense()</script></body></html>")
    with pytest.raises(AssertionError, match="nonsense is not defined"):
        browse(page, 400)
