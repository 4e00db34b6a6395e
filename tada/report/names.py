"""Names of a dataset's classes, as far as its annotations are at hand."""

from tada.data import datasets
from tada.data.datasets import Place
from tada.errors import TadaError


def class_names(dataset: str, data: str, classes: int) -> tuple[str, ...]:
    """The names of a dataset's classes, or "class 0", "class 1", ... where the dataset cannot be read.

    Args:
        dataset: e.g. "ssv2".
        data: its folder, or more about it (see `Place.parse`); empty where there is none.
        classes: how many there have to be; other names are of another dataset.
    """
    if data:
        try:
            names = datasets.read(dataset, Place.parse(data)).classes
            if isinstance(names, tuple) and len(names) == classes:
                return names
        except TadaError:
            pass
    return tuple(f"class {number}" for number in range(classes))
