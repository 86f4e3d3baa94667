"""The transformer block of DINOv2 (Oquab et al. 2023), which encoder and multi-view transformer share.

Attribute names are those of the published checkpoints, so that their tensors load without renaming. Where the linear
layers are converted to a 16-bit format, the residual stream, the norms and the layer scales stay in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.mapanything.sizes import StackSizes

NORM_EPSILON = 1e-6


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to a sequence that holds them."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, asking: slice | Tensor | None = None) -> Tensor:
        """(B, N, D) → (B, N, D), or (B, M, D) where only the M tokens of the index `asking` ask."""
        tokens = tokens.to(self.qkv.weight.dtype)
        if asking is None:
            query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        else:
            dim = tokens.shape[-1]
            weight, bias = self.qkv.weight, self.qkv.bias
            query = self._split(functional.linear(tokens[:, asking], weight[:dim], bias[:dim]), 1)[0]
            key, value = self._split(functional.linear(tokens, weight[dim:], bias[dim:]), 2)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2))

    def _split(self, projected: Tensor, parts: int) -> Tensor:
        return projected.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4)


class GatedFeedForward(nn.Module):
    """Linear to two halves, SiLU of one times the other, Linear (Shazeer 2020, SwiGLU)."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(dim, 2 * hidden_dim)
        self.w3 = nn.Linear(hidden_dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        gate, value = self.w12(tokens.to(self.w12.weight.dtype)).chunk(2, dim=-1)
        return self.w3(functional.silu(gate) * value)


class FeedForward(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return self.fc2(functional.gelu(self.fc1(tokens.to(self.fc1.weight.dtype))))


class LayerScale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, D) → (…, D) in float32."""
        return tokens * self.gamma


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each added to the tokens."""

    def __init__(self, sizes: StackSizes) -> None:
        super().__init__()
        feed_forward = GatedFeedForward if sizes.gated else FeedForward
        self.norm1 = nn.LayerNorm(sizes.dim, eps=NORM_EPSILON)
        self.attn = SelfAttention(sizes.dim, sizes.heads)
        self.ls1 = LayerScale(sizes.dim) if sizes.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(sizes.dim, eps=NORM_EPSILON)
        self.mlp = feed_forward(sizes.dim, sizes.hidden_dim)
        self.ls2 = LayerScale(sizes.dim) if sizes.layer_scale else nn.Identity()

    def forward(self, tokens: Tensor, asking: slice | Tensor | None = None) -> Tensor:
        """(B, N, D) → (B, N, D), or (B, M, D): the tokens of the index `asking`, which look at all."""
        kept = tokens if asking is None else tokens[:, asking]
        kept = kept + self.ls1(self.attn(self.norm1(tokens), asking))
        return kept + self.ls2(self.mlp(self.norm2(kept)))

    def use_dtype(self, dtype: torch.dtype) -> None:
        """Convert the linear layers."""
        self.attn.to(dtype)
        self.mlp.to(dtype)


def block_stack(sizes: StackSizes) -> nn.ModuleList:
    """All blocks of a stack."""
    return nn.ModuleList(Block(sizes) for _ in range(sizes.depth))
