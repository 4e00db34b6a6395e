import errno
import hashlib
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tada.base import TadaError, files, typed_json
from tada.base.files import (
    Tail,
    append_line,
    read_json,
    read_lines,
    remove,
    replacing,
    sha256,
    write_arrays,
    write_json,
    write_text,
)


def test_json_comes_back_as_it_went(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"α": [1, 2.5, None]})
    assert read_json(tmp_path / "new" / "a.json") == {"α": [1, 2.5, None]}


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, 1)
    with pytest.raises(RuntimeError), replacing(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(file) == 1
    assert list(tmp_path.iterdir()) == [file]


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": {"top1": 1, "top1": 2}}', "'top1' stands twice"),
        ('{"a": 1, "b": 2, "a": 1}', "'a' stands twice"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("[Infinity]", "Infinity is no number of JSON"),
    ],
)
def test_json_that_readers_would_take_differently_is_refused(text, message, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "a.json")


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_arrays_come_back_as_they_went(tmp_path):
    arrays = {"names": np.array(["a", "βγ"]), "scores": np.float16([[0.5, 0.25]]), "identity": np.array("x")}
    write_arrays(tmp_path / "new" / "scores.npz", arrays)
    with np.load(tmp_path / "new" / "scores.npz") as found:
        assert set(found) == set(arrays)
        for name, values in arrays.items():
            assert found[name].dtype == values.dtype and np.array_equal(found[name], values)


def test_arrays_that_cannot_be_written_leave_the_old_file(tmp_path):
    class Unwritable:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("no array")

    file = tmp_path / "scores.npz"
    write_arrays(file, {"a": np.arange(3)})
    with pytest.raises(RuntimeError, match="no array"):
        write_arrays(file, {"a": np.arange(9), "b": Unwritable()})
    assert list(tmp_path.iterdir()) == [file]
    with np.load(file) as found:
        assert found["a"].tolist() == [0, 1, 2]


def test_lines_of_json(tmp_path):
    file = tmp_path / "new" / "a.jsonl"
    assert list(read_lines(file)) == []
    append_line(file, {"a": "ü\n"})
    append_line(file, 2)
    assert list(read_lines(file)) == [{"a": "ü\n"}, 2]


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    file = tmp_path / "a.jsonl"
    append_line(file, 1)
    with file.open("ab") as cut:
        cut.write(b'{"a": "\xc3\n')
    append_line(file, 2)
    assert list(read_lines(file)) == [1, 2]


def test_a_tail_goes_on_where_it_stopped(tmp_path):
    tail = Tail(tmp_path / "log.txt", lines=2)
    assert tail.read() == ""
    (tmp_path / "log.txt").write_text("a\nb\nc\n")
    assert tail.read() == "b\nc\n"
    with (tmp_path / "log.txt").open("a") as log:
        log.write("d\ne\nf")
    assert tail.read() == "d\ne\nf"
    assert tail.read() == ""
    assert Tail(tmp_path / "log.txt", lines=0).read() == ""


@pytest.mark.parametrize(("number", "word"), [(errno.ENOSPC, "is full"), (errno.EROFS, "is only read from")])
def test_a_disk_that_takes_no_more_is_named(tmp_path, monkeypatch, number, word):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    write_text(tmp_path / "a.txt", "first")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(files.DiskError, match=rf"a\.txt: not written: the disk at /.* {word}"):
        write_text(tmp_path / "a.txt", "second")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "first"


def test_other_errors_of_writing_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="broken"), replacing(tmp_path / "a"):
        raise RuntimeError("broken")
    with pytest.raises(FileExistsError):
        (tmp_path / "file").touch()
        write_text(tmp_path / "file" / "a", "text")


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with replacing(tmp_path / "mine") as mine:
        mine.touch()
        left = mine.with_name(mine.name.replace(f"-{os.getpid()}.", f"-{dead.pid}."))
        elsewhere = mine.with_name(f".x.other-{dead.pid}.tmp")
        deep = tmp_path / "sub" / left.name
        deep.parent.mkdir()
        for file in (left, elsewhere, deep):
            file.touch()
        files.remove_leftovers(tmp_path)
        assert (left.exists(), elsewhere.exists(), mine.exists(), deep.exists()) == (False, True, True, True)
        files.remove_leftovers(tmp_path, below=True)
        assert not deep.exists()
        files.remove_leftovers(tmp_path, alone=True)
        assert not elsewhere.exists() and not mine.exists()
        mine.touch()


