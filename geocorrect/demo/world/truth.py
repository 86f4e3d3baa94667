"""The truth about every demo photo, and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.demo.render.surfaces import Float
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose


@dataclass(frozen=True, eq=False)
class PhotoTruth:
    """Where one photo was taken.

    world_from_cam: pose of the raw sensor raster in the truth's frame (ENU). heading_deg: of the optical axis from true
    north. localisable: whether anchors see what it shows; kind says why not. reported_…: what the provider says.
    """

    id: str
    world_from_cam: Pose
    lon_deg: float
    lat_deg: float
    height_m: float
    heading_deg: float
    localisable: bool
    kind: str
    device: str
    sequence: str
    reported_lon_deg: float
    reported_lat_deg: float


@dataclass(frozen=True, eq=False)
class DemoTruth:
    """Truth of a demo world. building_outlines_m, object_outlines_m: (N, 2) polygons; anchors_m: (A, 3); all ENU."""

    frame: Frame
    photos: Mapping[str, PhotoTruth]
    anchors_m: Float
    building_outlines_m: tuple[Float, ...]
    object_outlines_m: tuple[Float, ...]

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
        data = json.loads(path.read_text(encoding="utf-8"))
        return DemoTruth(
            Frame(**data["frame"]),
            {key: _photo(key, value) for key, value in data["photos"].items()},
            np.array(data["anchors_m"], float).reshape(-1, 3),
            tuple(np.array(outline, float) for outline in data["building_outlines_m"]),
            tuple(np.array(outline, float) for outline in data["object_outlines_m"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the truth of a demo world ({error}); build the world again") from None


def _photo_json(photo: PhotoTruth) -> dict[str, Any]:
    plain = {key: value for key, value in vars(photo).items() if key not in ("id", "world_from_cam")}
    plain["heading_deg"] = None if np.isnan(photo.heading_deg) else photo.heading_deg
    return plain | {"world_from_cam": photo.world_from_cam.matrix.tolist()}


def _photo(key: str, value: Mapping[str, Any]) -> PhotoTruth:
    heading = value["heading_deg"]
    rest = {k: v for k, v in value.items() if k not in ("world_from_cam", "heading_deg")}
    return PhotoTruth(
        id=key,
        world_from_cam=Pose.from_matrix(value["world_from_cam"]),
        heading_deg=float("nan") if heading is None else heading,
        **rest,
    )
