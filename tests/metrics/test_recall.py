import math

import numpy as np
import pandas as pd
import pytest

from tada.metrics.recall import average_recall, sliding_windows, uniform_proposals


def random_tables(seed: int) -> tuple:
    generator = np.random.default_rng(seed)

    def table(rows: int) -> pd.DataFrame:
        start = generator.random(rows) * 60
        video = generator.choice(["a", "b", "c"], rows)
        return pd.DataFrame({"video": video, "start": start, "end": start + generator.exponential(8, rows)})

    return table(40), table(120).assign(score=generator.integers(0, 20, 120) / 20)


def reference(truth, proposals, count, threshold):
    found = 0
    for segment in truth.itertuples():
        mine = [row for row in proposals.itertuples() if row.video == segment.video]
        mine.sort(key=lambda row: (-row.score, row.start, row.end))
        for row in mine[:count]:
            shared = max(0.0, min(row.end, segment.end) - max(row.start, segment.start))
            if shared / (row.end - row.start + segment.end - segment.start - shared) >= threshold:
                found += 1
                break
    return found / len(truth)


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_reference(seed):
    truth, proposals = random_tables(seed)
    result = average_recall(truth, proposals, [1, 5, 200], [0.3, 0.5, 0.7])
    expected = [[reference(truth, proposals, count, t) for t in (0.3, 0.5, 0.7)] for count in (1, 5, 200)]
    np.testing.assert_allclose(result.values, expected)
    np.testing.assert_allclose(result.average, np.mean(expected, axis=1))
    assert result.numbers.tolist() == [1, 5, 40]
    assert (np.diff(result.values, axis=0) >= 0).all()
    assert (np.diff(result.values, axis=1) <= 0).all()


def test_order_of_rows_never_matters():
    truth, proposals = random_tables(5)
    shuffled = average_recall(truth.sample(frac=1, random_state=0), proposals.sample(frac=1, random_state=1))
    np.testing.assert_array_equal(average_recall(truth, proposals).values, shuffled.values)


def test_the_segments_themselves_find_everything():
    truth, _ = random_tables(0)
    assert average_recall(truth, truth.assign(score=1.0), [40]).average.tolist() == [1.0]


def test_videos_without_proposals_count_as_not_found():
    truth = pd.DataFrame({"video": ["a", "b"], "start": 0.0, "end": 5.0})
    proposals = pd.DataFrame({"video": ["a", "z"], "start": 0.0, "end": 5.0, "score": 1.0})
    result = average_recall(truth, proposals, [10])
    assert result.average.tolist() == [0.5]
    assert result.numbers.tolist() == [0.5]
    assert average_recall(truth, proposals[:0], [10]).average.tolist() == [0.0]


def test_windows_cover_the_video_evenly():
    starts, ends = sliding_windows(10.0, [4.0], overlap=0.5)
    np.testing.assert_allclose(starts, [0, 2, 4, 6])
    np.testing.assert_allclose(ends, [4, 6, 8, 10])


@pytest.mark.parametrize(("duration", "overlap"), [(33.3, 0.5), (33.3, 0.75), (20.0, 0.0), (3.0, 0.5), (0.1, 0.9)])
def test_windows_stay_inside_and_leave_no_gap(duration, overlap):
    for length in (1.0, 7.0, 20.0, 50.0):
        starts, ends = sliding_windows(duration, [length], overlap)
        assert starts[0] == 0
        assert ends[-1] == pytest.approx(duration)
        assert (ends <= duration).all()
        assert (np.diff(starts) <= length * (1 - overlap) + 1e-9).all()


def test_windows_longer_than_the_video_are_the_video_once():
    assert [part.tolist() for part in sliding_windows(5.0, [9.0, 6.0])] == [[0.0], [5.0]]


def test_uniform_proposals_rank_at_random_but_the_same_each_time():
    table = uniform_proposals({"a": 30.0, "b": 30.0}, [2.0, 8.0])
    assert table.equals(uniform_proposals({"a": 30.0, "b": 30.0}, [2.0, 8.0]))
    alone = uniform_proposals({"b": 30.0}, [2.0, 8.0])
    assert alone.equals(table[table["video"] == "b"].reset_index(drop=True))
    scores = [group["score"].tolist() for _, group in table.groupby("video")]
    assert scores[0] != scores[1]
    assert table["score"].tolist() != uniform_proposals({"a": 30.0, "b": 30.0}, [2.0, 8.0], seed=1)["score"].tolist()


def test_bad_input_is_refused():
    truth, proposals = random_tables(0)
    with pytest.raises(ValueError, match="no segments"):
        average_recall(truth[:0], proposals)
    with pytest.raises(ValueError, match=r"proposals: 120 of 120 segments whose score.*video"):
        average_recall(truth, proposals.assign(score=math.nan))
    with pytest.raises(ValueError, match="each at least 1"):
        average_recall(truth, proposals, [0])
    with pytest.raises(ValueError, match="above 0"):
        average_recall(truth, proposals, [1], [0.0])
    for arguments in ((0.0, [1.0]), (5.0, []), (5.0, [0.0]), (5.0, [1.0], 1.0)):
        with pytest.raises(ValueError, match="overlap"):
            sliding_windows(*arguments)
