"""The backbone: DINOv2, a plain vision transformer with LayerScale (Oquab et al. 2023), frozen in MicKey.

Attribute names are those of Meta's checkpoint (`dinov2_vitl14_pretrain.pth`, Apache-2.0), so that its tensors load
without renaming.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.mickey.sizes import PATCH_PX, MickeySizes

Grid = tuple[int, int]
"""(rows, columns) of cells; tokens run row by row."""

NORM_EPSILON = 1e-6

POSITION_OFFSET = 0.1
"""Added to rows and columns before the scale of the position table is taken: DINOv2's first interpolation, with which
MicKey was trained. Later libraries interpolate to the exact size, which moves positions by 4 % at 714 × 532 px."""


class SelfAttention(nn.Module):
    """Multi-head attention of a token sequence with itself."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        return self.fc2(functional.gelu(self.fc1(tokens)))


class LayerScale(nn.Module):
    """One learnt factor per channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        return tokens * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.attn = SelfAttention(dim, heads)
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = FeedForward(dim)
        self.ls2 = LayerScale(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class PatchEmbedding(nn.Module):
    """One token per 14 × 14 pixels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH_PX, PATCH_PX)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, H/14 · W/14, D)."""
        return self.proj(images).flatten(2).transpose(1, 2)


class DinoV2(nn.Module):
    """DINOv2 without register tokens; only the normalised patch tokens of the last block are read."""

    def __init__(self, sizes: MickeySizes) -> None:
        super().__init__()
        dim, grid = sizes.backbone_dim, sizes.position_grid
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))  # of the pre-training; in every checkpoint
        self.patch_embed = PatchEmbedding(dim)
        self.blocks = nn.ModuleList(Block(dim, sizes.backbone_heads) for _ in range(sizes.backbone_depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], H and W multiples of 14, → patch tokens (B, H/14 · W/14, D)."""
        grid = (images.shape[-2] // PATCH_PX, images.shape[-1] // PATCH_PX)
        tokens = self.patch_embed(images)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = tokens + self.positions(grid).to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 1:]

    def positions(self, grid: Grid) -> Tensor:
        """Position table (1, 1 + rows·columns, D) float32 for a grid: the trained one, bicubic, no antialiasing."""
        table = self.pos_embed.float()
        if grid == (self.grid, self.grid):
            return table
        trained = table[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        scale = tuple((cells + POSITION_OFFSET) / self.grid for cells in grid)
        resized = functional.interpolate(trained, scale_factor=scale, mode="bicubic")
        if resized.shape[-2:] != grid:
            raise ValueError(f"positions came out as {tuple(resized.shape[-2:])} instead of {grid}")
        return torch.cat([table[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)
