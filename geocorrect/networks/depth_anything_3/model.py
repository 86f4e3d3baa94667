"""The network. Attribute names are those of the published checkpoint, below its prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.dinov2 import Grid, VisionTransformer
from geocorrect.networks.exact import full_float32, require_finite
from geocorrect.networks.mast3r.dpt import Scratch, resamplings
from geocorrect.networks.shapes import StackSizes

TAPS = (4, 11, 17, 23)
"""Blocks (0 = first) whose normalised output the head reads."""
LAST_DIM = 32
"""Channels before the last convolution of depth and of sky."""
FINAL_NORM_EPSILON = 1e-5
"""Of the LayerNorm after the blocks; those inside have DINOv2's 1e-6."""


@dataclass(frozen=True)
class DepthAnything3Sizes:
    """Widths and depths. The defaults are the published DA3METRIC-LARGE."""

    encoder: StackSizes = field(default_factory=lambda: StackSizes(1024, 24, 16, 4096, gated=False))
    """DINOv2 ViT-L."""
    patch_px: int = 14
    """Side of a patch in pixels."""
    position_grid: int = 37
    """Rows and columns of the grid of learned positions."""
    layer_dims: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    """Channels of the four maps that the head fuses."""
    feature_dim: int = 256
    """Channels of the fused map."""


class Backbone(VisionTransformer):
    """DINOv2 that gives the output of several blocks."""

    def __init__(self, sizes: DepthAnything3Sizes) -> None:
        super().__init__(sizes.encoder, sizes.patch_px, sizes.position_grid)
        self.norm = nn.LayerNorm(sizes.encoder.dim, eps=FINAL_NORM_EPSILON)

    def tapped(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) → normalised patch tokens (B, N, D) of every block of `TAPS`."""
        tokens, found = self.embedded(images), []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number in TAPS:
                found.append(self.norm(tokens)[:, 1:])
        return found


class DepthScratch(Scratch):
    """Fusion to the exact sizes of the finer maps, and the two outputs."""

    def __init__(self, layer_dims: Sequence[int], dim: int) -> None:
        super().__init__(layer_dims, dim)
        del self.refinenet4.resConfUnit1  # the checkpoint has no tensors for what nothing goes through
        self.output_conv1 = nn.Conv2d(dim, dim // 2, 3, padding=1)
        self.output_conv2, self.sky_output_conv2 = (
            nn.Sequential(nn.Conv2d(dim // 2, LAST_DIM, 3, padding=1), nn.ReLU(), nn.Conv2d(LAST_DIM, 1, 1))
            for _ in range(2)
        )

    def fused(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps at 4, 2, 1 and 1/2 times the token grid → one map at 8 times the grid."""
        first, second, third, fourth = (
            layer(part)
            for layer, part in zip((self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn), maps, strict=True)
        )
        fused = self.refinenet4(fourth, size=third.shape[-2:])
        fused = self.refinenet3(fused, third, second.shape[-2:])
        return self.refinenet1(self.refinenet2(fused, second, first.shape[-2:]), first)


class DepthHead(nn.Module):
    """Tokens of four layers → log depth and sky per pixel."""

    def __init__(self, sizes: DepthAnything3Sizes) -> None:
        super().__init__()
        widths = sizes.layer_dims
        self.patch_px = sizes.patch_px
        self.projects = nn.ModuleList(nn.Conv2d(sizes.encoder.dim, width, 1) for width in widths)
        self.resize_layers = nn.ModuleList(part[0] if part else nn.Identity() for part in resamplings(widths))
        self.scratch = DepthScratch(widths, sizes.feature_dim)

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> tuple[Tensor, Tensor]:
        """Four (B, N, D) token sets → two maps (B, H, W)."""
        maps = [
            resize(project(part.transpose(1, 2).unflatten(2, grid)))
            for project, resize, part in zip(self.projects, self.resize_layers, tokens, strict=True)
        ]
        features = self.scratch.output_conv1(self.scratch.fused(maps))
        size = (grid[0] * self.patch_px, grid[1] * self.patch_px)
        features = functional.interpolate(features, size, mode="bilinear", align_corners=True)
        return self.scratch.output_conv2(features)[:, 0], self.scratch.sky_output_conv2(features)[:, 0]


class DepthAnything3(nn.Module):
    """Photo → depth in units of focal length / 300 pixels, in metres, and how much of each pixel is sky."""

    def __init__(self, sizes: DepthAnything3Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.backbone: Any = nn.ModuleDict({"pretrained": Backbone(sizes)})  # the checkpoint's level of naming
        self.head = DepthHead(sizes)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.pretrained.cls_token.device

    def use_dtype(self, dtype: torch.dtype) -> DepthAnything3:
        """Convert the linear layers of the backbone; the head stays float32, because of its exponential."""
        for block in self.backbone.pretrained.blocks:
            block.use_dtype(dtype)
        return self

    @torch.inference_mode()
    @full_float32()
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) normalised images, sides multiples of the patch → canonical depth and sky ≥ 0, (B, H, W)."""
        height, width = images.shape[-2:]
        patch = self.sizes.patch_px
        if height % patch or width % patch:
            raise ValueError(f"image size {width}×{height} is not a multiple of {patch}")
        tokens = [part.float() for part in self.backbone.pretrained.tapped(images.to(self.device))]
        log_depth, sky = self.head(tokens, (height // patch, width // patch))
        require_finite(log_depth, "depth_anything_3_metric", "depth head", self._dtype)
        return log_depth.exp(), sky.relu()

    @property
    def _dtype(self) -> torch.dtype:
        return self.backbone.pretrained.blocks[0].attn.qkv.weight.dtype
