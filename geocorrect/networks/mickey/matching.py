"""Which keypoint of one image is which of the other: a double softmax with one learnt "nothing" (Sun et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TEMPERATURE = 0.1


class DualSoftmax(nn.Module):
    """Match probabilities; what matches nothing goes to a dustbin whose similarity is one learnt number."""

    def __init__(self) -> None:
        super().__init__()
        self.dustbin_score = nn.Parameter(torch.tensor(1.0))

    def forward(self, descriptor0: Tensor, descriptor1: Tensor) -> Tensor:
        """Descriptors (B, C, N) and (B, C, M) → probabilities (B, N, M); rows and columns sum to at most one."""
        similarity = descriptor0.transpose(1, 2) @ descriptor1 / TEMPERATURE
        batch, rows, columns = similarity.shape
        column = self.dustbin_score.expand(batch, rows, 1)
        row = self.dustbin_score.expand(batch, 1, columns + 1)
        extended = torch.cat([torch.cat([similarity, column], dim=2), row], dim=1)
        return (extended.softmax(dim=1) * extended.softmax(dim=2))[:, :rows, :columns]


class Matcher(nn.Module):
    """Holds the layer under the name that the checkpoint gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.matching_mat = DualSoftmax()

    def forward(self, descriptor0: Tensor, descriptor1: Tensor) -> Tensor:
        """See `DualSoftmax.forward`."""
        return self.matching_mat(descriptor0, descriptor1)


def sampling_weight(probability: Tensor, score0: Tensor, score1: Tensor) -> Tensor:
    """(…, N, M) how often the pose solver should draw each pair: match probability times both keypoint scores.

    Args:
        probability: (…, N, M) from `DualSoftmax`.
        score0: (…, N) and score1: (…, M), each summing to one.
    """
    return probability * score0[..., :, None] * score1[..., None, :]


def mutual_pairs(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (K,) and (K,) of pairs that are each other's best under a weight (N, M), zero weights left out."""
    best1 = weight.argmax(dim=1)
    best0 = weight.argmax(dim=0)
    index0 = torch.arange(len(best1), device=weight.device)
    mutual = (best0[best1] == index0) & (weight[index0, best1] > 0)
    return index0[mutual], best1[mutual]
