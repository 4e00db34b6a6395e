import pytest

from tada.data import inspection, jsonlines
from tada.data.inspection import inspect
from tada.data.parallel import ordered_map


@pytest.mark.parametrize("workers", [1, 2])
def test_finds_every_fault_and_no_other(tmp_path, damaged_split, workers):
    usable = inspect(damaged_split, tmp_path / "checked.jsonl", workers)
    assert set(usable.skipped) == {"empty", "cut", "gone"}
    assert (len(usable.clips), usable.listed) == (6, 9)


def test_remembers_what_it_found(tmp_path, damaged_split, monkeypatch):
    record = tmp_path / "checked.jsonl"
    first = inspect(damaged_split, record)
    monkeypatch.setattr(inspection, "_reason", lambda _: pytest.fail("looked again"))
    assert inspect(damaged_split, record) == first


def test_looks_again_at_a_changed_file_only(tmp_path, damaged_split):
    record = tmp_path / "checked.jsonl"
    inspect(damaged_split, record)
    damaged_split.clips[1].path.write_bytes(damaged_split.clips[0].path.read_bytes())
    told = []
    usable = inspect(damaged_split, record, told=lambda done, total: told.append((done, total)))
    assert told == [(1, 1)]
    assert set(usable.skipped) == {"cut", "gone"}


def test_goes_on_where_it_was_interrupted(tmp_path, damaged_split, monkeypatch):
    record, real = tmp_path / "checked.jsonl", inspection._reason

    def interrupted(clip):
        if clip.name == "3":
            raise KeyboardInterrupt
        return real(clip)

    monkeypatch.setattr(inspection, "_reason", interrupted)
    with pytest.raises(KeyboardInterrupt):
        inspect(damaged_split, record)
    with record.open("a") as file:
        file.write('{"video": "cut in the mid')
    monkeypatch.setattr(inspection, "_reason", real)
    told = []
    usable = inspect(damaged_split, record, told=lambda done, total: told.append(total))
    assert told == [5] * 5
    assert set(usable.skipped) == {"empty", "cut", "gone"}


def test_json_lines(tmp_path):
    file = tmp_path / "new" / "a.jsonl"
    assert list(jsonlines.read(file)) == []
    jsonlines.append(file, {"a": "ü\n"})
    jsonlines.append(file, 2)
    assert list(jsonlines.read(file)) == [{"a": "ü\n"}, 2]


def test_ordered_map_keeps_order_and_hands_on_errors():
    assert list(ordered_map(abs, range(-50, 0), 2)) == list(range(50, 0, -1))
    assert list(ordered_map(abs, [], 2)) == []
    with pytest.raises(TypeError):
        list(ordered_map(abs, [1, "a"], 2))
