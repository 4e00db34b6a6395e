"""Files: where the suite's own stand, whole or absent ones, and those that grow.

Where they stand: `PROJECT`, which is the checkout, or the folder laid out like it that an installed package carries.

Whole or absent: written under a temporary name, then renamed, so that no reader ever meets half a file. A disk that
takes no more is a `DiskError`, which says which one.

Growing: lines of JSON that several processes append, readable even where one was killed in the middle of a line; and
the new end of a log.
"""

import errno
import hashlib
import itertools
import json
import os
import shutil
import socket
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tada.base import TadaError, first_line, unknown

_PACKAGED = Path(__file__).parents[1] / "project"
PROJECT = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2]

# TADA_CONFIG names another folder of models.yaml and recipes/, for a study of one's own.
CONFIG = Path(os.environ.get("TADA_CONFIG") or PROJECT / "config")
SCHEMAS = PROJECT / "workflow" / "schemas"
# What the benchmarks have measured, a file for each GPU and each processor.
MEASURED = PROJECT / "benchmarks" / "measured"
# What the paper reports; TADA_PAPER names the folder of another paper.
PAPER = Path(os.environ.get("TADA_PAPER") or PROJECT / "paper")

# TADA_PRECISION is the precision of all trainings, in place of that of their recipes; `--config precision=...` sets it.
PRECISION = "TADA_PRECISION"
PRECISIONS = ("float32", "bfloat16")
"""In which networks are trained."""


def use_precision(precision: str | None) -> None:
    """Let all trainings that this process and its children ask for be of this precision; None or "": as before."""
    if precision:
        os.environ[PRECISION] = precision


def wanted_precision() -> dict[str, str]:
    """The setting `precision` of all trainings, where the user wants one.

    Raises:
        TadaError: it is none that networks are trained in.
    """
    precision = os.environ.get(PRECISION)
    if precision and precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS, where=PRECISION)
    return {"precision": precision} if precision else {}


def config_file() -> Path:
    """What is asked for: `config/config.yaml` of this folder or, where it has none, the one beside the recipes."""
    here = Path("config/config.yaml")
    return here if here.exists() else CONFIG / here.name


def lay_out_project(folder: Path, models: bool = False) -> None:
    """Copy what Snakemake needs into `folder`: the plan, settings and profiles; of code only the plan's own.

    Args:
        folder: where; made where it is not there.
        models: copy models.yaml and the recipes, too, which TADA_CONFIG then has to name.

    Raises:
        TadaError: something of that name is there already; nothing was copied then.
    """
    parts = ["environment.yml", "workflow", "profiles", "config" if models else "config/config.yaml"]
    if there := next((folder / part for part in parts if (folder / part).exists()), None):
        raise TadaError(f"{there}: is there already, and nothing was written; name another folder, or move it away")
    ours = shutil.ignore_patterns("__pycache__", "schemas")
    for part in parts:
        source, target = PROJECT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=ours)
        else:
            shutil.copyfile(source, target)


class DamagedFile(TadaError):
    """A file whose content is not what its writer writes; the message names the file and says what is wrong."""


class DiskError(TadaError):
    """A disk that is full or only read from, or on which the user may write no more; or a file that it does not give.

    Of a file that cannot be read nobody knows whether it is damaged, so it is never removed.
    """


_REFUSALS = {
    errno.ENOSPC: "is full",
    errno.EDQUOT: "has no room left within your quota",
    errno.EROFS: "is only read from",
    errno.EFBIG: "or a limit of this process takes no file so large",
}
_DENIALS = {
    errno.EACCES: "permission denied; see to its owner and permissions, or name another one",
    errno.EPERM: "permission denied; see to its owner and permissions, or name another one",
    errno.ENAMETOOLONG: "a name longer than its disk takes; name another one",
}


