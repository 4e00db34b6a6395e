"""Tables from planted results: every cell's value, difference, verdict and source."""

import numpy as np
import pytest

from tada.base import TadaError
from tada.data.clips import IGNORED


def both(plant, tsn, tada2d, scale="paper", seed=0):
    plant.done("tsn", seed, scale, top1=tsn, top5=50.0)
    plant.done("tada2d", seed, scale, top1=tada2d, top5=80.0)


def test_values_differences_and_verdicts(small):
    both(small, 32.04, 63.2)
    assert small.build(scale="paper") == []
    cells = small.cells()
    top1 = cells["tada2d", "top1"]
    assert (top1["kind"], top1["reported"], top1["reproduced"], top1["n"]) == ("metric", "63.8", "63.2", "1")
    assert (top1["difference"], top1["tolerance"], top1["verdict"]) == ("-0.6", "1.5", "unclear")
    # Two trainings of 0.4 points each, as if of 20 degrees of freedom
    assert [float(top1[end]) for end in ("low", "high")] == pytest.approx([-0.6 - 1.18, -0.6 + 1.18], abs=0.01)
    assert "would be decided with 2 seeds" in small.text()
    assert "matches where its 90% interval" in small.text() and "within 1.5 points" in small.text()
    assert top1["source"].endswith("results/paper/ssv2/tada2d/seed0/metrics.json")
    assert cells["tsn", "top1"]["verdict"] == "match"
    delta = cells["tada2d", "delta"]
    assert (delta["reproduced"], delta["difference"], delta["verdict"]) == ("31.16", "-0.64", "unclear")
    assert cells["tsn", "delta"]["kind"] == "given"
    assert (cells["peer", "top1"]["kind"], cells["peer", "top1"]["verdict"]) == ("cited", "")


def test_counts_match_at_printed_digits_at_any_scale(small):
    both(small, 40.0, 50.0, "mini")
    small.build()
    cells = small.cells()
    assert (cells["tsn", "params"]["reproduced"], cells["tsn", "params"]["verdict"]) == ("23.149999", "match")
    assert (cells["tada2d", "params"]["reproduced"], cells["tada2d", "params"]["verdict"]) == ("27.549999", "match")
    small.complexity("tada2d", 27_550_001, 10**9)
    small.build()
    assert small.cells()["tada2d", "params"]["verdict"] == "off"
    assert "27.550M" in small.text()


def test_mini_gives_no_verdict_on_accuracies(small):
    both(small, 32.0, 63.8, "mini")
    small.build()
    assert {small.cells()[key]["verdict"] for key in (("tsn", "top1"), ("tada2d", "top1"), ("tada2d", "delta"))} == {
        "mini"
    }
    assert "never levels" in small.text()
    assert "Verdicts" not in small.text()
    assert small.cells()["tada2d", "top1"]["tolerance"] == ""


def test_seeds_give_mean_and_deviation(small):
    for seed, (tsn, tada2d) in enumerate([(32.0, 63.0), (33.0, 64.0), (34.0, 66.0)]):
        both(small, tsn, tada2d, seed=seed)
    assert small.build(scale="paper", seeds=3) == []
    cells = small.cells()
    assert (cells["tsn", "top1"]["reproduced"], cells["tsn", "top1"]["std"], cells["tsn", "top1"]["n"]) == (
        "33",
        "1",
        "3",
    )
    # Differences are taken seed by seed: 31, 31, 32.
    assert float(cells["tada2d", "delta"]["reproduced"]) == pytest.approx(94 / 3)
    assert float(cells["tada2d", "delta"]["std"]) == pytest.approx(3**-0.5)
    assert "33.0 ± 1.0" in small.text()
    assert "+31.3 ± 0.6" in small.text()


