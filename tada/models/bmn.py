"""BMN, the boundary-matching network of Lin et al. (2019, arXiv:1907.09702) as the paper uses it (Appendix A.2).

From the features of a window of T cells it tells where actions start and end, and how well each proposal fits an
action. Proposal (d, t) takes up the d + 1 cells from t on, so it starts at t and ends at t + d + 1, in cells.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tada.base import TadaError


class Maps(NamedTuple):
    """What the network says of N windows: logits, or probabilities after `sigmoid`.

    Attributes:
        start: [N, T], an action starts at t.
        end: [N, T], an action ends at t.
        regression: [N, D, T], the overlap (IoU) of proposal (d, t) with the action that fits it best.
        classification: [N, D, T], whether proposal (d, t) is an action.
    """

    start: Tensor
    end: Tensor
    regression: Tensor
    classification: Tensor

    def sigmoid(self) -> "Maps":
        """The probabilities that belong to these logits."""
        return Maps(*(part.sigmoid() for part in self))


def sampling_weights(
    temporal: int,
    durations: int,
    samples: int = 32,
    per_bin: int = 3,
    boundary_ratio: float = 0.5,
    extend_first: bool = True,
) -> scipy.sparse.csr_array:
    """How much each cell counts in each sample of each proposal (Lin et al., section 4.1), [D * T, samples * T].

    The features of proposal (d, t) are read at `samples * per_bin` points, evenly spread from `boundary_ratio` of its
    length before its first cell to as much after its last one, by linear interpolation between cells; a sample is the
    mean of `per_bin` neighbouring points. Beyond the window there is nothing (zero); `extend_first` gives points that
    lie less than a cell before it the features of its first cell, as the authors' code does. Row d * T + t is the
    proposal, column n * T + i the share of cell i in its sample n; rows of proposals that end beyond the window are
    empty.
    """
    duration, start = np.divmod(np.arange(durations * temporal), temporal)
    margin = boundary_ratio * (duration + 1)
    first, last = start - margin, start + duration + margin
    points = first[:, None] + (last - first)[:, None] * np.linspace(0, 1, samples * per_bin)
    if extend_first:
        points = np.where((points > -1) & (points < 0), 0.0, points)
    rows, samples_of = list[np.ndarray](np.indices(points.shape))
    below = np.floor(points).astype(int)
    inside = np.broadcast_to((start + duration < temporal)[:, None], points.shape)
    shape = (durations * temporal, samples * temporal)
    weights = scipy.sparse.csr_array(shape)
    for cell, share in ((below, below + 1 - points), (below + 1, points - below)):
        used = inside & (cell >= 0) & (cell < temporal) & (share > 0)
        columns = (samples_of // per_bin)[used] * temporal + cell[used]
        weights += scipy.sparse.csr_array((share[used] / per_bin, (rows[used], columns)), shape)
    return weights


class BoundaryMatching(nn.Module):
    """The boundary-matching layer and the convolution that sums its samples (Conv3d of kernel [samples, 1, 1]) in one.

    Both are linear, so features are multiplied with the convolution's weights first, per cell and sample, and
    interpolated and summed after that, in one sparse product. The sampled map [N, C, samples, D, T], 650 MB a window at
    full size, never exists, nor does a dense matrix of interpolation weights.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        temporal: int,
        durations: int,
        samples: int = 32,
        per_bin: int = 3,
        boundary_ratio: float = 0.5,
        extend_first: bool = True,
    ) -> None:
        """Maps [N, in_channels, T] to [N, out_channels, D, T]; weight [out_channels, in_channels, samples]."""
        super().__init__()
        self.temporal, self.durations, self.samples = temporal, durations, samples
        self.offsets: Tensor
        self.columns: Tensor
        self.shares: Tensor
        bound = (in_channels * samples) ** -0.5  # as PyTorch initialises the convolution that this stands for
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, samples).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound))
        shares = sampling_weights(temporal, durations, samples, per_bin, boundary_ratio, extend_first)
        for name, values in (("offsets", shares.indptr[:-1]), ("columns", shares.indices)):
            self.register_buffer(name, torch.from_numpy(values.astype(np.int64)), persistent=False)
        self.register_buffer("shares", torch.from_numpy(shares.data.astype(np.float32)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T] to [N, out_channels, D, T]."""
        windows, channels, _ = x.shape
        weight = self.weight.permute(2, 0, 1).reshape(-1, channels, 1)
        table = F.conv1d(x, weight).view(windows, self.samples, -1, self.temporal)
        table = table.permute(1, 3, 0, 2).reshape(self.samples * self.temporal, -1)
        # A sum over bags of weighted rows is the product of a sparse matrix with the table. GPUs multiply CSR matrices
        # faster still, but sum in an order that changes from call to call, and training would not resume exactly.
        shares = self.shares.to(table.dtype)
        summed = F.embedding_bag(self.columns, table, self.offsets, mode="sum", per_sample_weights=shares)
        summed = summed.view(self.durations, self.temporal, windows, -1).permute(2, 3, 0, 1)
        return summed + self.bias[:, None, None]


class BMN(nn.Module):
    """Base, temporal evaluation (boundaries) and proposal evaluation (confidence) of a window of features.

    Widths are the published ones by default: two grouped convolutions to 256 channels, 512 where samples of a proposal
    are summed, 128 over the map of proposals.
    """

    def __init__(
        self,
        channels: int,
        temporal: int = 200,
        durations: int = 100,
        base: int = 256,
        summed: int = 512,
        confidence: int = 128,
        groups: int = 4,
        samples: int = 32,
        per_bin: int = 3,
        boundary_ratio: float = 0.5,
        extend_first: bool = True,
    ) -> None:
        """A network on windows [N, channels, temporal], with proposals of up to `durations` cells.

        Raises:
            TadaError: channels that the groups do not divide, or proposals longer than the window.
        """
        super().__init__()
        if channels % groups or base % groups:
            raise TadaError(
                f"bmn: {channels} channels of features and {base} of the base must split into {groups} groups"
            )
        if not 1 <= durations <= temporal:
            raise TadaError(f"bmn: proposals of up to {durations} cells in a window of {temporal}")
        self.channels, self.temporal, self.durations = channels, temporal, durations

        def boundary() -> nn.Sequential:
            return nn.Sequential(
                nn.Conv1d(base, base, 3, padding=1, groups=groups), nn.ReLU(), nn.Conv1d(base, 1, 1), nn.Flatten()
            )

        self.base = nn.Sequential(
            nn.Conv1d(channels, base, 3, padding=1, groups=groups),
            nn.ReLU(),
            nn.Conv1d(base, base, 3, padding=1, groups=groups),
            nn.ReLU(),
        )
        self.start, self.end = boundary(), boundary()
        self.proposals = nn.Sequential(
            nn.Conv1d(base, base, 3, padding=1),
            nn.ReLU(),
            BoundaryMatching(base, summed, temporal, durations, samples, per_bin, boundary_ratio, extend_first),
            nn.ReLU(),
            nn.Conv2d(summed, confidence, 1),
            nn.ReLU(),
            nn.Conv2d(confidence, confidence, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(confidence, confidence, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(confidence, 2, 1),
        )

    def forward(self, features: Tensor) -> Maps:
        """The logits of windows [N, channels, T].

        Raises:
            TadaError: features of another shape than the network's.
        """
        if features.shape[1:] != (self.channels, self.temporal):
            raise TadaError(
                f"bmn: features of shape {list(features.shape)}, where the network takes windows of {self.channels} "
                f"channels and {self.temporal} cells"
            )
        x = self.base(features)
        regression, classification = self.proposals(x).unbind(1)
        return Maps(self.start(x), self.end(x), regression, classification)
