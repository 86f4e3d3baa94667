"""The dense head: a dense prediction transformer decoder (Ranftl et al. 2021) on four token maps.

Its fusion blocks are those of our MASt3R. Attribute names, mixed case included, are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.dinov2 import Grid
from geocorrect.networks.mapanything.sizes import MapAnythingSizes
from geocorrect.networks.mast3r.dpt import FusionBlocks, resamplings

OUTPUT_CHANNELS = 6
"""Ray direction (3), log depth along the ray, log confidence, logit of being unambiguous."""


class FeatureHead(nn.Module):
    """Tokens of four depths → features at 8 times the token grid."""

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__()
        widths, dim = sizes.dpt_layer_dims, sizes.dpt_feature_dim
        token_dims = (sizes.encoder.dim, *(sizes.transformer.dim,) * 3)
        self.input_process = nn.ModuleList(
            nn.Sequential(
                nn.Sequential(nn.Conv2d(token_dim, width, 1), *resampling),
                nn.Conv2d(width, dim, 3, padding=1, bias=False),
            )
            for token_dim, width, resampling in zip(token_dims, widths, resamplings(widths), strict=True)
        )
        self.scratch = FusionBlocks(dim)
        del self.scratch.refinenet4.resConfUnit1  # the checkpoint has no tensors for what nothing goes through

    def maps(self, tokens: Sequence[Tensor], grid: Grid) -> list[Tensor]:
        """Four (B, N, D) token sets → four maps of one width, at 4, 2, 1 and 1/2 times the grid."""
        return [
            process(part.transpose(1, 2).unflatten(2, grid))
            for process, part in zip(self.input_process, tokens, strict=True)
        ]

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Tensor:
        """Four (B, N, D) token sets → (B, C, 8·rows, 8·columns)."""
        return self.scratch(self.maps(tokens, grid))


class RegressionHead(nn.Module):
    """Features → raw values at the size of the image."""

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__()
        dim, last = sizes.dpt_feature_dim, sizes.dpt_last_dim
        self.patch_px = sizes.patch_px
        self.conv1 = nn.Conv2d(dim, last, 3, padding=1)
        self.conv2 = nn.Sequential(nn.Conv2d(last, last, 3, padding=1), nn.ReLU(), nn.Conv2d(last, OUTPUT_CHANNELS, 1))

    def forward(self, features: Tensor, grid: Grid) -> Tensor:
        """(B, C, 8·rows, 8·columns) → (B, 6, H, W)."""
        size = (grid[0] * self.patch_px, grid[1] * self.patch_px)
        return self.conv2(functional.interpolate(self.conv1(features), size, mode="bilinear", align_corners=True))


class DenseHead(nn.ModuleList):
    """Both parts, numbered as in the checkpoint."""

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__([FeatureHead(sizes), RegressionHead(sizes)])

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Tensor:
        """Four (B, N, D) token sets → (B, 6, H, W)."""
        features, regression = self
        return regression(features(tokens, grid), grid)
