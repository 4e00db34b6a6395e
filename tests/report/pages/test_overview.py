"""The front page: counts against planted results, everything inside, and a browser that finds nothing missing."""

import html
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from tada.report.figures import build_figure
from tada.report.judge import Verdict
from tada.report.judge.cells import fill
from tada.report.judge.sentences import Judged
from tada.report.measure import values
from tada.report.measure.results import Results
from tada.report.pages.overview import build_overview, count_claims, failing_claims
from tada.report.pages.sentences import CLAIMED, build_audit, build_claims
from tada.report.pages.tables import intervals_of
from tada.report.paper.figures import figure_names
from tada.report.paper.quantities import Metric
from tada.report.paper.sentences import load_claims
from tada.report.paper.tables import TABLES, table_names
from tada.report.plan import Wanted
from tada.runs.settings import Scale


@pytest.fixture(autouse=True)
def _same_networks(monkeypatch):
    monkeypatch.setattr(values, "largest_difference", lambda base, model: 0.0)


@pytest.fixture(scope="module")
def built(shared_plant):
    """A front page over two runs, of which one figure is drawn."""
    plant = shared_plant
    for model in ("tsn", "tada2d"):
        run = plant.done(model, top1=50.0)
        run.file("curves.csv").write_text("epoch,train_top1,val_top1\n1,10,20\n2,30,40\n")
        plant.scores(run, np.eye(3), [0, 1, 2])
    plant.failed("tada2d-max", "RuntimeError: out of <memory>")
    figures = plant.folder / "figures"
    page = plant.folder / "overview.html"
    build_figure("figureA2", Scale.MINI, 1, plant.results, figures)
    build_overview(Scale.MINI, 1, plant.results, figures, page)
    return page


def cells_of(text, table):
    """Verdict of each number of a table in the grid, by the name that a screen reader says."""
    block = text.partition(f'aria-label="{table}: numbers by verdict"')[2].partition("</table>")[0]
    return {html.unescape(name): verdict for verdict, name in re.findall(CELL, block)}


CELL = r'data-verdict="([^"]*)" aria-label="[^"]*" data-name="([^"]*)"'


def about(text, name):
    """What the grid says of a number when it is pointed at, by label."""
    lines = re.search(rf'data-name="{re.escape(html.escape(name))}" data-about="([^"]*)"', text)[1]
    return dict(line.split("\t", 1) for line in html.unescape(lines).split("\n"))


def test_what_it_says(built, shared_plant, tmp_path):
    text = built.read_text(encoding="utf-8")
    # Ten accuracies and nine differences, of which TSN's and TAda2D's are there and max pooling's failed
    assert Counter(cells_of(text, "Table 3b").values()) == {"mini": 3, "failed": 2, "pending": 14}
    said = about(text, "Table 3b, tada2d, Top-1")
    assert (said["reported"], said["reproduced"], said["seeds"]) == ("63.8", "50.0", "1 of 1: 0")
    assert said["verdict"].startswith("mini: an accuracy of a mini run")
    assert (said["from"], said["hardware"]) == ("runs of ssv2/tada2d", "Z80, 1 core")
    assert "difference" not in said  # to the paper's level, which says nothing here
    (half,) = re.findall(r'<img alt="Figure A2[^>]*style="max-width: ([\d.]+)rem"', text)  # 3.4 of a page's 7 inches
    assert float(half) == pytest.approx(76 * 3.4 / 7, abs=0.1)
    assert about(text, "Table 3b, tada2d-max, Top-1")["reason"].endswith(
        f"failed: RuntimeError: out of <memory> (log: {shared_plant.results}/mini/ssv2/tada2d-max/seed0/log.txt)"
    )
    build_claims(Scale.MINI, 1, shared_plant.results, tmp_path)
    frame = pd.read_csv(tmp_path / "claims.csv")
    verdict_of = {words: verdict for verdict, words in CLAIMED.items()}
    for scale, of_what in (("mini", "sentences of .* trained networks"), ("any", "on how .* no training can change")):
        verdicts = frame[frame["scale"] == scale].drop_duplicates("claim")["verdict"].value_counts()
        counted = re.search(rf"Of (\d+) {of_what}, (.*?)\.", text)
        assert int(counted[1]) == verdicts.sum()
        found = re.findall(r"(\d+) ([^,]+)", counted[2])
        assert {verdict_of[words]: int(count) for count, words in found} == verdicts.to_dict()
    assert f"<h3>What differs: {len(build_audit(tmp_path))}</h3>" in text and "overall improvement of 31.7%" in text
    assert "2 min in 2 runs" in text and "out of &lt;memory&gt;" in text
    assert "mini: rendered videos and small networks" in text


