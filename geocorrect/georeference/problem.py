"""What a georeference is solved from, and a solution: clicked images with known relative poses, clicks, assumptions.

World: any Cartesian metres with z up (an ENU frame). Local: the frame of the trajectory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity

Float = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ClickedImage:
    """An image with clicks."""

    name: str
    camera: Camera
    local_from_base: Pose
    """Vehicle pose at exposure; its z axis is normal to the ground under it."""
    base_from_cam: Pose

    @property
    def local_from_cam(self) -> Pose:
        """Pose of the camera in the trajectory's frame."""
        return self.local_from_base @ self.base_from_cam


@dataclass(frozen=True)
class Priors:
    """What is known before any click; every sigma is a standard deviation."""

    base_height_m: float = 1.9
    """Of the base (the LiDAR) above the ground under the vehicle."""
    base_height_sigma_m: float = 0.6
    tilt_sigma_deg: float = 1.0
    """Of the local frame's vertical, taken from the vehicle's mean attitude."""
    scale_sigma: float = 0.002
    """Relative, of the trajectory; tight around 1, because a LiDAR trajectory is metric."""
    ground_tilt_sigma_deg: float = 0.2
    """How the ground in front of one image departs from the plane under the vehicle; likewise the next."""
    ground_step_sigma_m: float = 0.05
    ground_height_sigma_m: float = 10.0
    """Of the ground about the world's z = 0, used only when no click has a height."""


def ground_height_sigma_m(ground_height_m: float | None) -> float:
    """Standard deviation of a height of the ground that somebody states, or of the one taken where nobody does."""
    return 10.0 if ground_height_m is None else 0.5


@dataclass(frozen=True, eq=False)
class Problem:
    """Clicks of several images on one trajectory (or several that share its local frame)."""

    images: tuple[ClickedImage, ...]
    image_index: Index
    """(N,) into images."""
    px: Float
    """(N, 2)."""
    target_m: Float
    """(N, 3) world position of the mark, z nan when unknown."""
    sigma_px: Float
    """(N,), like the next two."""
    sigma_map_m: Float
    sigma_height_m: Float
    landmark: Index
    """(N,) equal for clicks on one and the same mark, whose map error they share."""
    on_ground: Mask
    """(N,) whether the mark lies on the ground under its image, as every mark without a height must; one with a height
    that does not is located by its horizontal plane."""
    up_local: Float
    """(3,) unit vertical in the local frame."""
    priors: Priors = field(default_factory=Priors)

    def __post_init__(self) -> None:
        n = len(self.image_index)
        shapes = {
            "px": (n, 2), "target_m": (n, 3), "sigma_px": (n,), "sigma_map_m": (n,), "sigma_height_m": (n,),
            "landmark": (n,), "on_ground": (n,), "up_local": (3,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must be {shape}, got {getattr(self, name).shape}")
        if not np.isfinite(self.px).all() or not np.isfinite(self.target_m[:, :2]).all():
            raise ValueError("pixels and plan positions of clicks must be finite")
        if not ((self.sigma_px > 0).all() and (self.sigma_map_m > 0).all()):
            raise ValueError("sigma_px and sigma_map_m must be positive")
        if (~self.height_known & ~self.on_ground).any():
            raise ValueError("a mark without a height must be on the ground")

    def __len__(self) -> int:
        return len(self.image_index)

    @property
    def height_known(self) -> Mask:
        """(N,) clicks whose mark has a height."""
        return np.isfinite(self.target_m[:, 2])

    @property
    def on_ground_height(self) -> Mask:
        """(N,) clicks on ground marks whose height is known: they tell how high the vehicle is."""
        return self.on_ground & self.height_known

    @cached_property
    def cameras(self) -> list[Camera]:
        """The different cameras of the images."""
        return list(dict.fromkeys(image.camera for image in self.images))

    @cached_property
    def poses(self) -> tuple[Float, Float, Float, Float]:
        """Per click: base (N, 3), its axes as rows (N, 3, 3), camera (N, 3), local_from_cam rotation (N, 3, 3)."""
        bases = [image.local_from_base for image in self.images]
        cameras = [image.local_from_cam for image in self.images]
        return (
            np.array([pose.translation_m for pose in bases])[self.image_index],
            np.array([pose.rotation.as_matrix().T for pose in bases])[self.image_index],
            np.array([pose.translation_m for pose in cameras])[self.image_index],
            np.array([pose.rotation.as_matrix() for pose in cameras])[self.image_index],
        )

    @property
    def n_images(self) -> int:
        """Images that have at least one click."""
        return len(np.unique(self.image_index))

    def subset(self, keep: NDArray[Any]) -> Problem:
        """The problem with only the clicks of a mask or index array; images stay, so that indices stay."""
        per_click = (
            "image_index", "px", "target_m", "sigma_px", "sigma_map_m", "sigma_height_m", "landmark", "on_ground",
        )  # fmt: skip
        selected: dict[str, Any] = {name: getattr(self, name)[keep] for name in per_click}
        return replace(self, **selected)

    def without_image(self, image: int) -> Problem:
        """The problem without the clicks of one image."""
        return self.subset(self.image_index != image)


@dataclass(frozen=True, eq=False)
class Solution:
    """One alignment from clicks."""

    world_from_local: Similarity
    covariance: Float
    """(7, 7) as in `anchors.alignment`."""
    base_height_m: float
    reached_m: Float
    """(N, 3) where the pixels' rays meet the undisturbed ground, in the world; nan above the horizon."""
    residual_m: Float
    """(N,) of every click in plan, between the map and where the pixel's ray meets the ground."""
    residual_px: Float
    """(N,) of every click in the image; nan out of view."""
    outlier: Mask
    """(N,)."""
    d2: Float | None = None
    """(N,) squared Mahalanobis distance of every click from the solution, 2 degrees of freedom; inf out of view."""
    base_height_sigma_m: float = float("nan")
    reduced_chi2: float = float("nan")
    cost: float = float("nan")
    """Truncated cost of clicks and priors, comparable between solutions of the same clicks."""
    runner_up_margin: float = float("inf")
    """How much worse the second basin's truncated cost is; inf when every start led to one basin."""
    runner_up_shift_m: float = float("nan")
    """How far away in plan the second basin places the cameras."""
