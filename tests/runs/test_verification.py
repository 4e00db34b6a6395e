"""A finished run whose files are damaged afterwards: what is said, and what is left to go on from."""

import os
import shutil

import pytest
from planting import plant_record

from tada.base.files import write_arrays
from tada.runs.record import RecordedFile, read_record
from tada.runs.run import Run
from tada.runs.verification import damage, first_fault, is_finished, remove_damage

NAMES = ("scores.npz", "curves.csv", "checkpoint.pt")


@pytest.fixture
def run(tmp_path):
    """A run that is done, with files beside its record."""
    one = Run("mini", "ssv2", "tsn", 0, tmp_path)
    write_arrays(one.file("scores.npz"), {"videos": ["1", "2"], "labels": [0, 1], "scores": [[0.9, 0.1], [0.1, 0.9]]})
    one.file("curves.csv").write_text("epoch,train_loss\n1,0.5\n")
    one.file("checkpoint.pt").write_bytes(bytes(range(256)))
    plant_record(one, {"top1": 100.0}, files={name: RecordedFile.of(one.file(name)) for name in NAMES})
    return one


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def half(path):
    """The scores of half of the videos: a whole file of other content."""
    write_arrays(path, {"videos": ["1"], "labels": [0], "scores": [[0.9, 0.1]]})


DAMAGE = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": lambda path: path.unlink(),
    "flipped": flip,
    "half": half,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


def test_what_is_whole_has_no_faults(run):
    record = read_record(run)
    assert damage(run, record) == damage(run, record, thorough=True) == {} and is_finished(run)
    assert first_fault(run, record) is None and remove_damage(run) == []
    assert is_finished(run)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", DAMAGE)
def test_every_damage_of_every_file_is_named(run, name, kind):
    DAMAGE[kind](run.file(name))
    record = read_record(run)
    assert list(damage(run, record)) == [name] == list(damage(run, record, thorough=True))
    assert first_fault(run, record).startswith(f"{name} ") and not is_finished(run)


def test_only_what_is_damaged_is_removed(run):
    flip(run.file("scores.npz"))
    (said,) = remove_damage(run)
    assert said == f"{run.file('scores.npz')}: has changed since the record was written; it is made again"
    assert [name for name in (*NAMES, "metrics.json") if run.file(name).exists()] == ["curves.csv", "checkpoint.pt"]


def test_a_damaged_record_is_removed_and_its_files_stay(run):
    file = run.file("metrics.json")
    file.write_text(file.read_text().replace("100.0", "99.0"))
    (said,) = remove_damage(run)
    assert "metrics.json: its content does not give its checksum" in said
    assert not file.exists() and all(run.file(name).exists() for name in NAMES)


def test_a_copy_is_as_good_as_the_original(run, tmp_path):
    shutil.copytree(tmp_path / "mini", tmp_path / "copy/mini", copy_function=shutil.copy)  # dates are not kept
    copy = Run("mini", "ssv2", "tsn", 0, tmp_path / "copy")
    assert is_finished(copy)
    assert read_record(copy).files["scores.npz"].modified != copy.file("scores.npz").stat().st_mtime_ns


def test_lost_blocks_that_leave_size_and_date_are_found_when_all_is_hashed(run):
    status = run.file("checkpoint.pt").stat()
    flip(run.file("checkpoint.pt"))
    os.utime(run.file("checkpoint.pt"), ns=(status.st_atime_ns, status.st_mtime_ns))
    record = read_record(run)
    assert damage(run, record) == {}
    assert damage(run, record, thorough=True) == {"checkpoint.pt": "has changed since the record was written"}


def test_a_record_of_another_configuration_stays_until_it_is_replaced(run):
    plant_record(run, {"top1": 50.0}, signature="another")
    assert remove_damage(run) == [] and run.file("metrics.json").exists()
