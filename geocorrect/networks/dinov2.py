"""DINOv2 (Oquab et al. 2023): the vision transformer of our MapAnything and MicKey, and the parts that others share.

Attribute names are those of the published checkpoints, so that their tensors load without renaming. Where the linear
layers alone are converted to a 16-bit format, the residual stream, norms and layer scales stay in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.shapes import StackSizes

Grid = tuple[int, int]
"""(rows, columns) of patches; tokens run row by row."""
NORM_EPSILON = 1e-6
INTERPOLATION_OFFSET = 0.1
"""DINOv2 adds this to the wanted rows and columns before it takes the ratio to the learned grid. MapAnything and MicKey
were trained with it; later libraries interpolate to the exact size, which moves positions by 4 % at 714 × 532 px."""


class SelfAttention(nn.Module):
    """Multi-head attention of a token sequence with itself."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        return self.attended(*self.projected(tokens))

    def projected(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, D) → queries, keys and values (B, heads, N, D / heads)."""
        tokens = tokens.to(self.qkv.weight.dtype)
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return query, key, value

    def attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What `projected` gave → (B, N, D)."""
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2))


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

    def __init__(self, dim: int, hidden_dim: int, out_dim: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, out_dim or dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, D) → (…, out_dim)."""
        return self.fc2(functional.gelu(self.fc1(tokens.to(self.fc1.weight.dtype))))


class LayerScale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
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

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))

    def use_dtype(self, dtype: torch.dtype) -> None:
        """Convert the linear layers."""
        self.attn.to(dtype)
        self.mlp.to(dtype)


def block_stack(sizes: StackSizes) -> nn.ModuleList:
    """All blocks of a stack."""
    return nn.ModuleList(Block(sizes) for _ in range(sizes.depth))


def resampled_positions(positions: Tensor, grid: Grid) -> Tensor:
    """(1, 1 + S·S, D) learned positions, class token first → (1, 1 + rows·columns, D) of a grid.

    Bicubic with DINOv2's ratio (rows + 0.1) / S. A square grid of the learned size is taken as it is.
    """
    side = round((positions.shape[1] - 1) ** 0.5)
    if grid == (side, side):
        return positions
    plane = positions[:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
    ratios = [(count + INTERPOLATION_OFFSET) / side for count in grid]
    resampled = functional.interpolate(plane, scale_factor=ratios, mode="bicubic", align_corners=False)
    if tuple(resampled.shape[-2:]) != grid:
        raise ValueError(f"positions on a grid of {side}×{side} cannot be resampled to {grid[0]}×{grid[1]}")
    return torch.cat([positions[:, :1], resampled.flatten(2).transpose(1, 2).to(positions.dtype)], dim=1)


class PatchEmbedding(nn.Module):
    """One token per patch."""

    def __init__(self, dim: int, patch_px: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_px, patch_px)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, H/P · W/P, D)."""
        return self.proj(images).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """Patches, class token and positions through the blocks; the last LayerNorm only where the checkpoint has it."""

    def __init__(self, stack: StackSizes, patch_px: int, position_grid: int, norm: bool = True) -> None:
        super().__init__()
        self.patch_px = patch_px
        self.cls_token = nn.Parameter(torch.zeros(1, 1, stack.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + position_grid**2, stack.dim))
        self.patch_embed = PatchEmbedding(stack.dim, patch_px)
        self.blocks = block_stack(stack)
        self.norm = nn.LayerNorm(stack.dim, eps=NORM_EPSILON) if norm else nn.Identity()

    def embedded(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 1 + N, D) class token and patches with their positions, before the first block."""
        grid = (images.shape[-2] // self.patch_px, images.shape[-1] // self.patch_px)
        patches = self.patch_embed(images)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1)
        return tokens + resampled_positions(self.pos_embed, grid)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) → patch tokens (B, N, D) and class token (B, 1, D)."""
        tokens = self.embedded(images)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return tokens[:, 1:], tokens[:, :1]
