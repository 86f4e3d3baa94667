"""The decoder blocks, in which two views look at each other."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.mast3r.sizes import Mast3rSizes
from geocorrect.networks.mast3r.vit import NORM_EPSILON, FeedForward, RotaryTable, SelfAttention, rotate


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
        self.mlp = FeedForward(dim, 4 * dim, dim)

    def forward(self, tokens: Tensor, memory: Tensor, table: RotaryTable, memory_table: RotaryTable) -> Tensor:
        """Tokens of one view after the block; `memory` is the other view *before* this layer."""
        tokens = tokens + self.attn(self.norm1(tokens), table)
        tokens = tokens + self.cross_attn(self.norm2(tokens), self.norm_y(memory), table, memory_table)
        return tokens + self.mlp(self.norm3(tokens))


def decoder_blocks(sizes: Mast3rSizes) -> nn.ModuleList:
    """One decoder; the two views have one each."""
    return nn.ModuleList(DecoderBlock(sizes.decoder_dim, sizes.decoder_heads) for _ in range(sizes.decoder_depth))
