import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tada.metrics.average_precision import (
    EK100_THRESHOLDS,
    HACS_THRESHOLDS,
    action_precision,
    mean_average_precision,
    of_known_actions,
    with_label,
)

COLUMNS = ["video", "label", "start", "end"]


def truth_of(*rows) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=COLUMNS)


def predictions_of(*rows) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=[*COLUMNS, "score"])


def reference(truth: pd.DataFrame, predictions: pd.DataFrame, threshold: float) -> dict:
    """Average precision by label, one prediction after the other, written from the protocol's words."""
    result = {}
    for label in set(truth["label"]):
        free = [row for row in truth.itertuples(index=False) if row.label == label]
        positives = len(free)
        mine = [row for row in predictions.itertuples(index=False) if row.label == label]
        mine.sort(key=lambda row: (-row.score, row.video, row.start, row.end))
        curve, right = [], 0
        for tried, row in enumerate(mine, start=1):
            overlaps = []
            for other in free:
                if other.video == row.video:
                    shared = max(0.0, min(row.end, other.end) - max(row.start, other.start))
                    union = (row.end - row.start) + (other.end - other.start) - shared
                    if union > 0 and shared / union >= threshold:
                        overlaps.append((-shared / union, other.start, other.end, other))
            if overlaps:
                free.remove(min(overlaps, key=lambda entry: entry[:3])[3])
                right += 1
            curve.append((right / positives, right / tried))
        recalls = sorted({recall for recall, _ in curve if recall > 0})
        best = {recall: max(p for other, p in curve if other >= recall) for recall in recalls}
        steps = np.diff([0.0, *recalls])
        result[label] = float(sum(step * best[recall] for step, recall in zip(steps, recalls, strict=True)))
    return result


def random_tables(seed: int, truths: int = 60, predictions: int = 300, steps: int = 40) -> tuple:
    """Few videos, labels and times, so that overlaps, ties of scores and ties of overlaps abound."""
    generator = np.random.default_rng(seed)

    def table(rows: int, labels: int) -> pd.DataFrame:
        start = generator.integers(0, steps, rows)
        return pd.DataFrame({
            "video": generator.choice(["v1", "v2", "v10"], rows),
            "label": generator.integers(0, labels, rows),
            "start": start.astype(float),
            "end": start + generator.integers(0, 12, rows).astype(float),
        })  # fmt: skip

    return table(truths, 4), table(predictions, 5).assign(score=generator.integers(0, 30, predictions) / 30)


def test_hand_checked_case():
    truth = truth_of(("v1", "A", 0, 10), ("v1", "A", 20, 40), ("v2", "B", 5, 15))
    predictions = predictions_of(
        ("v1", "A", 0, 9, 0.9), ("v1", "A", 21, 36, 0.8), ("v2", "B", 5, 15, 0.5), ("v2", "A", 5, 15, 0.95)
    )
    result = mean_average_precision(truth, predictions, HACS_THRESHOLDS)
    np.testing.assert_allclose(result.per_threshold, [5 / 6] * 6 + [0.625] * 3 + [0.5], rtol=0, atol=1e-12)
    assert result.mean == pytest.approx(0.7375, abs=1e-12)
    assert result.percent()["average"] == pytest.approx(73.75)
    assert list(result.percent())[:2] == ["0.5", "0.55"]
    assert result.table.loc["B"].tolist() == [1.0] * 10


def test_thresholds_may_carry_rounding_errors():
    truth, predictions = truth_of(("v", 0, 0, 10)), predictions_of(("v", 0, 0, 9, 1.0))
    assert mean_average_precision(truth, predictions, [0.5 + 0.05 * 8, 0.30000000000000004 * 3]).mean == 1.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.75])
def test_equals_the_reference(seed, threshold):
    truth, predictions = random_tables(seed)
    expected = reference(truth, predictions, threshold)
    result = mean_average_precision(truth, predictions, [threshold])
    assert result.table[threshold].to_dict() == pytest.approx(expected, abs=1e-12)
    assert result.dropped == int((~predictions["label"].isin(set(truth["label"]))).sum())


def test_crowded_video_equals_the_reference():
    truth, predictions = random_tables(1, truths=150, predictions=600, steps=15)
    truth["label"], predictions["label"] = 0, 0
    result = mean_average_precision(truth, predictions, EK100_THRESHOLDS)
    for threshold in EK100_THRESHOLDS:
        assert result.table.loc[0, threshold] == pytest.approx(reference(truth, predictions, threshold)[0])


def test_large_tables_are_matched_in_parts(monkeypatch):
    truth, predictions = random_tables(3)
    whole = mean_average_precision(truth, predictions, EK100_THRESHOLDS).table
    monkeypatch.setattr("tada.metrics.average_precision._AT_ONCE", 7)
    pd.testing.assert_frame_equal(whole, mean_average_precision(truth, predictions, EK100_THRESHOLDS).table)


@pytest.mark.parametrize("seed", range(3))
def test_perfect_predictions_score_exactly_one(seed):
    generator = np.random.default_rng(seed)
    start = generator.random(500) * 100
    truth = pd.DataFrame({
        "video": generator.choice(["a", "b"], 500), "label": generator.integers(0, 30, 500), "start": start,
        "end": start + 0.01 + generator.random(500),
    })  # fmt: skip
    predictions = truth.sample(frac=1.0, random_state=seed).assign(score=generator.random(500))
    result = mean_average_precision(truth, predictions, [0.1, 0.5, 0.95, 1.0])
    assert result.mean == 1.0
    assert (result.table == 1.0).all(axis=None)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_order_of_rows_never_matters(seed, shuffle):
    truth, predictions = random_tables(seed, truths=25, predictions=60)
    first = mean_average_precision(truth, predictions, [0.2, 0.5])
    again = mean_average_precision(
        truth.sample(frac=1.0, random_state=shuffle), predictions.sample(frac=1.0, random_state=shuffle + 1), [0.2, 0.5]
    )
    pd.testing.assert_frame_equal(first.table, again.table, check_exact=True)
    assert first.mean == again.mean


