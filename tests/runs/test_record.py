"""Records of runs: what is written is read again, and what was damaged is refused with file and key."""

import copy
import json
import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import ENVIRONMENT, plant_outcome, plant_record

from tada.base import TadaError, typed_json
from tada.base.files import DamagedFile, write_json
from tada.base.typed_json import from_json, to_json
from tada.runs.record import (
    Checkpoint,
    CountedNetwork,
    Outcome,
    RunRecord,
    last_outcome,
    read_count,
    read_outcome,
    read_record,
    same_training,
    same_weights,
)
from tada.runs.run import Run
from tada.runs.verification import is_finished

# As the first version wrote it, in its order of keys.
WRITTEN = {
    "run": {"scale": "mini", "dataset": "ssv2", "model": "tsn", "seed": 0},
    "signature": "24ea9b2554da",
    "metrics": {"top1": 46.394230769230774, "top5": 93.26923076923077},
    "dataset": {
        "train": {"listed": 1600, "used": 1599, "skipped": ["7"]},
        "validation": {"listed": 416, "used": 416, "skipped": []},
    },
    "environment": {
        "git_commit": None,
        "git_dirty": None,
        "python": "3.11.7",
        "packages": {"torch": "2.14.1"},
        "hardware": {"cpu": "AMD EPYC", "cores": 2, "gpus": []},
    },
    "cost": {
        "wall_seconds": 44.5,
        "training_seconds": 31,
        "device_hours": 0.0086,
        "devices": 1,
        "peak_memory_bytes": 912_384_000,
        "resumes": 0,
        "requeues": 0,
    },
    "initial": {"kind": "k400", "file": "checkpoint.pt", "sha256": "ab", "signature": "cd"},
    "checkpoint": {"file": "checkpoint.pt", "sha256": "ef"},
    "config": {"recipe": {"train": {"scale": [32, 40]}, "network": None}},
    "files": {"scores.npz": {"sha256": "01", "bytes": 5120, "modified": 1_700_000_000_000_000_000}},
    "half_precision": {"precision": "bfloat16", "videos": 32, "largest_difference": 0.01, "changed_top1": 0},
}


@pytest.fixture
def run(tmp_path):
    return Run("mini", "ssv2", "tsn", 0, tmp_path)


def places(content, path=()):
    """Where every value of a JSON content stands."""
    yield path
    for key, part in content.items() if isinstance(content, dict) else ():
        yield from places(part, (*path, key))


def changed(path, value):
    """`WRITTEN` with another value at `path`; Ellipsis takes the key away."""
    content = copy.deepcopy(WRITTEN)
    if not path:
        return value
    *parents, last = path
    place = content
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return content


def test_a_file_is_read_and_written_as_it_was():
    record = from_json(RunRecord, WRITTEN, "metrics.json")
    assert to_json(record) == WRITTEN
    assert record.cost.wall_seconds == 44.5 and record.dataset["train"].skipped == ["7"]
    assert record.half_precision is not None and record.half_precision.videos == 32


def test_what_is_optional_is_left_out():
    content = changed(("half_precision",), ...)
    content["initial"] = {"kind": "scratch"}
    assert to_json(from_json(RunRecord, content, "metrics.json")) == content


@pytest.mark.parametrize("path", [(), ("run",), ("environment", "hardware"), ("cost",), ("dataset", "train")])
def test_keys_of_a_newer_version_are_kept(path):
    content = changed((*path, "later"), {"any": [1, None]})
    assert to_json(from_json(RunRecord, content, "metrics.json")) == content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((), ["a", "list"], "m.json: expected keys with values, found ['a', 'list']"),
        (("metrics", "top1"), "46", "m.json: metrics.top1: expected a finite number, found '46'"),
        (("metrics", "top1"), True, "m.json: metrics.top1: expected a finite number, found True"),
        (("metrics", "top1"), float("nan"), "m.json: metrics.top1: expected a finite number, found nan"),
        (("metrics", "top1"), 10**400, "m.json: metrics.top1: expected a finite number, found 1000"),
        (("run", "seed"), 0.5, "m.json: run.seed: expected a whole number, found 0.5"),
        (("dataset", "train", "skipped"), None, "m.json: dataset.train.skipped: expected a list, found None"),
        (("dataset", "train", "skipped"), [7], "m.json: dataset.train.skipped.0: expected a text, found 7"),
        (("environment", "hardware"), None, "m.json: environment.hardware: expected keys with values, found None"),
        (("cost", "devices"), ..., "m.json: cost.devices is missing"),
        (("checkpoint",), ..., "m.json: checkpoint is missing"),
    ],
)
def test_wrong_content_is_named(path, value, message):
    with pytest.raises(DamagedFile) as error:
        from_json(RunRecord, changed(path, value), "m.json")
    assert str(error.value).startswith(message) and "ask for the same target again, and it is made anew" in str(
        error.value
    )


def test_an_outcome_is_done_or_failed():
    content = {"status": "dne", "attempt": 1, "signature": "ab", "error": None}
    with pytest.raises(DamagedFile, match="status: expected 'done' or 'failed', found 'dne'"):
        from_json(Outcome, content, "outcome.json")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda parts: st.lists(parts, max_size=2) | st.dictionaries(st.text(max_size=3), parts, max_size=2),
    max_leaves=4,
)