def disk_error(error: BaseException, path: Path) -> DiskError | None:
    """What it means that `path` could not be written or read; None if that has nothing to do with it or its disk."""
    if isinstance(error, OSError) and error.filename and (denial := _DENIALS.get(error.errno or 0)):
        return DiskError(f"{path}: {denial}")
    place = next((parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists()), Path("/"))
    refusal = _REFUSALS.get(getattr(error, "errno", None) or 0)
    unnumbered = isinstance(error, RuntimeError) or (isinstance(error, OSError) and error.errno is None)
    if refusal is None and unnumbered and shutil.disk_usage(place).free < _NO_ROOM:
        refusal = _REFUSALS[errno.ENOSPC]  # torch and numpy say only that they failed to write
    if refusal is None:
        return None
    disk = next(parent for parent in (place.resolve(), *place.resolve().parents) if parent.is_mount())
    return DiskError(
        f"{path}: not written: the disk at {disk} {refusal}; what was saved before is whole, and after making room, or "
        "choosing another folder, the same command goes on from there"
    )


_NO_ROOM = 1 << 20


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Turns an error of writing to `path` into a DiskError where its disk is the reason."""
    try:
        yield
    except Exception as error:
        if refusal := disk_error(error, path):
            raise refusal from None
        raise


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns an error of reading `path` into a DiskError; that there is no such file stays a FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DiskError(
            f"{path}: cannot be read ({error.strerror or error}); nothing was changed: see to its permissions and its "
            "disk, and ask again"
        ) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; on success it replaces `path`, on an exception it goes.

    Raises:
        DiskError: the disk takes no more.
    """
    temporary = path.with_name(f".{path.name}.{_HERE}-{os.getpid()}.tmp")
    with on_disk(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())  # otherwise a crash may leave the new name with empty content
            make_way(path)
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def make_way(path: Path) -> None:
    """Move a folder or a pipe aside that stands where a file is to be written; what is in it is nobody's here."""
    if path.is_fifo() or (path.is_dir() and not path.is_symlink()):
        _move_aside(path)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it; a file in its place is moved aside.

    Raises:
        TadaError: a file stands in the place of one above it, or a link that leads nowhere in the place of any.
    """
    if path.exists() and not path.is_dir():
        _move_aside(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise TadaError(obstacle(path)) from None


def obstacle(folder: Path) -> str:
    """What stands where a folder belongs, or one above it, and is none; empty where nothing does."""
    for place in (folder, *folder.parents):
        if place.is_symlink() and not place.exists():
            return f"{place}: a link to nothing; is the disk there that it leads to?"
        if place.exists():
            file = f"{place}: a file stands where results are to be kept in a folder; name another one"
            return "" if place.is_dir() else file
    return ""


def _move_aside(path: Path) -> None:
    names = (path.with_name(f"{path.name}.aside{number}") for number in itertools.count(1))
    with suppress(FileNotFoundError):  # another process has just done so
        path.rename(next(name for name in names if not name.exists()))


def remove(path: Path) -> None:
    """Remove a file, if it is there; a folder in its place is moved aside."""
    make_way(path)
    path.unlink(missing_ok=True)


_HERE = socket.gethostname().replace("-", "_")


def remove_leftovers(folder: Path, below: bool = False, alone: bool = False) -> None:
    """Remove the temporary files of processes of this machine that are no more, in `folder`, or also below it.

    With `alone` nobody else writes there, as whoever holds a folder's lock knows: then whoever's they are.
    """
    for file in folder.glob("**/.*.tmp" if below else ".*.tmp"):
        machine, _, process = file.name.removesuffix(".tmp").rpartition(".")[2].rpartition("-")
        if alone or (machine == _HERE and process.isdigit() and not _lives(int(process))):
            with suppress(OSError):
                file.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def existing_file(path: Path, more: str = "") -> Path:
    """The file, which is to be read; raises TadaError where there is none. `more`: the end of the message."""
    if not path.is_file():
        raise TadaError(f"{path}: no such file{more}")
    return path


def file_to_write(path: Path | None) -> Path | None:
    """The file, or none, that a user names for writing.

    Raises:
        TadaError: a folder stands there, which would be moved aside, or a file where its folder belongs.
    """
    if path is not None and path.is_dir():
        raise TadaError(f"{path}: a folder; name a file to write")
    if path is not None and (fault := obstacle(path.parent)):
        raise TadaError(fault)
    return path


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` in one step; NaN is refused since no standard reader takes it."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as a compressed .npz file in one step."""
    import numpy as np  # here, so that plans and status, which write none, start without it

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_arrays(path: Path) -> dict[str, Any]:
    """All arrays of an .npz file, by name.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: it is empty, cut short or changed, is of another kind or holds objects.
    """
    import numpy as np

    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # damage shows as one of many kinds of error
        raise DamagedFile(f"{path}: not a file of arrays, or cut short ({first_line(str(error))})") from None