def test_a_failed_run_is_a_cell_and_the_rest_is_there(small):
    small.done("tsn", top1=40.0)
    small.failed("tada2d", "Traceback (most recent call last):\n  File x\nRuntimeError: loss is NaN at step 3\n")
    (problem,) = small.build()
    assert problem.startswith("ssv2/tada2d seed 0: failed: RuntimeError: loss is NaN at step 3 (log: ")
    cells = small.cells()
    assert cells["tada2d", "top1"]["verdict"] == cells["tada2d", "delta"]["verdict"] == "failed"
    assert cells["tada2d", "top1"]["source"].endswith("mini/ssv2/tada2d/seed0/log.txt")
    assert cells["tada2d", "params"]["verdict"] == "match"
    assert cells["tsn", "top1"]["reproduced"] == "40"
    page = small.text()
    assert "[failed¹]: ../results/mini/ssv2/tada2d/seed0/log.txt" in page
    assert "¹ ssv2/tada2d seed 0: failed: RuntimeError: loss is NaN at step 3" in page
    assert "RuntimeError: loss is NaN" in small.text(kind="tex")


def test_missing_runs_are_pending(small):
    assert small.build() == [f"ssv2/{model} seed 0: pending: not run yet" for model in ("tsn", "tada2d")]
    cells = small.cells()
    assert cells["tada2d", "delta"]["verdict"] == "pending"
    assert cells["tada2d", "delta"]["reproduced"] == ""
    assert small.text().count("pending: not run yet") == 1  # one note for all of them


def test_some_seeds_are_shown_and_the_others_named(small):
    both(small, 32.0, 63.0)
    both(small, 33.0, 64.0, seed=1)
    small.failed("tada2d", "out of memory", seed=2, scale="paper")
    small.done("tsn", 2, "paper", top1=34.0)
    (problem,) = small.build(scale="paper", seeds=3)
    assert problem.startswith("ssv2/tada2d seed 2: failed: out of memory")
    assert (small.cells()["tada2d", "top1"]["n"], small.cells()["tada2d", "top1"]["reproduced"]) == ("2", "63.5")
    assert small.cells()["tada2d", "delta"]["reproduced"] == "31"
    assert "2 of 3 seeds; ssv2/tada2d seed 2: failed: out of memory" in small.text()


def test_results_of_another_recipe_do_not_count(small):
    both(small, 32.0, 63.0, "mini")
    outcome = small.results / "mini/ssv2/tada2d/seed0/outcome.json"
    outcome.write_text(outcome.read_text().replace('"signature": "', '"signature": "0'))
    assert small.build() == ["ssv2/tada2d seed 0: pending: its results are of another recipe or network"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), "metrics.json is missing"),
        (lambda file: file.write_text("{"), "metrics.json: cannot be read as JSON"),
        (
            lambda file: file.write_text(file.read_text().replace('"top1"', '"top2"')),
            "metrics.json: its content does not give its checksum",
        ),
    ],
)
def test_a_finished_run_without_usable_metrics_is_failed(small, damage, message):
    both(small, 32.0, 63.0, "mini")
    damage(small.results / "mini/ssv2/tada2d/seed0/metrics.json")
    (problem,) = small.build()
    assert "ssv2/tada2d seed 0: failed" in problem
    assert message in problem
    assert small.cells()["tada2d", "top1"]["verdict"] == "failed"


def test_missing_complexity_is_pending(small):
    both(small, 32.0, 63.0, "mini")
    (small.results / "complexity/tsn/400x256.json").unlink()
    assert small.build() == ["complexity of tsn (400 classes, 256 pixels): pending: not measured yet"]
    assert small.cells()["tsn", "params"]["verdict"] == "pending"


ENSEMBLE = """\
    title: Table 0
    place: Nowhere
    caption: Two networks together.
    columns:
      gflops: {header: GFLOPs, complexity: gflops, classes: 400, resolution: 256}
      top1: {header: Top-1, metric: top1, dataset: ssv2}
    rows:
      - id: both
        ensemble: [tada2d, tada2d-16f]
        cells: {gflops: 3.5×30, top1: "75.0"}
"""


def test_an_ensemble_sums_scores_and_flops(plant):
    plant.spec(ENSEMBLE)
    plant.complexity("tada2d", 10, 1_200_000_000)
    plant.complexity("tada2d-16f", 10, 2_300_000_000)
    one = [[0.9, 0.1], [0.6, 0.4], [0.4, 0.6], [0.3, 0.7]]
    two = [[0.2, 0.8], [0.1, 0.9], [0.3, 0.7], [0.8, 0.2]]
    plant.scores(plant.done("tada2d", top1=0.0), one, [0, 1, 1, 1])
    # The other network's videos stand in another order.
    plant.scores(plant.done("tada2d-16f", top1=0.0), two[::-1], [1, 1, 1, 0], ["3", "2", "1", "0"])
    assert plant.build() == []
    cells = plant.cells()
    assert cells["both", "top1"]["reproduced"] == "75"  # sums: 1.1-0.9, 0.7-1.3, 0.7-1.3, 1.1-0.9; the last is wrong
    assert (cells["both", "gflops"]["reproduced"], cells["both", "gflops"]["verdict"]) == ("3.5", "match")


