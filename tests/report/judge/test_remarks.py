"""Remarks under tables of planted runs: order of rows and signs against counts made by hand, and the text's numbers."""

import re

import numpy as np
import pytest
from scipy import stats

from tada.report.judge import Verdict
from tada.report.judge.cells import fill
from tada.report.judge.remarks import order_of_rows, signs_of_differences
from tada.report.measure.results import Results
from tada.report.paper.tables import TABLES, load_table
from tada.runs.settings import Scale

MODELS = ("tsn", "tsn+lin-k1", "tsn+lin-k3", "tsn+tada")
SPEC = """\
    title: Table 0
    place: Nowhere
    caption: Four rows.
    columns:
      top1: {header: Top-1, metric: top1, dataset: ssv2}
      delta: {header: Δ, delta_of: top1}
    rows:
      - {model: tsn, cells: {top1: "32.0", delta: "-"}}
      - {model: tsn+lin-k1, base: tsn, cells: {top1: "37.5", delta: "+5.5"}}
      - {model: tsn+lin-k3, base: tsn, cells: {top1: "56.5", delta: "+24.5"}}
      - {model: tsn+tada, base: tsn, cells: {top1: "59.2", delta: "+27.2"}}
"""


def filled(plant, by_seed, samples=False):
    """The table of rows with these accuracies; with `samples`, the first of 400 videos are right."""
    plant.spec(SPEC)
    for seed, values in enumerate(by_seed):
        for model, value in zip(MODELS, values, strict=True):
            if value is not None and samples:
                plant.hits(model, np.arange(400) < 4 * value, seed)
            elif value is not None:
                plant.done(model, seed, top1=value)
    table = load_table("small", plant.specs)
    return table, fill(table, Results(plant.results, Scale.MINI, len(by_seed)))


def sentences(plant, by_seed, samples=False):
    """What is said of them in sentences alone."""
    table, cells = filled(plant, by_seed, samples)
    return [*map(str, order_of_rows(table, cells, Scale.MINI)), *signs_of_differences(table, cells)]


def test_the_papers_order(plant):
    order, signs = sentences(plant, [(20.0, 45.0, 70.0, 95.0)], samples=True)
    assert order == (
        "Top-1: 6 of 6 pairs of rows stand in the paper's order (rank correlation 1.00, 95% interval 1.00 to 1.00, "
        "4 rows), 6 of them beyond the noise."
    )
    assert signs == "Δ of Top-1: 3 of 3 differences to the base row have the paper's sign."


def test_what_is_turned_around_is_named(plant, steady):
    order, signs = sentences(plant, [(40.0, 30.0, 95.0, 94.0)], samples=True)
    # Ranks 2 1 4 3 against 1 2 3 4: 1 - 6 * 4 / (4 * 15)
    assert "4 of 6 pairs of rows stand in the paper's order (rank correlation 0.60, 95% interval 0.60 to " in order
    assert "4 of them beyond the noise. 2 pairs do not, 1 beyond the noise: " in order
    assert "tsn+lin-k1 > tsn (paper +5.5, here −10.0 [−13.0, −7.0]) fails" in order
    # 4 of 400 videos to 0: as with McNemar's exact test, no decision
    assert "tsn+tada > tsn+lin-k3 (paper +2.7, here −1.0 [−2.2, +0.2]) undecided." in order
    assert "2 of 3" in signs
    assert "not: tsn+lin-k1 (paper +5.5, here −10.0)" in signs


def test_a_negative_correlation_has_the_minus_sign_of_all_numbers(plant):
    order, _ = sentences(plant, [(95.0, 70.0, 45.0, 20.0)], samples=True)
    assert "(rank correlation −1.00, 95% interval −1.00 to −1.00, 4 rows)" in order


def test_noise_of_training(plant):
    """Thirteen points of 400 videos are beyond the videos' noise, and inside that of two single trainings."""
    order, _ = sentences(plant, [(40.0, 27.0, 95.0, 96.0)], samples=True)
    assert "tsn+lin-k1 > tsn (paper +5.5, here −13.0 [−24.7, −1.3]) undecided among 6 pairs (alone: fails)" in order
    seeds = [(40.0, 27.0, 95.0, 96.0), (41.0, 28.0, 95.5, 96.0), (40.5, 26.5, 95.0, 96.0)]
    order, _ = sentences(plant, seeds, samples=True)
    assert "tsn+lin-k1 > tsn (paper +5.5, here −13.3 [" in order
    assert "1 pair does not, 1 beyond the noise: tsn+lin-k1 > tsn" in order


