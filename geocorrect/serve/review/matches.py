"""What supports a pose, computed again when the page asks: the catalog keeps only counts of matches, and no points."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.catalog.run import StoredResult
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.projection import Projection
from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.io.pixels import read_image
from geocorrect.records import Correction, Float, Image, ImageArray
from geocorrect.serve.review.describe import active_result
from geocorrect.serve.review.points import seen_points
from geocorrect.serve.state import ServeSettings

if TYPE_CHECKING:
    from geocorrect.api.localizer import Localizer
    from geocorrect.localize.observations import Observations

MAX_SHOWN = 400
"""Matches of one anchor; more cannot be told apart in a picture."""
KEPT_ANSWERS = 64
"""Matches of a photo, or points of one of its anchors."""


class EvidenceFinder:
    """Finds matches and points of photos with the configured matcher and depth source.

    Models and caches are shared: ask for one after the other.
    """

    def __init__(self, state: ServeSettings) -> None:
        self._state = state
        self._kept: BoundedCache[tuple[int, str | None], dict[str, Any]] = BoundedCache(KEPT_ANSWERS)

    def matches(self, image_id: str) -> dict[str, Any]:
        """Matches by anchor, as plain values; pixels are those of the picture files.

        Raises:
            GeocorrectError: photo or anchors cannot be read, or weights are missing.
        """
        stored = active_result(self._state, image_id)
        return self._kept.get_or_make((stored.fid, None), lambda: self._computed_matches(stored))

    def points(self, image_id: str, anchor_id: str) -> dict[str, Any]:
        """The points of an anchor that the photo sees by its stored pose, as plain values; pixels as in `matches`.

        Raises:
            GeocorrectError: the photo has no pose, photo or anchor cannot be read, or weights are missing.
        """
        stored = active_result(self._state, image_id)
        return self._kept.get_or_make((stored.fid, anchor_id), lambda: self._computed_points(stored, anchor_id))

    @cached_property
    def _localizer(self) -> Localizer:
        from geocorrect.api.localizer import Localizer

        return Localizer(self._state.catalog, settings=self._state.settings)

    def _picture(self, image: Image) -> Path:
        path = self._state.on_disk(image.path)
        if path is None:
            raise InputError(f"photo {image.id[:60]}: its picture was not downloaded")
        return path

    def _computed_points(self, stored: StoredResult, anchor_id: str) -> dict[str, Any]:
        result, image = stored.result, self._state.catalog.images([stored.image_id])[stored.image_id]
        if not isinstance(result, Correction) or image.camera is None:
            raise InputError(f"photo {image.id[:60]}: it has no pose by which points could be seen")
        anchor = self._state.catalog.anchors([anchor_id]).get(anchor_id)
        if anchor is None:
            raise InputError(f"anchor {anchor_id[:60]!r}: there is none")

        def pixels() -> ImageArray:
            return read_image(self._picture(image), image.exif_orientation)

        depth = self._localizer.depth_of(anchor, pixels)
        px, away_m = seen_points(anchor, depth, result.world_from_cam, _estimated(image.camera, result))
        return {
            "anchor_id": anchor_id,
            "source": depth.name,
            "photo_px": as_delivered(px, image).round(1).tolist(),
            "away_m": away_m.round(2).tolist(),
        }

    def _computed_matches(self, stored: StoredResult) -> dict[str, Any]:
        image = self._state.catalog.images([stored.image_id])[stored.image_id]
        localized = self._localizer.localize(self._picture(image))
        found, result = localized.localization.found, stored.result
        pose = result.world_from_cam if isinstance(result, Correction) else localized.pose
        camera = found.solution.query_camera if found.solution is not None else None
        return {
            "recomputed_status": localized.status.value,
            "anchors": [
                _of_anchor(seen, matches.is_inlier, image, pose, camera or image.camera)
                for seen, matches in zip(found.observations, localized.matches, strict=True)
            ],
        }


def _estimated(camera: Camera, result: Correction) -> Camera:
    """The camera with the focal length that the pose was found with."""
    ratio = result.evidence.focal_ratio
    known = np.isfinite(ratio) and camera.projection is not Projection.SPHERICAL
    return camera.with_focal_scaled(ratio) if known else camera


def _of_anchor(
    seen: Observations, is_inlier: NDArray[np.bool_], image: Image, pose: Pose | None, camera: Camera | None
) -> dict[str, Any]:
    shown = np.sort(np.argsort(~is_inlier, kind="stable")[:MAX_SHOWN])
    seen_again = np.full((len(seen), 2), np.nan)
    if pose is not None and camera is not None:
        px, visible = camera.project(pose.inverse().apply(np.nan_to_num(seen.points_m)))
        seen_again = np.where((visible & seen.has_depth)[:, None], px, np.nan)
    residual_px = np.linalg.norm(seen_again - seen.query_px, axis=1)
    return {
        "anchor_id": seen.anchor.id,
        "photo_px": as_delivered(seen.query_px[shown], image).round(2).tolist(),
        "anchor_px": seen.anchor_px[shown].round(2).tolist(),
        "reprojected_px": as_delivered(seen_again[shown], image).round(2).tolist(),
        "residual_px": residual_px[shown].round(2).tolist(),
        "is_inlier": is_inlier[shown].tolist(),
        "n_verified": len(seen),
        "n_inliers": int(is_inlier.sum()),
    }


def as_delivered(px: Float, image: Image) -> Float:
    """Pixels of the raw sensor as pixels of the picture file, which its provider has turned upright.

    Args:
        px: (N, 2) in the raw orientation that the camera describes.
        image: its camera gives the raw size.
    """
    if image.camera is None or image.exif_orientation not in (3, 6, 8):
        return px
    u, v = px[:, 0], px[:, 1]
    right, bottom = image.camera.width - 1, image.camera.height - 1
    turned = {3: (right - u, bottom - v), 6: (bottom - v, u), 8: (v, right - u)}[image.exif_orientation]
    return np.stack(turned, axis=1)
