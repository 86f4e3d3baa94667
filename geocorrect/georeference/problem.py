"""What a georeference is solved from: clicked images with known relative poses, clicks, and what is assumed of the
ground.

World: any Cartesian metres with z up (an ENU frame). Local: the frame of the trajectory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose

Float = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ClickedImage:
    """An image with clicks. local_from_base: vehicle pose at exposure; its z axis is normal to the ground under it."""

    name: str
    camera: Camera
    local_from_base: Pose
    base_from_cam: Pose

    @property
    def local_from_cam(self) -> Pose:
        """Pose of the camera in the trajectory's frame."""
        return self.local_from_base @ self.base_from_cam


@dataclass(frozen=True)
class Priors:
    """What is known before any click; standard deviations.

    base_height_m ± base_height_sigma_m: of the base (the LiDAR) above the ground under the vehicle. tilt_sigma_deg: of
    the local frame's vertical, taken from the vehicle's mean attitude. scale_sigma: relative, of the trajectory; a
    tight prior at 1, because a LiDAR trajectory is metric. ground_tilt_sigma_deg, ground_step_sigma_m: how the ground
    in front of one image departs from the plane under the vehicle. ground_height_m ± ground_height_sigma_m:
    ellipsoidal height of the ground relative to the world's z = 0, used only when no click has a height.
    """

    base_height_m: float = 1.9
    base_height_sigma_m: float = 0.6
    tilt_sigma_deg: float = 1.0
    scale_sigma: float = 0.002
    ground_tilt_sigma_deg: float = 0.2
    ground_step_sigma_m: float = 0.05
    ground_height_m: float = 0.0
    ground_height_sigma_m: float = 10.0


@dataclass(frozen=True, eq=False)
class Problem:
    """Clicks of several images on one trajectory (or several that share its local frame).

    image_index: (N,) into images. px: (N, 2). target_m: (N, 3) world position of the mark, z nan when unknown.
    on_ground: (N,) whether the mark lies on the ground under its image (always so without a height); a mark with a
    height that is not on the ground is cut out of its horizontal plane. sigma_px, sigma_map_m, sigma_height_m: (N,).
    landmark: (N,) equal for clicks on one and the same mark, whose map error they share. up_local: (3,) unit vertical
    in the local frame.
    """

    images: tuple[ClickedImage, ...]
    image_index: Index
    px: Float
    target_m: Float
    sigma_px: Float
    sigma_map_m: Float
    sigma_height_m: Float
    landmark: Index
    on_ground: Mask
    up_local: Float
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
        if (np.isnan(self.target_m[:, 2]) & ~self.on_ground).any():
            raise ValueError("a mark without a height must be on the ground")

    def __len__(self) -> int:
        return len(self.image_index)

    @property
    def on_level(self) -> Mask:
        """(N,) clicks on marks of known height that need not lie on the ground."""
        return ~self.on_ground

    @property
    def on_ground_height(self) -> Mask:
        """(N,) clicks on ground marks whose height is known: they tell how high the vehicle is."""
        known: Mask = self.on_ground & np.isfinite(self.target_m[:, 2])
        return known

    @property
    def height_known(self) -> Mask:
        """(N,) clicks whose mark has a height."""
        known: Mask = np.isfinite(self.target_m[:, 2])
        return known

    @cached_property
    def cameras(self) -> list[Camera]:
        """The different cameras of the images."""
        return list(dict.fromkeys(image.camera for image in self.images))

    @cached_property
    def poses(self) -> tuple[Float, Float, Float, Float]:
        """Per click: base (N, 3), its axes as rows (N, 3, 3), camera (N, 3), local_from_cam rotation (N, 3, 3)."""
        bases = [image.local_from_base for image in self.images]
        cameras = [image.local_from_cam for image in self.images]
        index = self.image_index
        return (
            np.array([pose.translation_m for pose in bases])[index],
            np.array([pose.rotation.as_matrix().T for pose in bases])[index],
            np.array([pose.translation_m for pose in cameras])[index],
            np.array([pose.rotation.as_matrix() for pose in cameras])[index],
        )

    @property
    def n_images(self) -> int:
        """Images that have at least one click."""
        return len(np.unique(self.image_index))

    def subset(self, keep: Mask) -> Problem:
        """The problem with only some of the clicks; images stay, so that indices stay."""
        return replace(
            self,
            image_index=self.image_index[keep],
            px=self.px[keep],
            target_m=self.target_m[keep],
            sigma_px=self.sigma_px[keep],
            sigma_map_m=self.sigma_map_m[keep],
            sigma_height_m=self.sigma_height_m[keep],
            landmark=self.landmark[keep],
            on_ground=self.on_ground[keep],
        )

    def without_image(self, image: int) -> Problem:
        """The problem without the clicks of one image."""
        return self.subset(self.image_index != image)
