"""The lens of a kind of device: what many of its photos agree on, and what the user states of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera, Projection, checked_readout
from geocorrect.records import Image

Float = NDArray[np.float64]

LEAST_FOCAL_SIGMA = 0.002
"""Photos of one kind of device differ by that much (focus, stabilisation): no number of them is a calibration."""


@dataclass(frozen=True)
class DeviceLens:
    """What is stated of the lens of a kind of device in the configuration, in place of what its photos state."""

    make: str
    model: str
    width: int
    height: int
    """As the photos' records have them; pixels of the raster."""
    focal: float | None = None
    """Focal length over the longer side; None: as the photos state it."""
    focal_sigma: float = 0.01
    """Its relative standard deviation."""
    principal_px: tuple[float, float] | None = None
    """Principal point in pixels of the raster; None: as the photos state it."""
    bend: float = 0.0
    """Distortion beyond the stated one: share of the radius at half of the longer side."""
    readout_s: float | None = None
    """Rolling shutter, as in `Camera`; None: unknown."""

    def __post_init__(self) -> None:
        name = f"lens of {self.make} {self.model}"
        if self.focal is None and self.readout_s is None:
            raise ValueError(f"{name}: state focal, readout_s or both")
        if not ((self.focal is None or self.focal > 0) and self.focal_sigma >= LEAST_FOCAL_SIGMA):
            raise ValueError(f"{name}: focal must be positive and focal_sigma at least {LEAST_FOCAL_SIGMA}")
        if self.readout_s is not None:
            checked_readout(self.readout_s, Projection.PERSPECTIVE)

    @property
    def key(self) -> tuple[str, str, int, int]:
        """Make, model and size."""
        return self.make, self.model, self.width, self.height

    def describes(self, image: Image) -> bool:
        """Whether a photo was taken by such a device, with a lens that has a focal length."""
        camera = image.camera
        if camera is None or camera.projection is Projection.SPHERICAL:
            return False
        return self.key == (image.device_make or "", image.device_model or "", camera.width, camera.height)

    def of(self, camera: Camera) -> Camera:
        """The camera with this lens."""
        from geocorrect.localize.joint.lens import with_bend  # the configuration is read without the solver

        found = camera if self.focal is None and not self.bend else with_bend(camera, self.bend)
        if self.focal is not None:
            ratio = self.focal * max(camera.width, camera.height) / camera.focal_x_px
            found = replace(found.with_focal_scaled(ratio), focal_sigma=self.focal_sigma)
        x_px, y_px = self.principal_px or (camera.principal_x_px, camera.principal_y_px)
        readout_s = camera.readout_s if self.readout_s is None else self.readout_s
        return replace(found, principal_x_px=x_px, principal_y_px=y_px, readout_s=readout_s)


def stated_camera(image: Image, lenses: Sequence[DeviceLens]) -> Camera | None:
    """The photo's camera, with the lens that is stated of its device, if one is."""
    for lens in lenses:
        if image.camera is not None and lens.describes(image):
            return lens.of(image.camera)
    return image.camera


@dataclass(frozen=True)
class Agreed:
    """What several estimates of one number have in common."""

    value: float
    sigma: float
    """Its standard deviation."""
    spread: float
    """Robust standard deviation of the estimates about it, over what they state: 1 where they agree."""


def agreed(values: Float, sigmas: Float) -> Agreed:
    """The median, weighted by precision, of estimates (N,) with standard deviations: few wrong ones move it little.

    Where they differ by more than they state, its error is that much larger.
    """
    weight = 1.0 / sigmas**2
    order = np.argsort(values)
    cumulative = np.cumsum(weight[order])
    value = float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])
    spread = 1.4826 * float(np.median(np.abs(values - value) / sigmas))
    # A median of normal values is 1.25 times as uncertain as their mean.
    return Agreed(value, 1.25 * max(spread, 1.0) / float(np.sqrt(weight.sum())), spread)
