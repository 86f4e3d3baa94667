"""Camera: intrinsics of one raster, projection and its inverse, exact resize, crop and quarter turns.

Pixels: the centre of the top-left pixel is (0, 0). Camera axes: x right, y down, z forward. This class is the only
place where pixel coordinates are rescaled or shifted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera_formats import (
    Intrinsics,
    intrinsics_from_opensfm,
    intrinsics_from_vector,
    opencv_distortion,
    opensfm_from_intrinsics,
)
from geocorrect.geometry.projection import (
    COEFFICIENTS,
    DEFAULT_TRANSITION,
    Lens,
    Projection,
    lens_of,
    spherical_angles,
    spherical_bearings,
    spherical_jacobian,
    turned_coefficients,
)

__all__ = ["Camera", "Projection", "turned_from_cam"]

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
LONGEST_READOUT_S = 0.2
"""More is a mistake of units."""


def rows_of(name: str, values: ArrayLike, columns: int) -> Float:
    """An (N, columns) float64 array, or ValueError naming it."""
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise ValueError(f"{name} must be (N, {columns}), got shape {rows.shape}")
    return rows


def finite_rows(rows: Float) -> NDArray[np.bool_]:
    """(N,) whether every number of a row is finite."""
    # x·0 is 0 for finite x and nan otherwise: one pass and no wide boolean array.
    finite: NDArray[np.bool_] = (rows * 0.0).sum(axis=1) == 0.0
    return finite


def checked_size(name: str, value: int) -> int:
    """A whole number of pixels ≥ 1, or ValueError naming the field."""
    if isinstance(value, bool) or not math.isfinite(value) or int(value) != value or value < 1:
        raise ValueError(f"camera {name} must be a whole number ≥ 1, got {value!r}")
    return int(value)


def checked_distortion(projection: Projection, values: Sequence[float]) -> tuple[float, ...]:
    """Coefficients in the model's order with the missing tail filled; ValueError when too many or not finite."""
    names = COEFFICIENTS[projection]
    given = tuple(float(value) for value in values)
    if len(given) > len(names):
        raise ValueError(f"camera distortion of a {projection} camera has {len(names)} terms, got {len(given)}")
    for name, value in zip(names, given, strict=False):
        if not math.isfinite(value):
            raise ValueError(f"camera distortion {name} must be finite, got {value}")
    missing = [DEFAULT_TRANSITION if name == "transition" else 0.0 for name in names[len(given) :]]
    complete = given + tuple(missing)
    if projection is Projection.DUAL and not 0.0 <= complete[2] <= 1.0:
        raise ValueError(f"camera transition must be in 0…1, got {complete[2]}")
    return complete


def checked_number(name: str, value: float, positive: bool) -> float:
    """A finite number, above zero where it must be positive, or ValueError naming the field."""
    number = float(value)
    if not math.isfinite(number) or (positive and number <= 0):
        raise ValueError(f"camera {name} must be a {'positive' if positive else 'finite'} number, got {number}")
    return number


def checked_readout(readout_s: float, projection: Projection) -> float:
    """A readout time of at most LONGEST_READOUT_S or nan, or ValueError naming the field."""
    readout = float(readout_s)
    if abs(readout) > LONGEST_READOUT_S:
        raise ValueError(f"camera readout_s must be at most {LONGEST_READOUT_S:g} seconds, got {readout:g} (ms?)")
    if projection is Projection.SPHERICAL and not math.isnan(readout):
        raise ValueError("camera readout_s: a panorama is stitched of several pictures, leave it out")
    return readout


