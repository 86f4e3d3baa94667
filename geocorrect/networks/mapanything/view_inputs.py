"""Photos brought to the network's size, and what is known of them as the network takes it.

What would mean nothing is left out: a lone pose, the scale of poses at one place, depth that lies outside the crop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from geocorrect.networks.mapanything.geometry_inputs import ViewGeometry, ViewPoses, depth_along_ray
from geocorrect.networks.mapanything.photo_view import PhotoView
from geocorrect.networks.mapanything.preprocess import Size, network_depth, network_image, network_rays
from geocorrect.networks.placement import Placement
from geocorrect.networks.store import content_key
from geocorrect.records import ImageArray

MIN_BASELINE_M = 1e-3
"""Poses nearer to each other than this have no scale to tell: its code would be far outside what was trained."""


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
