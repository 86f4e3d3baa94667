"""The four heads: where in its cell a keypoint lies, how deep, how good it is, and what it looks like."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geocorrect.networks.mickey.sizes import MickeySizes
from geocorrect.networks.mickey.trunk import Trunk

BORDER_CELLS = 3
"""Cells on every side whose score is zero."""

SCORE_TEMPERATURE = 100.0
TINY = 1e-16
NORM_FLOOR = 1e-10


class DepthHead(Trunk):
    """Depth along the optical axis in metres, unbounded: a negative one means that the network does not know."""

    def __init__(self, sizes: MickeySizes) -> None:
        super().__init__(sizes, sizes.block_dims[3])
        self.depth = nn.Conv2d(sizes.block_dims[3], 1, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D, rows, columns) → (B, rows, columns)."""
        return self.depth(self.trunk(features))[:, 0]


class OffsetHead(Trunk):
    """Position of the keypoint inside its cell, as a share of the cell from its left and upper edge."""

    def __init__(self, sizes: MickeySizes) -> None:
        super().__init__(sizes, sizes.block_dims[3])
        self.xy_offset = nn.Conv2d(sizes.block_dims[3], 2, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D, rows, columns) → (B, 2, rows, columns) in (0, 1), x first."""
        return self.xy_offset(self.trunk(features)).sigmoid()


class ScoreHead(Trunk):
    """How likely a keypoint is to be useful; the scores of an image sum to one."""

    eps: Tensor

    def __init__(self, sizes: MickeySizes) -> None:
        super().__init__(sizes, sizes.block_dims[3])
        self.score = nn.Conv2d(sizes.block_dims[3], 1, 1, bias=False)
        # Constants of an earlier design that every checkpoint holds; only the first is read.
        self.register_buffer("eps", torch.tensor(TINY))
        self.register_buffer("offset_par1", torch.tensor(0.5))
        self.register_buffer("offset_par2", torch.tensor(2.0))
        self.register_buffer("ones_kernel", torch.ones(1, 1, 3, 3))

    def logits(self, features: Tensor) -> Tensor:
        """(B, D, rows, columns) → (B, rows, columns)."""
        return self.score(self.trunk(features))[:, 0]

    def forward(self, features: Tensor) -> Tensor:
        """(B, D, rows, columns) → (B, rows, columns), a spatial softmax whose border is zero."""
        logits = self.logits(features)
        centred = logits - (logits.mean(dim=(1, 2), keepdim=True) + self.eps)
        likelihood = (centred / SCORE_TEMPERATURE).exp() * _inside(logits)
        return likelihood / (likelihood.sum(dim=(1, 2), keepdim=True) + self.eps)


class DescriptorHead(Trunk):
    """Unit descriptors."""

    def __init__(self, sizes: MickeySizes) -> None:
        super().__init__(sizes, sizes.descriptor_dim, final_relu=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D, rows, columns) → (B, descriptor_dim, rows, columns)."""
        raw = self.trunk(features)
        return raw / (raw.square().sum(dim=1, keepdim=True) + NORM_FLOOR).sqrt()


def _inside(like: Tensor) -> Tensor:
    """(rows, columns) one, zero on the border."""
    inside = torch.zeros(like.shape[-2:], dtype=like.dtype, device=like.device)
    inside[BORDER_CELLS : inside.shape[0] - BORDER_CELLS, BORDER_CELLS : inside.shape[1] - BORDER_CELLS] = 1.0
    return inside
