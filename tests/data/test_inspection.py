import os

import pytest

from tada.base import TadaError, files
from tada.base.processes import ordered_map
from tada.data import validation
from tada.data.clips import Clip, Split
from tada.data.validation import inspect, inspect_files
from tada.data.video.random_access import IMAGE


@pytest.mark.parametrize("workers", [1, 2])
def test_finds_every_fault_and_no_other(tmp_path, damaged_split, workers):
    usable = inspect(damaged_split, tmp_path / "checked.jsonl", workers)
    assert set(usable.skipped) == {"empty", "cut", "gone"}
    assert (len(usable.clips), usable.listed) == (6, 9)


def test_remembers_what_it_found(tmp_path, damaged_split, monkeypatch):
    record = tmp_path / "checked.jsonl"
    first = inspect(damaged_split, record)
    monkeypatch.setattr(validation, "_inspect_file", lambda *_, **__: pytest.fail("inspected again"))
    assert inspect(damaged_split, record) == first


def test_looks_again_at_a_changed_file_only(tmp_path, damaged_split):
    record = tmp_path / "checked.jsonl"
    inspect(damaged_split, record)
    damaged_split.clips[1].path.write_bytes(damaged_split.clips[0].path.read_bytes())
    calls = []
    usable = inspect(damaged_split, record, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 1)]
    assert set(usable.skipped) == {"cut", "gone"}


def test_a_folder_of_images_lasts_as_its_rate_says(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 25):
        (folder / IMAGE.format(number)).touch()
    for rate, seconds in ((12.0, 2.0), (24.0, 1.0)):
        assert inspect_files([Clip("a", folder, 0, fps=rate)], tmp_path / "record")[folder].seconds == seconds


def test_goes_on_where_it_was_interrupted(tmp_path, damaged_split, monkeypatch):
    record, real = tmp_path / "checked.jsonl", validation._inspect_file

    def interrupted(file, decode):
        if file[0].stem == "3":
            raise KeyboardInterrupt
        return real(file, decode)

    monkeypatch.setattr(validation, "_inspect_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        inspect(damaged_split, record)
    with record.open("a") as file:
        file.write('{"file": "cut in the mid')
    monkeypatch.setattr(validation, "_inspect_file", real)
    calls = []
    usable = inspect(damaged_split, record, on_progress=lambda done, total: calls.append(total))
    assert calls == [5] * 5
    assert set(usable.skipped) == {"empty", "cut", "gone"}


def test_a_file_of_many_clips_is_inspected_at_once(tmp_path, split):
    path = split.clips[0].path  # 20 frames, 12 a second
    parts = [Clip(str(number), path, 0, number / 2, number / 2 + 0.4) for number in range(6)]
    calls = []
    usable = inspect(
        Split("train", tuple(parts)), tmp_path / "record.jsonl", on_progress=lambda *done: calls.append(done)
    )
    assert calls == [(1, 1)]
    assert usable.skipped == {
        "4": "begins at 2.00 s, and its video ends at 1.67 s",
        "5": "begins at 2.50 s, and its video ends at 1.67 s",
    }


def test_what_was_decoded_is_known_to_be_readable_but_not_the_other_way_round(tmp_path, split):
    inspected = []

    def inspect_again(decode):
        inspected.append(0)
        return inspect_files(
            split.clips, tmp_path / "record.jsonl", on_progress=lambda done, _: inspected.append(1), decode=decode
        )

    assert not any(finding.decoded for finding in inspect_again(False).values())
    assert all(finding.decoded for finding in inspect_again(True).values())
    assert all(finding.decoded for finding in inspect_again(False).values())
    assert inspected == [0, *[1] * 6, 0, *[1] * 6, 0]


def test_records_of_older_versions_are_ignored(tmp_path, split):
    record = tmp_path / "record.jsonl"
    for line in ({"video": "x", "reason": None}, {"file": "x", "why": 3}, [1], {"file": "x", "reason": None}):
        files.append_line(record, line)
    assert len(inspect(split, record).clips) == 6


def test_a_worker_that_is_ended_is_one_line():
    with pytest.raises(TadaError, match="one of 2 processes was ended, often since memory ran out"):
        list(ordered_map(os._exit, [1, 1, 1, 1], 2))


def test_ordered_map_keeps_order_and_hands_on_errors():
    assert list(ordered_map(abs, range(-50, 0), 2)) == list(range(50, 0, -1))
    assert list(ordered_map(abs, [], 2)) == []
    with pytest.raises(TypeError):
        list(ordered_map(abs, [1, "a"], 2))
