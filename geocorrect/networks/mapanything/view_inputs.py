"""Photos brought to the network's size, and what is known of them as the network takes it.

What would mean nothing is left out: a lone pose, the scale of poses at one place, depth that lies outside the crop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geocorrect.networks.mapanything.photo_view import PhotoView
from geocorrect.networks.mapanything.preprocess import Size, network_depth, network_image, network_rays
from geocorrect.networks.placement import Placement
from geocorrect.networks.store import content_key
from geocorrect.records import ImageArray

MIN_BASELINE_M = 1e-3
"""Poses nearer to each other than this have no scale to tell: its code would be far outside what was trained."""


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


@dataclass(frozen=True, eq=False)
class PreparedView:
    """A view at the network's size."""

    view: PhotoView
    """The photo and what is known of it."""
    image: ImageArray
    """(H, W, 3) uint8 at the network's size."""
    placement: Placement
    """Where the image sits in the photo."""
    key: str
    """Hash of all that the view's tokens depend on."""


def prepare(view: PhotoView, size: Size, fingerprint: str) -> PreparedView:
    """The view at the size (width, height); ValueError when the photo is too thin for it.

    fingerprint: of the network, part of the key.
    """
    image, placement = network_image(view.pixels, size, rounds_even=view.camera is not None)
    return PreparedView(view, image, placement, content_key(image, fingerprint, *_dependencies(view, placement)))


def _dependencies(view: PhotoView, placement: Placement) -> Iterator[str]:
    """What a view's tokens depend on beside its pixels at the network's size."""
    yield "view"
    if view.camera is not None:
        yield repr((view.camera, placement))
    if view.hints is not None:
        digest = hashlib.sha256(np.ascontiguousarray(view.hints.px, np.float64).tobytes())
        digest.update(np.ascontiguousarray(view.hints.z_m, np.float64).tobytes())
        yield digest.hexdigest()


def geometry_of(views: Sequence[PreparedView], device: torch.device) -> ViewGeometry | None:
    """Rays and depth of the views that have them; depth without a known pixel in the crop is left out."""
    cameras = [prepared.view.camera for prepared in views]
    if all(camera is None for camera in cameras):
        return None
    width, height = views[0].placement.size
    rays = np.zeros((len(views), height, width, 3), np.float32)
    rays[..., 2] = 1.0
    z_m = np.zeros((len(views), height, width), np.float32)
    for index, (prepared, camera) in enumerate(zip(views, cameras, strict=True)):
        if camera is not None:
            rays[index] = network_rays(camera, prepared.placement)
        if prepared.view.hints is not None:
            z_m[index] = network_depth(prepared.view.hints.px, prepared.view.hints.z_m, prepared.placement)
    has_rays = torch.tensor([camera is not None for camera in cameras], device=device)
    has_depth = torch.tensor((z_m > 0).any(axis=(1, 2)), device=device)
    all_rays = torch.from_numpy(rays).to(device)
    if not has_depth.any():
        return ViewGeometry(all_rays, has_rays)
    return ViewGeometry(all_rays, has_rays, depth_along_ray(torch.from_numpy(z_m).to(device), all_rays), has_depth)


def pose_inputs(views: Sequence[PhotoView], device: torch.device) -> tuple[ViewPoses | None, bool]:
    """Poses of (1, V) views and whether their distances mean anything.

    One pose alone says nothing: the output is relative to the first view anyway, and the code of its scale would be one
    that the network has never seen.
    """
    known = [view.world_from_cam is not None for view in views]
    if sum(known) < 2:
        return None, False
    if not known[0]:
        raise ValueError("the first view must have a pose where others have: it is the frame of the answer")
    poses = np.array([relative_numbers(view, views[0]) for view in views])
    inputs = (torch.from_numpy(part)[None].to(device) for part in (poses[:, :4], poses[:, 4:], np.array(known)))
    return ViewPoses(*inputs), bool(np.linalg.norm(poses[known, 4:], axis=-1).max() > MIN_BASELINE_M)


def relative_numbers(view: PhotoView, first: PhotoView) -> list[float]:
    """Quaternion and centre of a view in the frame of the first view; the identity where it has no pose.

    The sign of a quaternion goes into the network: taken in the first view's frame, with w ≥ 0, it does not depend on
    the choice of the world.
    """
    if view is first or view.world_from_cam is None or first.world_from_cam is None:
        return [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    first_from_view = first.world_from_cam.inverse() @ view.world_from_cam
    return [*first_from_view.quaternion_xyzw, *first_from_view.translation_m]
