"""The front page: counts against planted results, everything inside, and a browser that finds nothing missing."""

import re

import numpy as np
import pandas as pd
import pytest

from tada.report.figures import build_figure
from tada.report.judge import Verdict
from tada.report.judge.sentences import Judged
from tada.report.measure import values
from tada.report.pages.overview import build_overview, count_claims
from tada.report.pages.sentences import build_claims
from tada.report.paper.sentences import load_claims
from tada.report.paper.tables import table_names
from tada.runs.settings import Scale


@pytest.fixture
def built(plant, monkeypatch):
    """A front page over two runs, of which one figure is drawn; networks are not compared at initialisation."""
    monkeypatch.setattr(values, "largest_difference", lambda base, model: 0.0)
    for model in ("tsn", "tada2d"):
        run = plant.done(model, top1=50.0)
        run.file("curves.csv").write_text("epoch,train_top1,val_top1\n1,10,20\n2,30,40\n")
        plant.scores(run, np.eye(3), [0, 1, 2])
    plant.failed("tada2d-max", "RuntimeError: out of <memory>")
    figures = plant.folder / "figures"
    build_figure("figureA2", Scale.MINI, 1, plant.results, figures)
    page = plant.folder / "overview.html"
    build_overview(Scale.MINI, 1, plant.results, figures, page)
    return page


def test_what_it_says(built, plant):
    text = built.read_text(encoding="utf-8")
    row = re.search(r"<td class=\"left\">Table 3b</td>(.*?)</tr>", text)[1]
    # Ten accuracies and nine differences, of which TSN's and TAda2D's are there and max pooling's failed
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", text.partition("<tbody>")[0])
    counts = dict(zip(heads[1:], re.findall(r"<td[^>]*>(\d*)</td>", row), strict=True))
    assert {head: int(count) for head, count in counts.items() if count} == {
        "numbers": 19,
        "mini": 3,
        "failed": 2,
        "pending": 14,
    }
    build_claims(Scale.MINI, 1, plant.results, plant.out)
    frame = pd.read_csv(plant.out / "claims.csv")
    for scale, words in (("mini", "on trained networks"), ("any", "that follow from how .*, whatever is trained")):
        verdicts = frame[frame["scale"] == scale].drop_duplicates("claim")["verdict"].value_counts()
        counted = re.search(rf"Of (\d+) (?:claims )?{words}, (.*?)\.", text)
        assert int(counted[1]) == verdicts.sum()
        assert {word: int(count) for count, word in re.findall(r"(\d+) “([^”]*)”", counted[2])} == verdicts.to_dict()
    assert "23 “differs”" in text and "overall improvement of 31.7%" in text
    assert "2 min in 2 runs" in text and "out of &lt;memory&gt;" in text
    assert "mini: rendered videos and small networks" in text


def test_released_checkpoints_of_which_none_is_tested_yet(plant, monkeypatch):
    monkeypatch.setattr(values, "largest_difference", lambda base, model: 0.0)
    page = plant.folder / "overview.html"
    build_overview(Scale.LATER_RELEASE, 1, plant.results, plant.folder, page)
    text = page.read_text(encoding="utf-8")
    assert "later-release: the checkpoints of the authors" in text
    assert re.search(r"<dt>Runs</dt><dd>\d+ pending</dd>", text)


def test_claims_that_fail_are_named():
    claims = {claim.id: claim for claim in load_claims().claims}
    verdicts = {"start-tada2d": Verdict.HOLDS, "overall": Verdict.FAILS, "linear": Verdict.HOLDS}
    said = count_claims([Judged(claims[name], verdict) for name, verdict in verdicts.items()])
    assert said.counted == (
        "Of 2 claims on trained networks, 1 “fails”, 1 “holds”. "
        "Of 1 that follow from how networks are built and counted, whatever is trained, 1 “holds”."
    )
    assert (said.title, said.lines) == ("Not so here", (claims["overall"].says,))


def test_undecided_claims_say_what_could_have_been_told():
    """Of three margins 2, 4 and 9 points the median; what nothing could have decided does not count."""
    trained = [claim for claim in load_claims().claims if claim.runs][:4]
    margins = (2.0, 9.0, 4.0, float("inf"))
    judged = [
        Judged(claim, Verdict.UNDECIDED, detectable=margin) for claim, margin in zip(trained, margins, strict=True)
    ]
    assert "told with a margin of 4.0 points (median)." in count_claims(judged).counted
    assert "told" not in count_claims(judged[3:]).counted


def test_it_holds_everything_and_needs_nothing(built):
    text = built.read_text(encoding="utf-8")
    assert re.findall(r'<details id="(\w+)"', text) == [*table_names(), "claims", "audit", "settings"]
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
