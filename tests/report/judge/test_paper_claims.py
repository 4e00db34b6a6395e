"""Claims of paper/claims.yaml on planted results: what makes each of them hold, fail, or stay undecided."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tada.complexity import measure_operation
from tada.report.judge import Verdict
from tada.report.judge.sentences import judge_claims, papers_margin
from tada.report.measure import values as measuring
from tada.report.measure.results import Results
from tada.report.paper.printed import evaluate_formula
from tada.report.paper.quantities import Metric
from tada.report.paper.sentences import load_claims
from tada.report.paper.tables import Paper
from tada.runs.settings import Scale

SPEC, PAPER = load_claims(), Paper()
CLAIMS = {claim.id: claim for claim in SPEC.claims}
HOLDS, FAILS, UNDECIDED = Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED
SEEDS = 3


def judged(plant, name, scale="mini"):
    alone = replace(SPEC, claims=(CLAIMS[name],))
    return judge_claims(alone, Results(plant.results, Scale(scale), SEEDS))[0]


def plant_shares(plant, shares, dataset="ssv2", scale="mini", videos=400):
    """Runs that get the first so many percent of the videos right, in every seed."""
    for model, share in shares.items():
        right = np.arange(videos) < round(share * videos / 100)
        for seed in range(SEEDS):
            plant.hits(model, right, seed, scale, dataset)


RISING = ["tsn+tada-1of64", "tsn+tada-1of32", "tsn+tada-1of16", "tsn+tada-1of4", "tsn+tada-1of2", "tsn+tada"]


@pytest.mark.parametrize(
    ("name", "dataset", "holds", "fails"),
    [
        ("temporal-convolutions-ssv2", "ssv2", ["r2plus1d", "r2plus1d+tada-2d", "r2plus1d+tada-2d-1d"], []),
        ("temporal-convolutions-k400", "k400", ["r2plus1d", "r2plus1d+tada-2d", "r2plus1d+tada-2d-1d"], []),
        ("same-frames-8", "ssv2", ["tsm", "tada2d"], []),
        ("same-frames-16", "ssv2", ["tsm-16f", "tada2d-16f"], []),
        ("proportion", "ssv2", RISING, []),
        ("global-context", "ssv2", ["tsn+lin-k1", "tsn+nonlin-k1-1", "tsn+lin-k1-g", "tsn+nonlin-k1-1-g"], []),
    ],
)
def test_orders(plant, name, dataset, holds, fails):
    """From worst to best; the other way round the claim fails, and with all equal it is open."""
    more = ["r3d", "r3d+tada"] if name.startswith("temporal") else []
    for order, verdict in ((holds, HOLDS), (holds[::-1], FAILS)):
        plant_shares(plant, {model: 30 + 10 * place for place, model in enumerate(order)}, dataset)
        plant_shares(plant, {model: 30 + 10 * place for place, model in enumerate(more)}, dataset)
        assert judged(plant, name).verdict == verdict
    plant_shares(plant, dict.fromkeys(holds + more, 50), dataset)
    assert judged(plant, name).verdict == UNDECIDED


@pytest.mark.parametrize(
    ("name", "base", "model", "gain"),
    [
        ("linear-size", "tsn", "tsn+lin-k1", 5.5),
        ("local-context-size", "tsn+lin-k1", "tsn+lin-k3", 19),
        ("overall-size", "tsn", "tada2d", 31.8),
        ("res2-size", "tsn", "tsn+tada-res2", 17.55),
        ("per-category-size", "tsn", "tada2d", 30.35),
    ],
)
def test_sizes(plant, name, base, model, gain):
    """Two points may be missing, and not ten; at the edge it is open."""
    plant_shares(plant, {base: 40}, scale="paper", videos=10_000)
    for missed, verdict in ((0, HOLDS), (2, UNDECIDED), (10, FAILS), (-10, FAILS)):
        plant_shares(plant, {model: 40 + gain - missed}, scale="paper", videos=10_000)
        assert judged(plant, name, "paper").verdict == verdict
    assert judged(plant, name).verdict == Verdict.ELSEWHERE


FIVE = [
    "slowonly+tada",
    "slowfast-4x16+tada",
    "slowfast-8x8+tada",
    "r2plus1d+tada-2d-1d",
    "r3d+tada",
]


@pytest.mark.parametrize(("name", "dataset", "mean"), [("ssv2", "ssv2", 2.8), ("k400", "k400", 1.3)])
def test_the_average_takes_the_same_row_of_r2plus1d_on_both(plant, name, dataset, mean):
    claims = [CLAIMS[f"plug-in-{kind}-{name}"] for kind in ("average", "size")]
    assert {model for claim in claims for _, model in claim.runs if model.startswith("r2plus1d+")} == {FIVE[3]}
    bases = ["slowonly", "slowfast-4x16", "slowfast-8x8", "r2plus1d", "r3d"]
    plant_shares(plant, dict.fromkeys(bases, 60.0), dataset, "paper", 10_000)
    for missed, verdict in ((0, HOLDS), (0.5, UNDECIDED), (-10, FAILS)):
        plant_shares(plant, dict.fromkeys(FIVE, 60 + mean - missed), dataset, "paper", 10_000)
        assert judged(plant, f"plug-in-size-{name}", "paper").verdict == verdict


def test_published_peers(plant):
    for share, verdict in ((80, HOLDS), (62.7, UNDECIDED), (20, FAILS)):
        plant_shares(plant, {"tada2d": share, "tada2d-16f": 80}, scale="paper", videos=1_000)
        assert judged(plant, "published-peers-ssv2", "paper").verdict == verdict
    for share, verdict in ((90, HOLDS), (77.5, UNDECIDED), (70, FAILS)):
        plant_shares(plant, {"tada2d": share, "tada2d-16f": share}, "k400", "paper", videos=1_000)
        assert judged(plant, "published-peers-k400", "paper").verdict == verdict


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("published-peers-ssv2", {"62.7": "table5/tanet-8/top1", "65.1": "table5/tea/top1"}),
        ("published-peers-k400", {"77.5": "table7/tdn-16/top1"}),
        ("published-peers-ek100", {"38.54": "table6/slowfast/top1_action"}),
    ],
)
def test_published_numbers_are_the_tables_and_the_best_of_their_kind(name, numbers):
    paper, texts = PAPER, " ".join(statement.comparison.text for statement in CLAIMS[name].holds)
    for text, cell in numbers.items():
        assert text in texts and paper.printed(cell).text == text
    peers = {8: ("tsm-8", "smallbig-8", "tanet-8"), 16: ("tsm-16", "stm", "smallbig-16", "tanet-16", "tea")}
    for rows, best in zip(peers.values(), ("62.7", "65.1"), strict=True):
        assert max(paper.printed(f"table5/{row}/top1").value for row in rows) == Decimal(best)


def actions(plant, model, both, pairs=0, joint=0, others=0, scale="mini"):
    """Segments that both ways of scoring get right, that pairs in each view do, fused views do, and neither does."""
    verbs, nouns = [[0.95, 0.05], [0.3, 0.7]], [[0.3, 0.7], [0.9, 0.1]]
    summed = sum(np.outer(verb, noun) for verb, noun in zip(verbs, nouns, strict=True))
    assert np.unravel_index(summed.argmax(), (2, 2)) == (0, 1)  # while the mean views have verb 0 and noun 0
    assert (np.mean(verbs, 0).argmax(), np.mean(nouns, 0).argmax()) == (0, 0)
    certain = [[1.0, 0.0], [1.0, 0.0]]
    counts = (both, pairs, joint, others)
    labels = np.repeat([0, 1, 0, 1], counts)
    views = [np.repeat(np.array([certain, mixed, mixed, certain]), counts, axis=0) for mixed in (verbs, nouns)]
    arrays = {"views_verb": views[0], "views_noun": views[1], "labels_verb": 0 * labels, "labels_noun": labels}
    videos = np.array([f"P01_{n:05d}_0" for n in range(len(labels))])
    for seed in range(SEEDS):
        np.savez(plant.done(model, seed, scale, "ek100").file("scores.npz"), videos=videos, **arrays)


def test_actions_by_pairs(plant):
    for pairs, joint, verdict in ((300, 20, HOLDS), (100, 100, UNDECIDED), (20, 300, FAILS)):
        for model in ("tsn", "tada2d"):
            actions(plant, model, both=300, pairs=pairs, joint=joint, others=100)
        assert judged(plant, "action-pairs").verdict == verdict


def test_gain_and_peers_in_actions(plant):
    actions(plant, "tsn", both=2500, others=7500, scale="paper")
    for right, size, peers in ((3664, HOLDS, UNDECIDED), (3864, UNDECIDED, UNDECIDED), (5500, FAILS, HOLDS)):
        actions(plant, "tada2d", both=right, others=10_000 - right, scale="paper")
        assert judged(plant, "ek100-size", "paper").verdict == size
        if peers != UNDECIDED:
            assert judged(plant, "published-peers-ek100", "paper").verdict == peers
    for right, verdict in ((3854, UNDECIDED), (2500, FAILS)):
        actions(plant, "tada2d", both=right, others=10_000 - right, scale="paper")
        assert judged(plant, "published-peers-ek100", "paper").verdict == verdict


def test_similar_with_and_without_shortcut(plant):
    plant_shares(plant, dict.fromkeys(["tsn+avg-sc", "tsn+tada+avg", "tsn+tada+avg-sc"], 50), "ssv2", "paper", 10_000)
    for without, verdict in ((50, HOLDS), (52, UNDECIDED), (48, UNDECIDED), (60, FAILS), (40, FAILS)):
        plant_shares(plant, {"tsn+avg": without}, scale="paper", videos=10_000)
        assert judged(plant, "shortcut-similar", "paper").verdict == verdict


NAMED = {0: 0.785, 32: 0.785, 30: 0.7425, 44: 0.6625, 41: 0.66}
OTHERS = (1, 2, 3, 4, 5, 6)
"""Shares of 400 videos near the paper's gains, and categories of which the paper says nothing."""


