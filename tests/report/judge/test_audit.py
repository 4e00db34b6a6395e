"""The audit: what is known to be wrong with the paper's numbers, planted differences, and what rounding leaves open."""

import textwrap
from fractions import Fraction

import pandas as pd
import pytest

from tada.base import TadaError
from tada.report.judge import Verdict
from tada.report.judge.sentences import recompute
from tada.report.pages.sentences import build_audit
from tada.report.paper.printed import Interval, parse
from tada.report.paper.sentences import AUDIT, load_audit
from tada.report.paper.tables import TABLES, Paper


@pytest.fixture(scope="module")
def paper():
    """Findings on the paper by id."""
    numbers = Paper()
    return {finding.id: finding for finding in recompute(load_audit(AUDIT, numbers), numbers) if finding.id}


def test_intervals_are_what_rounding_leaves_open():
    one, two = Interval.of(parse("63.8")), Interval.of(parse("32.0"))
    difference = one - two
    assert (difference.low, difference.value, difference.high) == (Fraction("31.7"), Fraction("31.8"), Fraction("31.9"))
    product = one * -2
    assert (product.low, product.high) == (Fraction("-127.7"), Fraction("-127.5"))
    assert (1 / Interval.of(parse("2"))).high == Fraction(2, 3)
    assert not Interval.of(parse("31.7")).overlaps(Interval.of(parse("31.8")))
    with pytest.raises(ZeroDivisionError):
        one / Interval.of(parse("0.0"))


@pytest.mark.parametrize(
    ("name", "verdict", "difference"),
    [
        ("overall-appendix", Verdict.DIFFERS, "−0.1"),  # 31.7 in Appendix C, 31.8 in Table 3b
        ("overall", Verdict.ADDS_UP, ""),
        ("tableA3/slowfast-8x8/action/ek100", Verdict.DIFFERS, "−0.012"),  # 12.04; five thresholds average to 12.052
        ("tableA3/slowfast-8x8/noun/ek100", Verdict.ROUNDING, "−0.006"),
        ("table8/tsn/verb/hacs", Verdict.ADDS_UP, ""),
        ("plug-in-average", Verdict.DIFFERS, "−0.056 and −0.026"),
        ("extra-gflops/1", Verdict.ADDS_UP, ""),
        ("extra-gflops/3", Verdict.ROUNDING, "0.00"),  # 65.73 - 65.71
        ("extra-gflops/5", Verdict.DIFFERS, "−0.01"),  # 49.58 - 49.55
        ("non-linear/1", Verdict.DIFFERS, "−0.7"),
        ("ssv2-peers-top5/3", Verdict.DIFFERS, "−0.3"),
        ("ek100-peers-top1/3", Verdict.DIFFERS, "−3.29"),
        ("tsm", Verdict.ADDS_UP, ""),
        ("footnote2-tadaconv", Verdict.ADDS_UP, ""),
        ("ek100", Verdict.ADDS_UP, ""),
        ("dimension-of-kernels/3", Verdict.ADDS_UP, ""),  # 9 taps, 14 x 14 positions
        ("dimension-of-kernels/4", Verdict.DIFFERS, "−41"),  # 7 x 7
        ("slowfast-published-ek100/1", Verdict.DIFFERS, "−1.54"),  # 40.08, cited 38.54
        ("slowfast-published-ek100/2", Verdict.ADDS_UP, ""),  # verbs are below
        ("params-by-eq5", Verdict.DIFFERS, "+0.9481"),
        ("params-by-released-code", Verdict.ADDS_UP, ""),
        ("params-of-tadaconv-in-r2plus1d", Verdict.DIFFERS, "−1.2"),  # +1.9M, where SlowOnly has +3.1M
        ("k400-videos", Verdict.ADDS_UP, ""),
        ("ek100-segments", Verdict.ADDS_UP, ""),
    ],
)
def test_the_papers_own_numbers(paper, name, verdict, difference):
    assert (paper[name].verdict, paper[name].difference) == (verdict, difference)


def calibration(channels, emitted_by_fc):
    """Trainable numbers of a calibration function with r = 4 on so many channels, and of BN2 of the aggregation."""
    hidden = channels // 4
    first, norm, last = 3 * channels * hidden + hidden, 2 * hidden, 3 * hidden * channels
    return first + norm + last + channels * emitted_by_fc + emitted_by_fc + 2 * channels


