"""From cameras, depth maps and poses to the numbers that the geometric encoders take (Keetha et al. 2025, §3).

Camera axes: x right, y down, z forward. Poses are world_from_cam, quaternions xyzw.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-8


@dataclass(frozen=True, eq=False)
class ViewGeometry:
    """What is known of N views beside their pixels; which of it is known is said per view.

    A view without rays, or without depth, has False in the mask and anything in the map.
    """

    rays: Tensor | None = None
    """(N, H, W, 3) unit ray directions of the pixels in the camera frame; None: no view has any."""
    has_rays: Tensor | None = None
    """(N,) bool; None: all."""
    depth_m: Tensor | None = None
    """(N, H, W) distance along the pixel's ray, 0 where unknown; None: no view has any."""
    has_depth: Tensor | None = None
    """(N,) bool; None: all."""
    is_metric: Tensor | None = None
    """(N,) bool, whether the unit of depth is the metre; None: all."""


@dataclass(frozen=True, eq=False)
class ViewPoses:
    """Poses of V views of B scenes, world_from_cam, in any world and of any sign of the quaternion."""

    quaternion_xyzw: Tensor
    """(B, V, 4); where a view has no pose: anything finite."""
    translation_m: Tensor
    """(B, V, 3)."""
    has_pose: Tensor
    """(B, V) bool; the first view must have a pose where any view has."""
    is_metric: Tensor | None = None
    """(B, V) bool, whether the unit of translations is the metre; None: all."""


@dataclass(frozen=True, eq=False)
class RelativePoses:
    """What the pose encoders read, all relative to the first view."""

    quaternion_xyzw: Tensor
    """(B, V, 4) first_from_view, in the sign that the product has; identity where a view has no pose."""
    direction: Tensor
    """(B, V, 3) translation over the mean distance from the first view."""
    log_scale: Tensor
    """(B, V, 1) logarithm of that mean distance."""


def unit_rays(rays: Tensor) -> Tensor:
    """(…, 3) directions of any length → unit rays."""
    return rays / (torch.linalg.vector_norm(rays, dim=-1, keepdim=True) + EPSILON)


def depth_along_ray(z_m: Tensor, rays: Tensor) -> Tensor:
    """(N, H, W) z-depth on (N, H, W, 3) rays → distance along the ray, 0 where z is not positive and finite."""
    known = torch.isfinite(z_m) & (z_m > 0)
    z_m = torch.where(known, z_m, torch.zeros_like(z_m))
    return torch.linalg.vector_norm(z_m[..., None] * rays / rays[..., 2:], dim=-1)


def normalised_depth(depth_m: Tensor) -> tuple[Tensor, Tensor]:
    """(N, H, W) distances, 0 = unknown → log(1 + d / mean) (N, 1, H, W) and log of the mean (N, 1)."""
    known = depth_m > 0
    count = known.sum(dim=(1, 2)).to(depth_m.dtype)
    mean = (torch.where(known, depth_m, 0.0).sum(dim=(1, 2)) / (count + EPSILON)).clamp(min=EPSILON)
    values = torch.where(known, torch.log1p(depth_m / mean[:, None, None]), 0.0)
    return values[:, None], torch.log(mean + EPSILON)[:, None]


def quaternion_product(first: Tensor, second: Tensor) -> Tensor:
    """Hamilton product of (…, 4) quaternions xyzw."""
    (ax, ay, az, aw), (bx, by, bz, bw) = first.unbind(-1), second.unbind(-1)
    return torch.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        dim=-1,
    )


def rotation_matrix(quaternion_xyzw: Tensor) -> Tensor:
    """(…, 4) unit quaternions → (…, 3, 3)."""
    x, y, z, w = quaternion_xyzw.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def relative_poses(poses: ViewPoses) -> RelativePoses:
    """Poses relative to the first view, in float64 inside: world coordinates may be large."""
    quaternion, translation = poses.quaternion_xyzw.double(), poses.translation_m.double()
    first, known = quaternion[:, :1], poses.has_pose[..., None]
    conjugate = first * first.new_tensor([-1.0, -1.0, -1.0, 1.0])
    inverse = conjugate / (first * first).sum(-1, keepdim=True)
    turned = quaternion_product(inverse.expand_as(quaternion), quaternion)
    identity = turned.new_tensor([0.0, 0.0, 0.0, 1.0])
    rotation = rotation_matrix(conjugate / torch.linalg.vector_norm(conjugate, dim=-1, keepdim=True))
    # The difference first: the translation of view 0 must be exactly zero, for views that moved are counted below.
    moved = ((translation - translation[:, :1])[..., None, :] * rotation).sum(-1)
    moved = torch.where(known, moved, torch.zeros_like(moved))
    distance = torch.linalg.vector_norm(moved, dim=-1)
    mean = (distance.sum(dim=1) / ((distance > 0).sum(dim=1) + EPSILON)).clamp(min=EPSILON)
    views = distance.shape[1]
    return RelativePoses(
        torch.where(known, turned, identity).float(),
        (moved / mean[:, None, None]).float(),
        torch.log(mean.float() + EPSILON)[:, None, None].expand(-1, views, -1),
    )
