"""The comparison with decord counts wrong frames of whoever reads them."""

import numpy as np
import pytest

from benchmarks.decoding import accesses, by_suite, compare, measure, render


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("decoding") / "1.mp4"
    render(file, "mpeg4", {"g": "12", "q": "4"}, (64, 96))
    return file


def test_what_is_asked_for():
    assert [len(indices) for indices in accesses(150)] == [8, 16, 150]
    assert max(indices.max() for indices in accesses(10)) == 9


def test_neighbours_are_wrong_frames(path):
    truth = by_suite(path, np.arange(150))
    assert measure(by_suite, path, truth, 1).wrong == 0
    late = measure(lambda path, indices: truth[np.minimum(indices + 1, 149)], path, truth, 1)
    assert (late.wrong, late.asked) == (172, 174)  # all but the last one, which is asked for twice
    assert measure(lambda path, indices: truth[indices, :9], path, truth, 1).wrong == 174
    assert measure(lambda path, indices: 1 / 0, path, truth, 1).wrong is None


def test_a_line_for_each_file(path, tmp_path):
    pytest.importorskip("decord")
    (tmp_path / "2.mp4").touch()
    lines, faults = compare({"good": path, "bad": tmp_path / "2.mp4"}, 1)
    assert lines[0][:3] == ["good", "0 of 174", "0 of 174"] and len(lines[0]) == 6
    assert lines[1] == ["bad", "empty file (0 bytes)"]
    assert faults == 0