@dataclass(frozen=True, eq=False)
class Camera:
    """Intrinsics of one raster.

    Raises:
        ValueError: names the field that is wrong.
    """

    projection: Projection
    """Camera model."""
    width: int
    """Columns of the raster."""
    height: int
    """Rows of the raster."""
    focal_x_px: float
    """Horizontal focal length; nan for spherical cameras."""
    focal_y_px: float
    """Vertical focal length; nan for spherical cameras."""
    principal_x_px: float
    """Column of the principal point."""
    principal_y_px: float
    """Row of the principal point."""
    distortion: tuple[float, ...] = ()
    """Coefficients in the order of `projection.COEFFICIENTS`; a missing tail is filled (0; transition 0.5)."""
    focal_sigma: float = math.nan
    """Relative standard deviation of the focal length; nan when unknown."""
    full_circle_px: float = math.nan
    """Columns that 360° would have, of a part of a panorama; nan for whole ones and all other cameras."""
    readout_s: float = math.nan
    """Rolling shutter: how much later the last row is exposed than the first; negative where the last is first, 0 of a
    global shutter, nan when unknown."""

    def __post_init__(self) -> None:
        sigma = float(self.focal_sigma)
        if sigma < 0 or math.isinf(sigma):
            raise ValueError(f"camera focal_sigma must be ≥ 0 or nan, got {sigma}")
        projection = Projection(self.projection)
        values: dict[str, Any] = {"projection": projection, "focal_sigma": sigma}
        values["readout_s"] = checked_readout(self.readout_s, projection)
        values |= {name: checked_size(name, getattr(self, name)) for name in ("width", "height")}
        values["distortion"] = checked_distortion(projection, self.distortion)
        if projection is Projection.SPHERICAL:
            values |= dict.fromkeys(("focal_x_px", "focal_y_px"), math.nan) | self._checked_sphere()
        else:
            values["full_circle_px"] = math.nan
            for name in ("focal_x_px", "focal_y_px", "principal_x_px", "principal_y_px"):
                values[name] = checked_number(name, getattr(self, name), positive=name.startswith("focal"))
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _checked_sphere(self) -> dict[str, float]:
        """Principal point and full circle; of a whole circle around the horizon they follow from the size."""
        centre = {"principal_x_px": (self.width - 1) / 2, "principal_y_px": (self.height - 1) / 2}
        if not math.isnan(self.full_circle_px):
            circle_px = checked_number("full_circle_px", self.full_circle_px, positive=True)
            given = {name: checked_number(name, getattr(self, name), positive=False) for name in centre}
            if circle_px < self.width - 1:
                raise ValueError(f"a spherical image of {self.width} columns is more than a circle of {circle_px:g}")
            if circle_px != self.width or given != centre:
                return given | {"full_circle_px": circle_px}
        if self.width < self.height:
            raise ValueError(f"a spherical image is wider than high, got {self.width}×{self.height}")
        return centre | {"full_circle_px": math.nan}

    @classmethod
    def pinhole(
        cls, width: int, height: int, focal_x_px: float, focal_y_px: float, principal_x_px: float, principal_y_px: float
    ) -> Camera:
        """Perspective camera without distortion."""
        return cls(Projection.PERSPECTIVE, width, height, focal_x_px, focal_y_px, principal_x_px, principal_y_px)

    @classmethod
    def spherical(cls, width: int, height: int) -> Camera:
        """Full equirectangular panorama; `cropped` makes a part of it."""
        return cls(Projection.SPHERICAL, width, height, math.nan, math.nan, math.nan, math.nan)

    @classmethod
    def from_opencv(cls, width: int, height: int, intrinsics: Sequence[float], distortion: Sequence[float]) -> Camera:
        """From (fx, fy, cx, cy) px and OpenCV's (k1, k2, p1, p2[, k3[, k4, k5, k6]]); a pinhole when all are zero."""
        if len(intrinsics) != 4:
            raise ValueError(f"intrinsics must be fx, fy, cx, cy, got {len(intrinsics)} numbers")
        coefficients = tuple(float(value) for value in distortion)
        if len(coefficients) > 5 and len(coefficients) != 8:
            raise ValueError(f"OpenCV distortion is k1, k2, p1, p2[, k3[, k4, k5, k6]], got {coefficients}")
        projection = Projection.PERSPECTIVE
        if any(coefficients):
            projection = Projection.FULL_OPENCV if any(coefficients[5:]) else Projection.BROWN
        focal_x, focal_y, principal_x, principal_y = intrinsics
        used = () if projection is Projection.PERSPECTIVE else coefficients[: len(COEFFICIENTS[projection])]
        return cls(projection, width, height, focal_x, focal_y, principal_x, principal_y, used)

    @classmethod
    def from_opensfm(cls, parameters: Mapping[str, Any], width: int, height: int) -> Camera:
        """From OpenSfM's camera JSON (normalised); width and height of the raster at hand, any size of the picture."""
        values = intrinsics_from_opensfm(parameters, width, height)
        return cls(values.projection, width, height, *values[1:])

    @classmethod
    def from_opensfm_vector(
        cls, projection_type: str, parameters: Sequence[float] | None, width: int, height: int
    ) -> Camera:
        """From Mapillary's `camera_type` and `camera_parameters`; ValueError when type and length do not fit."""
        values = intrinsics_from_vector(projection_type, parameters, width, height)
        return cls(values.projection, width, height, *values[1:])

    def to_opensfm(self) -> dict[str, Any]:
        """OpenSfM's normalised JSON of an equal camera; ValueError where there is none."""
        if not math.isnan(self.full_circle_px):
            raise ValueError("OpenSfM has no camera for a part of a panorama")
        affine = (self.focal_x_px, self.focal_y_px, self.principal_x_px, self.principal_y_px)
        return opensfm_from_intrinsics(Intrinsics(self.projection, *affine, self.distortion), self.width, self.height)

    def to_opencv(self) -> tuple[Float, Float, str]:
        """(K (3, 3), coefficients, "pinhole" | "fisheye") where OpenCV has an equal model, else ValueError."""
        coefficients, kind = opencv_distortion(self.projection, self.distortion)
        return self.intrinsic_matrix, np.array(coefficients), kind

    @property
    def intrinsic_matrix(self) -> Float:
        """(3, 3) K in pixels; ValueError for spherical cameras."""
        self._refuse_spherical("intrinsic matrix")
        first, second = [self.focal_x_px, 0.0, self.principal_x_px], [0.0, self.focal_y_px, self.principal_y_px]
        return np.array([first, second, [0.0, 0.0, 1.0]])

    def project(self, points_cam_m: ArrayLike) -> tuple[Float, Mask]:
        """Pixels (N, 2) and visible (N,) of camera-frame points (N, 3).

        nan where not visible: behind the camera, beyond the field on which the distortion is one-to-one, not finite.
        A visible point need not lie on the raster (`contains`).
        """
        points = rows_of("points_cam_m", points_cam_m, 3)
        with np.errstate(all="ignore"):
            spherical = self.projection is Projection.SPHERICAL
            coordinates, visible = spherical_angles(points) if spherical else self._lens.project(points)
            return self._pixels(coordinates, visible & finite_rows(points))

    def project_with_jacobian(self, points_cam_m: ArrayLike) -> tuple[Float, Mask, Float, Float]:
        """Pixels (N, 2), visible (N,), d px / d point (N, 2, 3) and d px / d log focal (N, 2); nan where not visible.

        Exact. The focal derivative moves both focal lengths by the same factor; zero for spherical cameras.
        """
        points = rows_of("points_cam_m", points_cam_m, 3)
        with np.errstate(all="ignore"):
            if self.projection is Projection.SPHERICAL:
                coordinates, visible, jacobian = *spherical_angles(points), spherical_jacobian(points)
            else:
                coordinates, visible, jacobian = self._lens.project_with_jacobian(points)
            px, visible = self._pixels(coordinates, visible & finite_rows(points))
            jacobian = jacobian * self.scale_px[None, :, None]
        jacobian[~visible] = np.nan
        focal = np.zeros_like(px) if self.projection is Projection.SPHERICAL else px - self._principal_px
        return px, visible, jacobian, focal

    def unproject(self, px: ArrayLike) -> Float:
        """Unit bearings (N, 3) in the camera frame of pixels (N, 2); nan where no ray reaches the pixel."""
        pixels = rows_of("px", px, 2)
        with np.errstate(all="ignore"):
            coordinates = (pixels - self._principal_px) / self.scale_px
            if self.projection is Projection.SPHERICAL:
                bearings = spherical_bearings(coordinates)
                valid = (np.abs(coordinates[:, 0]) <= math.pi) & (np.abs(coordinates[:, 1]) <= math.pi / 2)
            else:
                bearings, valid = self._lens.unproject(coordinates)
        bearings[~valid] = np.nan
        return bearings

    def contains(self, px: ArrayLike) -> Mask:
        """(N,) whether pixels (N, 2) lie on the raster, −0.5 ≤ u < w − 0.5 and −0.5 ≤ v < h − 0.5; False for nan."""
        pixels = rows_of("px", px, 2)
        u, v = pixels[:, 0], pixels[:, 1]
        return np.asarray((u >= -0.5) & (u < self.width - 0.5) & (v >= -0.5) & (v < self.height - 0.5))

    @property
    def is_rolling(self) -> bool:
        """Whether its rows are known to be exposed one after the other."""
        return math.isfinite(self.readout_s) and self.readout_s != 0.0

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the picture resized to width × height: u' = (u + 0.5)·s − 0.5."""
        width, height = checked_size("width", width), checked_size("height", height)
        sx, sy = width / self.width, height / self.height
        if self.projection is Projection.SPHERICAL and abs(height - self.height * sx) > 1:
            raise ValueError("a spherical image keeps its aspect when resized")
        return replace(
            self,
            width=width,
            height=height,
            focal_x_px=self.focal_x_px * sx,
            focal_y_px=self.focal_y_px * sy,
            principal_x_px=(self.principal_x_px + 0.5) * sx - 0.5,
            principal_y_px=(self.principal_y_px + 0.5) * sy - 0.5,
            full_circle_px=self.full_circle_px * sx,
        )

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """The camera of the window [left, left + width) × [top, top + height); it may reach beyond the picture."""
        return replace(
            self,
            width=width,
            height=height,
            principal_x_px=self.principal_x_px - left,
            principal_y_px=self.principal_y_px - top,
            full_circle_px=self.circle_px if self.projection is Projection.SPHERICAL else math.nan,
            readout_s=math.nan,  # its rows are not exposed about the moment of the pose
        )

    def turned(self, counter_clockwise_quarter_turns: int) -> Camera:
        """The camera of `np.rot90(pixels, turns)`; its frame is turned too, see `turned_from_cam`."""
        turns = counter_clockwise_quarter_turns % 4
        if self.projection is Projection.SPHERICAL:
            if turns % 2:
                raise ValueError("a spherical image cannot be turned by 90°; turn its pose")
            x_px, y_px = self.width - 1 - self.principal_x_px, self.height - 1 - self.principal_y_px
            return replace(self, principal_x_px=x_px, principal_y_px=y_px) if turns else self
        camera = self
        for _ in range(turns):
            # With x' = y and y' = −x the focal lengths change places; the distortion turns with the plane.
            camera = replace(
                camera,
                width=camera.height,
                height=camera.width,
                focal_x_px=camera.focal_y_px,
                focal_y_px=camera.focal_x_px,
                principal_x_px=camera.principal_y_px,
                principal_y_px=camera.width - 1 - camera.principal_x_px,
                distortion=turned_coefficients(camera.projection, camera.distortion),
            )
        # Upside down the last row is the first; turned by a quarter, columns are exposed one after the other.
        return replace(camera, readout_s=(self.readout_s, math.nan, -self.readout_s, math.nan)[turns])

    def with_focal_scaled(self, factor: float) -> Camera:
        """The same camera with both focal lengths multiplied by `factor`."""
        self._refuse_spherical("focal length")
        return replace(self, focal_x_px=self.focal_x_px * factor, focal_y_px=self.focal_y_px * factor)

    @property
    def circle_px(self) -> float:
        """Columns of 360° of a spherical camera."""
        return float(self.width if math.isnan(self.full_circle_px) else self.full_circle_px)

    @property
    def is_full_circle(self) -> bool:
        """Whether the left and right edges of a spherical picture meet."""
        return self.projection is Projection.SPHERICAL and self.width > self.circle_px - 0.5

    @property
    def horizontal_fov_deg(self) -> float:
        """Angle between the rays through the middle of the left and the right border; nan where one has no ray."""
        if self.projection is Projection.SPHERICAL:
            return min(360.0, 360.0 * self.width / self.circle_px)
        middle = (self.height - 1) / 2
        left, right = self.unproject([[-0.5, middle], [self.width - 0.5, middle]])
        return math.degrees(math.atan2(right[0], right[2])) - math.degrees(math.atan2(left[0], left[2]))

    @property
    def _lens(self) -> Lens:
        return lens_of(self.projection, self.distortion)

    @property
    def scale_px(self) -> Float:
        """(2,) pixels per plane unit, which is a radian at the principal point; per radian for spherical cameras."""
        if self.projection is Projection.SPHERICAL:
            return np.full(2, self.circle_px / (2 * math.pi))
        return np.array([self.focal_x_px, self.focal_y_px])

    @property
    def _principal_px(self) -> Float:
        return np.array([self.principal_x_px, self.principal_y_px])

    def _pixels(self, coordinates: Float, visible: Mask) -> tuple[Float, Mask]:
        px = coordinates * self.scale_px + self._principal_px
        if self.projection is Projection.SPHERICAL:
            # Straight behind: the right edge of the whole circle is its left edge.
            px[px[:, 0] >= self.principal_x_px + self.circle_px / 2, 0] -= self.circle_px
        visible = visible & finite_rows(px)
        px[~visible] = np.nan
        return px, visible

    def _refuse_spherical(self, what: str) -> None:
        if self.projection is Projection.SPHERICAL:
            raise ValueError(f"a spherical camera has no {what}")

    def _key(self) -> tuple[Any, ...]:
        """The fields with None for nan, so that equal cameras are equal after pickling too."""
        return tuple(None if isinstance(v, float) and math.isnan(v) else v for v in vars(self).values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Camera) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


def turned_from_cam(counter_clockwise_quarter_turns: int) -> Rotation:
    """Rotation into the frame of `Camera.turned(turns)`: turned_from_world = turned_from_cam · cam_from_world."""
    return Rotation.from_euler("z", -90.0 * (counter_clockwise_quarter_turns % 4), degrees=True)
