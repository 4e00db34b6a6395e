"""The authors' released checkpoints as runs that are tested and not trained."""

from pathlib import Path

from torch import nn

from tada.errors import TadaError
from tada.models.definitions import model_options
from tada.models.weights import load_released
from tada.recipes import in_words
from tada.run import Run


def released_network(run: Run, checkpoint: Path | None) -> nn.Module:
    """The network of a run at scale released; its `loaded` tells file and SHA-256.

    Raises:
        TadaError: no file is given, or it is refused, of another architecture, of another dataset or for another
            number of frames.
    """
    if checkpoint is None:
        raise TadaError(
            f"{run}: where is the released checkpoint? Set released.{run.dataset}.{run.model} in config/config.yaml to "
            "the file"
        )
    frames = model_options(run.model)["frames"]
    network = load_released(checkpoint, frames)
    if network.released_frames not in (None, frames):
        raise TadaError(f"{checkpoint}: a network for {network.released_frames} frames, and {run.model} takes {frames}")
    heads = network.head.linear
    tasks = {task: head.out_features for task, head in heads.items()} if isinstance(heads, nn.ModuleDict) else {}
    classes = tasks or heads.out_features
    if classes != run.recipe.classes:
        wanted = in_words(run.recipe.classes)
        raise TadaError(f"{checkpoint}: a network for {in_words(classes)} classes, and {run.dataset} has {wanted}")
    return network