@pytest.mark.parametrize(("others", "decided"), [((39.0, 39.5), False), ((None, None), True)])
def test_pairs_are_decided_together(plant, steady, others, decided):
    """Six videos to none decide alone, as McNemar's test says (p = 0.03), and not among six pairs."""
    order, *_ = order_of_rows(*filled(plant, [(40.0, 38.5, *others)], samples=True), Scale.MINI)
    pair = next(one for one in order.pairs if one.name == "tsn+lin-k1 > tsn")
    assert (pair.margin, pair.alone) == ("−1.5 [−2.9, −0.1]", Verdict.FAILS)
    assert pair.said == ("fails" if decided else "undecided among 6 pairs (alone: fails)")


def test_an_order_has_its_rows_and_all_their_pairs(plant, steady):
    (order,) = order_of_rows(*filled(plant, [(40.0, 30.0, 95.0, 94.0)], samples=True), Scale.MINI)
    assert [row.row for row in order.rows] == ["tsn+tada", "tsn+lin-k3", "tsn+lin-k1", "tsn"]
    verdicts = {pair.name: str(pair.verdict) for pair in order.pairs}
    clear = {f"{better} > {worse}" for better in ("tsn+lin-k3", "tsn+tada") for worse in ("tsn", "tsn+lin-k1")}
    assert verdicts == dict.fromkeys(clear, "holds") | {
        "tsn+lin-k1 > tsn": "fails",
        "tsn+tada > tsn+lin-k3": "undecided",
    }
    assert [pair.name for pair in order.turned] == ["tsn+lin-k1 > tsn", "tsn+tada > tsn+lin-k3"]


def test_noise_that_nothing_tells_is_said_to_be_unknown(plant):
    order, _ = sentences(plant, [(40.0, 30.0, 95.0, 96.0)])
    assert "(rank correlation 0.80, noise unknown, 4 rows)" in order
    assert "tsn+lin-k1 > tsn (paper +5.5, here −10.0, noise unknown) undecided" in order


@pytest.mark.parametrize("equal", [50.0])
def test_all_equal(plant, equal):
    order, signs = sentences(plant, [(equal,) * 4])
    assert "0 of 6 pairs" in order
    assert "undefined, since all are equal" in order
    assert "0 of 3" in signs


def test_missing_rows_are_left_out(plant):
    order, signs = sentences(plant, [(40.0, None, 90.0, 95.0)])
    assert order == (
        "Columns of fewer than four measured rows: 3 of 3 pairs of rows stand in the paper's order, 0 of them beyond "
        "the noise."
    )
    assert "2 of 2" in signs


def test_pairs_of_several_short_columns_say_what_they_compare(plant):
    plant.spec(
        """\
    title: Table 0
    place: Nowhere
    caption: Two rows.
    columns:
      top1: {header: Top-1, metric: top1, dataset: ssv2}
      top5: {header: Top-5, metric: top5, dataset: ssv2}
    rows:
      - {model: tsn, cells: {top1: "32.0", top5: "60.0"}}
      - {model: tsn+tada, cells: {top1: "59.2", top5: "80.0"}}
    """
    )
    plant.done("tsn", top1=40.0, top5=80.0)
    plant.done("tsn+tada", top1=30.0, top5=90.0)
    table = load_table("small", plant.specs)
    (order,) = order_of_rows(table, fill(table, Results(plant.results, Scale.MINI, 1)), Scale.MINI)
    assert [pair.name for pair in order.pairs] == ["tsn+tada > tsn, ssv2 top1", "tsn+tada > tsn, ssv2 top5"]