def test_numbers_and_intervals_are_those_of_the_snapshots_table(built, shared_plant):
    """The same values as the page of the table and numbers.csv have, of every number that is there."""
    text = built.read_text(encoding="utf-8")
    here = Results(shared_plant.results, Scale.MINI, 1)
    wanted = Wanted.of_the_paper()
    intervals = intervals_of(wanted.metrics, wanted.tables, here)
    known = 0
    for table in wanted.tables:
        for (row, column), filled in fill(table, here).items():
            metric = filled.cell.quantity
            if not isinstance(metric, Metric) or not filled.value or filled.value.status != "done":
                continue
            over = next(one for one in table.columns if one.name == column)
            said = about(text, f"{table.title}, {row}, {f'{over.over} {over.header}'.strip()}")
            assert (said["reported"], said["reproduced"]) == (filled.reported, filled.here)
            low, high = intervals[metric]
            assert said["95% interval"].startswith(f"{low:.{filled.printed.decimals}f} to ".replace("-", "−"))
            assert f" to {high:.{filled.printed.decimals}f}:" in said["95% interval"]
            known += 1
    assert known == 6  # TSN in Tables 3a and 3b, TAda2D in 3b, 4 and, with its top-5, in 5


def test_each_number_is_counted_once(built):
    text = built.read_text(encoding="utf-8")
    names = re.findall(CELL, text.partition('id="claims-here"')[0])
    assert len({name for _, name in names}) == len(names)
    counted = re.search(r'id="tally-numbers"><span class="big">(\d+)', text)
    assert int(counted[1]) == len(names)
    assert not any(name.startswith("Parameters and FLOPs, table1/") for _, name in names)


def test_links_lead_somewhere_and_what_is_not_there_is_pending(built):
    text = built.read_text(encoding="utf-8")
    ids = set(re.findall(r' id="([^"]+)"', text))
    assert {target for target in re.findall(r'href="#([^"]+)"', text) if target not in ids} == set()
    assert text.count("is not drawn yet") == 4  # of five figures
    assert not re.search(r">0</b>|<b>0<", text)


def test_released_checkpoints_of_which_none_is_tested_yet(plant):
    page = plant.folder / "overview.html"
    build_overview(Scale.LATER_RELEASE, 1, plant.results, plant.folder, page)
    text = page.read_text(encoding="utf-8")
    assert "later-release: the checkpoints of the authors" in text
    assert re.search(r"<dt>Runs</dt><dd>\d+ pending</dd>", text)


def test_claims_that_fail_are_named():
    claims = {claim.id: claim for claim in load_claims().claims}
    verdicts = {"start-tada2d": Verdict.HOLDS, "overall": Verdict.FAILS, "linear": Verdict.HOLDS}
    judged = [Judged(claims[name], verdict) for name, verdict in verdicts.items()]
    assert count_claims(judged) == (
        "Of 2 sentences of the paper as statements on trained networks, 1 hold, 1 fail. "
        "Of 1 on how networks start and what they cost, which no training can change, 1 hold."
    )
    failing = failing_claims(judged)
    assert failing.title == "Not so here: 1"
    assert [line[0].text for line in failing.grid.lines] == [claims["overall"].says]
    assert failing_claims(judged[:1]) is None


def test_undecided_claims_say_what_could_have_been_told():
    """Of three margins 2, 4 and 9 points the median; what nothing could have decided does not count."""
    trained = [claim for claim in load_claims().claims if claim.runs][:4]
    margins = (2.0, 9.0, 4.0, float("inf"))
    judged = [
        Judged(claim, Verdict.UNDECIDED, detectable=margin) for claim, margin in zip(trained, margins, strict=True)
    ]
    assert "told with a margin of 4.0 points (median)." in count_claims(judged)
    assert "told" not in count_claims(judged[3:])


def test_it_holds_everything_and_needs_nothing(built):
    text = built.read_text(encoding="utf-8")
    assert re.findall(r'<details id="(\w+)"', text) == [*table_names(), "claims", "audit", "settings"]
    assert re.findall(r'<figure id="(\w+)"', text) == figure_names()
    markup = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert set(re.findall(r'(?:src|href)="([^"#]{0,5})', markup)) == {"data:", ""}
    assert not re.search(r"https?://|fetch\(|import\(|url\(", text)
    assert len(re.findall(r' id="[^"]+"', text)) == len(set(re.findall(r' id="[^"]+"', text)))


