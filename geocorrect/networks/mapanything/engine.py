"""Photos in, poses and depth out. Made for localisation: each photo is encoded once, and nothing is computed unread.

The tokens of a view with the codes of its own rays and depth are cached, in memory and on disk, under a key of all that
they depend on. Pose codes depend on the first view and are added per call. The dense head, a third of the rest, runs
for the views that are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from geocorrect.geometry.pose import Pose
from geocorrect.networks.image_input import IMAGENET, normalised
from geocorrect.networks.mapanything.intrinsics import fit_intrinsics
from geocorrect.networks.mapanything.layers.heads import DenseView, Poses
from geocorrect.networks.mapanything.masks import MaskRules, believed
from geocorrect.networks.mapanything.model import FusedViews, MapAnything
from geocorrect.networks.mapanything.photo_view import DensePrediction, PhotoView, PredictedFocal, ScenePoses
from geocorrect.networks.mapanything.preprocess import Size, common_size
from geocorrect.networks.mapanything.view_inputs import (
    PreparedView,
    geometry_of,
    pose_inputs,
    prepare,
    relative_numbers,
)
from geocorrect.networks.placement import Placement
from geocorrect.networks.store import TensorStore
from geocorrect.records import ImageArray

ENCODE_BATCH = 8
PATCHES, CLASS_TOKEN = "patches", "class_token"


class MapAnythingEngine:
    """A network with its token cache. `fingerprint` names weights, precision and sizes: what tokens depend on."""

    def __init__(
        self,
        model: MapAnything,
        weights_id: str,
        store: TensorStore,
        dtype: torch.dtype | None = None,
        sizes: dict[float, Size] | None = None,
    ) -> None:
        """dtype: of the weights, where the model is deferred and should not be loaded to be asked. sizes: network sizes
        by width over height, the trained ones by default.
        """
        self.model = model
        self.store = store
        self.sizes = sizes
        precision = str(dtype or model.dtype).removeprefix("torch.")
        self.fingerprint = f"mapanything/{weights_id}/{precision}" + ("" if sizes is None else f"/{sizes}")

    def poses(self, views: Sequence[PhotoView]) -> ScenePoses:
        """Poses of all views in the frame of the first, without any dense output."""
        fused = self._fused(self._prepared(views))
        return _scene_poses(self.model.poses(self.model.transform(fused, dense=False)))

    def dense(
        self, views: Sequence[PhotoView], wanted: Sequence[int] = (0,), rules: MaskRules | None = None
    ) -> tuple[ScenePoses, list[DensePrediction]]:
        """Poses of all views in the frame of the first, and the dense prediction of the views `wanted`, cached."""
        prepared, rules = self._prepared(views), rules or MaskRules()
        keys = [dense_key(prepared, index, rules) for index in wanted]
        cached = [self.store.get(key) for key in keys]
        if wanted and all(entry is not None for entry in cached):
            known = [
                unpacked(entry, prepared[index].placement)
                for entry, index in zip(cached, wanted, strict=True)
                if entry is not None
            ]
            return known[0][0], [dense for _, dense in known]
        fused = self._fused(prepared)
        transformed = self.model.transform(fused)
        predicted = self.model.poses(transformed)
        poses, scale = _scene_poses(predicted), float(predicted.scale[0])
        found = []
        for key, index in zip(keys, wanted, strict=True):
            raw = self.model.dense(fused, transformed, index)
            found.append(_dense_prediction(raw, scale, prepared[index].placement, rules))
            self.store.put(key, packed(poses, found[-1]))
        return poses, found

    def focal(self, photo: ImageArray, known: Sequence[PhotoView] = ()) -> PredictedFocal:
        """The focal length of a photo whose lens is unknown, in photo pixels; `known`: other views of the same place.

        Where the rays describe no pinhole everything is nan.
        """
        views = [*known, PhotoView(photo)]
        _, (found,) = self.dense(views, (len(known),), MaskRules(drop_edges=False))
        fit = fit_intrinsics(found.rays)
        scale_x, scale_y = (
            resized / own for resized, own in zip(found.placement.resized_size, found.placement.photo_size, strict=True)
        )
        ((principal_x, principal_y),) = found.placement.to_photo(np.array([[fit.centre_x_px, fit.centre_y_px]]))
        return PredictedFocal(
            focal_x_px=fit.focal_x_px / scale_x,
            focal_y_px=fit.focal_y_px / scale_y,
            principal_x_px=float(principal_x),
            principal_y_px=float(principal_y),
            residual_px=fit.residual_px / float(np.sqrt(scale_x * scale_y)),
        )

    def _prepared(self, views: Sequence[PhotoView], size: Size | None = None) -> list[PreparedView]:
        size = size or common_size([(view.pixels.shape[1], view.pixels.shape[0]) for view in views], self.sizes)
        return [prepare(view, size, self.fingerprint) for view in views]

    def _fused(self, views: Sequence[PreparedView]) -> FusedViews:
        """Fused tokens (1, V, …)."""
        tokens = self._tokens(views)
        patches, class_token = (torch.stack([tokens[view.key][part] for view in views])[None] for part in (0, 1))
        width, height = views[0].placement.size
        patch = self.model.sizes.patch_px
        poses, use_scale = pose_inputs([prepared.view for prepared in views], self.model.device)
        return self.model.fuse(patches, class_token, (height // patch, width // patch), poses, use_scale)

    def _tokens(self, views: Sequence[PreparedView]) -> dict[str, tuple[Tensor, Tensor]]:
        """(patch tokens, class token) by key, on the model's device, from the cache or the network."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        missing: dict[str, PreparedView] = {}
        for prepared in views:
            cached = None if prepared.key in found else self.store.get(prepared.key)
            if cached is not None:
                device = self.model.device
                found[prepared.key] = cached[PATCHES].to(device), cached[CLASS_TOKEN].to(device)
            elif prepared.key not in found:
                missing[prepared.key] = prepared
        waiting = list(missing.values())
        for start in range(0, len(waiting), ENCODE_BATCH):
            batch = waiting[start : start + ENCODE_BATCH]
            images = torch.stack([normalised(prepared.image, IMAGENET) for prepared in batch])
            encoded = self.model.encode(images, geometry_of(batch, self.model.device))
            for prepared, patches, class_token in zip(batch, encoded.patches, encoded.class_token, strict=True):
                kept = patches.clone(), class_token.clone()  # a view would keep the whole batch alive in the cache
                found[prepared.key] = kept
                self.store.put(prepared.key, dict(zip((PATCHES, CLASS_TOKEN), kept, strict=True)))
        return found


def _scene_poses(poses: Poses) -> ScenePoses:
    quaternions = poses.quaternion_xyzw[0].double().cpu().numpy()
    translations_m = poses.translation_m[0].double().cpu().numpy()
    return ScenePoses(tuple(Pose(Rotation.from_quat(q), t) for q, t in zip(quaternions, translations_m, strict=True)))


def _dense_prediction(view: DenseView, scale: float, placement: Placement, rules: MaskRules | None) -> DensePrediction:
    rays, depth, confidence, unambiguous = (
        part[0].cpu().numpy() for part in (view.rays, view.depth, view.confidence, view.unambiguous)
    )
    points = rays * depth[..., None]
    return DensePrediction(
        distance_m=(scale * depth).astype(np.float32),
        rays=rays,
        confidence=confidence,
        believed=believed(points[..., 2], points, confidence, unambiguous, rules),
        placement=placement,
    )


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