def test_an_ensemble_over_other_videos_is_refused(plant):
    plant.spec(ENSEMBLE)
    plant.scores(plant.done("tada2d", top1=0.0), [[0.9, 0.1]], [0], ["a"])
    plant.scores(plant.done("tada2d-16f", top1=0.0), [[0.9, 0.1]], [0], ["b"])
    assert any("are of other videos" in problem for problem in plant.build())
    assert plant.cells()["both", "top1"]["verdict"] == "failed"


def test_an_ensemble_over_videos_labelled_otherwise_is_refused(plant):
    plant.spec(ENSEMBLE)
    plant.scores(plant.done("tada2d", top1=0.0), [[0.9, 0.1], [0.9, 0.1]], [0, 1])
    plant.scores(plant.done("tada2d-16f", top1=0.0), [[0.9, 0.1], [0.9, 0.1]], [0, 0])
    assert any("are of videos labelled differently" in problem for problem in plant.build())


def test_a_video_that_one_network_could_not_decode_counts_for_no_ensemble(plant):
    plant.spec(ENSEMBLE)
    plant.scores(plant.done("tada2d", top1=0.0), [[0.9, 0.1], [0.1, 0.9], [0.9, 0.1]], [0, 1, 1])
    plant.scores(plant.done("tada2d-16f", top1=0.0), [[0.9, 0.1], [0.1, 0.9], [0.9, 0.1]], [0, 1, IGNORED])
    plant.build()
    assert plant.cells()["both", "top1"]["reproduced"] == "100"


def test_an_ensemble_of_actions_puts_the_views_side_by_side(plant):
    metrics = ("top1_action", "top1_action_joint")
    columns = [f"{name}: {{header: {name}, metric: {name}, dataset: ek100}}" for name in metrics]
    before, rows = ENSEMBLE.split("      gflops: ", maxsplit=1)[0], ENSEMBLE.split("    rows:")[1]
    text = before + "".join(f"      {column}\n" for column in columns) + "    rows:" + rows
    plant.spec(text.replace('gflops: 3.5×30, top1: "75.0"', ", ".join(f'{name}: "75.0"' for name in metrics)))
    rng = np.random.default_rng(0)
    verbs, nouns = rng.dirichlet(np.ones(3), (2, 60, 4)), rng.dirichlet(np.ones(4), (2, 60, 4))
    verb, noun = rng.integers(0, 3, 60), rng.integers(0, 4, 60)
    for number, model in enumerate(("tada2d", "tada2d-16f")):
        run = plant.done(model, dataset="ek100", top1=0.0)
        views = {"views_verb": verbs[number], "views_noun": nouns[number], "labels_verb": verb, "labels_noun": noun}
        np.savez(run.file("scores.npz"), videos=np.array([f"{n:02}" for n in range(60)]), **views)
    assert plant.build() == []
    both_verbs, both_nouns = np.concatenate(verbs, 1), np.concatenate(nouns, 1)
    for name, pairs in zip(
        metrics,
        (
            np.einsum("nvi,nvj->nij", both_verbs, both_nouns),
            np.einsum("ni,nj->nij", both_verbs.mean(1), both_nouns.mean(1)),
        ),
        strict=True,
    ):
        right = pairs.reshape(60, -1).argmax(1) == verb * 4 + noun
        assert float(plant.cells()["both", name]["reproduced"]) == pytest.approx(100 * right.mean())


def test_a_file_is_replaced_and_nothing_else_left(small):
    both(small, 32.0, 63.0, "mini")
    small.build()
    small.build()
    assert sorted(file.name for file in small.out.iterdir()) == ["small.csv", "small.html", "small.md", "small.tex"]


def test_unknown_table(small):
    with pytest.raises(TadaError, match="unknown table 'smal'; did you mean 'small'"):
        small.build("smal")
