"""What testing in half precision changes: the first videos are also scored in float32, and both are compared."""

from typing import Any

import torch
from torch import nn

from tada.distributed import World
from tada.errors import TadaError
from tada.testing import view_scores

VIDEOS = 32
"""Videos that are scored twice."""


def compare(
    model: nn.Module,
    dataset: torch.utils.data.Dataset,
    *,
    precision: str,
    batch: int,
    world: World | None = None,
    workers: int = 0,
    videos: int = VIDEOS,
) -> dict[str, Any]:
    """Largest difference of softmax scores and videos of another top-1 between `precision` and float32.

    It always looks at the first videos, so that it is the same however often a test pass is interrupted. Of several
    processes only one has to call it.

    Args:
        model: maps [N, 3, T, H, W] to logits; used in evaluation mode.
        dataset: maps index to (uint8 views [views, 3, T, H, W], label).
        precision: "bfloat16" or "float16".
        batch: videos per forward pass.
        world: whose device computes.
        workers: processes that decode; 0 decodes in this one.
        videos: how many are compared, from the first.

    Returns:
        `precision`, `videos` compared, `largest_difference` of any score of any view, and `changed_top1`, the videos
        whose most probable class over all views is another one (with several tasks, in any of them).

    Raises:
        TadaError: scores in half precision that are not finite.
    """
    world = world or World.single()
    model.to(world.device).eval()
    first = torch.utils.data.Subset(dataset, range(min(videos, len(dataset))))
    largest, changed = 0.0, 0
    with torch.inference_mode():
        for views, _ in torch.utils.data.DataLoader(first, batch_size=batch, num_workers=workers):
            full, half = (view_scores(model, views, world, name) for name in ("float32", precision))
            if not all(scores.isfinite().all() for scores in half.values()):
                raise TadaError(f"test.precision {precision} gives scores that are not finite; use bfloat16 or float32")
            largest = max(largest, *(float((full[task] - half[task]).abs().max()) for task in full))
            moved = [full[task].mean(1).argmax(1) != half[task].mean(1).argmax(1) for task in full]
            changed += int(torch.stack(moved).any(0).sum())
    return {"precision": precision, "videos": len(first), "largest_difference": largest, "changed_top1": changed}


def in_words(found: dict[str, Any]) -> str:
    """What `compare` found, as a line of a log."""
    return (
        f"testing in {found['precision']}: on {found['videos']} videos the scores are within "
        f"{found['largest_difference']:.2g} of float32, top-1 changes for {found['changed_top1']}"
    )