FINE = "missing 0 of 1, fetched 0, too wide: false, faults: none"
USE = """<script>
addEventListener("load", () => {
    const faults = [], $ = selector => document.querySelector(selector);
    const $$ = (selector, inside = document) => [...inside.querySelectorAll(selector)];
    const check = (what, found) => { if (!found) faults.push(what); };
    const light = getComputedStyle(document.body).backgroundColor;
    const theme = $("[data-theme-switch]");
    theme.value = "dark";
    theme.dispatchEvent(new Event("change"));
    check("dark is another colour", getComputedStyle(document.body).backgroundColor !== light);
    theme.value = "light";
    theme.dispatchEvent(new Event("change"));
    check("light is the system's here", getComputedStyle(document.body).backgroundColor === light);

    const table = $("#table3b table[data-sort]");
    const rows = () => $$("tbody tr", table).map(row => row.cells[4].textContent);
    const before = rows(), numbers = before.map(Number);
    const head = $$("thead tr:last-child th button", table)[4];
    head.click();
    check("ascending", rows().join() === numbers.toSorted((a, b) => a - b).map(n => n.toFixed(1)).join());
    check("says so", head.parentElement.ariaSort === "ascending");
    head.click();
    check("descending", rows().join() === numbers.toSorted((a, b) => b - a).map(n => n.toFixed(1)).join());
    head.click();
    check("the paper's order", rows().join() === before.join() && !head.parentElement.ariaSort);
    const stacked = $("#table2 table[data-sort]");
    $$("thead tr:last-child th button", stacked).find(one => one.textContent === "K400").click();
    const starts = $$("tbody", stacked).map(body => body.rows[0].cells[3].textContent);
    check("lines of a row stay together", starts.every(text => text === "paper"));
    const search = $("#table3b [data-search]");
    search.value = "mix";
    search.dispatchEvent(new Event("input"));
    check("filtered", $$("tbody tr", table).filter(row => !row.hidden).length === 1);
    check("counted", $("#table3b [role=status]").textContent === "1 of 10 rows");

    const box = $("#forest-here").previousElementSibling.querySelector("input[value=pending]");
    box.click();
    const shown = $$("#forest-here .claim").filter(one => !one.hidden);
    check("claims filtered", shown.length && shown.every(one => one.dataset.verdict !== "pending"));

    const claim = shown[0].querySelector("summary");
    claim.querySelector(".margin").textContent = "−10.4 [−15.4, −5.4]";
    claim.querySelector(".said").textContent = "? undecided among 50 claims (alone: fails)";
    const [margin, said] = [".margin", ".said"].map(name => claim.querySelector(name).getBoundingClientRect());
    check("a margin beside its verdict", margin.right <= said.left && said.right <= innerWidth && margin.height < 30);

    const grid = $$("[data-grid]").find(one => one.ariaLabel.startsWith("Table 3b"));
    const stops = $$("button", grid).filter(one => one.tabIndex === 0);
    check("one stop a grid", stops.length === 1);
    stops[0].focus();
    check("focus shows details", !$("#detail").hidden && $("#detail").textContent.includes("reported32.0"));
    const press = key => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    press("ArrowDown");
    press("ArrowRight");
    check("arrows move", document.activeElement.dataset.name === "Table 3b, tsn+tada, Δ of Top-1");
    check("described", document.activeElement.getAttribute("aria-describedby") === "detail");
    press("Escape");
    check("Escape hides", $("#detail").hidden);
    document.activeElement.blur();

    const labelled = one => one.ariaLabel || one.textContent.trim() || one.labels?.length || one.alt;
    for (const one of $$("button, a, select, input, summary, img, [role=region], [role=grid], [role=img]"))
        check(`label of ${one.outerHTML.slice(0, 80)}`, labelled(one));
    for (const name of ["main", "nav", "h1"]) check(`one ${name}`, $$(name).length === 1);
    document.title = `${checked()}; wrong: ${faults.join("; ") || "none"}`;
});
</script>"""
CONTRAST = """<script>
// The least contrast of any text with what lies behind it, by the definition of WCAG 2.
const rgb = (() => {
    const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    return colour => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data];
    };
})();
const luminance = colour => [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => {
    const part = rgb(colour)[i] / 255;
    return sum + share * (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
}, 0);
const behind = one => {
    for (; one; one = one.parentElement) {
        const colour = getComputedStyle(one).backgroundColor;
        if (rgb(colour)[3] === 255) return colour;
    }
    return "white";
};
addEventListener("load", () => {
    const seen = new Map();
    for (const theme of ["light", "dark"]) {
        document.documentElement.dataset.theme = theme;
        const walker = document.createTreeWalker(document.querySelector("body"), NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const one = walker.currentNode.parentElement;
            const hidden = one.closest("script, svg, #detail") || !one.getClientRects().length;
            if (hidden || !walker.currentNode.data.trim()) continue;
            const pair = [getComputedStyle(one).color, behind(one)];
            if (!seen.has(pair.join())) {
                const [dark, bright] = pair.map(luminance).sort((a, b) => a - b);
                const where = `${theme} ${one.outerHTML.slice(0, 60)}`;
                seen.set(pair.join(), {ratio: (bright + 0.05) / (dark + 0.05), where});
            }
        }
    }
    const worst = [...seen.values()].sort((a, b) => a.ratio - b.ratio)[0];
    document.title = `${seen.size} pairs, least ${worst.ratio.toFixed(2)} ${worst.where}`;
});
</script>"""


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_finds_nothing_missing(built, browse, width):
    assert browse(built, width) == FINE


