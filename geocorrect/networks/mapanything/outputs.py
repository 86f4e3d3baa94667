"""Raw outputs of the heads → rays, depth, confidence, poses and metric scale (Keetha et al. 2025, §3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-8


@dataclass(frozen=True, eq=False)
class Poses:
    """Poses of the views in the frame of the first view, up to the metric scale, float32.

    The pose of the first view is predicted like the others: near the identity, not exactly it.
    """

    quaternion_xyzw: Tensor
    """(B, V, 4) first_from_view, unit length, either sign."""
    translation: Tensor
    """(B, V, 3) camera centre over the metric scale."""
    scale: Tensor
    """(B,) metric scale: what lengths are multiplied by to be metres."""

    @property
    def translation_m(self) -> Tensor:
        """(B, V, 3) camera centre in metres."""
        return self.translation * self.scale[:, None, None]


@dataclass(frozen=True, eq=False)
class DenseView:
    """Dense prediction of N views, up to the metric scale, float32."""

    rays: Tensor
    """(N, H, W, 3) unit ray directions in the camera frame; z is not forced to be positive."""
    depth: Tensor
    """(N, H, W) distance along the ray over the metric scale."""
    confidence: Tensor
    """(N, H, W), above 1; larger is better."""
    mask_logit: Tensor
    """(N, H, W), positive where the pixel has one depth (no sky, no glass)."""

    @property
    def unambiguous(self) -> Tensor:
        """(N, H, W) bool."""
        return torch.sigmoid(self.mask_logit) > 0.5

    @property
    def points(self) -> Tensor:
        """(N, H, W, 3) points in the camera frame over the metric scale."""
        return self.rays * self.depth[..., None]


def dense_from_raw(raw: Tensor) -> DenseView:
    """(N, 6, H, W) raw output of the dense head."""
    raw = raw.float().permute(0, 2, 3, 1)
    direction = raw[..., :3]
    length = torch.linalg.vector_norm(direction, dim=-1, keepdim=True).clamp(min=EPSILON)
    return DenseView(direction / length, raw[..., 3].exp(), 1.0 + raw[..., 4].exp(), raw[..., 5])


def poses_from_raw(raw_pose: Tensor, raw_scale: Tensor) -> Poses:
    """(B, V, 7) raw output of the pose head and (B, 1) of the scale head."""
    quaternion = raw_pose[..., 3:]
    length = torch.linalg.vector_norm(quaternion, dim=-1, keepdim=True).clamp(min=EPSILON)
    return Poses(quaternion / length, raw_pose[..., :3], raw_scale[:, 0].exp().clamp(min=EPSILON))
