"""The YAML that describes a drive: its table, what the table's numbers mean, and the rig."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geocorrect.anchors.readers.mobile.angles import BODY_FROM_FORWARD_CAM, Convention, Unit
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.projection import Projection
from geocorrect.io.text_file import read_text

MOST_CHARACTERS = 100_000
Described = TypeVar("Described", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CameraModel(_Strict):
    """Intrinsics in pixels; of a panorama its size, and which part it is."""

    model: Literal["PINHOLE", "OPENCV", "OPENCV_FISHEYE", "EQUIRECTANGULAR"]
    width: int
    height: int
    intrinsics: list[float] = Field(default=[], description="fx, fy, cx, cy")
    distortion: list[float] = Field(
        default=[], description="k1, k2, p1, p2[, k3[, k4, k5, k6]]; fisheye: k1, k2, k3, k4"
    )

    part_of: list[int] = Field(
        default=[],
        description="of a part of a panorama: width and height of the whole, and the part's left and top, in pixels",
    )

    def camera(self) -> Camera:
        """Raises ValueError naming what is wrong."""
        if self.model != "EQUIRECTANGULAR" and self.part_of:
            raise ValueError("part_of is for EQUIRECTANGULAR")
        if self.model == "EQUIRECTANGULAR" and self.part_of:
            return self._part(self.part_of)
        if self.model == "EQUIRECTANGULAR":
            return Camera.spherical(self.width, self.height)
        if len(self.intrinsics) != 4:
            raise ValueError(f"intrinsics must be fx, fy, cx, cy, got {len(self.intrinsics)} numbers")
        if self.model == "OPENCV_FISHEYE":
            lens = tuple(self.distortion)
            return Camera(Projection.FISHEYE_OPENCV, self.width, self.height, *self._four, lens)
        return Camera.from_opencv(self.width, self.height, self.intrinsics, self.distortion)

    def _part(self, numbers: list[int]) -> Camera:
        if len(numbers) != 4:
            raise ValueError(f"part_of must be width, height, left, top, got {len(numbers)} numbers")
        width, height, left, top = numbers
        inside = 0 <= left <= width - self.width and 0 <= top <= height - self.height
        if width != 2 * height or not inside:
            raise ValueError(
                f"{self.width}×{self.height} pixels at {left}, {top} are no part of a panorama of {width}×{height}"
            )
        return Camera.spherical(width, height).cropped(left, top, self.width, self.height)

    @property
    def _four(self) -> tuple[float, float, float, float]:
        fx, fy, cx, cy = self.intrinsics
        return fx, fy, cx, cy


class RigCamera(_Strict):
    """One camera of the rig."""

    name: str
    images: str
    """Path relative to the table, with columns of the row in braces: `front/{frame}.jpg`."""
    camera: CameraModel
    body_from_cam: list[list[float]] | None = None
    """3×4 or 4×4, camera axes x right, y down, z forward; None: at the body, looking forward."""
    time_offset_s: float = 0.0
    """Exposure after the row's time; the pose is interpolated between rows."""

    def pose(self, angles: Convention) -> Pose:
        """body_from_cam, in the body axes of a convention; ValueError when it is no rigid transform."""
        if self.body_from_cam is None:
            return Pose(BODY_FROM_FORWARD_CAM[angles], np.zeros(3))
        return Pose.from_matrix(self.body_from_cam)


class Drive(_Strict):
    """A whole description."""

    table: Path
    rig: Annotated[list[RigCamera], Field(min_length=1)]
    crs: str | None = None
    height_reference: str = "unknown"
    geoid_undulation_m: float | None = None
    angles: Convention
    """Which angles the table has; never guessed."""
    unit: Unit = "deg"
    north: Literal["true", "grid"]
    """What headings, kappa or quaternions are measured from."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our column names to those of the table."""
    sigma_position_m: float = Field(default=float("nan"), gt=0)
    sigma_rotation_deg: float = Field(default=float("nan"), gt=0)
    dataset: str = "mobile"
    max_gap_s: float = 0.5
    """Poses further apart are not interpolated between."""
    faces: Path = Path("faces")
    """Where the faces of panoramas are written, relative to the description."""


def read_yaml(path: Path, model: type[Described], what: str) -> Described:
    """A YAML file of this form; InputError naming file and field, and saying `what` it is to be."""
    text = read_text(path, f"no such {what}")
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"{path}: {len(text)} characters are no {what}")
    try:
        return model.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from None
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise InputError("\n".join(lines)) from None


def read_description(path: Path) -> Drive:
    """The description of a drive; InputError naming file and field."""
    drive = read_yaml(path, Drive, "description of a drive")
    names = [camera.name for camera in drive.rig]
    if len(set(names)) != len(names):
        raise InputError(f"{path}: rig: two cameras have the same name ({', '.join(names)})")
    for camera in drive.rig:
        try:
            camera.camera.camera()
            camera.pose(drive.angles)
        except ValueError as error:
            raise InputError(f"{path}: rig camera {camera.name}: {error}") from None
        if drive.angles == "omega_phi_kappa" and camera.body_from_cam is not None:
            raise InputError(
                f"{path}: rig camera {camera.name}: omega, phi, kappa turn the camera itself; drop body_from_cam"
            )
    return drive
