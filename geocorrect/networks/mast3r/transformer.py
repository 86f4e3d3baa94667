"""Encoder and decoder blocks: a vision transformer with rotary positions of row and column.

Rotary positions: RoFormer (Su et al. 2021), in two dimensions as in CroCo v2 (Weinzaepfel et al. 2023). Attribute names
are those of the official checkpoint, so that its tensors load without renaming.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks import dinov2
from geocorrect.networks.dinov2 import NORM_EPSILON, FeedForward, Grid

RotaryTable = tuple[Tensor, Tensor]
"""(cosine, signed sine) of a grid, see `rotary_table`."""

ROTARY_BASE = 100.0


@lru_cache(maxsize=64)
def rotary_table(grid: Grid, head_dim: int, dtype: torch.dtype, device: torch.device) -> RotaryTable:
    """(cosine, signed sine), each (rows·columns, head_dim), for `rotate`.

    The first half of the channels turns with the row, the second with the column; each half pairs channel i with
    channel i + head_dim/4. Angles are taken in float32 and only the tables are cast: half precision angles are off by
    whole tokens at the far end of the grid.
    """
    quarter = head_dim // 4
    frequency = ROTARY_BASE ** (-torch.arange(quarter, dtype=torch.float32) / quarter)
    rows = torch.arange(grid[0], dtype=torch.float32).repeat_interleave(grid[1])
    columns = torch.arange(grid[1], dtype=torch.float32).repeat(grid[0])
    row_angle, column_angle = rows[:, None] * frequency, columns[:, None] * frequency
    angle = torch.cat([row_angle, row_angle, column_angle, column_angle], dim=1)
    sign = torch.ones(4, quarter)
    sign[0] = sign[2] = -1.0
    sine = angle.sin() * sign.flatten()
    return angle.cos().to(device, dtype), sine.to(device, dtype)


def rotate(tokens: Tensor, table: RotaryTable) -> Tensor:
    """Rotary positions applied to queries or keys (…, N, head_dim)."""
    cosine, signed_sine = table
    swapped = tokens.unflatten(-1, (2, 2, -1)).flip(-2).flatten(-3)
    return torch.addcmul(tokens * cosine, swapped, signed_sine)


class SelfAttention(dinov2.SelfAttention):
    """Multi-head attention of a token sequence with itself, with rotary positions."""

    def forward(self, tokens: Tensor, table: RotaryTable) -> Tensor:  # type: ignore[override]
        """(B, N, D) → (B, N, D)."""
        query, key, value = self.projected(tokens)
        return self.attended(rotate(query, table), rotate(key, table), value)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = FeedForward(dim, 4 * dim)

    def forward(self, tokens: Tensor, table: RotaryTable) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        tokens = tokens + self.attn(self.norm1(tokens), table)
        return tokens + self.mlp(self.norm2(tokens))


class CrossAttention(nn.Module):
    """Attention of one view's tokens to the other view's; each side keeps its own positions."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(dim, dim)
        self.projk = nn.Linear(dim, dim)
        self.projv = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, memory: Tensor, table: RotaryTable, memory_table: RotaryTable) -> Tensor:
        """(B, N, D) and (B', M, D) → (max(B, B'), N, D); a batch of one on either side is shared by the other."""
        query, key, value = (
            self._split(p(x)) for p, x in ((self.projq, tokens), (self.projk, memory), (self.projv, memory))
        )
        query, key = rotate(query, table), rotate(key, memory_table)
        batch = max(len(query), len(key))
        query, key, value = (part.expand(batch, -1, -1, -1) for part in (query, key, value))
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention to the other view, feed-forward; the memory has a LayerNorm of its own."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attn = SelfAttention(dim, heads)
        self.norm_y = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.cross_attn = CrossAttention(dim, heads)
        self.norm3 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = FeedForward(dim, 4 * dim)

    def forward(self, tokens: Tensor, memory: Tensor, table: RotaryTable, memory_table: RotaryTable) -> Tensor:
        """Tokens of one view after the block; `memory` is the other view *before* this layer."""
        tokens = tokens + self.attn(self.norm1(tokens), table)
        tokens = tokens + self.cross_attn(self.norm2(tokens), self.norm_y(memory), table, memory_table)
        return tokens + self.mlp(self.norm3(tokens))
