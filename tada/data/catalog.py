"""The datasets by name, and where a user has them.

Names of a dataset's classes, as far as its annotations are at hand.
"""

import inspect
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from tada.base.errors import TadaError, unknown
from tada.data.clips import Annotations
from tada.data.readers import ek100, hacs, k400, ssv2

READERS: dict[str, ModuleType] = {"ssv2": ssv2, "k400": k400, "ek100": ek100, "hacs": hacs}
"""Each has `read(root, ...) -> Annotations` and says in EXPECTED which files it looks for."""


@dataclass(frozen=True)
class Place:
    """Where a dataset lies: its folder, and what else of `read`'s arguments the user has set."""

    root: Path
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Place":
        """A folder's path, or {"root": ..., "annotations": ..., "videos": ..., "layout": ...} as JSON."""
        if not text.startswith("{"):
            return cls(Path(text))
        options = json.loads(text)
        return cls(Path(options.pop("root")), options)


def read(dataset: str, place: Place) -> Annotations:
    """The annotations of a dataset.

    Raises:
        TadaError: a dataset without a reader, an option that its reader does not have, or as the reader itself.
    """
    if dataset not in READERS:
        raise TadaError(f"{dataset}: this dataset cannot be read yet; readable: {', '.join(READERS)}")
    reader = READERS[dataset].read
    valid = list(inspect.signature(reader).parameters)[1:]
    for option in place.options:
        if option not in valid:
            raise unknown("option", option, valid, where=f"data.{dataset}")
    options = {key: value if key == "layout" else Path(value) for key, value in place.options.items()}
    return reader(place.root, **options)


def class_names(dataset: str, data: str, classes: int) -> tuple[str, ...]:
    """The names of a dataset's classes, or "class 0", "class 1", ... where the dataset cannot be read.

    Args:
        dataset: e.g. "ssv2".
        data: its folder, or more about it (see `Place.parse`); empty where there is none.
        classes: how many there have to be; other names are of another dataset.
    """
    if data:
        try:
            names = read(dataset, Place.parse(data)).classes
            if isinstance(names, tuple) and len(names) == classes:
                return names
        except TadaError:
            pass
    return tuple(f"class {number}" for number in range(classes))