def test_a_folder_in_the_place_of_a_file_is_moved_aside(tmp_path):
    file = tmp_path / "metrics.json"
    for number in (1, 2):
        (file / "inside").mkdir(parents=True)
        with pytest.raises(ValueError, match="it is no file"):
            read_json(file)
        write_json(file, [number])
        assert read_json(file) == [number]
        remove(file)
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"metrics.json.aside{n + 1}" for n in range(number)]
    remove(file)
    assert (tmp_path / "metrics.json.aside2/inside").is_dir()


def test_numpy_on_a_full_disk_names_the_disk(tmp_path, monkeypatch):
    """It says how many bytes it has written, and no number of an error."""
    short = OSError("7936 requested and 992 written")
    assert files.disk_error(short, tmp_path) is None
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert "is full" in str(files.disk_error(short, tmp_path))
    assert files.disk_error(OSError(errno.EIO, "a disk"), tmp_path) is None


def test_a_line_on_a_full_disk_names_its_file(tmp_path):
    (tmp_path / "lines.jsonl").symlink_to("/dev/full")
    with pytest.raises(files.DiskError, match=rf"^{tmp_path}/lines.jsonl: not written: the disk at .* is full"):
        files.append_line(tmp_path / "lines.jsonl", {})


def test_what_may_not_be_written_is_named_without_the_temporary_file(tmp_path):
    denied = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".page.tmp"))
    page = rf"^{tmp_path}/page: permission denied; see to"
    with pytest.raises(files.DiskError, match=page), files.on_disk(tmp_path / "page"):
        raise denied
    with pytest.raises(files.DiskError, match="a name longer than its disk takes"):
        files.write_text(tmp_path / ("n" * 300), "")
    limit = files.disk_error(OSError(errno.EFBIG, "File too large"), tmp_path / "page")
    assert "or a limit of this process takes no file so large" in str(limit)
    assert files.disk_error(PermissionError(errno.EPERM, "of a process"), tmp_path) is None


def test_a_file_in_the_place_of_a_folder_is_moved_aside_and_one_above_it_is_named(tmp_path):
    folder = tmp_path / "results/seed0"
    folder.parent.mkdir()
    folder.write_text("a file")
    for _ in range(2):
        files.make_folder(folder)
        assert folder.is_dir() and (tmp_path / "results/seed0.aside1").read_text() == "a file"
    with pytest.raises(TadaError, match=r"seed0\.aside1: a file stands where"):
        files.make_folder(tmp_path / "results/seed0.aside1/deeper")


def test_a_folder_is_no_file_that_a_user_names_for_writing(tmp_path):
    (tmp_path / "file").write_text("")
    for good in (None, tmp_path / "file", tmp_path / "new", tmp_path / "new/below"):
        assert files.file_to_write(good) == good
    for bad, message in (
        (tmp_path, "a folder; name a file to write"),
        (tmp_path / "file/below", "a file stands where"),
    ):
        with pytest.raises(TadaError, match=message):
            files.file_to_write(bad)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_to_nothing_in_the_place_of_a_folder_is_named(tmp_path):
    """As where the disk of all results is not mounted."""
    (tmp_path / "results").symlink_to(tmp_path / "unmounted")
    for folder in ("results", "results/mini/seed0"):
        with pytest.raises(TadaError, match=r"/results: a link to nothing; is the disk there"):
            files.make_folder(tmp_path / folder)
    assert not (tmp_path / "unmounted").exists()


def test_what_is_no_file_is_damage_or_missing_and_nobody_waits_for_it(tmp_path):
    pipe, circle = tmp_path / "pipe", tmp_path / "circle"
    os.mkfifo(pipe)
    circle.symlink_to(circle)
    with pytest.raises(ValueError, match="it is no file"):
        read_json(pipe)
    with pytest.raises(files.DamagedFile, match="nor a file"):
        files.check_archive(pipe)
    with pytest.raises(files.DamagedFile, match="a link to nothing"):
        files.check_archive(circle)
    for missing in (circle, tmp_path / "nothing"):
        with pytest.raises(FileNotFoundError):
            read_json(missing)
    for path in (pipe, circle):
        write_json(path, [1])
        assert read_json(path) == [1] and not path.is_symlink()


def test_what_a_disk_does_not_give_is_no_damage(tmp_path):
    """A file of the system stands in for one on a broken disk: nobody can read its first byte, not even root."""
    file = tmp_path / "a.json"
    file.symlink_to("/proc/self/mem")
    with pytest.raises(files.DiskError, match=r"a\.json: cannot be read \(.*\); nothing was changed"):
        typed_json.load(dict, file)
    with pytest.raises(FileNotFoundError):
        typed_json.load(dict, tmp_path / "b.json")
