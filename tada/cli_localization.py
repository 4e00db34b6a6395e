"""The command of temporal action localization: `tada evaluate-detections`."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate_detections(
    ground_truth: Annotated[Path, typer.Argument(help="JSON of HACS or ActivityNet, or EPIC_100_validation.csv.")],
    predictions: Annotated[Path, typer.Argument(help="Official submission file (JSON) of the same dataset.")],
    subset: Annotated[str, typer.Option(help="Of the ground truth, where it has several.")] = "validation",
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Score a submission file of temporal action localization: mAP at each threshold and on average, in percent."""
    from tada.localization.scoring import score_files

    score = score_files(ground_truth, predictions, subset)
    if out:
        from tada.files import write_json

        write_json(out, {"ground_truth": str(ground_truth), "predictions": str(predictions), **score.as_json()})
    print(score.as_text())
