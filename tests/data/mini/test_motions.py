import numpy as np
import pytest

from tada.data.clips import mirror_classes
from tada.data.mini.scenes import MOTIONS, draw_track

RIGHT, LEFT = "Pulling [something] from left to right", "Pulling [something] from right to left"


def tracks(template, count=200):
    return [draw_track(template, 24, (0.5, 0.8), np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize(
    ("template", "field", "sign"),
    [
        (RIGHT, "x", 1),
        (LEFT, "x", -1),
        ("Moving [something] down", "y", 1),
        ("Moving [something] up", "y", -1),
        ("Approaching [something] with your camera", "size", 1),
        ("Moving away from [something] with your camera", "size", -1),
        ("Turning [something] to the right", "angle", 1),
        ("Turning [something] to the left", "angle", -1),
        ("Uncovering [something]", "opacity", 1),
        ("Covering [something]", "opacity", -1),
    ],
)
def test_motion_goes_the_way_its_name_says_and_nothing_else_changes(template, field, sign):
    for track in tracks(template, 20):
        steps = sign * np.diff(getattr(track, field))
        assert (steps >= 0).all()
        assert steps.sum() > 0.3
        for other in {"x", "y", "size", "angle", "opacity"} - {field}:
            assert np.ptp(getattr(track, other)) == 0


def test_two_classes_of_a_pair_show_the_same_frames_in_opposite_order():
    for seed in range(20):
        one, other = (draw_track(name, 24, (0.5, 0.8), np.random.default_rng(seed)) for name in (RIGHT, LEFT))
        assert np.allclose(one.x + other.x, one.x[0] + other.x[0])


def test_a_single_frame_does_not_tell_left_from_right():
    places = {name: np.concatenate([track.x for track in tracks(name)]) for name in (RIGHT, LEFT)}
    shares = [np.histogram(values, bins=8, range=(-0.6, 0.6))[0] / len(values) for values in places.values()]
    assert np.abs(shares[0] - shares[1]).max() < 0.06


def test_motions_without_order():
    for track in tracks("Holding [something]", 5):
        assert all(np.ptp(getattr(track, field)) == 0 for field in ("x", "y", "size", "angle", "opacity"))
    for template in ("Shaking [something]", "Moving [something] there and back"):
        for track in tracks(template, 20):
            way = np.hypot(np.diff(track.x), np.diff(track.y))
            assert way.sum() > 0.3
            there = np.hypot(track.x - track.x[0], track.y - track.y[0])
            assert there.max() > 0.1
    there_and_back = tracks("Moving [something] there and back", 20)
    assert all(np.hypot(track.x[-1] - track.x[0], track.y[-1] - track.y[0]) < 1e-9 for track in there_and_back)


def test_mirrored_classes():
    names = [template.replace("[", "").replace("]", "") for template in MOTIONS]
    pairs = {(names[one], names[other]) for one, other in mirror_classes(names).items()}
    assert pairs == {
        ("Pulling something from left to right", "Pulling something from right to left"),
        ("Pulling something from right to left", "Pulling something from left to right"),
        ("Turning something to the left", "Turning something to the right"),
        ("Turning something to the right", "Turning something to the left"),
    }
