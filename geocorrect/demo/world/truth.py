"""The truth about every demo photo, and its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.io.text_file import read_json
from geocorrect.records import NAN, Float


@dataclass(frozen=True, eq=False)
class PhotoTruth:
    """Where one photo was taken."""

    id: str
    world_from_cam: Pose
    """Of the raw sensor raster, in the truth's frame (ENU)."""
    lon_deg: float
    lat_deg: float
    height_m: float
    heading_deg: float
    """Of the optical axis, from true north."""
    localisable: bool
    """Whether anchors see what it shows."""
    kind: str
    """See `Shot.kind`."""
    device: str
    sequence: str
    reported_lon_deg: float
    """What the provider says."""
    reported_lat_deg: float
    """What the provider says."""


@dataclass(frozen=True, eq=False)
class DemoTruth:
    """Truth of a demo world, in metres of its ENU frame."""

    frame: Frame
    photos: Mapping[str, PhotoTruth]
    """By image id."""
    anchors_m: Float
    """(A, 3) camera centres."""
    building_outlines_m: tuple[Float, ...]
    """(N, 2) polygons."""
    object_outlines_m: tuple[Float, ...]
    """(N, 2) polygons of cars and furniture."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; `read_truth` gives the same back."""
        return {
            "frame": asdict(self.frame),
            "photos": {photo.id: _photo_json(photo) for photo in self.photos.values()},
            "anchors_m": self.anchors_m.tolist(),
            "building_outlines_m": [outline.tolist() for outline in self.building_outlines_m],
            "object_outlines_m": [outline.tolist() for outline in self.object_outlines_m],
        }


def read_truth(path: Path) -> DemoTruth:
    """The truth.json of a demo world; InputError naming the file when it is missing or damaged."""
    try:
        data = read_json(path)
        return DemoTruth(
            Frame(**data["frame"]),
            {key: _photo(key, value) for key, value in data["photos"].items()},
            np.array(data["anchors_m"], float).reshape(-1, 3),
            tuple(np.array(outline, float) for outline in data["building_outlines_m"]),
            tuple(np.array(outline, float) for outline in data["object_outlines_m"]),
        )
    except (InputError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the truth of a demo world ({error}); build the world again") from None


def _photo_json(photo: PhotoTruth) -> dict[str, Any]:
    values = {key: value for key, value in vars(photo).items() if key not in ("id", "world_from_cam")}
    values["heading_deg"] = None if np.isnan(photo.heading_deg) else photo.heading_deg
    return values | {"world_from_cam": photo.world_from_cam.matrix.tolist()}


def _photo(key: str, value: Mapping[str, Any]) -> PhotoTruth:
    heading = NAN if value["heading_deg"] is None else value["heading_deg"]
    pose = Pose.from_matrix(value["world_from_cam"])
    return PhotoTruth(**{**value, "id": key, "world_from_cam": pose, "heading_deg": heading})
