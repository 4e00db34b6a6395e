"""The front page: counts against the tables' data, everything inside, and a real browser that finds nothing missing."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from tada.report.audit_page import build_audit
from tada.report.figures import build_figure
from tada.report.overview import build_overview
from tada.report.table_spec import TABLES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHECK = """<script>
const missing = [...document.images].filter(image => !image.naturalWidth).length;
document.querySelectorAll("details").forEach(one => one.open = true);
const wide = document.documentElement.scrollWidth > window.innerWidth;
document.title = `missing ${missing} of ${document.images.length}, wider than the window: ${wide}`;
</script></body>"""


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


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_finds_nothing_missing(built, tmp_path, width):
    checked = tmp_path / "checked.html"
    checked.write_text(built.read_text(encoding="utf-8").replace("</body>", CHECK), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    # A headless window is at least 500 pixels wide; a frame is as narrow as it is told.
    frame = tmp_path / "frame.html"
    script = 'onload="document.title = this.contentDocument.title"'
    frame.write_text(f'<iframe src="checked.html" width="{width}" height="900" {script}></iframe>')
    command += ["--allow-file-access-from-files", "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    assert "<title>missing 0 of 1, wider than the window: false</title>" in done.stdout, done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr
