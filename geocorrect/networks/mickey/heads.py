"""The four heads: where in its cell a keypoint lies, how deep, how good it is, and what it looks like."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.mickey.sizes import MickeySizes

BORDER_CELLS = 3
"""Cells on every side whose score is zero."""

SCORE_TEMPERATURE = 100.0
TINY = 1e-16
NORM_FLOOR = 1e-10


NORM_EPSILON = 1e-5
ATTENTION_EPSILON = 1e-6
ATTENTION_HEADS = 8
ATTENTION_LAYERS = 3
POSITION_PERIOD = 10_000.0


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions with batch norm, added to the input, which a bare 1 × 1 convolution widens or narrows."""

    def __init__(self, channels_in: int, channels_out: int, final_relu: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out, eps=NORM_EPSILON)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out, eps=NORM_EPSILON)
        self.shortcut = nn.Sequential()
        if channels_in != channels_out:
            self.shortcut.append(nn.Conv2d(channels_in, channels_out, 1, bias=False))
        self.final_relu = final_relu

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, rows, columns) → (B, C', rows, columns)."""
        inner = functional.relu(self.bn1(self.conv1(features)))
        total = self.bn2(self.conv2(inner)) + self.shortcut(features)
        return functional.relu(total) if self.final_relu else total


def sine_positions(rows: int, columns: int, channels: int, device: torch.device) -> Tensor:
    """(channels, rows, columns): channels 4i … 4i + 3 are sin and cos of x·fᵢ, then of y·fᵢ, x and y from 1."""
    frequency = torch.exp(
        torch.arange(channels // 4, dtype=torch.float32, device=device) * (-4.0 * math.log(POSITION_PERIOD) / channels)
    )[:, None, None]
    x = torch.arange(1, columns + 1, dtype=torch.float32, device=device)[None, None, :] * frequency
    y = torch.arange(1, rows + 1, dtype=torch.float32, device=device)[None, :, None] * frequency
    x, y = x.expand(-1, rows, -1), y.expand(-1, -1, columns)
    return torch.stack([x.sin(), x.cos(), y.sin(), y.cos()], dim=1).flatten(0, 1)


class LinearAttention(nn.Module):
    """Attention layer with the kernel elu + 1: its cost grows with the number of cells, not with its square."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim, bias=False)
        self.merge = nn.Linear(dim, dim, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(2 * dim, 2 * dim, bias=False), nn.ReLU(), nn.Linear(2 * dim, dim, bias=False)
        )
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        query, key, value = (
            project(tokens).unflatten(-1, (ATTENTION_HEADS, -1)) for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = functional.elu(query) + 1.0, functional.elu(key) + 1.0
        # Means instead of sums keep the numbers small; the length cancels but for the epsilon.
        length = tokens.shape[1]
        memory = torch.einsum("bnhd,bnhe->bhde", key, value / length)
        weight = torch.einsum("bnhd,bhd->bnh", query, key.sum(dim=1)) + ATTENTION_EPSILON
        message = torch.einsum("bnhd,bhde->bnhe", query, memory) * (length / weight)[..., None]
        message = self.norm1(self.merge(message.flatten(2)))
        return tokens + self.norm2(self.mlp(torch.cat([tokens, message], dim=-1)))


class CellAttention(nn.Module):
    """Positions, then attention layers among the cells of one image; images do not see each other."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LinearAttention(dim) for _ in range(ATTENTION_LAYERS))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, rows, columns) → the same shape."""
        rows, columns = features.shape[-2:]
        positioned = features + sine_positions(rows, columns, features.shape[1], features.device)
        tokens = positioned.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens.transpose(1, 2).unflatten(2, (rows, columns))


class Trunk(nn.Module):
    """The layers below a head's own output; every head has its own weights."""

    def __init__(self, sizes: MickeySizes, last_dim: int, final_relu: bool = True) -> None:
        super().__init__()
        first, second, third, _ = sizes.block_dims
        self.resblock1 = ResidualBlock(sizes.backbone_dim, first)
        self.resblock2 = ResidualBlock(first, second)
        self.resblock3 = ResidualBlock(second, third)
        self.resblock4 = ResidualBlock(third, last_dim, final_relu)
        self.att_layer = CellAttention(third)

    def trunk(self, features: Tensor) -> Tensor:
        """(B, D, rows, columns) → (B, last_dim, rows, columns)."""
        features = self.resblock3(self.resblock2(self.resblock1(features)))
        return self.resblock4(self.att_layer(features))


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
