"""Two sets of planted results compared: what the plant implies, in sizes that can be reckoned by hand."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planting import ENVIRONMENT, plant_record
from scipy import stats
from typer.testing import CliRunner

from tada.base import TadaError
from tada.base.provenance import Hardware
from tada.cli import app
from tada.report.judge import Verdict, training
from tada.report.judge.noise import UNKNOWN, Estimate, NoiseSource, Training, difference
from tada.report.measure.archive import write_archive
from tada.report.measure.results import of_all_seeds
from tada.report.pages.compare import MetricPair, compare, comparison_page, decide_pairs, summary
from tada.report.pages.snapshot import gather
from tada.report.paper.quantities import Metric
from tada.report.plan import Wanted
from tada.runs.record import Checkpoint, Initial, read_record
from tada.runs.run import Run
from tada.runs.settings import Scale

OTHER_MACHINE = replace(
    ENVIRONMENT,
    git_commit="fedcba9876543210",
    packages={**ENVIRONMENT.packages, "torch": "3.0"},
    hardware=Hardware("6502", 16, ["Voodoo"]),
)
VIDEOS = 400


@pytest.fixture(autouse=True)
def assumed(monkeypatch):
    """Two points between trainings, known as if from twenty degrees of freedom."""
    monkeypatch.setattr(training, "assumed", lambda scale: Training(4.0, 0.0, 20, NoiseSource("two points")))


@pytest.fixture
def world(plant):
    """Plants runs of SSV2 in a folder: a number of right videos for each seed of each model."""

    def build(name, environment=ENVIRONMENT, videos=None, **models):
        here = type(plant)(plant.folder / name)
        for model, counts in models.items():
            for seed, count in enumerate(counts):
                if count is None:
                    continue
                right = np.arange(VIDEOS if videos is None else len(videos)) < count
                run = here.hits(model.replace("_", "+"), right, seed, videos=videos)
                here.done(run.model, seed, environment=environment, top1=100.0 * float(right.mean()))
        return here.results

    return build


def by_name(comparison):
    return {pair.name: pair for pair in comparison.metrics}


def text_of(comparison):
    return dict(comparison_page(comparison).footer)


def test_results_and_themselves(world):
    one = world("one", tsn=[200, 210], tada2d=[300, 310])
    comparison = compare(one, one, Scale.MINI)
    pairs = by_name(comparison)
    assert comparison.agrees and all(pair.same for pair in pairs.values())
    assert (pairs["ssv2/tsn top1"].estimate.value, pairs["ssv2/tsn top1"].estimate.error) == (0.0, 0.0)
    assert {claim.verdict for claim in comparison.claims} == {Verdict.AGREES}
    assert "with the very same weights" in " ".join(summary(comparison))
    assert "could have been told" not in " ".join(summary(comparison))


def test_the_interval_of_a_difference(world):
    """A: 50 and 52.5%; B: 56% once. Variance (20 x 4 + 3.125) / 21, times 1/2 + 1; 21 degrees of freedom."""
    one = world("one", tsn=[200, 210])
    other = world("other", OTHER_MACHINE, tsn=[224])
    comparison = compare(one, other, Scale.MINI)
    pair = by_name(comparison)["ssv2/tsn top1"]
    assert (pair.seeds, pair.videos, pair.same, pair.verdict) == (((0, 1), (0,)), VIDEOS, False, Verdict.AGREES)
    assert pair.estimate.value == pytest.approx(56.0 - 51.25)
    half = stats.t.ppf(0.975, 21) * np.sqrt((20 * 4 + 3.125) / 21 * 1.5)
    assert (pair.estimate.low, pair.estimate.high) == pytest.approx((4.75 - half, 4.75 + half))
    lines = [[piece.text for piece in line] for line in comparison_page(comparison).grid.lines]
    assert ["ssv2/tsn top1", "2, 1", "51.2", "56.0", "+4.8 [−0.3, +9.8]", "agrees"] in lines


def test_where_they_come_from_and_what_one_has_alone(world):
    one = world("one", tsn=[200, 210], tada2d=[300])
    other = world("other", OTHER_MACHINE, tsn=[204], tada2d_mix=[None])
    comparison = compare(one, other, Scale.MINI)
    footer = text_of(comparison)
    assert footer["Code"] == "A: commit 0123456789; B: commit fedcba9876"
    assert footer["Hardware"] == "A: Z80, 1 core; B: 6502, 16 cores, 1 × Voodoo"
    assert footer["torch"] == "A: 2.0; B: 3.0" and footer["decord"] == "the same: 0.6"
    assert footer["Data, ssv2"] == "the same: train 99 of 100 used; validation 400 of 400 used"
    assert footer["Only in A"] == "ssv2/tada2d seed 0; ssv2/tsn seed 1" and "Only in B" not in footer
    text = summary(comparison)
    assert text[0] == "1 run is in both, 2 in A alone, 0 in B alone."
    assert "Other in B than in A: Code; torch; Hardware." in text and text[-1] == "A and B agree."
    assert "A difference of" in text[1] and "two points" in footer["Training, ssv2"]


def test_a_difference_beyond_the_noise(world):
    one = world("one", tsn=[200, 210], tada2d=[300, 304])
    other = world("other", OTHER_MACHINE, tsn=[204, 206], tada2d=[180, 190])
    comparison = compare(one, other, Scale.MINI)
    verdicts = {name: pair.verdict for name, pair in by_name(comparison).items()}
    assert verdicts["ssv2/tada2d top1"] == Verdict.APART and verdicts["ssv2/tsn top1"] == Verdict.AGREES
    assert not comparison.agrees
    assert any(line.startswith("Apart: ") and "ssv2/tada2d top1 −29.2" in line for line in summary(comparison))


def test_claims_that_are_decided_oppositely(world):
    """TAda2D 25 points above TSN in A, 25 below in B."""
    one = world("one", tsn=[200, 204, 202], tada2d=[300, 304, 302])
    other = world("other", OTHER_MACHINE, tsn=[300, 304, 302], tada2d=[200, 204, 202])
    comparison = compare(one, other, Scale.MINI)
    opposed = [pair for pair in comparison.claims if pair.verdict == Verdict.OPPOSED]
    assert {(a.verdict, b.verdict) for a, b in (pair.sides for pair in opposed)} == {(Verdict.HOLDS, Verdict.FAILS)}
    assert not comparison.agrees
    assert any(line.startswith("Opposed: TAda2D") and "holds by A, fails by B" in line for line in summary(comparison))


def test_a_claim_that_one_side_alone_decides_is_no_disagreement(world):
    one = world("one", tsn=[200, 204, 202], tada2d=[300, 304, 302])
    other = world("other", OTHER_MACHINE, tsn=[240], tada2d=[262])
    comparison = compare(one, other, Scale.MINI)
    assert Verdict.UNDECIDED in {pair.verdict for pair in comparison.claims}
    assert not any(pair.verdict == Verdict.OPPOSED for pair in comparison.claims)


def test_the_same_weights_with_other_numbers(world):
    """Nothing was trained between them, so no noise of training excuses half a point."""
    one = world("one", tsn=[200])
    other = world("other", tsn=[202])
    weights = read_record(Run("mini", "ssv2", "tsn", 0, one)).checkpoint
    plant_record(Run("mini", "ssv2", "tsn", 0, other), {"top1": 50.5}, checkpoint=weights)
    pair = by_name(compare(one, other, Scale.MINI))["ssv2/tsn top1"]
    assert (pair.same, pair.estimate.value, pair.verdict) == (True, 0.5, Verdict.APART)


def test_weights_are_the_same_whatever_else_their_files_hold(world):
    one, other = world("one", tsn=[200]), world("other", tsn=[200])
    for file, results in (("of one", one), ("of other", other)):
        run = Run("mini", "ssv2", "tsn", 0, results)
        trained, initial = Checkpoint("checkpoint.pt", file, "end"), Initial("k400", "", file, weights="begin")
        plant_record(run, {"top1": 50.0}, checkpoint=trained, initial=initial)
    comparison = compare(one, other, Scale.MINI)
    assert by_name(comparison)["ssv2/tsn top1"].same
    assert text_of(comparison)["Initial weights"] == "the same: k400 begin"


def test_other_test_videos(world):
    """B lacks the first hundred videos, all right in A: on the others A has 100 of 300 right, B 106."""
    one = world("one", tsn=[200])
    names = [str(number) for number in range(100, VIDEOS)]
    other = world("other", OTHER_MACHINE, videos=names, tsn=[106])
    comparison = compare(one, other, Scale.MINI)
    pair = by_name(comparison)["ssv2/tsn top1"]
    assert pair.videos == 300
    assert pair.estimate.values[::-1] == pytest.approx((100 / 3, 106 / 3))
    assert "not all test videos and labels are the same, 300 videos are in both" in text_of(comparison)["Data, ssv2"]
    assert any("Data, ssv2" in line for line in summary(comparison) if line.startswith("Other in B"))


def test_a_snapshot_compares_like_the_results(world, tmp_path):
    one = world("one", tsn=[200, 210], tada2d=[300, 310])
    other = world("other", OTHER_MACHINE, tsn=[204], tada2d=[280])
    archive, _ = gather(Scale.MINI, 2, [one], tmp_path / "snapshot", Wanted.of_the_paper())
    write_archive(archive)
    results, snapshot = (compare(folder, other, Scale.MINI) for folder in (one, tmp_path / "snapshot"))
    assert [(p.name, p.estimate, p.verdict) for p in results.metrics] == [
        (p.name, p.estimate, p.verdict) for p in snapshot.metrics
    ]
    assert [p.verdict for p in results.claims] == [p.verdict for p in snapshot.claims] != []
    assert text_of(results) == text_of(snapshot)


def pair_with(p_value):
    """A pair whose two-sided p-value is known: value z of a standard normal error."""
    estimate = Estimate(float(stats.norm.isf(p_value / 2)), 1.0, "training", (1.0, 0.0))
    known = Training(1.0, 0.0, 20)
    return MetricPair(Metric("ssv2", ("tsn",), "top1"), (None, None), ((0,), (0,)), estimate, known, None, False)


def verdicts(*p_values):
    return [pair.verdict for pair in decide_pairs([pair_with(p) for p in p_values])]


def test_differences_are_decided_together():
    """By Holm: the smallest of three against 0.05 / 3, then 0.05 / 2, then 0.05."""
    apart, agrees = Verdict.APART, Verdict.AGREES
    assert verdicts(0.04) == [apart] and verdicts(0.06) == [agrees]
    assert verdicts(0.04, 0.5) == [agrees, agrees]
    assert verdicts(0.016, 0.024, 0.049) == [apart, apart, apart]
    assert verdicts(0.5, 0.016, 0.026) == [agrees, apart, agrees]
    unknown = replace(pair_with(0.001), estimate=Estimate(9.0, float("inf"), UNKNOWN, (9.0, 0.0)))
    assert [pair.verdict for pair in decide_pairs([unknown, pair_with(0.04)])] == [Verdict.UNDECIDED, apart]


@pytest.mark.parametrize("seeds", [(5, 1), (3, 3)])
def test_two_sets_from_one_truth_disagree_in_one_of_twenty(seeds):
    """Fifteen networks, trained again with a standard deviation of two points, 600 times."""
    generator = np.random.default_rng(0)
    known = Training(4.0, 0.0, 20)
    disagree = 0
    for _ in range(600):
        pairs = []
        for _ in range(15):
            one, other = (generator.normal(50, 2, count).tolist() for count in seeds)
            pairs.append(replace(pair_with(0.5), estimate=difference(other, one, known)))
        disagree += any(pair.verdict == Verdict.APART for pair in decide_pairs(pairs))
    assert 0.01 < disagree / 600 < 0.07


def run_command(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_a_seed_that_no_table_takes_is_not_counted_to(world):
    one = world("one", tsn=[200, 210])
    (one / "mini/ssv2/tsn/seed999999999").mkdir()
    assert of_all_seeds(one, Scale.MINI).seeds == 2


def test_the_command(world, tmp_path):
    one = world("one", tsn=[200, 210], tada2d=[300, 310])
    other = world("other", OTHER_MACHINE, tsn=[204], tada2d=[200])
    same = run_command(one, one, "--out", tmp_path / "out")
    assert same.exit_code == 0 and "A and B agree." in same.output
    apart = run_command(one, other, "--out", tmp_path / "out")
    assert apart.exit_code == 1 and "A and B do not agree." in apart.output
    markdown = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert markdown.startswith("# A and B compared, mini scale") and f"(A: {one}; B: {other})" in markdown.replace(
        "\\", ""
    )
    assert "<h1>A and B compared, mini scale</h1>" in (tmp_path / "out/comparison.html").read_text(encoding="utf-8")
    data = pd.read_csv(tmp_path / "out/comparison.csv").set_index("name")
    line = data.loc["ssv2/tada2d top1"]
    assert (line.verdict, line.seeds_a, line.seeds_b, float(line.difference)) == ("apart", 2, 1, -26.25)
    assert set(data["what"]) == {"metric", "claim"}


def test_bad_input_is_told_from_disagreement(world, tmp_path):
    one = world("one", tsn=[200])
    elsewhere = world("elsewhere", tada2d=[300])
    damaged = tmp_path / "damaged"
    archive, _ = gather(Scale.MINI, 1, [one], damaged, Wanted.of_the_paper())
    write_archive(archive)
    (damaged / "runs.jsonl").write_text("")
    stale = tmp_path / "stale"
    shutil.copytree(one, stale)
    for file in (stale / "mini/ssv2/tsn/seed0").glob("*.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "signature": "another"}))
    for other, message in (
        (elsewhere, "nothing to compare, since no metric is measured in both"),
        (damaged, "runs.jsonl is cut off or was changed"),
        (stale, "has 0 finished runs and 1 of other recipes or networks than this version's"),
    ):
        with pytest.raises(TadaError) as error:
            compare(one, other, Scale.MINI)
        assert message in str(error.value) and "\n" not in str(error.value)
        assert run_command(one, other, "--out", tmp_path / "out").exit_code == 2
    assert run_command(one, "--scale", "mini").exit_code == 2
    assert not (tmp_path / "out").exists()
