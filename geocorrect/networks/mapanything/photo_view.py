"""What goes into MapAnything and what comes out, as plain arrays: no torch in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.records import DepthMap, Float32, ImageArray

if TYPE_CHECKING:
    from geocorrect.networks.placement import Placement

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DepthHints:
    """Known depth of some pixels of a photo."""

    px: Float
    """(N, 2) pixels of the photo."""
    z_m: Float
    """(N,) z-depth in metres."""

    @classmethod
    def from_map(cls, depth: DepthMap) -> DepthHints:
        """All that a depth map knows."""
        return cls(*depth.known())


@dataclass(frozen=True, eq=False)
class PhotoView:
    """A photo and what is known of it. What is None stays unknown to the network."""

    pixels: ImageArray
    """(H, W, 3) RGB uint8."""
    camera: Camera | None = None
    """Its lens; spherical cameras must be cut into faces first."""
    world_from_cam: Pose | None = None
    """Its pose, in one world and in metres for all views of a scene."""
    hints: DepthHints | None = None
    """Known depth of some pixels; needs the camera."""

    def __post_init__(self) -> None:
        if self.camera is None and self.hints is not None:
            raise ValueError("known depth of a photo without a known lens means nothing to the network")
        if self.camera is not None and not np.isfinite(self.camera.focal_x_px):
            raise ValueError("a spherical photo has no z-depth; cut perspective faces first")
        if self.camera is not None and (self.camera.height, self.camera.width) != self.pixels.shape[:2]:
            raise ValueError(
                f"the photo is {self.pixels.shape[1]}×{self.pixels.shape[0]} pixels, "
                f"its camera {self.camera.width}×{self.camera.height}"
            )


@dataclass(frozen=True, eq=False)
class ScenePoses:
    """Predicted poses of all views of a scene, in the frame of the first view, in metres."""

    first_from_view: tuple[Pose, ...]
    """One per view; that of the first view is near the identity, not exactly it."""


@dataclass(frozen=True, eq=False)
class DensePrediction:
    """Dense prediction of one view at the network's resolution (h, w)."""

    distance_m: Float32
    """(h, w) distance along the ray in metres."""
    rays: Float32
    """(h, w, 3) predicted unit rays in the camera frame: hints, even where the camera was given."""
    confidence: Float32
    """(h, w), above 1; larger is better."""
    believed: NDArray[np.bool_]
    """(h, w) pixels that have one depth and lie on no edge."""
    placement: Placement
    """Where the network's image sits in the photo."""


@dataclass(frozen=True)
class PredictedFocal:
    """The pinhole that the predicted rays of one photo describe, in pixels of the photo; nan where there is none."""

    focal_x_px: float
    """Horizontal focal length."""
    focal_y_px: float
    """Vertical focal length."""
    principal_x_px: float
    """Column of the principal point."""
    principal_y_px: float
    """Row of the principal point."""
    residual_px: float
    """Root mean square distance of the pixels from where that pinhole sees their rays."""
