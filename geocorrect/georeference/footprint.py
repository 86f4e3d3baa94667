"""From pixel to map and back under an alignment: where the ground in a photo lies, where a mark should appear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geocorrect.geometry.frame import Frame
from geocorrect.georeference.joint.model import State, geometry_of, marks_in_images, reach
from geocorrect.georeference.problem import ClickedImage, Float, Problem
from geocorrect.georeference.result import Georeference


@dataclass(frozen=True)
class View:
    """One image under an alignment."""

    result: Georeference
    """Of clicks."""
    image: ClickedImage
    """Any image of the drives, clicked or not."""

    @property
    def frame(self) -> Frame:
        """Local east-north-up frame of the alignment."""
        return self.result.alignment.frame

    def camera_lon_lat(self) -> tuple[float, float]:
        """Where the camera stands."""
        place = self.result.alignment.world_from_local.apply(self.image.local_from_cam.translation_m)
        lon, lat, _ = self.frame.wgs84_from_enu(place)
        return float(lon), float(lat)

    def ground_lon_lat(self, px: Float) -> Float:
        """(N, 2) where the ground under pixels (N, 2) lies; nan above the horizon."""
        problem = self._problem(px, np.full((len(px), 3), [0.0, 0.0, np.nan]))
        state = self._state()
        there = state.world_from_local.apply(reach(problem, geometry_of(problem), state).point_m)
        lon, lat, _ = self.frame.wgs84_from_enu(np.nan_to_num(there))
        return np.where(np.isfinite(there[:, :2]), np.stack([lon, lat], axis=1), np.nan)

    def pixels_of(self, lon_lat_deg: Float) -> Float:
        """(N, 2) pixels where ground marks (N, 2) should appear; nan out of view."""
        count = len(lon_lat_deg)
        target = self.frame.enu_from_wgs84(lon_lat_deg[:, 0], lon_lat_deg[:, 1], self.frame.height_m)
        target = np.asarray(target, float).reshape(count, 3)
        target[:, 2] = np.nan
        centre = [(self.image.camera.width - 1) / 2, (self.image.camera.height - 1) / 2]
        problem = self._problem(np.tile(centre, (count, 1)), target)
        found = marks_in_images(problem, geometry_of(problem), self._state())
        return np.where(self.image.camera.contains(found)[:, None], found, np.nan)

    def _state(self) -> State:
        return State(self.result.alignment.world_from_local, self.result.base_height_m, np.zeros((1, 3)))

    def _problem(self, px: Float, target_m: Float) -> Problem:
        assert self.result.problem is not None
        count, solved = len(px), self.result.problem
        ones = np.ones(count)
        return Problem(
            (self.image,), np.zeros(count, np.int64), px, target_m, ones, ones, ones, np.arange(count),
            np.ones(count, bool), solved.up_local, solved.priors,
        )  # fmt: skip
