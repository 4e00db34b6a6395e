"""What BMN is taught, against definitions written out."""

import numpy as np
import pytest

from tada.localization.bmn_training import boundary_labels, overlap_map, targets_of, within
from tada.runs.localization_settings import BmnSettings

SEGMENTS = np.array([[1.3, 4.6], [4.6, 5.1], [0.0, 12.0], [8.0, 11.0]])


def shared(a, b):
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0]))


def test_overlap_is_the_best_iou_with_an_action():
    actual = overlap_map(SEGMENTS, 12, 7)
    for duration in range(7):
        for start in range(12):
            proposal = (start, start + duration + 1)
            ious = [
                shared(proposal, s) / (s[1] - s[0] + proposal[1] - proposal[0] - shared(proposal, s)) for s in SEGMENTS
            ]
            expected = max(ious) if proposal[1] <= 12 else 0
            assert actual[duration, start] == pytest.approx(expected), proposal
    assert actual[2, 8] == 1  # the action from 8 to 11


@pytest.mark.parametrize("anchor", [1.0, 2.0, 4.0])
def test_boundary_label_is_the_share_of_the_anchor_that_the_region_covers(anchor):
    boundaries = np.array([0.0, 3.3, 4.1, 9.5, 12.0])
    actual = boundary_labels(boundaries, 12, anchor)
    for position in range(12):
        shares = [shared((position - 0.5, position - 0.5 + anchor), (b - 1.5, b + 1.5)) for b in boundaries]
        assert actual[position] == pytest.approx(max(shares) / anchor, abs=1e-6), position


def test_anchors_of_the_authors_are_two_cells_wide():
    """Of position 4 the anchor is 3.5 to 5.5, of which the region around 6.2, 4.7 to 7.7, covers 0.8."""
    labels = boundary_labels(np.array([6.2]), 12, BmnSettings().anchor)
    assert labels[3:9] == pytest.approx(np.array([0, 0.4, 0.9, 1, 0.6, 0.1]))
    assert np.flatnonzero(boundary_labels(np.array([6.0]), 12, 2.0) > 0.5).tolist() == [5, 6]


@pytest.mark.parametrize("boundary", [6.0, 6.2, 6.49])
def test_three_positions_stand_for_a_boundary_with_anchors_of_a_cell(boundary):
    assert np.flatnonzero(boundary_labels(np.array([boundary]), 12, 1.0) > 0.5).tolist() == [5, 6, 7]


def test_targets_keep_starts_and_ends_apart():
    targets = targets_of(np.array([[2.0, 8.0]]), 12, 12, 1.0)
    assert targets.start.argmax() == 1
    assert targets.end.argmax() == 7
    assert np.unravel_index(targets.overlap.argmax(), targets.overlap.shape) == (5, 2)
    assert all(part.dtype == np.float32 for part in targets)


def test_no_action_means_no_targets():
    assert not any(part.any() for part in targets_of(np.zeros((0, 2)), 12, 7, 2.0))


def test_within():
    assert within(3, 2).tolist() == [[True, True, True], [True, True, False]]