@pytest.mark.parametrize("width", [1400, 400])
def test_it_can_be_used(built, browse, width):
    """Colours, sorting, filters, keyboard, and a name for everything that one can reach."""
    assert browse(built, width, USE) == f"{FINE}; wrong: none"


@pytest.mark.parametrize("width", [1400, 400])
def test_every_text_has_contrast(built, browse, width):
    found = re.match(r"(\d+) pairs, least ([\d.]+) (.*)", browse(built, width, CONTRAST))
    assert int(found[1]) > 15 and float(found[2]) >= 4.5, found[3]


LOOK = """<script>
addEventListener("load", () => {
    const table = document.querySelector("table[data-sort]");
    const lowest = [...table.querySelectorAll("thead tr:last-child th")];
    const heads = lowest.filter(head => head.textContent.startsWith("Avg."));
    const right = Math.max(0, ...heads.map(head => head.getBoundingClientRect().right));
    const sign = getComputedStyle(table.closest(".frame"), "::after").content;
    const wide = [...document.querySelectorAll("td")].filter(cell => cell.getBoundingClientRect().right > innerWidth);
    const columns = [...document.querySelectorAll(".stacked tbody")].flatMap(body =>
        [...body.rows[0].cells].map((_, place) => [...body.rows].map(row => row.cells[place])));
    const empty = columns.filter(cells => cells.every(cell => !cell.innerText.trim() && cell.clientHeight));
    document.title = `${checked()}; main metric: ${right < innerWidth}; sign: ${sign}; cut off: ${wide.length}`
        + `; empty lines: ${empty.length}`;
});
</script>"""
FOUND = "missing 0 of 0, fetched 0, too wide: false, faults: none; main metric: {}; sign: {}; cut off: {}"
FOUND += "; empty lines: 0"


def test_wide_tables_show_their_main_metric_or_that_they_scroll(plant, browse):
    """Table 8 with two seeds, whose cells are as wide as they get: on a desk, in a narrow window, and on a phone."""
    for model in ("tsn", "tada2d"):
        for dataset, names in (("hacs-localization", ("map",)), ("ek100-localization", ("verb", "noun", "action"))):
            kinds = ["map" if name == "map" else f"map_{name}" for name in names]
            metrics = [f"{kind}{at}" for kind in kinds for at in ("", *(f"@0.{tenth}" for tenth in range(1, 10)))]
            for seed in (0, 1):
                plant.done(model, seed, dataset=dataset, **dict.fromkeys(metrics, 17.39 + seed))
    plant.build("table8", specs=TABLES, seeds=2)
    page = plant.out / "table8.html"
    assert " ± " in page.read_text(encoding="utf-8")
    assert browse(page, 1400, LOOK).startswith(FOUND.partition("; sign")[0].format("true"))
    found = browse(page, 800, LOOK)
    assert 'main metric: false; sign: "more columns →"' in found and "cut off: 0" not in found
    assert browse(page, 400, LOOK) == FOUND.format("true", "none", 0)


@pytest.mark.parametrize("name", ["table3b", "audit"])
def test_pages_are_read_on_a_phone(plant, browse, name):
    plant.build("table3b", specs=TABLES)
    build_audit(plant.out)
    assert browse(plant.out / f"{name}.html", 400, LOOK) == FOUND.format("true", "none", 0)


def test_a_browser_would_find_grey_on_grey(built, browse, tmp_path):
    """The check of contrast can fail."""
    text = built.read_text(encoding="utf-8").replace("<main>", '<main><p style="color: #999">grey</p>')
    page = tmp_path / "overview.html"
    page.write_text(text, encoding="utf-8")
    assert float(re.search(r"least ([\d.]+)", browse(page, 1400, CONTRAST))[1]) < 3


def test_a_browser_would_find_faults(tmp_path, browse):
    page = tmp_path / "page.html"
    broken = '<img src="data:image/png;base64,AAAA"><div style="width: 500px">wide</div>'
    page.write_text(f"<html><head></head><body>{broken}</body></html>")
    found = browse(page, 400)
    assert found.startswith("missing 1 of 1, fetched 0, too wide: true, faults: <img")
    page.write_text("<html><head></head><body><script>nonsense()</script></body></html>")
    with pytest.raises(AssertionError, match="nonsense is not defined"):
        browse(page, 400)
