"""Whether the files of a finished run are those that its record was written of.

A record names its files with size, date and checksum. A file of that size and date is taken for what it was, which
costs nothing; one of another date is hashed, as after a copy. `tada verify` hashes them all.

What is damaged is made again by whoever executes the run next: from the trained network where that is whole, so that
testing suffices, else from the last good state of the training.
"""

from pathlib import Path

from tada.base.files import DamagedFile, readable, remove
from tada.runs.record import METRICS, RecordedFile, RunRecord, read_record
from tada.runs.run import Run


def damage(run: Run, record: RunRecord, thorough: bool = False) -> dict[str, str]:
    """What is wrong with each file of a finished run that is not what it was; empty if all is well.

    Args:
        run: whose files.
        record: the run's.
        thorough: hash every file, whatever its date.

    Raises:
        DiskError: a file cannot be read.
    """
    found = {}
    for name, was in record.files.items():
        with readable(run.file(name)):
            found[name] = _fault(run.file(name), was, thorough)
    return {name: fault for name, fault in found.items() if fault}


def first_fault(run: Run, record: RunRecord) -> str | None:
    """What is wrong with the files of a finished run, for its line in a table; None if all is well."""
    return next((f"{name} {fault}; the next call repairs it" for name, fault in damage(run, record).items()), None)


def is_finished(run: Run) -> bool:
    """Whether the run has a record, and its files are what they were; else it has to be made again."""
    try:
        record = read_record(run)
    except DamagedFile:
        return False
    return record is not None and not damage(run, record)


def remove_damage(run: Run) -> list[str]:
    """Remove the record of a run that is damaged, and the files that are not what they were; says what was wrong.

    What is whole stays, and is gone on from. A record of another configuration stays until a new one is written.
    """
    try:
        record = read_record(run)
    except DamagedFile as error:
        remove(run.file(METRICS))
        return [str(error)]
    faults = damage(run, record) if record else {}
    for name in faults:
        remove(run.file(name))
    if faults:
        remove(run.file(METRICS))
    return [f"{run.file(name)}: {fault}; it is made again" for name, fault in faults.items()]


def _fault(file: Path, was: RecordedFile, thorough: bool) -> str | None:
    """What is wrong with a file; None if it is what it was."""
    if not file.is_file():
        return "is missing"
    status = file.stat()
    if status.st_size != was.bytes:
        return f"has {status.st_size} bytes, and had {was.bytes} when the record was written"
    unchanged = status.st_mtime_ns == was.modified and not thorough
    if not unchanged and RecordedFile.of(file).sha256 != was.sha256:
        return "has changed since the record was written"
    return None
