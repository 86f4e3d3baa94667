"""How wrong a motion is, in both directions."""

from __future__ import annotations

import torch
from torch import Tensor

from geocorrect.geometry.virtual_points import virtual_points_m
from geocorrect.networks.mickey.train.options import LossOptions, PoseLoss

DISTANCE_FLOOR = 1e-6


def vcre_px(estimate: Tensor, truth: Tensor, intrinsics: Tensor, clip_px: float) -> Tensor:
    """(K,) mean distance in pixels of projected virtual points.

    Args:
        estimate: (K, 4, 4) world_from_cam.
        truth: (4, 4) world_from_cam.
        intrinsics: (3, 3).
        clip_px: projections are held inside [0, clip_px] in both directions.
    """
    points = torch.from_numpy(virtual_points_m()).to(estimate)
    relative = inverse(estimate) @ truth
    moved = points @ relative[:, :3, :3].mT + relative[:, None, :3, 3]
    offset = _projected(moved, intrinsics, clip_px) - _projected(points, intrinsics, clip_px)
    return (offset.square().sum(dim=-1) + DISTANCE_FLOOR).sqrt().mean(dim=-1)


def motion_losses(
    estimate: Tensor, truth: Tensor, intrinsics0: Tensor, intrinsics1: Tensor, options: LossOptions
) -> Tensor:
    """(K,) errors of motions cam1_from_cam0 (K, 4, 4) against the true one (4, 4)."""
    if options.kind is PoseLoss.POSE:
        return _pose_errors(estimate, truth, options)
    # Camera 0 in the frame of camera 1 and camera 1 in the frame of camera 0, each with its own lens.
    forth = vcre_px(estimate, truth, intrinsics0, options.clip_px)
    back = vcre_px(inverse(estimate), inverse(truth), intrinsics1, options.clip_px)
    error_px = (forth + back) / 2.0
    return torch.tanh(error_px / options.vcre_scale_px) if options.soft_clip else error_px


def null_loss(options: LossOptions) -> float:
    """What "no pose" costs. For the pose error the publication states none; it is the same share of the largest."""
    if options.kind is PoseLoss.POSE:
        return 2.0 * options.null_loss
    return options.null_loss if options.soft_clip else options.null_loss_px


def inverse(motion: Tensor) -> Tensor:
    """(…, 4, 4) rigid motions the other way."""
    rotation = motion[..., :3, :3].mT
    return rigid_matrix(rotation, -(rotation @ motion[..., :3, 3:])[..., 0])


def rigid_matrix(rotation: Tensor, translation_m: Tensor) -> Tensor:
    """(…, 4, 4) from (…, 3, 3) and (…, 3)."""
    upper = torch.cat([rotation, translation_m[..., None]], dim=-1)
    last = upper.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*upper.shape[:-2], 1, 4)
    return torch.cat([upper, last], dim=-2)


def _pose_errors(estimate: Tensor, truth: Tensor, options: LossOptions) -> Tensor:
    relative = estimate[..., :3, :3] @ truth[:3, :3].mT
    axis = torch.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        dim=-1,
    )
    sine = (axis.square().sum(dim=-1) + DISTANCE_FLOOR**2).sqrt()
    cosine = relative.diagonal(dim1=-2, dim2=-1).sum(dim=-1) - 1.0
    angle_rad = torch.atan2(sine, cosine)
    shift_m = (estimate[..., :3, 3] - truth[:3, 3]).abs().sum(dim=-1)
    return torch.tanh(angle_rad / options.rotation_scale_rad) + torch.tanh(shift_m / options.translation_scale_m)


def _projected(points_m: Tensor, intrinsics: Tensor, clip_px: float) -> Tensor:
    homogeneous = points_m @ intrinsics.mT
    return (homogeneous[..., :2] / homogeneous[..., 2:]).clamp(0.0, clip_px)
