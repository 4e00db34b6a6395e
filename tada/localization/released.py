"""What the authors released of localization beside features: a trained BMN and the results of classification.

Both are of TAda2D on EPIC-KITCHENS-100. The checkpoint of BMN names its layers otherwise and holds the weights of the
boundary-matching layer as a dense matrix. Results of classification are files like those of features
(`tada.localization.features`), each a dict of `verb_class` [n, 3 x 97] and `noun_class` [n, 3 x 300]: the logits of the
three crops of clip k, crop after crop. Nothing in these files is executed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tada.base import TadaError
from tada.base.devices import ProcessGroup
from tada.base.processes import StopFlag
from tada.base.progress import Progress
from tada.data.catalog import Place
from tada.localization.bmn_training import build_bmn
from tada.localization.classes import Scores, VideoProposals
from tada.localization.feature_sources import ReleasedFeatureSource
from tada.localization.features import ReleasedFeatures
from tada.localization.videos import Untrimmed
from tada.models.bmn import BMN, sampling_weights
from tada.models.weights import fill, read_checkpoint, tensors
from tada.runs.localization_settings import BmnSettings
from tada.runs.record import Initial
from tada.runs.run import Run

CROPS = 3
"""Crops of a clip whose logits stand in a file of results."""


# Released names of BMN's layers -> ours.
_LAYERS = {
    "backbone.conv_layer.0": "base.0",
    "backbone.conv_layer.2": "base.2",
    "head.x_1d_s.0": "start.0",
    "head.x_1d_s.2": "start.2",
    "head.x_1d_e.0": "end.0",
    "head.x_1d_e.2": "end.2",
    "head.x_1d_p.0": "proposals.0",
    "head.x_3d_p.0": "proposals.2",
    "head.x_2d_p.0": "proposals.4",
    "head.x_2d_p.2": "proposals.6",
    "head.x_2d_p.4": "proposals.8",
    "head.x_2d_p.6": "proposals.10",
}


_MASK = "head.sample_mask"


_UNUSED = ("head.x_2d_verb.", "head.x_2d_noun.")
"""Layers that classify, which the authors do not use where there are results of classification."""


_SAME = 1e-4
"""How much two weights of the boundary-matching layer may differ by rounding."""


def read_bmn(path: Path, settings: BmnSettings) -> BMN:
    """The BMN of a checkpoint that the authors released, in evaluation mode.

    Args:
        path: the checkpoint.
        settings: of the network and its windows; the number of channels is read from the file.

    Raises:
        TadaError: the file is refused, is of no BMN, or of one with other settings: what differs is named.
    """
    state = tensors(read_checkpoint(path), path, "model_state")
    first = state.get("backbone.conv_layer.0.weight")
    if first is None or _MASK not in state:
        raise TadaError(f"{path}: no BMN of the authors: there is no backbone.conv_layer.0.weight or no {_MASK}")
    mask = state.pop(_MASK)
    found, unknown = {}, []
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        if layer in _LAYERS:
            found[f"{_LAYERS[layer]}.{kind}"] = value
        elif not key.startswith(_UNUSED):
            unknown.append(key)
    network = build_bmn(first.shape[1] * settings.groups, settings)
    fill(network, found, set(network.state_dict()), path, unknown)
    _check_mask(mask, settings, path)
    return network.eval()


def _check_mask(mask: Tensor, settings: BmnSettings, path: Path) -> None:
    """Compare the file's matrix [T, samples * D * T] with the weights by which our network samples proposals."""
    samples, durations, temporal = settings.samples, settings.durations, settings.temporal
    wanted = [temporal, samples * durations * temporal]
    if list(mask.shape) != wanted:
        raise TadaError(
            f"{path}: {_MASK} is {list(mask.shape)}, and the recipe's {temporal} cells, {durations} durations and "
            f"{samples} samples make {wanted}"
        )
    how = (settings.per_bin, settings.boundary_ratio, settings.extend_first)
    ours = sampling_weights(temporal, durations, samples, *how)
    for sample in range(samples):
        theirs = mask.view(temporal, samples, -1)[:, sample].T.numpy()
        part = ours[:, sample * temporal : (sample + 1) * temporal].toarray()
        if np.abs(part - theirs).max() > _SAME:
            raise TadaError(f"{path}: proposals are sampled otherwise there; are its settings the recipe's?")


class ReleasedLogits(ReleasedFeatures):
    """The released results of classification, as `ReleasedFeatures` whose channels are the logits of all tasks.

    Args:
        dataset: a name of `tada.data.catalog`, of a dataset of untrimmed videos.
        folder: of the files.
        classes: how many each task has. Logits are [n, crops, classes] of the first task, flattened, then of the next.

    Raises:
        TadaError: another dataset, or no such files in the folder.
    """

    kind = "results of classification"

    def __init__(self, dataset: str, folder: Path, classes: Mapping[str, int]) -> None:
        super().__init__(dataset, folder, CROPS * sum(classes.values()))
        self.classes = classes

    def matrix(self, path: Path, video: Untrimmed) -> Tensor:
        """The logits in a file, [n, C]."""
        found = read_checkpoint(path, self.kind)
        parts = []
        for task, count in self.classes.items():
            part = found.get(f"{task}_class") if isinstance(found, Mapping) else None
            values = torch.as_tensor(part) if isinstance(part, Tensor | np.ndarray) else None
            if values is None or values.ndim != 2 or values.shape[1] != CROPS * count:
                what = list(values.shape) if values is not None else f"no tensor in {type(found).__name__}"
                raise TadaError(f"{path}: expected {task}_class [n, {CROPS} x {count}] of {video.name}, found {what}")
            parts.append(values)
        if len({len(part) for part in parts}) > 1:
            lengths = " and ".join(str(len(part)) for part in parts)
            raise TadaError(f"{path}: {lengths} clips of {video.name}; each task must have as many")
        return torch.cat(parts, 1)


class ReleasedResultSource(ReleasedFeatureSource):
    """Features and results of classification that the authors have released; no video is read."""

    def __init__(
        self,
        run: Run,
        place: Place,
        stop: StopFlag,
        progress: Progress,
        group: ProcessGroup,
        folder: Path,
        results: Path,
    ) -> None:
        super().__init__(run, place, stop, progress, group, folder)
        if not isinstance(classes := run.recipe.classes, Mapping):
            raise TadaError(f"{run}: results of classification are released of EPIC-KITCHENS-100 alone")
        self.logits = ReleasedLogits(run.recipe.videos, results, classes)
        how = "the results of classification that the authors released"
        self.initial = Initial("features", folder=f"{folder}, {results}", classifier=how)

    def classify(
        self, train: Sequence[Untrimmed], validation: Sequence[Untrimmed], proposals: Sequence[VideoProposals]
    ) -> dict[str, Scores]:
        """Class probabilities of each proposal, by video."""
        return self.group.on_main(lambda: self._classify_by_logits(proposals, self.logits.read, CROPS)) or {}
