"""A small folder that says what a full run found and where that comes from: committed, while `results/` is not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from tada import paths
from tada.errors import TadaError
from tada.files import read_json

SNAPSHOT = paths.PROJECT / "snapshot"
FRAMES = ("targets", "runs", "numbers", "claims", "audit")


@dataclass(frozen=True)
class Snapshot:
    """What the folder holds; every value of a table is a text, nothing an empty one.

    `about`: scale, seeds, date, size in bytes and the environments that runs refer to by their place in the list.
    `targets`: the paper's tables and figures, with runs and seconds. `runs`: every run, with metrics and provenance.
    `numbers`: the cells of all tables. `claims` and `audit`: as in `tables/claims.csv` and `tables/audit.csv`.
    """

    about: dict[str, Any]
    targets: pd.DataFrame
    runs: pd.DataFrame
    numbers: pd.DataFrame
    claims: pd.DataFrame
    audit: pd.DataFrame


def load_snapshot(folder: Path = SNAPSHOT) -> Snapshot:
    """Read it.

    Raises:
        TadaError: a file is missing.
    """
    try:
        frames = {name: read_texts(folder / f"{name}.csv") for name in FRAMES}
        return Snapshot(read_json(folder / "about.json"), **frames)
    except FileNotFoundError as error:
        raise TadaError(f"{error.filename} is missing; `tada snapshot` writes it") from None


def read_texts(source: Path | TextIO) -> pd.DataFrame:
    """A CSV file whose values are kept as they stand there."""
    return pd.read_csv(source, dtype=str, keep_default_na=False)
