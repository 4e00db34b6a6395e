"""Classes of proposals and videos, and the detections that they become."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tada.base import TadaError
from tada.base.progress import Silent
from tada.localization.classes import (
    PENALTY,
    VideoProposals,
    classify_proposals,
    classify_video,
    dense_probabilities,
    fit_linear,
    fuse_actions,
    fuse_video,
    logits_of,
    mean_features,
    probabilities,
    proposal_times,
)
from tada.localization.features import Features
from tada.localization.videos import Untrimmed
from tada.runs.localization_settings import BmnSettings, ClipSettings, ProposalClasses

SETTINGS = ClipSettings(frames=4, interval=3, stride=5, target_fps=12, short_side=16, batch=7)


def test_clips_of_a_proposal_are_spread_over_it():
    times = proposal_times(np.array([1.0, 2.0]), np.array([3.0, 2.25]), 3, SETTINGS)
    # 24 frames, of which a clip spans 12: the clips start after 0, 4 and 8 frames; the frames of one are 11 / 3 apart.
    assert times[:3] * 12 == pytest.approx(
        np.array([12, 12, 12])[:, None] + [[0, 3, 7, 11], [4, 7, 11, 15], [8, 11, 15, 19]]
    )
    assert times[3:] * 12 == pytest.approx(np.tile([24, 26, 26, 26], (3, 1)))  # three frames long


def test_proposals_get_the_mean_softmax_of_their_clips(videos, model, clip):
    starts, ends = np.array([4.0, 0.0, 7.0, 0.0]), np.array([8.0, 1.0, 8.3, 8.3])
    proposals = [
        VideoProposals(video, starts[:count], ends[:count], np.ones(count))
        for video, count in ((videos[0], 4), (videos[2], 2))
    ]
    found = classify_proposals(model, proposals, SETTINGS, clips=3, progress=Silent())
    assert found.skipped == {}
    for of in proposals:
        times = proposal_times(of.starts, of.ends, 3, SETTINGS)
        with torch.inference_mode():
            logits = [model(clip(of.video, one)) for one in times]
        for task in ("verb", "noun"):
            shares = torch.cat([value[task] for value in logits]).softmax(1).unflatten(0, (len(of.starts), 3)).mean(1)
            np.testing.assert_allclose(found.scores[of.video.name][task], shares, rtol=1e-4, atol=1e-6)


SIX_SECONDS = Untrimmed("six", Path("six.mp4"), 6.0, ())
BINS = ProposalClasses("logits", clips=2, points=2)
CELLS = BmnSettings(window=4.0, stride=2.0, temporal=4, durations=3)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_logits_are_read_in_bins_all_along_a_proposal():
    """The logit is 2 a second. A proposal of cells 1 to 3 is read at 2, 10/3, 14/3 and 6: two bins of 8/3 and 16/3."""
    logits = Features(np.stack([np.zeros(6), 2.0 * np.arange(6)], 1).astype(np.float32), np.arange(6) + 0.5)
    of = VideoProposals(SIX_SECONDS, np.array([1.0, 2.0]), np.array([4.0, 3.0]), np.ones(2))
    found = dense_probabilities(of, logits, 2, BINS, CELLS, spacing=1.0)
    assert found.dtype == np.float32 and found.sum(1) == pytest.approx(1)
    assert found[0, 1] == pytest.approx((sigmoid(8 / 3) + sigmoid(16 / 3)) / 2, rel=1e-6)
    assert found[1, 1] == pytest.approx(sigmoid(4), rel=1e-6)  # of one cell all points are the same


def test_crops_are_averaged_after_the_softmax_and_tasks_kept_apart():
    verbs, nouns = [[0, 2], [0, 4]], [[1, 0, 0], [0, 0, 3]]  # of the first crop and of the second
    row = np.array([*verbs[0], *verbs[1], *nouns[0], *nouns[1]], np.float32)
    logits = Features(np.tile(row, (6, 1)), np.arange(6) + 0.5)
    of = VideoProposals(SIX_SECONDS, np.array([0.0]), np.array([2.0]), np.ones(1))
    found = dense_probabilities(of, logits, {"verb": 2, "noun": 3}, BINS, CELLS, spacing=1.0, crops=2)
    assert found["verb"][0, 1] == pytest.approx((sigmoid(2) + sigmoid(4)) / 2, rel=1e-6)
    high = [math.exp(1) / (math.exp(1) + 2), math.exp(3) / (math.exp(3) + 2)]
    assert found["noun"][0] == pytest.approx(
        np.array([high[0] + (1 - high[1]) / 2, (2 - sum(high)) / 2, (1 - high[0]) / 2 + high[1]]) / 2, rel=1e-6
    )


def test_windows_that_overlap_see_a_proposal_otherwise_and_are_averaged():
    """Clips twice as dense as cells: cell i of a window is its clip 7 i / 3, so that windows read at other places."""
    values = (np.arange(12) % 5).astype(np.float32)
    logits = Features(np.stack([np.zeros(12), values], 1), np.arange(12) * 0.5 + 0.25)
    of = VideoProposals(SIX_SECONDS, np.array([3.0]), np.array([4.0]), np.ones(1))
    found = dense_probabilities(of, logits, 2, BINS, CELLS, spacing=0.5)
    seen = [np.interp(7, np.arange(8), values[:8]), np.interp(7 / 3, np.arange(8), values[4:12])]
    assert found[0, 1] == pytest.approx(np.mean([sigmoid(one) for one in seen]), rel=1e-6)


def test_logits_that_are_not_finite_are_refused():
    logits = Features(np.full((6, 2), np.nan, np.float32), np.arange(6) + 0.5)
    of = VideoProposals(SIX_SECONDS, np.array([0.0]), np.array([2.0]), np.ones(1))
    with pytest.raises(TadaError, match=r"video six: not finite around 0\.50 s"):
        dense_probabilities(of, logits, 2, BINS, CELLS, spacing=1.0)


def test_logits_of_a_networks_head_stand_in_a_row(model):
    features = Features(np.random.default_rng(0).normal(size=(5, 256)).astype(np.float32), np.arange(5.0))
    found = logits_of(model.head, features)
    expected = model.head(torch.from_numpy(features.values))
    np.testing.assert_array_equal(found.values, torch.cat([expected["verb"], expected["noun"]], 1).detach())
    assert found.times is features.times


def test_proposals_of_a_bad_video_are_skipped(videos, model, tmp_path):
    gone = replace(videos[0], name="gone", path=tmp_path / "gone.mp4")
    proposals = [
        VideoProposals(video, np.array([0.0]), np.array([1.0]), np.array([0.5])) for video in (gone, videos[1])
    ]
    found = classify_proposals(model, proposals, SETTINGS, clips=2, progress=Silent())
    assert list(found.scores) == ["b"] and found.skipped == {"gone": "no such file"}


def test_a_video_has_the_classes_of_its_mean_feature(model):
    values = np.random.default_rng(0).normal(size=(5, 256)).astype(np.float32)
    found = classify_video(model.head, Features(values, np.arange(5.0)))
    for task, linear in model.head.linear.items():
        weight, bias = linear.weight.detach().double().numpy(), linear.bias.detach().double().numpy()
        shares = np.exp(weight @ values.mean(0, dtype=np.float64) + bias)
        np.testing.assert_allclose(found[task], shares / shares.sum(), rtol=1e-4)


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = rng.normal(size=(60, 5)) + 3 * np.eye(5)[labels]
    return (10 + features * [1, 2, 5, 0.1, 1]).astype(np.float32), labels.tolist()


def test_means_of_the_clips_inside():
    values = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    times = np.arange(10) + 0.5
    starts, ends = np.array([0.0, 2.5, 3.6, 9.9, 0.1]), np.array([10.0, 4.5, 4.4, 10.0, 0.2])
    found = mean_features(Features(values, times), starts, ends)
    expected = [values.mean(0), values[2:5].mean(0), values[3], values[9], values[0]]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32
    assert mean_features(Features(values, times), np.empty(0), np.empty(0)).shape == (0, 4)
    assert (mean_features(Features(values[:1], times[:1]), starts, ends) == values[0]).all()


def test_separable_classes_are_separated(examples):
    features, labels = examples
    found = probabilities(fit_linear(features, labels, 3), features)
    assert found.shape == (60, 3) and found.sum(1) == pytest.approx(1)
    assert (found.argmax(1) == labels).mean() > 0.95


def test_it_is_the_least_penalised_cross_entropy(examples):
    features, labels = examples
    model = fit_linear(features, labels, 3)
    inputs = torch.from_numpy(features).double()
    inputs = (inputs - inputs.mean(0)) / inputs.std(0, correction=0)
    weight, bias = (value.detach().double().requires_grad_() for value in model.linear[0].parameters())
    loss = torch.nn.functional.cross_entropy(inputs @ weight.T + bias, torch.tensor(labels))
    (loss + PENALTY / 2 * weight.square().sum()).backward()
    assert weight.grad.abs().max() < 1e-3 and bias.grad.abs().max() < 1e-3


def test_tasks_are_learnt_as_if_alone(examples):
    features, labels = examples
    nouns = [label // 2 for label in labels]
    both = [{"verb": verb, "noun": noun} for verb, noun in zip(labels, nouns, strict=True)]
    found = probabilities(fit_linear(features, both, {"verb": 3, "noun": 2}), features)
    for task, alone, classes in (("verb", labels, 3), ("noun", nouns, 2)):
        expected = probabilities(fit_linear(features, alone, classes), features)
        np.testing.assert_allclose(found[task], expected, atol=0.02)


def test_twice_the_same(examples):
    features, labels = examples
    first, second = (probabilities(fit_linear(features, labels, 3), features) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_channel_that_never_changes_does_no_harm(examples):
    features, labels = examples
    features[:, 4] = 7
    assert np.isfinite(probabilities(fit_linear(features, labels, 3), features)).all()


def reference_pairs(verbs, nouns, top_verbs, top_nouns, top):
    """The best pairs of one proposal, from all of them."""
    rank_verb = sorted(range(len(verbs)), key=lambda verb: (-verbs[verb], verb))[:top_verbs]
    rank_noun = sorted(range(len(nouns)), key=lambda noun: (-nouns[noun], noun))[:top_nouns]
    pairs = sorted(itertools.product(rank_verb, rank_noun), key=lambda pair: -verbs[pair[0]] * nouns[pair[1]])
    return [(verb, noun, verbs[verb] * nouns[noun]) for verb, noun in pairs[:top]]


@pytest.mark.parametrize(("top_verbs", "top_nouns", "top"), [(10, 30, 5), (2, 3, 5), (1, 1, 5), (50, 50, 3)])
def test_pairs_equal_the_reference(top_verbs, top_nouns, top):
    generator = np.random.default_rng(top_verbs)
    starts, scores = generator.random(20), generator.random(20)
    verbs, nouns = generator.dirichlet(np.ones(12), 20), generator.dirichlet(np.ones(40), 20)
    table = fuse_actions(
        "v", starts, starts + 1, scores, verbs, nouns, top_verbs=top_verbs, top_nouns=top_nouns, top=top
    )
    expected = [
        (start, verb, noun, score * value)
        for start, score, verb_row, noun_row in zip(starts, scores, verbs, nouns, strict=True)
        for verb, noun, value in reference_pairs(verb_row, noun_row, top_verbs, top_nouns, top)
    ]
    np.testing.assert_allclose(table[["start", "verb", "noun", "score"]].to_numpy(float), expected, rtol=1e-12)
    np.testing.assert_allclose(table["end"], table["start"] + 1)
    assert set(table["video"]) == {"v"}


def test_equal_probabilities_go_to_the_lower_class():
    table = fuse_actions("v", [0], [1], [1], np.full((1, 3), 1 / 3), np.full((1, 2), 1 / 2), top=3)
    assert table[["verb", "noun"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0]]


def test_all_proposals_of_a_video_take_its_class():
    table = fuse_video("v", [0, 5], [4, 9], [0.5, 0.25], np.array([0.1, 0.7, 0.2]))
    assert table.to_dict("list") == {
        "video": ["v", "v"], "label": [1, 1], "start": [0.0, 5.0], "end": [4.0, 9.0], "score": [0.35, 0.175],
    }  # fmt: skip


def test_several_classes_of_a_video():
    table = fuse_video("v", [0, 5], [4, 9], [0.5, 1.0], np.array([0.1, 0.7, 0.2]), top=2)
    assert table["label"].tolist() == [1, 2, 1, 2]
    np.testing.assert_allclose(table["score"], [0.35, 0.1, 0.7, 0.2])
    assert len(fuse_video("v", [0], [4], [1], np.array([0.5, 0.5]), top=9)) == 2


def test_no_proposals_give_an_empty_table_with_all_columns():
    nothing = np.zeros(0)
    assert list(fuse_video("v", nothing, nothing, nothing, np.ones(3))) == ["video", "label", "start", "end", "score"]
    table = fuse_actions("v", nothing, nothing, nothing, np.zeros((0, 97)), np.zeros((0, 300)))
    assert list(table) == ["video", "verb", "noun", "start", "end", "score"]
    assert len(table) == 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        fuse_video("v", [0, 1], [4], [1], np.ones(3))
    with pytest.raises(ValueError, match="finite"):
        fuse_video("v", [0], [4], [np.nan], np.ones(3))
    with pytest.raises(ValueError, match=r"must be \[classes\]"):
        fuse_video("v", [0], [4], [1], np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"must be \[1, classes\]"):
        fuse_actions("v", [0], [4], [1], np.ones((2, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="finite"):
        fuse_actions("v", [0], [4], [1], np.full((1, 3), np.inf), np.ones((1, 3)))
