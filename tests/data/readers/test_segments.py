from math import nan

import pytest

from tada.data.readers import fault, inside


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ((0.0, 5.0), None),
        ((-0.5, 5.0), None),
        ((4.0, 10.9), None),
        ((3.0, 3.0), "no length: begins and ends at 3.00 s"),
        ((5.0, 3.0), "ends at 3.00 s, before it starts at 5.00 s"),
        ((nan, 3.0), "its times nan and 3.0 are not finite"),
        ((-1.5, 3.0), "begins at -1.50 s, before its video does"),
        ((10.0, 10.5), "lasts from 10.00 s to 10.50 s, outside its video of 10.00 s"),
        ((4.0, 11.5), "lasts from 4.00 s to 11.50 s, outside its video of 10.00 s"),
    ],
)
def test_faults_are_told_with_their_values(times, reason):
    assert fault(*times, duration=10.0) == reason


def test_without_a_duration_nothing_lies_behind_the_end():
    assert fault(100.0, 200.0) is None


def test_what_is_used_lies_inside_the_video():
    assert inside(-0.5, 10.9, 10.0) == (0.0, 10.0)
    assert inside(1.0, 2.0, 10.0) == (1.0, 2.0)
