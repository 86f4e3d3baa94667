"""Encoders of what is known beside the pixels: ray directions and depth per pixel, numbers per view.

Attribute names are those of the published checkpoints. These parts always run in float32.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.dinov2 import NORM_EPSILON


class ResidualConvolution(nn.Module):
    """3×3, GELU, 3×3, plus the input (through a 1×1 where the width changes), GELU."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_dim, out_dim, 3, padding=1)
        self.conv2 = nn.Conv2d(out_dim, out_dim, 3, padding=1)
        self.shortcut = nn.Conv2d(in_dim, out_dim, 1) if in_dim != out_dim else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) → (B, C', h, w)."""
        inner = self.conv2(functional.gelu(self.conv1(features)))
        return functional.gelu(inner + self.shortcut(features))


class DenseEncoder(nn.Module):
    """A map with values per pixel → one token per patch."""

    def __init__(self, channels: int, dims: tuple[int, int, int], out_dim: int, patch_px: int) -> None:
        super().__init__()
        first, second, third = dims
        self.patch_px = patch_px
        self.conv_in = nn.Conv2d(channels * patch_px**2, first, 3, padding=1)
        self.encoder = nn.Sequential(
            ResidualConvolution(first, second), ResidualConvolution(second, third), nn.Conv2d(third, out_dim, 1)
        )
        self.norm_layer = nn.LayerNorm(out_dim, eps=NORM_EPSILON)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) → (B, N, D)."""
        patches = functional.pixel_unshuffle(maps, self.patch_px)
        return self.norm_layer(self.encoder(self.conv_in(patches)).flatten(2).transpose(1, 2))


class GlobalEncoder(nn.Module):
    """A few numbers → one token, through four linear layers with GELU between them."""

    def __init__(self, channels: int, dims: tuple[int, int, int], out_dim: int) -> None:
        super().__init__()
        first, second, third = dims
        narrow = nn.Sequential(nn.Linear(channels, first), nn.GELU())
        middle = nn.Sequential(narrow, nn.Linear(first, second), nn.GELU())
        # The checkpoint's nesting: encoder.0.0.0.0, encoder.0.0.1, encoder.0.1, encoder.1.
        self.encoder = nn.Sequential(
            nn.Sequential(middle, nn.Linear(second, third), nn.GELU()), nn.Linear(third, out_dim)
        )
        self.norm_layer = nn.LayerNorm(out_dim, eps=NORM_EPSILON)

    def forward(self, numbers: Tensor) -> Tensor:
        """(…, C) → (…, D)."""
        return self.norm_layer(self.encoder(numbers))
