import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_images

from tada.base import TadaError
from tada.data.clips import mirror_classes
from tada.data.mini import scenes
from tada.data.mini.scenes import MOTIONS, WEAKEST, Track, draw_digit, draw_track, draw_video, object_masks

SIZE = (42, 56)
RIGHT, LEFT = "Pulling [something] from left to right", "Pulling [something] from right to left"


def still(frames=3, **changes):
    fields = {"x": 0.0, "y": 0.0, "size": 0.5, "angle": 0.0, "opacity": 1.0, **changes}
    return Track(**{name: np.broadcast_to(np.asarray(value, float), frames).copy() for name, value in fields.items()})


def drawn(track, digit=None, seed=0, texture=0.25):
    rng = np.random.default_rng(seed)
    digit = draw_digit(3, np.random.default_rng(1)) if digit is None else digit
    return draw_video(digit, track, SIZE, texture, rng)


def painted(track, **options):
    """How much brighter than the bare background each pixel is, [T, H, W]."""
    bare = drawn(still(len(track.x), opacity=0.0), **options)
    return np.abs(drawn(track, **options).astype(int) - bare).sum(3)


def centre(difference):
    rows, columns = np.indices(difference.shape)
    return np.array([(difference * columns).sum(), (difference * rows).sum()]) / difference.sum()


def test_video_has_the_size_asked_for_and_depends_on_the_generator_alone():
    video = drawn(still(5), seed=4)
    assert (video.shape, video.dtype) == ((5, *SIZE, 3), np.uint8)
    assert (video == drawn(still(5), seed=4)).all()
    assert (video != drawn(still(5), seed=5)).any()


def test_background_stands_still():
    video = drawn(still(4, opacity=0.0))
    assert (video == video[0]).all()
    assert video.std() > 2


@pytest.mark.parametrize(("x", "y"), [(0, 0), (0.3, 0), (-0.3, 0.2), (0.05, -0.2)])
def test_object_is_where_the_track_says(x, y):
    plate = np.pad(np.ones((8, 8), np.float32), 1)
    place = centre(painted(still(1, x=x, y=y), digit=plate, texture=0.0)[0]) + 0.5
    assert place == pytest.approx([28 + 42 * x, 21 + 42 * y], abs=0.15)


def test_size_and_opacity():
    plate = np.pad(np.ones((8, 8), np.float32), 1)
    small, large = (painted(still(1, size=size), digit=plate)[0] > 30 for size in (0.25, 0.5))
    assert large.sum() / small.sum() == pytest.approx(4, rel=0.2)
    half, full = (painted(still(1, opacity=opacity), digit=plate)[0].sum() for opacity in (0.5, 1.0))
    assert half / full == pytest.approx(0.5, abs=0.02)


def test_angle_turns_clockwise():
    arrow = np.zeros((10, 10), np.float32)
    arrow[1:5, 3:7] = 1  # the upper half: points up
    up, right = (centre(painted(still(1, angle=angle), digit=arrow)[0]) + 0.5 - [28, 21] for angle in (0, np.pi / 2))
    assert up[1] < -2
    assert right[0] > 2
    assert right == pytest.approx([-up[1], up[0]], abs=0.3)


def test_object_may_leave_the_frame():
    for x, y in [(5, 0), (-5, 0), (0, 5), (0, -5), (0.66, 0.5), (-0.66, -0.5)]:
        painted(still(2, x=x, y=y))
    assert painted(still(1, x=5))[0].sum() == 0


def test_pictures_are_those_of_scikit_learn():
    images, values = load_digits(return_X_y=True)
    digits, known = scenes._digits()
    assert (digits[:, 1:-1, 1:-1] * 16 == images.reshape(-1, 8, 8)).all()
    assert (known == values).all()
    for ours, theirs in zip(scenes._photographs(), load_sample_images().images, strict=True):
        assert (np.rint(ours * 255) == theirs).all()


def test_digits_are_of_the_value_asked_for():
    digits, values = scenes._digits()
    for value in (0, 7):
        (place,) = np.flatnonzero((digits == draw_digit(value, np.random.default_rng(3))).all((1, 2)))
        assert values[place] == value


def test_scikit_learn_is_not_there(monkeypatch):
    monkeypatch.setattr(scenes, "find_spec", lambda name: None)
    with pytest.raises(TadaError, match="scikit-learn is not installed"):
        scenes._digits.__wrapped__()


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


def test_a_share_of_motions_hardly_shows_and_the_others_fill_the_range_evenly():
    tracks = [draw_track(RIGHT, 24, (0.4, 1.0), np.random.default_rng(seed), weak=0.25) for seed in range(2000)]
    extents = np.array([np.ptp(track.x) for track in tracks])
    weak = extents <= WEAKEST
    assert weak.mean() == pytest.approx(0.25, abs=0.03)  # three standard errors
    assert extents[~weak].min() >= 0.4 and extents.max() <= 1.0
    assert np.quantile(extents[~weak], [0.25, 0.5, 0.75]) == pytest.approx([0.55, 0.7, 0.85], abs=0.03)


@pytest.mark.parametrize(("strength", "change"), [(0.0, 0.0), (0.25, 0.4), (0.625, 1.0), (0.8, 1.0)])
def test_how_much_is_covered_grows_with_the_strength_until_all_is(strength, change):
    track = draw_track("Covering [something]", 24, (strength, strength), np.random.default_rng(0))
    assert np.ptp(track.opacity) == pytest.approx(change)
    assert (track.opacity[0] + track.opacity[-1]) / 2 == pytest.approx(0.5)


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


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("template", MOTIONS)
def test_masks_hold_what_is_painted_and_little_more(template, seed):
    rng = np.random.default_rng(seed)
    track = draw_track(template, 12, (0.5, 0.9), rng)
    frames = np.arange(0, 12, 3)
    masks = object_masks(track, frames, short_side=SIZE[0], crop=SIZE[0])
    side = (SIZE[1] - SIZE[0]) // 2
    brighter = painted(track)[frames][:, :, side : side + SIZE[0]]
    seen = brighter * (track.opacity >= scenes.SEEN)[frames, None, None]
    assert seen[masks].sum() > 0.97 * seen.sum()
    assert (brighter > 30).sum() > 0.1 * masks.sum()


def test_masks_of_a_resized_frame_and_of_an_object_that_is_not_there():
    masks = object_masks(still(2, x=[0.25, 0.25], opacity=[1.0, 0.0]), np.array([0, 1]), short_side=24, crop=16)
    assert masks.shape == (2, 16, 16) and not masks[1].any()
    rows, columns = np.nonzero(masks[0])  # 6 pixels to the right of the centre, 12 high; the crop ends at 8
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 13, 8, 15)