def plant_categories(plant, shares):
    """TSN gets no video right, and TAda2D these shares of the named classes' 400 videos."""
    labels = np.repeat([*NAMED, *OTHERS], 400)
    right = np.tile(np.arange(400) / 400, 5 + len(OTHERS)) < np.array([shares.get(label, 0.0) for label in labels])
    for seed in range(SEEDS):
        plant.hits("tada2d", right, seed, "paper", labels=labels)
        plant.hits("tsn", np.zeros(len(labels), bool), seed, "paper", labels=labels)


def test_categories(plant):
    others = dict.fromkeys(OTHERS, 0.9)
    edge = NAMED | {0: 0.635}  # 78.5 - 15
    for shares, gain, size in (
        (NAMED, HOLDS, HOLDS),
        (edge, HOLDS, UNDECIDED),
        (others, FAILS, FAILS),
        ({}, UNDECIDED, FAILS),
    ):
        plant_categories(plant, shares)
        assert judged(plant, "categories", "paper").verdict == gain
        assert judged(plant, "categories-size", "paper").verdict == size
    assert judged(plant, "categories").verdict == Verdict.ELSEWHERE


def test_a_class_without_videos(plant):
    plant_shares(plant, {"tada2d": 50, "tsn": 50}, scale="paper", videos=10)
    one = judged(plant, "categories", "paper")
    assert one.verdict == Verdict.FAILED
    assert "no tested video is of class 30" in " ".join(map(str, one.problems))