_DIRECTORY = 0x10


def check_archive(path: Path, kind: str = "a whole archive") -> None:
    """Compare the checksums of all members of a zip archive, such as an .npz file or a checkpoint.

    Raises:
        OSError: it cannot be read from its disk.
        DamagedFile: it is no archive, is cut short, or a member is not what was written.
    """
    if path.is_symlink() and not path.exists():
        raise DamagedFile(f"{path}: a link to nothing")
    if path.exists() and not path.is_file():
        raise DamagedFile(f"{path}: not {kind}, nor a file")
    try:
        with zipfile.ZipFile(path) as archive:
            # A member that one wrong bit makes a directory would be read as nothing.
            turned = next((one.filename for one in archive.infolist() if one.external_attr & _DIRECTORY), None)
            wrong = turned or archive.testzip()
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # without a number it is a decompressor's
            raise
        raise DamagedFile(f"{path}: not {kind}, or cut short ({first_line(str(error))})") from None
    if wrong:
        raise DamagedFile(f"{path}: damaged, the checksum of its part {wrong} is wrong")


def read_json(path: Path) -> Any:
    """The content of a JSON file; what is no JSON is a ValueError, and so are a folder, a pipe, NaN and infinities."""
    if not path.is_file():
        if path.exists():
            raise ValueError("it is no file")
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))  # also of links in a circle
    return parse_json(path.read_text(encoding="utf-8"), parse_constant=_refuse)


def parse_json(text: str | bytes, **options: Any) -> Any:
    """The value of JSON text, with the `options` of `json.loads`.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or has a key twice, of which JSON's reader takes the last.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"{key!r} stands twice, and one of them would be lost; join them")
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(content: Any) -> str:
    """The hexadecimal SHA-256 of JSON content, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def append_line(path: Path, value: Any) -> None:
    """Add `value` as a line of JSON; lines of several processes do not mix.

    Raises:
        DiskError: the disk takes no more.
    """
    with on_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:  # one write, at whatever is the end of the file by then
            file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")


def read_lines(path: Path) -> Iterator[Any]:
    """The values of all whole lines of JSON; none if there is no file."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n"):
        try:
            yield json.loads(line)
        except ValueError:  # empty, or cut off
            continue


class Tail:
    """Reads on from the last `lines` lines of `file`, which may not be there yet."""

    def __init__(self, file: Path, lines: int) -> None:
        """Nothing is read yet."""
        self.file, self.lines = file, lines
        self._read: int | None = None

    def read(self) -> str:
        """The text since the last call; of the first call the last `lines` lines."""
        try:
            with self.file.open("rb") as file:
                if self._read is not None:
                    file.seek(self._read)
                text = file.read()
                first, self._read = self._read is None, file.tell()
        except OSError:
            return ""
        shown = text.decode("utf-8", errors="replace").splitlines(keepends=True)
        return "".join(shown[max(len(shown) - self.lines, 0) :] if first else shown)
