"""The commands that keep the README's numbers: `tada snapshot` and `tada readme`.

The command of temporal action localization: `tada evaluate-detections`.
"""

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
    from tada.report.pages.readme import update
    from tada.report.pages.snapshot import collect

    collect(scale, seeds, results, folder, data=data)
    update(readme, folder)
    print(f"wrote {folder} and the numbers of {readme}")


def readme(folder: Folder = Path("snapshot"), readme: Readme = Path("README.md")) -> None:
    """Rewrite the README's numbers and picture from the committed snapshot."""
    from tada.report.pages.readme import update

    update(readme, folder)
    print(f"wrote {folder / 'agreement.svg'} and the numbers of {readme}")


def evaluate_detections(
    ground_truth: Annotated[Path, typer.Argument(help="JSON of HACS or ActivityNet, or EPIC_100_validation.csv.")],
    predictions: Annotated[Path, typer.Argument(help="Official submission file (JSON) of the same dataset.")],
    subset: Annotated[str, typer.Option(help="Of the ground truth, where it has several.")] = "validation",
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Score a submission file of temporal action localization: mAP at each threshold and on average, in percent."""
    from tada.localization.submission import score_files

    score = score_files(ground_truth, predictions, subset)
    if out:
        from tada.base.files import write_json

        write_json(out, {"ground_truth": str(ground_truth), "predictions": str(predictions), **score.as_json()})
    print(score.as_text())
