"""Patch tokens plus the codes of what is known of the view (Keetha et al. 2025, §3).

The sum without the pose terms does not depend on the other views and is what a cache can keep; the pose terms, which
are relative to the first view, are a few numbers per view.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geocorrect.networks.dinov2 import NORM_EPSILON
from geocorrect.networks.mapanything.geometry_inputs import ViewGeometry, ViewPoses, normalised_depth, relative_poses
from geocorrect.networks.mapanything.layers.geometry_encoders import DenseEncoder, GlobalEncoder
from geocorrect.networks.mapanything.sizes import MapAnythingSizes


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