def noise_of(plant, metrics):
    """What a page of a row with these metrics of TSN says of their noise."""
    columns = "\n".join(f"  {name}: {{header: {name}, metric: {name}, dataset: ssv2}}" for name in metrics)
    cells = ", ".join(f'{name}: "50.0"' for name in metrics)
    row = f"rows:\n  - {{model: tsn, cells: {{{cells}}}}}"
    plant.spec(f"title: T\nplace: Nowhere\ncaption: A row.\ncolumns:\n{columns}\n{row}")
    plant.build(seeds=5)
    (line,) = [line for line in plant.text().splitlines() if "**Noise**" in line]
    return line.partition("trainings; ")[2].rstrip(".").replace("\\", "")


def test_the_noise_of_many_metrics_is_a_range(plant):
    """Each as wide as on a page of two metrics, where both are named."""
    for seed in range(5):
        plant.hits("tsn", np.arange(100) % (2 + seed % 2) == 0, seed, labels=np.arange(100) % 5)
    few, many = (
        noise_of(plant, metrics) for metrics in (("top5", "class_1"), ("top1", "class_1", "mean_class", "top5"))
    )
    top5, category = re.fullmatch(r"ssv2, 5 seeds: top5 ±([\d.]+) at most, class_1 ±([\d.]+) at most", few).groups()
    assert float(top5) < float(category)
    assert many == f"ssv2, 5 seeds: from ±{top5} at most (top5) to ±{category} at most (class_1), 4 metrics"


def test_nothing_measured(plant):
    assert sentences(plant, [(None,) * 4]) == []


GAINS = {
    "slowonly+tada": ("slowonly", 1.0, 2.0),
    "slowfast-4x16+tada": ("slowfast-4x16", 1.5, 3.0),
    "slowfast-8x8+tada": ("slowfast-8x8", 0.5, 2.5),
    "r2plus1d+tada-2d": ("r2plus1d", 3.0, -1.0),
    "r2plus1d+tada-2d-1d": ("r2plus1d", 4.0, 1.0),
    "r3d+tada": ("r3d", 2.0, 5.5),
}
"""Base network, and what is added to its 50% on Kinetics-400 and on Something-Something-V2."""


def build(plant, name, **how):
    plant.build(name, specs=TABLES, **how)
    lines = plant.text(name).splitlines()
    return [line for line in lines if line.startswith(("- **Text**", "- **Average**"))]


def plant_gains(plant, metrics, seed=0, extra=0.0, skip=()):
    for model, (base, *gains) in GAINS.items():
        for (dataset, name), gain in zip(metrics, gains, strict=True):
            plant.done(base, seed, dataset=dataset, **{name: 50.0})
            if model not in skip:
                plant.done(model, seed, dataset=dataset, **{name: 50.0 + gain + extra})


TOP1 = (("k400", "top1"), ("ssv2", "top1"))


def test_average_improvements_of_table_2(plant):
    plant_gains(plant, TOP1)
    (line,) = build(plant, "table2")
    assert "“with an average improvement of 1.3% and 2.8% respectively on K400 and SSV2”" in line
    assert "prints 1.3 and 2.8" in line
    assert "all six rows: here +2.00 and +2.17, by the paper's rows +1.39 and +2.66" in line
    assert "TAdaConv (2d+1d): here +1.80 and +2.80, by the paper's rows +1.36 and +2.83" in line  # R(2+1)D: 4.0, 1.0
    assert "TAdaConv (2d): here +1.60 and +2.40, by the paper's rows +1.32 and +2.64" in line  # R(2+1)D: 3.0, -1.0
    for kind in ("html", "tex"):
        assert "average improvement of 1.3" in plant.text("table2", kind)


