"""The cameras of the people who uploaded photos: lens, raster, how they hold it, how their positions err."""

from __future__ import annotations

from dataclasses import dataclass

from geocorrect.geometry.camera import Camera


@dataclass(frozen=True)
class Device:
    """One make and model."""

    name: str
    make: str
    model: str
    camera_type: str
    raw_size_px: tuple[int, int]
    """Width and height of the sensor's raster."""
    parameters: tuple[float, float, float]
    """True focal length (of the longer side), k1, k2 in OpenSfM's model."""
    exif_orientation: int
    """The turn that the provider applies to the raw raster before serving it."""
    camera_height_m: float
    """Above the road."""
    side_m: float
    """Distance to the right of the middle of the road, seen along the travel."""
    calibrated: bool
    """Whether the provider reconstructed the sequence and so knows the lens; otherwise it serves its default."""
    sharpness_px: float = 0.55
    """Gaussian sigma of a sharp picture."""
    noise: float = 2.2
    """Standard deviation in grey levels."""

    def camera(self, scale: float = 1.0) -> Camera:
        """The true camera of the raw raster, on a raster `scale` times as large."""
        width, height = (round(side * scale) for side in self.raw_size_px)
        return Camera.from_opensfm_vector(self.camera_type, self.parameters, width, height)


DASH_CAM = Device(
    "dash cam", "Viofo", "A119 V3", "perspective", (1280, 720), (0.662, -0.086, 0.011), 1, 1.32, 1.6, True
)
PHONE_UPRIGHT = Device(
    "phone held upright", "samsung", "SM-G991B", "perspective", (1280, 960), (0.781, 0.042, -0.021), 6, 1.62, 5.9, True
)
ACTION_CAM = Device(
    "action camera on a bicycle", "GoPro", "HERO8 Black", "fisheye", (1280, 720), (0.4686, -0.0562, 0.0045),
    1, 1.85, 2.2, True, 0.6, 2.8,
)  # fmt: skip
VAN_PHONE = Device(
    "phone on a van's roof", "Xiaomi", "Redmi Note 9", "perspective", (1152, 864), (0.846, -0.012, 0.0),
    1, 2.45, 1.5, True, 0.75, 3.2,
)  # fmt: skip
UNKNOWN_PHONE = Device(
    "phone of a walker, lens unknown", "Apple", "iPhone 12", "perspective", (1152, 864), (0.862, -0.008, 0.0),
    1, 1.58, 6.1, False,
)  # fmt: skip
PROVIDER_DEFAULT = (0.85, 0.0, 0.0)
"""What the provider serves when it could not reconstruct the images (OpenSfM's default focal prior)."""
