"""Dense predictions in the cache: an anchor's depth is asked for by every photo near it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from geocorrect.geometry.pose import Pose
from geocorrect.networks.mapanything.masks import MaskRules
from geocorrect.networks.mapanything.photo_view import DensePrediction, ScenePoses
from geocorrect.networks.mapanything.view_inputs import PreparedView, relative_numbers
from geocorrect.networks.placement import Placement


def dense_key(views: Sequence[PreparedView], index: int, rules: MaskRules) -> str:
    """Hash of all that the dense prediction of one of the views depends on."""
    digest = hashlib.sha256(repr((index, rules)).encode())
    for prepared in views:
        has_pose = prepared.view.world_from_cam is not None
        digest.update(prepared.key.encode())
        digest.update(np.array([has_pose, *relative_numbers(prepared.view, views[0].view)], np.float64).tobytes())
    return digest.hexdigest()


def packed(poses: ScenePoses, dense: DensePrediction) -> dict[str, Tensor]:
    """As tensors by name."""
    numbers = np.array([[*pose.quaternion_xyzw, *pose.translation_m] for pose in poses.first_from_view])
    return {
        "poses": torch.from_numpy(numbers),
        "distance_m": torch.from_numpy(dense.distance_m),
        "rays": torch.from_numpy(dense.rays),
        "confidence": torch.from_numpy(dense.confidence),
        "believed": torch.from_numpy(dense.believed),
    }


def unpacked(tensors: Mapping[str, Tensor], placement: Placement) -> tuple[ScenePoses, DensePrediction]:
    """The inverse of `packed`."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    first_from_view = tuple(Pose.from_quaternion(row[:4], row[4:]) for row in arrays["poses"])
    dense = DensePrediction(arrays["distance_m"], arrays["rays"], arrays["confidence"], arrays["believed"], placement)
    return ScenePoses(first_from_view), dense