@given(st.integers(0, 10**6), st.integers(0, 30), st.sampled_from(["v1", "v10", "v0", "v3"]))
def test_a_false_positive_never_raises_precision(seed, level, video):
    truth, predictions = random_tables(seed, truths=25, predictions=60)
    false = predictions_of((video, int(truth["label"].iloc[0]), 1000.0, 1001.0, level / 30))
    before = mean_average_precision(truth, predictions, [0.2, 0.5]).table
    after = mean_average_precision(truth, pd.concat([predictions, false]), [0.2, 0.5]).table
    assert (after <= before).all(axis=None)


def test_the_best_free_segment_is_taken():
    truth = truth_of(("v", 0, 0, 10), ("v", 0, 2, 12))
    predictions = predictions_of(("v", 0, 0, 10, 0.9), ("v", 0, 0, 10, 0.8))  # the second finds [2, 12] at 2/3
    assert mean_average_precision(truth, predictions, [0.6]).mean == 1.0
    assert mean_average_precision(truth, predictions, [0.7]).mean == 0.5


def test_no_predictions_score_zero():
    truth = truth_of(("v", 0, 0, 10))
    assert mean_average_precision(truth, predictions_of(), [0.5]).mean == 0.0
    assert mean_average_precision(truth, predictions_of(("v", 1, 0, 10, 1.0)), [0.5]).dropped == 1


def test_segments_without_length_find_nothing():
    truth = truth_of(("v", 0, 5, 5), ("v", 0, 0, 10))
    predictions = predictions_of(("v", 0, 5, 5, 1.0), ("v", 0, 0, 10, 0.5))
    assert mean_average_precision(truth, predictions, [0.1]).mean == 0.25


def test_verbs_nouns_and_actions_share_a_score():
    truth = pd.DataFrame({"video": "v", "verb": [0, 1], "noun": [5, 5], "start": [0.0, 20.0], "end": [10.0, 30.0]})
    predictions = truth.assign(noun=[5, 6], score=[0.9, 0.8])
    result = action_precision(truth, predictions)
    assert {task: value.mean for task, value in result.items()} == {"verb": 1.0, "noun": 0.5, "action": 0.5}
    assert list(result["action"].table.index) == [(0, 5), (1, 5)]
    assert result["noun"].dropped == 1
    slow = [np.mean(list(reference(*(with_label(t, "action") for t in (truth, predictions)), 0.3).values()))]
    assert slow == [result["action"].mean]


def test_predictions_of_pairs_that_never_occur_are_left_out():
    """Verb 0 with noun 6 never occurs, though both do: officially a false positive before the right one."""
    truth = pd.DataFrame({"video": "v", "verb": [0, 1], "noun": [5, 6], "start": [0.0, 20.0], "end": [10.0, 30.0]})
    wrong = pd.DataFrame({"video": "w", "verb": [0], "noun": [6], "start": [0.0], "end": [10.0], "score": [0.9]})
    predictions = pd.concat([wrong, truth.assign(score=[0.8, 0.7])], ignore_index=True)
    official = {task: value.mean for task, value in action_precision(truth, predictions).items()}
    assert official == {"verb": 0.75, "noun": 0.75, "action": 1.0}  # verb 0: 1 of 2 right; verb 1: 1 of 1
    kept = of_known_actions(truth, predictions)
    assert kept["score"].tolist() == [0.8, 0.7]
    assert {task: value.mean for task, value in action_precision(truth, kept).items()} == dict.fromkeys(official, 1.0)
    assert action_precision(truth, predictions, tasks=("noun",)).keys() == {"noun"}
    assert len(of_known_actions(truth, predictions[:0])) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": math.nan}, "1 of 1 segments whose score is not a finite number; the first is video v: label 0"),
        ({"end": math.inf}, "whose end is not a finite number"),
        ({"start": 11.0}, r"predictions: 1 of 1 segments that end before they start.*start 11.0, end 10"),
        ({"label": None}, "without a label"),
        ({"video": None}, "without a video"),
        ({"score": "high"}, "'score' does not hold numbers"),
    ],
)
def test_bad_rows_are_named(change, message):
    predictions = predictions_of(("v", 0, 0, 10, 1.0)).astype({"label": object, "score": object}).assign(**change)
    with pytest.raises(ValueError, match=message):
        mean_average_precision(truth_of(("v", 0, 0, 10)), predictions, [0.5])


def test_bad_arguments_are_refused():
    truth, predictions = truth_of(("v", 0, 0, 10)), predictions_of(("v", 0, 0, 10, 1.0))
    with pytest.raises(ValueError, match="no column 'score'"):
        mean_average_precision(truth, truth, [0.5])
    with pytest.raises(ValueError, match="no segments"):
        mean_average_precision(truth_of(), predictions, [0.5])
    for thresholds in ([], [0.0], [0.5, 1.1]):
        with pytest.raises(ValueError, match="above 0 and up to 1"):
            mean_average_precision(truth, predictions, thresholds)
