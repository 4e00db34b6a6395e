"""Files of JSON lines: appended to by several processes, readable even where one was killed in the middle of a line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def append(path: Path, value: Any) -> None:
    """Add a line; lines of several processes do not mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:  # one write, at whatever is the end of the file by then
        file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")


def read(path: Path) -> Iterator[Any]:
    """The values of all whole lines; none if there is no file."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n"):
        try:
            yield json.loads(line)
        except ValueError:  # empty, or cut off
            continue
