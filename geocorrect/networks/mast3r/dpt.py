"""The point-map head: a dense prediction transformer decoder (Ranftl et al. 2021) on four token sets.

Attribute names, mixed case included, are those of the official checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.dinov2 import Grid
from geocorrect.networks.mast3r.sizes import Mast3rSizes


class ResidualUnit(nn.Module):
    """relu, 3×3, relu, 3×3, plus the input."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) → the same shape."""
        return features + self.conv2(functional.relu(self.conv1(functional.relu(features))))


class FusionBlock(nn.Module):
    """Adds a finer map, refines, and enlarges."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(dim, dim, 1)
        self.resConfUnit1 = ResidualUnit(dim)
        self.resConfUnit2 = ResidualUnit(dim)

    def forward(self, features: Tensor, finer: Tensor | None = None, size: Sequence[int] | None = None) -> Tensor:
        """(B, C, h, w) → (B, C, *size), by default (2h, 2w). Without a finer map resConfUnit1 has nothing to do."""
        if finer is not None:
            features = features + self.resConfUnit1(finer)
        # The 1×1 convolution commutes with the interpolation, whose weights sum to one: a quarter of the work.
        refined = self.out_conv(self.resConfUnit2(features))
        size = list(size or (2 * features.shape[-2], 2 * features.shape[-1]))
        return functional.interpolate(refined, size, mode="bilinear", align_corners=True)


class FusionBlocks(nn.Module):
    """Four fusion blocks, the coarsest without a finer map to add."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.refinenet1, self.refinenet2, self.refinenet3, self.refinenet4 = (FusionBlock(dim) for _ in range(4))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps at 4, 2, 1 and 1/2 times the token grid, of one width → one map at 8 times the grid."""
        fused = self.refinenet4(maps[3])
        fused = fused[..., : maps[2].shape[-2], : maps[2].shape[-1]]  # odd grids round up when halved
        return self.refinenet1(self.refinenet2(self.refinenet3(fused, maps[2]), maps[1]), maps[0])


class Scratch(FusionBlocks):
    """Projection of the four maps to one width, and the four fusion blocks."""

    def __init__(self, layer_dims: Sequence[int], dim: int) -> None:
        super().__init__(dim)
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(layer_dim, dim, 3, padding=1, bias=False) for layer_dim in layer_dims
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps at 4, 2, 1 and 1/2 times the token grid → one map at 8 times the grid."""
        layers = (self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn)
        return super().forward([layer(part) for layer, part in zip(layers, maps, strict=True)])


class DptHead(nn.Module):
    """Tokens of four depths → raw (x, y, z, confidence) per pixel."""

    def __init__(self, sizes: Mast3rSizes) -> None:
        super().__init__()
        widths, dim, last = sizes.dpt_layer_dims, sizes.dpt_feature_dim, sizes.dpt_last_dim
        token_dims = (sizes.encoder_dim, *(sizes.decoder_dim,) * 3)
        self.act_postprocess = nn.ModuleList(
            nn.Sequential(nn.Conv2d(token_dim, width, 1), *resampling)
            for token_dim, width, resampling in zip(token_dims, widths, resamplings(widths), strict=True)
        )
        self.scratch = Scratch(widths, dim)
        self.head = nn.Sequential(
            nn.Conv2d(dim, last, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(last, last, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(last, 4, 1),
        )

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Tensor:
        """Four (B, N, D) token sets → (B, 4, 16·rows, 16·columns)."""
        maps = [
            resample(part.transpose(1, 2).unflatten(2, grid))
            for resample, part in zip(self.act_postprocess, tokens, strict=True)
        ]
        return self.head(self.scratch(maps))


def points_from_raw(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Raw head output (B, 4, H, W) → points (B, H, W, 3) in the camera frame of view 1, confidence (B, H, W) > 1.

    The point lies in the direction of the raw vector r at the distance exp(|r|) − 1.
    """
    raw = raw.float()
    vector = raw[:, :3]
    length = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    points = vector / length.clamp(min=1e-8) * torch.expm1(length)
    return points.permute(0, 2, 3, 1), 1.0 + raw[:, 3].exp()


def resamplings(widths: Sequence[int]) -> list[list[nn.Module]]:
    """What brings four token maps of these widths to 4, 2, 1 and 1/2 times the grid."""
    return [
        [nn.ConvTranspose2d(widths[0], widths[0], 4, stride=4)],
        [nn.ConvTranspose2d(widths[1], widths[1], 2, stride=2)],
        [],
        [nn.Conv2d(widths[3], widths[3], 3, stride=2, padding=1)],
    ]
