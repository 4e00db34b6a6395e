"""`snakemake all` and `snakemake --report` on a copy of the project with a page of each kind, opened in a browser."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tada.base.files import PROJECT

TOP1 = {"header": "Top-1", "metric": "top1", "dataset": "ssv2"}
SPECS = {
    "paper/paper.yaml": {"title": "A Paper", "short": "Paper", "venue": "A test"},
    "paper/tables/small.yaml": {
        "title": "Table T",
        "place": "A test",
        "caption": "Two rows.",
        "columns": {"name": {"header": "Model"}, "top1": TOP1},
        "rows": [
            {"model": "tsn", "cells": {"name": "TSN", "top1": "32.0"}},
            {"model": "tada2d", "cells": {"name": "TAda2D", "top1": "63.8"}},
        ],
    },
    "paper/figures/picture.yaml": {
        "draws": "accuracies",
        "title": "Figure F",
        "place": "A test",
        "caption": "Two points.",
        "dataset": "ssv2",
        "metric": "top1",
        "label": "Top-1",
        "baseline": {"label": "TSN", "model": "tsn", "reported": "32.0"},
        "series": [
            {
                "name": "points",
                "label": "points",
                "axis": "Networks",
                "line": "solid",
                "points": [{"x": "TSN", "model": "tsn", "reported": "32.0"}, {"x": "TAda2D", "model": "tada2d"}],
            }
        ],
    },
    "paper/claims.yaml": {
        "title": "Claims",
        "place": "A test",
        "caption": "One sentence.",
        "claims": [
            {"id": "one", "place": "A test", "says": "More", "quote": "More.", "holds": ["{ssv2/tada2d} > {ssv2/tsn}"]}
        ],
    },
    "paper/audit.yaml": {
        "title": "Audit",
        "place": "A test",
        "caption": "One number.",
        "numbers": [
            {
                "id": "gain",
                "place": "A test",
                "quote": "31.9 more",
                "printed": "31.9",
                "from": "{small/tada2d/top1} - {small/tsn/top1}",
            }
        ],
    },
}
RESULTS = {
    "results/overview.html": "Overview",
    "tables/small.html": "Tables",
    "figures/picture.svg": "Figures",
    "tables/audit.html": "Sentences",
    "tables/claims.html": "Sentences",
    "tables/settings.html": "Sentences",
}
FINE = "fetched 0, too wide: false, faults: none"
# Every file of the report is opened in a frame and every picture is loaded, and each category is gone to by a click.
OPEN = """<script>
window.addEventListener("load", async () => {
    const failed = [];
    for (const [path, result] of Object.entries(results)) {
        const isPicture = result.data_uri.startsWith("data:image");
        const element = document.createElement(isPicture ? "img" : "iframe");
        document.body.append(element);
        const opened = await new Promise(resolve => {
            element.onload = () => resolve(true);
            element.onerror = () => resolve(false);
            element.src = result.data_uri;
        });
        if (!opened || (isPicture && !element.naturalWidth)) failed.push(path);
        element.remove();
    }
    const unlisted = [];
    for (const category of Object.keys(categories)) {
        app.showCategory(category);
        await new Promise(resolve => setTimeout(resolve, 50));
        if (!document.querySelector("#app").textContent.includes(category)) unlisted.push(category);
    }
    document.title = `${checked()}; failed: ${failed.join(" ") || "none"}; not listed: ${unlisted.join(" ") || "none"}`;
});
</script>"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_config) -> Path:
    """The project as a fresh checkout, after `snakemake all` and `snakemake --report`.

    There is no recipe for SSV2, so its runs stay pending: pages are what is looked at here.
    """
    root = tmp_path_factory.mktemp("whole")
    for name in ("pyproject.toml", "environment.yml"):
        shutil.copy(PROJECT / name, root)
    for name in ("tada", "workflow", "config", "profiles"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    recipes = yaml.safe_load((tiny_config / "recipes/mini.yaml").read_text())
    del recipes["ssv2"]
    for name, content in {**SPECS, "config/recipes/mini.yaml": recipes}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(yaml.safe_dump(content, sort_keys=False))
    snakemake(root, "all")
    snakemake(root, "--report", "report.html")
    return root


def snakemake(project: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "TADA_CONFIG"}
    environment |= {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "snakemake", *arguments]
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_all_makes_every_page_once(project):
    for name in ["tables/small.md", "tables/audit.md", "tables/claims.md", "figures/picture.png", *RESULTS]:
        assert (project / name).exists(), name
    assert "Nothing to be done" in snakemake(project, "all")


def test_the_report_holds_every_page_and_needs_nothing(project):
    text = (project / "report.html").read_text(encoding="utf-8")
    results = json.loads(re.search(r'<script id="results">\s*var results = (\{.*?\});\s*</script>', text, re.S)[1])
    categories = json.loads(
        re.search(r'<script id="categories">\s*var categories = (\{.*?\});\s*</script>', text, re.S)[1]
    )
    assert set(results) == set(RESULTS)
    assert all(result["data_uri"].startswith("data:") for result in results.values())
    listed = {path: name for name, parts in categories.items() for paths in parts.values() for path in paths}
    assert listed == RESULTS
    assert "run(s) a row" in text and "{{ snakemake" not in text
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.search(r"""(?:src|href)\s*=\s*["']?\w+:""", markup) and not re.search(r"<script[^>]*src", text)


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_opens_the_report(project, browse, width):
    found = browse(project / "report.html", width, OPEN)
    assert re.fullmatch(rf"missing 0 of \d+, {FINE}; failed: none; not listed: none", found)


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_opens_the_overview(project, browse, width):
    assert browse(project / "results/overview.html", width) == f"missing 0 of 1, {FINE}"
