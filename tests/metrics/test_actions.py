import numpy as np
import pytest

from tada.classification.evaluation import accuracies
from tada.data.clips import IGNORED
from tada.metrics.accuracy import action_ranks


@pytest.fixture
def scored():
    """150 videos of 6 views: probabilities of 7 verbs and 11 nouns, as they are saved, and labels."""
    generator = np.random.default_rng(0)
    verb, noun = generator.integers(0, 7, 150), generator.integers(0, 11, 150)
    verbs, nouns = (
        generator.dirichlet(np.ones(classes), (150, 6)) + 0.15 * np.eye(classes)[labels][:, None]
        for classes, labels in ((7, verb), (11, noun))
    )
    verbs, nouns = ((p / p.sum(2, keepdims=True)).astype(np.float16) for p in (verbs, nouns))
    return verbs, nouns, verb, noun


def by_definition(verbs, nouns, verb, noun, joint):
    """Rank of the right pair by sorting all pairs of every video."""
    ranks = []
    for v, n, right_verb, right_noun in zip(verbs.astype(float), nouns.astype(float), verb, noun, strict=True):
        scores = np.outer(v.mean(0), n.mean(0)) if joint else sum(np.outer(v[i], n[i]) for i in range(len(v)))
        order = np.argsort(-scores.ravel(), kind="stable").tolist()
        ranks.append(order.index(right_verb * scores.shape[1] + right_noun))
    return ranks


@pytest.mark.parametrize("joint", [False, True])
def test_ranks_are_those_of_the_definition(scored, joint):
    assert action_ranks(*scored, joint=joint).tolist() == by_definition(*scored, joint)


def test_a_pair_that_one_view_is_sure_of_wins_over_two_halves():
    # One view sees (0, 0), two see (1, 0) and (0, 1) faintly: summed first, the halves make up for each other.
    verbs = np.array([[[0.0, 1.0], [0.9, 0.1], [0.9, 0.1]]])
    nouns = np.array([[[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]]])
    assert action_ranks(verbs, nouns, np.array([1]), np.array([1])).tolist() == [0]
    assert action_ranks(verbs, nouns, np.array([1]), np.array([1]), joint=True).tolist() == [1]


def test_among_equal_pairs_the_first_wins():
    verbs, nouns = np.full((4, 2, 2), 0.5), np.full((4, 2, 3), 1 / 3)
    ranks = action_ranks(verbs, nouns, np.array([0, 0, 1, 1]), np.array([0, 2, 0, 2]))
    assert ranks.tolist() == [0, 2, 3, 5]


def test_views_of_two_networks_side_by_side_are_their_ensemble(scored):
    verbs, nouns, verb, noun = scored
    both = action_ranks(np.concatenate([verbs, verbs[::-1]], 1), np.concatenate([nouns, nouns[::-1]], 1), verb, noun)
    summed = [
        np.einsum("va,vb->ab", v.astype(float), n) + np.einsum("va,vb->ab", w.astype(float), m)
        for v, n, w, m in zip(verbs, nouns, verbs[::-1], nouns[::-1], strict=True)
    ]
    assert both.tolist() == [(scores > scores[a, b]).sum() for scores, a, b in zip(summed, verb, noun, strict=True)]


def test_accuracies_name_what_the_tables_ask_for(scored):
    verbs, nouns, verb, noun = scored
    saved = {"views_verb": verbs, "views_noun": nouns, "labels_verb": verb.copy(), "labels_noun": noun.copy()}
    saved |= {"scores_verb": verbs.astype(np.float32).mean(1), "scores_noun": nouns.astype(np.float32).mean(1)}
    figures = accuracies(saved)
    ranks = np.array(by_definition(*scored, joint=False))
    assert figures["top1_action"] == pytest.approx(100 * (ranks == 0).mean())
    assert figures["top5_action"] == pytest.approx(100 * (ranks < 5).mean())
    assert figures["top1_verb"] == pytest.approx(100 * (saved["scores_verb"].argmax(1) == verb).mean())
    assert set(figures) == {f"top{k}_{what}" for k in (1, 5) for what in ("verb", "noun", "action", "action_joint")}
    saved["labels_verb"][:50] = saved["labels_noun"][:50] = IGNORED
    assert accuracies(saved)["top1_action"] == pytest.approx(100 * (ranks[50:] == 0).mean())


def test_bad_input_is_refused(scored):
    verbs, nouns, verb, noun = scored
    with pytest.raises(ValueError, match="do not fit"):
        action_ranks(verbs, nouns[:, :5], verb, noun)
    with pytest.raises(ValueError, match="do not fit"):
        action_ranks(verbs, nouns, verb[:-1], noun)


@pytest.mark.parametrize("joint", [False, True])
def test_a_video_without_finite_scores_ranks_behind_all_pairs(scored, joint):
    verbs, nouns, verb, noun = scored
    whole, nouns = action_ranks(verbs, nouns, verb, noun, joint), nouns.copy()
    nouns[3, 0, 0] = np.nan
    ranks = action_ranks(verbs, nouns, verb, noun, joint)
    assert ranks[3] == verbs.shape[2] * nouns.shape[2]
    assert np.delete(ranks, 3).tolist() == np.delete(whole, 3).tolist()