@pytest.mark.parametrize("dataset", ["ssv2", "k400"])
@pytest.mark.parametrize(("claim", "column"), [("fitting", "train_top1"), ("generality", "val_top1")])
def test_curves_of_either_dataset(plant, dataset, claim, column):
    low, high = [10, 10, 10, 10], [60, 70, 80, 90]
    late = [10, 70, 80, 90]  # as TSN in the first quarter
    for tada2d, tsn, verdict in ((high, low, HOLDS), (late, low, UNDECIDED), (low, high, FAILS)):
        for model, numbers in (("tada2d", tada2d), ("tsn", tsn)):
            other = {"train_top1", "val_top1"} - {column}
            for seed in range(SEEDS):
                columns = {"epoch": [1, 2, 3, 4], column: numbers, **{name: [1.0] * 4 for name in other}}
                pd.DataFrame(columns).to_csv(plant.done(model, seed, dataset=dataset).file("curves.csv"), index=False)
        assert judged(plant, f"{claim}-{dataset}").verdict == verdict


@pytest.mark.parametrize(("gflops", "verdict"), [("0.0199", HOLDS), ("0.02", FAILS), ("0.13", FAILS)])
def test_extra_gflops_as_table_1_counts(plant, monkeypatch, gflops, verdict):
    monkeypatch.setattr(measuring, "calibration_gflops", lambda model: Decimal(gflops))
    assert judged(plant, "extra-gflops").verdict == verdict