def test_an_average_has_an_interval_in_which_each_network_counts_once(plant):
    """R(2+1)D is the base of two of six rows: its training is a sixth of the average twice, not two other ones."""
    generator, right = np.random.default_rng(0), {}
    plant_gains(plant, TOP1)
    for model, (base, *_) in GAINS.items():
        for name, count in ((base, 200), (model, 220)):
            if name not in right:
                right[name] = generator.permutation(np.arange(400) < count)
                plant.hits(name, right[name])
    (line,) = build(plant, "table2")
    weights = dict.fromkeys(GAINS, 1 / 6)
    for base, *_ in GAINS.values():
        weights[base] = weights.get(base, 0) - 1 / 6
    by_video = 100 * sum(weight * right[name] for name, weight in weights.items())
    videos = by_video.var(ddof=1) / 400 + 2 * (100 * max(map(abs, weights.values())) / 400) ** 2
    training = [3.5**2 * weight**2 for weight in weights.values()]
    freedom = (videos + sum(training)) ** 2 / (videos**2 / 399 + sum(one**2 for one in training) / 4)
    half = stats.t.ppf(0.975, freedom) * (videos + sum(training)) ** 0.5
    assert f"all six rows: here +2.00 and +5.00 [−{half - 5:.2f}, +{5 + half:.2f}], by the paper's rows" in line


def test_seeds_are_averaged(plant):
    plant_gains(plant, TOP1)
    plant_gains(plant, TOP1, seed=1, extra=1.0)
    (line,) = build(plant, "table2", seeds=2)
    assert "all six rows: here +2.50 and +2.67, by the paper's rows" in line  # without videos, the noise is unknown


def test_a_page_says_how_far_its_accuracies_may_be_off_and_why(plant):
    sentences(plant, [(40.0, 50.0, 90.0, 95.0)], samples=True)
    plant.build()
    videos = 100 * 0.5 * 0.5 * 100 * (400 / 399) / 400 + 2 * (100 / 400) ** 2  # widest at 50%
    freedom = (videos + 12.25) ** 2 / (videos**2 / 399 + 12.25**2 / 4)
    half = stats.t.ppf(0.975, freedom) * (videos + 12.25) ** 0.5
    text = plant.text()
    assert f"other test videos and other trainings; ssv2, 1 seed: top1 ±{half:.1f} at most." in text
    assert "**Training**: 3.5 points assumed, as if from 4 degrees of freedom. With five seeds" in text


def test_an_average_that_lacks_a_run_is_pending_and_the_others_are_there(plant):
    plant_gains(plant, TOP1, skip=["r2plus1d+tada-2d"])
    (line,) = build(plant, "table2")
    assert "all six rows: here pending, by the paper's rows +1.39 and +2.66" in line
    assert "one row a base model, R(2+1)D with TAdaConv (2d+1d): here +1.80 and +2.80" in line


def test_average_improvements_of_table_a2_by_column(plant):
    metrics = [f"top{k}_{what}" for k in (1, 5) for what in ("action", "verb", "noun")]
    for model, (base, gain, _) in GAINS.items():
        plant.done(base, dataset="ek100", **dict.fromkeys(metrics, 50.0))
        plant.done(model, dataset="ek100", **{name: 50.0 + gain * (name == "top1_verb") for name in metrics})
    first, second = build(plant, "tableA2")
    table = {row.id: row.cells["top1_verb"].reported for row in load_table("tableA2").rows}
    pairs = [(model, base) for model, (base, *_) in GAINS.items() if model in table]
    paper = sum(float(table[model]) - float(table[base]) for model, base in pairs) / len(pairs)
    here = sum(GAINS[model][1] for model, _ in pairs) / len(pairs)
    assert f"Top-1 Verb here +{here:.2f}, by the paper's rows +{paper:.2f} ({len(pairs)} differences)" in first
    assert "Top-1 Act.↑ here 0.00" in first and "Top-5 Noun here 0.00" in second


@pytest.mark.parametrize(
    ("name", "dataset", "metric", "expected"),
    [
        ("table6", "ek100", "top1_action", "prints 11.64): here +8.25, by the paper's rows +11.64."),
        ("table3b", "ssv2", "top1", "prints 31.8): here +8.2, by the paper's rows +31.8."),
    ],
)
def test_a_difference_of_two_rows(plant, name, dataset, metric, expected):
    plant.done("tsn", dataset=dataset, **{metric: 40.0})
    plant.done("tada2d", dataset=dataset, **{metric: 48.25})
    assert expected in build(plant, name)[0]


def test_tables_of_which_the_text_says_no_number_have_no_such_line(plant):
    assert build(plant, "table5") == build(plant, "table4") == []


def test_released_checkpoints_were_not_compared_in_the_text(plant):
    assert build(plant, "table2", scale="later-release") == []