def test_parameters_by_eq5_and_as_released(paper):
    blocks = {64: 3, 128: 4, 256: 6, 512: 3}
    by_eq5 = sum(count * calibration(width, width // 4) for width, count in blocks.items())
    released = sum(count * calibration(width, width) for width, count in blocks.items())
    assert (by_eq5, released) == (2_211_904, 3_157_840)
    assert paper["params-by-eq5"].recomputed == "2.2119"
    assert paper["params-by-released-code"].recomputed == "3.1578"


def test_numbers_that_are_given_besides_the_papers(paper):
    assert paper["k400-videos"].recomputed == "3.06"
    assert paper["ek100-segments"].recomputed == "89.98"
    assert paper["dimension-of-kernels/4"].printed == "10 × taps of a kernel < positions in res5"
    assert paper["dimension-of-kernels/4"].recomputed == "10 × 9 < 49"


def test_words_of_the_paper_are_told_from_cells(paper):
    assert paper["overall"].words == "“has an advantage over the TSN baseline of 31.8%”"
    assert paper["plug-in-k400/1"].words.endswith("improvement on the classification accuracy” (K400)")
    assert paper["k400-16-frames"].words == "GFLOPs of TAda2D with 16 frames, twice those with 8"


def test_every_printed_difference_is_recomputed(paper):
    table2 = [f for f in paper.values() if f.id.startswith("table2/") and f.id.endswith("_delta")]
    table3b = [f for f in paper.values() if f.id.startswith("table3b/")]
    assert len(table2) == 12
    assert len(table3b) == 9
    assert {finding.verdict for finding in table2 + table3b} == {Verdict.ADDS_UP}


def test_readings_that_do_not_fit_are_all_told(paper):
    note = paper["plug-in-average"].note
    for reading in ("1.39 and 2.655 (all six rows)", "1.322 and 2.642 (one row a base model, R(2+1)D"):
        assert reading in note


def copied_tables(folder, name, old, new):
    """The paper's specs with one number changed."""
    for file in TABLES.glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        if file.stem == name:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / file.name).write_text(text, encoding="utf-8")
    return folder


def test_a_planted_difference_is_found(tmp_path, paper):
    tables = copied_tables(tmp_path, "table3b", 'delta: "+25.0"', 'delta: "+24.8"')
    found = {finding.id: finding for finding in build_audit(tmp_path / "out", tables=tables)}
    new = found.keys() - {name for name, finding in paper.items() if finding.verdict == Verdict.DIFFERS}
    assert new == {"table3b/tsn+avg-sc-sepbn/delta"}
    planted = found["table3b/tsn+avg-sc-sepbn/delta"]
    assert (planted.printed, planted.recomputed, planted.difference) == ("+24.8", "25.0", "−0.2")


def test_a_planted_difference_that_rounding_may_explain(tmp_path):
    """57.0 and 32.0 may have been 56.96 and 32.04."""
    tables = copied_tables(tmp_path, "table3b", 'delta: "+25.0"', 'delta: "+24.9"')
    numbers = Paper(tables)
    found = {finding.id: finding for finding in recompute(load_audit(AUDIT, numbers), numbers)}
    assert found["table3b/tsn+avg-sc-sepbn/delta"].verdict == Verdict.ROUNDING


def test_a_planted_average_outside_its_bounds(tmp_path):
    tables = copied_tables(tmp_path, "table8", 'hacs: "28.6"', 'hacs: "31.0"')
    found = {finding.id: finding for finding in build_audit(tmp_path / "out", tables=tables)}
    assert found["table8/tsn/verb/hacs"].recomputed == "26.2 to 30.56"


def test_pages(tmp_path):
    build_audit(tmp_path)
    page = (tmp_path / "audit.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| differs")]
    assert any("31.7%" in line for line in lines)
    assert page.index("| differs") < page.index("| rounding") < page.index("| unchecked") < page.index("| adds up")
    assert (tmp_path / "audit.tex").read_text(encoding="utf-8").isascii()
    frame = pd.read_csv(tmp_path / "audit.csv", dtype=str, keep_default_na=False)
    assert set(frame["verdict"]) == {Verdict.ADDS_UP, Verdict.DIFFERS, Verdict.ROUNDING, Verdict.UNCHECKED}
    assert len(frame) > 150


def test_numbers_of_the_csv_are_read_as_numbers(tmp_path):
    build_audit(tmp_path)
    frame = pd.read_csv(tmp_path / "audit.csv").set_index("id")
    assert pd.to_numeric(frame.loc[frame["words"].str.endswith("Avg.↑"), "difference"]).min() < 0
    single = frame["difference"].dropna()[lambda texts: ~texts.str.contains("and")]
    assert len(single) > 20 and pd.to_numeric(single, errors="coerce").notna().all()
    assert frame.loc["ssv2-videos", ["printed", "recomputed", "verdict"]].tolist() == ["22", "22.08", "adds up"]


SPEC = """\
    title: Audit
    place: here
    caption: Small.
    numbers:
      - {id: one, place: here, quote: one, printed: "5.5", from: "%s"}
"""


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("{table3a/tsn/top2}", "unknown number of the paper 'table3a/tsn/top2'; did you mean"),
        ("{table3a/tsn/tadaconv}", "holds no number but '-'"),
        ("{known/videos}", "unknown number 'videos'"),
        ("{table3a/tsn/top1} +", "not a sum"),
    ],
)
def test_faulty_specs(tmp_path, formula, message):
    spec = tmp_path / "audit.yaml"
    spec.write_text(textwrap.dedent(SPEC) % formula, encoding="utf-8")
    with pytest.raises(TadaError, match=message):
        build_audit(tmp_path, spec=spec)


def test_words_or_cells_and_not_both(tmp_path):
    spec = tmp_path / "audit.yaml"
    for place, new in (("quote: one, ", ""), ("quote: one", "quote: one, cells: one")):
        spec.write_text((textwrap.dedent(SPEC) % "5").replace(place, new), encoding="utf-8")
        with pytest.raises(TadaError, match=r"audit\.yaml: numbers\.0"):
            build_audit(tmp_path, spec=spec)


def test_a_typo_names_the_nearest_key(tmp_path):
    spec = tmp_path / "audit.yaml"
    spec.write_text((textwrap.dedent(SPEC) % "5").replace("quote:", "qoute:"), encoding="utf-8")
    with pytest.raises(TadaError, match="unknown key 'qoute'; did you mean 'quote'"):
        build_audit(tmp_path, spec=spec)


def test_unknown_tables_and_columns(tmp_path):
    for entry, message in (
        ("{table: tabel8, column: hacs, from: '1'}", "unknown table 'tabel8'; did you mean 'table8'"),
        ("{table: table8, column: hcas, from: '1'}", "unknown column 'hcas'; did you mean 'hacs'"),
    ):
        spec = tmp_path / "audit.yaml"
        spec.write_text(f"title: A\nplace: b\ncaption: c\ncolumns:\n  - {entry}\n", encoding="utf-8")
        with pytest.raises(TadaError, match=message):
            build_audit(tmp_path, spec=spec)