@given(path=st.sampled_from(list(places(WRITTEN))), value=ANYTHING)
def test_anything_anywhere_is_read_or_refused(path, value):
    content = changed(path, value)
    try:
        assert to_json(from_json(RunRecord, content, "metrics.json")) is not None
    except TadaError as error:
        assert str(error).startswith("metrics.json: ")


def test_a_record_belongs_to_a_signature(run):
    assert read_record(run) is None and not is_finished(run)
    record = plant_record(run, {"top1": 50.0})
    assert read_record(run) == record and is_finished(run)
    plant_record(run, {"top1": 50.0}, signature="another")
    assert read_record(run) is None and not is_finished(run)


def test_a_number_changed_by_hand_is_noticed(run):
    plant_record(run, {"top1": 50.0})
    file = run.file("metrics.json")
    whole = file.read_text()
    for changed_by_hand in (whole.replace("50.0", "95.0"), whole.replace('"checksum": "', '"checksum": "0')):
        assert changed_by_hand != whole
        file.write_text(changed_by_hand)
        with pytest.raises(DamagedFile, match=r"metrics\.json: its content does not give its checksum"):
            read_record(run)
    file.write_text(json.dumps(json.loads(whole)))  # other white space is no other content
    assert read_record(run) is not None


def test_counts_of_a_network_are_read_as_they_were_written(tmp_path):
    counted = CountedNetwork(1, 2, {"add": 3}, ENVIRONMENT, "tsn", 400, 256)
    file = tmp_path / "tsn/400x256.json"
    typed_json.save_sealed(file, counted)
    assert read_count(file) == counted
    typed_json.save(file, counted)  # as earlier versions did
    assert read_count(file) == counted


@pytest.mark.parametrize("checksum", ["", None, 7, [], "0" * 64])
def test_another_checksum_of_counts_is_damage(tmp_path, checksum):
    file = tmp_path / "tsn/400x256.json"
    write_json(file, to_json(CountedNetwork(1, 2, {}, ENVIRONMENT)) | {"checksum": checksum})
    with pytest.raises(DamagedFile, match=r"400x256\.json: its content does not give its checksum"):
        read_count(file)


@pytest.mark.parametrize("place", ["tada2d/400x256.json", "tsn/174x256.json", "tsn/400x224.json"])
def test_the_counts_of_another_network_are_not_this_ones(tmp_path, place):
    typed_json.save_sealed(tmp_path / place, CountedNetwork(1, 2, {}, ENVIRONMENT, "tsn", 400, 256))
    with pytest.raises(DamagedFile, match=f"{place}: has the counts of tsn with 400 classes at 256 pixels"):
        read_count(tmp_path / place)


def test_the_record_of_another_seed_is_not_this_runs(run):
    other = Run(run.scale, run.dataset, run.model, 1, run.results)
    plant_record(other, {"top1": 50.0})
    run.folder.mkdir(parents=True)
    shutil.copy(other.file("metrics.json"), run.file("metrics.json"))
    with pytest.raises(DamagedFile, match=r"metrics\.json: is the record of mini/ssv2/tsn/seed1"):
        read_record(run)


@pytest.mark.parametrize(
    ("files", "weights", "same"),
    [
        ("xy", "aa", True),
        ("xx", "ab", False),
        ("xy", ("a", ""), False),  # an older record knows its file alone
        ("xx", ("a", ""), True),
        ("xy", ("", ""), False),
    ],
)
def test_trainings_are_the_same_by_their_weights(run, files, weights, same):
    records = [
        plant_record(run, {"top1": 50.0}, checkpoint=Checkpoint("checkpoint.pt", *of))
        for of in zip(files, weights, strict=True)
    ]
    assert same_weights(*records) is same_training(*records) is same
    other = replace(records[1], metrics={"top1": 51.0})
    assert same_weights(records[0], other) is same and not same_training(records[0], other)


def test_a_foreign_file_is_not_looked_at(run):
    run.folder.mkdir(parents=True)
    run.file("metrics.json").write_text(json.dumps({"signature": "another", "of": "an older version"}))
    assert read_record(run) is None


@pytest.mark.parametrize("text", ["", "{", "[1]", "NaN", '{"top1": NaN}', "3", "[" * 100_000])
def test_damaged_files_count_as_not_there_for_who_runs_and_are_named_for_who_reads(run, text):
    run.folder.mkdir(parents=True)
    for name in ("metrics.json", "outcome.json"):
        run.file(name).write_text(text)
    assert not is_finished(run) and last_outcome(run) is None
    for read, name in ((read_record, "metrics.json"), (read_outcome, "outcome.json")):
        with pytest.raises(DamagedFile, match=name):
            read(run)


def test_outcomes(run):
    plant_outcome(run)
    assert read_outcome(run) == Outcome("done", 1, run.signature, None)
    plant_outcome(run, "ValueError: no")
    outcome = read_outcome(run)
    assert outcome is not None and outcome.failed and outcome.error == "ValueError: no"
    assert json.loads(run.file("outcome.json").read_text()) == {
        "status": "failed",
        "attempt": 1,
        "signature": run.signature,
        "error": "ValueError: no",
    }


def test_a_file_of_another_kind_is_no_record(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(DamagedFile, match=r"x\.json: run is missing"):
        typed_json.load(RunRecord, tmp_path / "x.json")
