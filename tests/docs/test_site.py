"""The site: built without a warning, complete, and read from disk in a browser, search included."""

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from conftest import CHROMIUM

from tada.base.files import PROJECT

pytest.importorskip("mkdocs", reason="uv run --group docs pytest has it")

# Types into the search, and says which pages it found and what was fetched that is no file.
SEARCH = """<script>
addEventListener("load", async () => {
    const wait = time => new Promise(resolve => setTimeout(resolve, time));
    document.querySelector("#__search").click();
    await wait(1000);
    const input = document.querySelector("[data-md-component=search-query]");
    input.value = "Satterthwaite";
    input.dispatchEvent(new Event("keyup"));
    await wait(3000);
    const found = [...document.querySelectorAll(".md-search-result__item a")].map(one => new URL(one.href).pathname);
    const fetched = performance.getEntriesByType("resource").map(one => one.name).filter(one => !/^file:/.test(one));
    document.title = `found ${found.map(one => one.split("/").pop())}; fetched ${fetched.join(" ") || "none"}`;
});
</script>"""

WIDE = """<script>
addEventListener("load", () => {
    document.title = document.documentElement.scrollWidth > innerWidth ? "too wide" : "fits";
});
</script>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_in_the_navigation_and_links_lead_somewhere(site):
    pages = {page.relative_to(site): page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    for name, text in pages.items():
        if name.name == "404.html":
            continue
        assert not re.search(r"<p>[^<]*\n(?:\d+\.|-) ", text), f"{name}: a list ends where it goes on"
        for link in re.findall(r'(?:href|src)="([^"#:]+)[^":]*"', text):
            assert (site / name).parent.joinpath(unquote(html.unescape(link))).exists(), (name, link)
    home = pages[Path("index.html")]
    assert [str(name) for name in pages if name.name != "404.html" and f'href="{name}"' not in home] == []


def test_nothing_is_fetched_from_a_server(site):
    """Links may lead to other sites; scripts, styles, fonts and pictures may not."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        sources = re.findall(r'(?:<link[^>]*(?<!rel="canonical" )href|src)="(https?://[^"]+)', text)
        assert sources == [], page


def title(page: Path, script: str, profile: Path, width: int = 1400) -> str:
    """What a browser without network makes of the title of a page with a script at its end."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    probe = page.with_name(f"probe-{page.name}")
    probe.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{script}</body>"), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=15000", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += [f"--window-size={width},900", "--dump-dom", probe.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    probe.unlink()
    shutil.rmtree(profile, ignore_errors=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    return html.unescape(done.stdout.partition("<title>")[2].partition("</title>")[0])


@pytest.mark.slow
def test_the_search_finds_from_disk(site, tmp_path):
    assert re.fullmatch(r"found statistics\.html\S*; fetched none", title(site / "index.html", SEARCH, tmp_path / "p"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index", "architecture", "data", "reference/conv", "reference/commands"])
def test_a_page_fits_a_narrow_window(site, tmp_path, name):
    """500 pixels, the narrowest window that the browser opens."""
    assert title(site / f"{name}.html", WIDE, tmp_path / "p", width=500) == "fits"
