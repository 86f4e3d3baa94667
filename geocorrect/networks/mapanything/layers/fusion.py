"""Patch tokens plus the codes of what is known of the view (Keetha et al. 2025, §3).

The sum without the pose terms does not depend on the other views and is what a cache can keep; the pose terms, which
are relative to the first view, are a few numbers per view.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from geocorrect.networks.dinov2 import NORM_EPSILON
from geocorrect.networks.mapanything.sizes import MapAnythingSizes
from geocorrect.networks.mapanything.view_inputs import ViewGeometry, ViewPoses, normalised_depth, relative_poses


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


class GeometryFusion(nn.Module):
    """The six encoders and the norm of the sum; the network inherits them, for the checkpoint names them at its top."""

    def __init__(self, sizes: MapAnythingSizes) -> None:
        super().__init__()
        dim = sizes.encoder.dim
        self.ray_dirs_encoder = DenseEncoder(3, sizes.ray_dims, dim, sizes.patch_px)
        self.depth_encoder = DenseEncoder(1, sizes.depth_dims, dim, sizes.patch_px)
        self.depth_scale_encoder = GlobalEncoder(1, sizes.global_dims, dim)
        self.cam_rot_encoder = GlobalEncoder(4, sizes.global_dims, dim)
        self.cam_trans_encoder = GlobalEncoder(3, sizes.global_dims, dim)
        self.cam_trans_scale_encoder = GlobalEncoder(1, sizes.global_dims, dim)
        self.fusion_norm_layer = nn.LayerNorm(dim, eps=NORM_EPSILON)

    def geometry_codes(self, geometry: ViewGeometry, use_depth_scale: bool = True) -> Tensor | float:
        """Sum of ray, depth and depth-scale codes (N, T, D) of N views, 0 where a view has none; 0.0 for nothing.

        Views without rays or depth cost nothing: only those that have them are encoded.
        """
        codes: Tensor | float = 0.0
        if geometry.rays is not None:
            rays = _selected(geometry.rays, geometry.has_rays).permute(0, 3, 1, 2)
            codes = codes + _scattered(self.ray_dirs_encoder(rays), geometry.has_rays)
        if geometry.depth_m is not None:
            values, log_mean = normalised_depth(_selected(geometry.depth_m, geometry.has_depth))
            found = self.depth_encoder(values)
            if use_depth_scale:
                scale = self.depth_scale_encoder(log_mean)
                if geometry.is_metric is not None:
                    scale = scale * _selected(geometry.is_metric, geometry.has_depth)[:, None]
                found = found + scale[:, None]
            codes = codes + _scattered(found, geometry.has_depth)
        return codes

    def pose_codes(self, poses: ViewPoses, use_scale: bool = True) -> Tensor:
        """Sum of rotation, translation and translation-scale codes (B, V, D), 0 for views without a pose."""
        relative = relative_poses(poses)
        codes = self.cam_rot_encoder(relative.quaternion_xyzw) + self.cam_trans_encoder(relative.direction)
        if use_scale:
            scale = self.cam_trans_scale_encoder(relative.log_scale)
            codes = codes + (scale if poses.is_metric is None else scale * poses.is_metric[..., None])
        return codes * poses.has_pose[..., None]


def _selected(values: Tensor, mask: Tensor | None) -> Tensor:
    return values if mask is None else values[mask]


def _scattered(found: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return found
    everywhere = torch.zeros(len(mask), *found.shape[1:], dtype=found.dtype, device=found.device)
    everywhere[mask] = found
    return everywhere
