"""`anchors check`: every anchor of a catalog as its neighbours see it, localised by them as if it were a photo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.anchors.check import AnchorCheck, check_anchors
from geocorrect.anchors.drive_errors import DriveModel, camera_of, drive_models
from geocorrect.api.scene import AnchorSource
from geocorrect.config import Settings
from geocorrect.errors import ExitCode
from geocorrect.jobs.anchors.neighbour_views import NeighbourViews
from geocorrect.records import Anchor, AnchorNoise
from geocorrect.retrieve.neighbours import NeighbourFinder
from geocorrect.retrieve.spatial import AnchorPositions

ACROSS_M = 1.5, -1.5
"""Wished distances of the neighbours that other cameras of the rig took."""


@dataclass
class CheckOutcome:
    """What was found."""

    check: AnchorCheck
    n_anchors: int
    stated: tuple[float, float]
    """Noise as configured, metres and degrees."""
    drives: Mapping[str, DriveModel] = field(default_factory=dict)
    """What could be found of each drive."""
    unusable: list[str] = field(default_factory=list)
    """A message per picture or scan that could not be read."""

    @property
    def noise(self) -> tuple[float, float]:
        """Estimated noise of the anchors' poses relative to each other, metres and degrees; nan where too few tell."""
        (position_m, rotation_deg), (by_position, by_rotation) = self.stated, self.check.noise
        return position_m * by_position, rotation_deg * by_rotation

    def found_noise(self) -> dict[str, AnchorNoise]:
        """Noise by anchor, of the drives of which enough anchors tell."""
        found: dict[str, AnchorNoise] = {}
        for name, model in self.drives.items():
            errors = self.check.drives[name]
            position_m, rotation_deg = np.multiply(self.stated, errors.upper).tolist()
            if np.isfinite(position_m):
                found |= {
                    anchor: AnchorNoise(position_m, rotation_deg, errors.common(effect))
                    for anchor, effect in model.effects.items()
                }
        return found

    def drive_rows(self) -> list[dict[str, Any]]:
        """A row per drive of which enough anchors tell."""
        rows = []
        for name, model in sorted(self.drives.items()):
            errors = self.check.drives[name]
            position_m, rotation_deg = np.multiply(self.stated, errors.noise).tolist()
            if not np.isfinite(position_m):
                continue
            clock_s, sigma_s = errors.clock_s
            sigma = np.sqrt(np.diag(errors.covariance))
            rows.append(
                {
                    "drive": name,
                    "position_m": position_m,
                    "rotation_deg": rotation_deg,
                    "used_position_m": self.stated[0] * errors.upper[0],
                    "used_rotation_deg": self.stated[1] * errors.upper[1],
                    "clock_ms": 1e3 * clock_s,
                    "clock_sigma_ms": 1e3 * sigma_s,
                    "cameras": [
                        {
                            "camera": camera.split(" ")[0],
                            "lever_m": errors.values[at : at + 3].tolist(),
                            "lever_sigma_m": sigma[at : at + 3].tolist(),
                            "rotation_deg": np.degrees(errors.values[at + 3 : at + 6]).tolist(),
                            "rotation_sigma_deg": np.degrees(sigma[at + 3 : at + 6]).tolist(),
                        }
                        for at, camera in zip(range(1, len(sigma), 6), model.cameras[1:], strict=True)
                    ],
                }
            )
        return rows

    @property
    def exit_code(self) -> ExitCode:
        """3 when files could not be read."""
        return ExitCode.INPUT if self.unusable else ExitCode.OK

    def rows(self) -> list[dict[str, Any]]:
        """A row per anchor that could be judged, in the order of ids; record minus neighbours' view, east-north-up."""
        rows = []
        for name, view in sorted(self.check.views.items()):
            east_m, north_m, up_m = view.shift[:3].tolist()
            rows.append(
                {
                    "anchor_id": name,
                    "verdict": "contradicts its neighbours" if name in self.check.named else "consistent",
                    "sigmas": self.check.sigmas[name],
                    "east_m": east_m,
                    "north_m": north_m,
                    "up_m": up_m,
                    "rotation_deg": float(np.degrees(np.linalg.norm(view.shift[3:]))),
                }
            )
        return rows

    def as_json(self) -> dict[str, Any]:
        """Plain values for --json."""
        noise = (None if np.isnan(value) else value for value in self.noise)
        return {
            "n_anchors": self.n_anchors,
            "n_judged": len(self.check.views),
            "named": dict(self.check.named),
            **dict(zip(("anchor_position_m", "anchor_rotation_deg"), noise, strict=True)),
            "drives": self.drive_rows(),
            "anchors": self.rows(),
            "unusable": self.unusable,
            "exit_code": int(self.exit_code),
        }


def _other_cameras(anchors: Sequence[Anchor]) -> Callable[[int], NDArray[np.bool_]] | None:
    """What tells the anchors (N,) of the other cameras of an anchor's drive; None where every drive has one camera."""
    drive = np.array([f"{anchor.dataset}/{anchor.drive_id}" for anchor in anchors], object)
    camera = np.array([camera_of(anchor) for anchor in anchors], object)
    if len({*zip(drive, camera, strict=True)}) == len({*drive}):
        return None
    return lambda row: (drive == drive[row]) & (camera != camera[row])


def _along_drives(anchors: Sequence[Anchor]) -> list[str]:
    """Ids by drive and time, so that an anchor's neighbours of all cameras are near it in the order of the work."""

    def place(anchor: Anchor) -> tuple[str, str, float, str]:
        taken_s = anchor.captured_at.timestamp() if anchor.captured_at else 0.0
        return anchor.dataset, anchor.drive_id or "", taken_s, anchor.id

    return [anchor.id for anchor in sorted(anchors, key=place)]


def check_catalog(settings: Settings, source: AnchorSource, on_progress: Callable[[int, int], None]) -> CheckOutcome:
    """Match all anchors of a source with their neighbours and compare views and records.

    Args:
        settings: matcher and verification, which neighbours are asked, and the noise that the drives state.
        source: of the anchors.
        on_progress: called with anchors done and in all.
    """
    index = source.index
    positions = AnchorPositions(index.ids, index.enu_m, index.heading_deg)
    finder = NeighbourFinder(positions, index.alignment_ids, settings.depth.neighbours)
    across = NeighbourFinder(positions, index.alignment_ids, replace(settings.depth.neighbours, baselines_m=ACROSS_M))
    anchors = [anchor for chunk in source.chunks() for anchor in chunk]
    of_rig, row_of = _other_cameras(anchors), {name: row for row, name in enumerate(index.ids)}
    neighbours: Mapping[str, Sequence[str]] = {
        name: tuple(dict.fromkeys([*finder.of(name), *(across.of(name, of_rig(row_of[name])) if of_rig else ())]))
        for name in _along_drives(anchors)
    }
    stated = settings.localize.joint.anchor_noise
    drives = drive_models(anchors, *stated)
    views = NeighbourViews(settings, {anchor.id: anchor for anchor in anchors}, neighbours)
    check = check_anchors(neighbours, views.of, on_progress, drives)
    return CheckOutcome(check, len(index.ids), stated, drives, sorted(views.unusable.values()))
