"""The image encoder: a DINOv2 vision transformer (Oquab et al. 2023), with learned positions resampled to any grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.mapanything.layers.blocks import NORM_EPSILON, block_stack
from geocorrect.networks.mapanything.sizes import MapAnythingSizes

Grid = tuple[int, int]
"""(rows, columns) of patches; tokens run row by row."""

INTERPOLATION_OFFSET = 0.1
"""DINOv2 adds this to the wanted rows and columns before it takes the ratio to the learned grid."""


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

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__()
        dim = sizes.encoder.dim
        self.patch_px = sizes.patch_px
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + sizes.position_grid**2, dim))
        self.patch_embed = PatchEmbedding(dim, sizes.patch_px)
        self.blocks = block_stack(sizes.encoder)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON) if sizes.encoder_norm else nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W), normalised → patch tokens (B, N, D) and class token (B, 1, D), float32."""
        grid = (images.shape[-2] // self.patch_px, images.shape[-1] // self.patch_px)
        patches = self.patch_embed(images)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1)
        tokens = tokens + resampled_positions(self.pos_embed, grid)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return tokens[:, 1:], tokens[:, :1]


class ImageEncoder(nn.Module):
    """The level of naming that the checkpoint has around the vision transformer."""

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__()
        self.model = VisionTransformer(sizes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `VisionTransformer.forward`."""
        return self.model(images)
