"""The commands that keep the README's numbers: `tada snapshot` and `tada readme`."""

from pathlib import Path
from typing import Annotated

import typer

Readme = Annotated[Path, typer.Option(help="Whose part between the markers is rewritten.")]
Folder = Annotated[Path, typer.Option(help="Folder of the snapshot.")]


def snapshot(
    scale: Annotated[str, typer.Option(help="mini or paper.")] = "mini",
    seeds: Annotated[int, typer.Option(help="Runs per row, with seeds 0, 1, ...")] = 1,
    results: Annotated[Path, typer.Option(help="Folder of all results.")] = Path("results"),
    data: Annotated[Path, typer.Option(help="Folder of the rendered videos, whose size is told.")] = Path("data/mini"),
    folder: Folder = Path("snapshot"),
    readme: Readme = Path("README.md"),
) -> None:
    """Keep what was found, small enough to commit, and rewrite the README's numbers from it."""
    from tada.report.collect import collect
    from tada.report.front import update

    collect(scale, seeds, results, folder, data=data)
    update(readme, folder)
    print(f"wrote {folder} and the numbers of {readme}")


def readme(folder: Folder = Path("snapshot"), readme: Readme = Path("README.md")) -> None:
    """Rewrite the README's numbers and picture from the committed snapshot."""
    from tada.report.front import update

    update(readme, folder)
    print(f"wrote {folder / 'agreement.svg'} and the numbers of {readme}")