@pytest.mark.parametrize(("macs", "verdict"), [(19_999_999, HOLDS), (20_000_000, FAILS)])
def test_extra_gflops_as_table_2_counts(plant, macs, verdict):
    for _, *models in {(one.models[0], *one.models) for one in CLAIMS["extra-gflops-table2"].quantities}:
        plant.complexity(models[0], 1, 10**9 + (macs if "+tada" in models[0] else 0))
    assert judged(plant, "extra-gflops-table2").verdict == verdict


def test_every_operation_of_table_1_is_compared(plant):
    """By the printed formulas, at footnote 2's sizes: dearer than three of the five."""
    one = judged(plant, "more-efficient")
    sizes = {"Co": 64, "Ci": 64, "k": 3, "T": 8, "H": 56, "W": 56, "r": 4}
    tadaconv = evaluate_formula("Co × Ci × k² × THW + Ci × THW + 2 × Ci × Ci/r × k × T + Co × Ci × k² × T", sizes)
    others = [
        "Co × Ci × k × THW",
        "Co × Ci × k² × THW",
        "Co × Ci × (k² + k) × THW",
        "Co × Ci × k³ × THW",
        "Ci × k² × THW",
    ]
    margins = [(evaluate_formula(other, sizes) - tadaconv) / 1e9 for other in others]
    assert [margin.estimate.value for margin in one.margins] == pytest.approx(margins)
    assert [margin > 0 for margin in margins] == [False, False, True, True, False]
    assert one.verdict == FAILS
    printed = [papers_margin(statement, PAPER) for statement in one.claim.holds]
    assert [float(own.value) for own in printed] == pytest.approx(margins, abs=1e-4)


@pytest.mark.parametrize(("macs", "verdict"), [(43, HOLDS), (50, FAILS)])
def test_cheaper_than_temporal_convolutions(plant, macs, verdict):
    plant.complexity("tada2d", 1, macs * 10**9)
    plant.complexity("r2plus1d", 1, 49 * 10**9)
    one = judged(plant, "cheaper-than-temporal-convolutions")
    setting = {"Co": 64, "Ci": 64, "k": 3, "T": 8, "H": 56, "W": 56, "r": 4}
    macs_of = {name: measure_operation(name, setting).macs for name in ("tadaconv", "spatial", "temporal")}
    extra = macs_of["tadaconv"] - macs_of["spatial"]
    assert one.margins[0].estimate.value == pytest.approx((macs_of["temporal"] - extra) / 1e9)
    assert one.verdict == verdict


def test_what_no_training_can_change_is_known():
    built = {name for name, claim in CLAIMS.items() if not claim.runs}
    assert built == {
        "start-tada2d",
        "start-plug-in",
        "magnitude",
        "extra-gflops",
        "extra-gflops-table2",
        "more-efficient",
        "cheaper-than-temporal-convolutions",
    }


def test_claims_are_on_trained_networks_or_on_how_they_are_built_and_not_on_both():
    for claim in CLAIMS.values():
        kinds = {bool(quantity.runs) for quantity in claim.quantities}
        assert len(kinds) == 1, claim.id


def test_what_cannot_be_judged_says_why():
    places = {one.place: one for one in SPEC.unjudged}
    assert "too few to decide" in places["Figure A3's caption"].why
    assert all(one.words.startswith("“") for one in SPEC.unjudged)


def test_words_of_cells_are_told_from_the_papers():
    for name in ("non-linear-kernels", "calibration-alone", "ensemble-ssv2", "ensemble-k400", "global-context"):
        assert CLAIMS[name].words.startswith("Cells of Table ")
    assert CLAIMS["overall"].words.startswith("“") and CLAIMS["overall"].words.endswith("31.8%”")


def test_cells_that_claims_read_are_the_tables():
    """Numbers in the words of a claim that is read from cells stand in the cells that it compares."""
    for claim in CLAIMS.values():
        if claim.words.startswith("Cells of"):
            printed = {
                str(cell.number.value)
                for _, _, cell in PAPER.all_cells()
                if isinstance(cell.quantity, Metric) and cell.quantity in claim.quantities and cell.number
            }
            named = {word.strip(",.").removeprefix("+") for word in claim.words.split() if "." in word.strip(".,")}
            numbers = {word for word in named if word.replace(".", "").isdigit()}
            assert numbers and numbers <= printed | {"27.2", "25.0"}, claim.id
