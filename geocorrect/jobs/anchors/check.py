"""`anchors check`: every anchor of a catalog as its neighbours see it, localised by them as if it were a photo."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.anchors.check import AnchorCheck, check_anchors
from geocorrect.anchors.drive_errors import DriveModel, camera_of, drive_models
from geocorrect.anchors.neighbour_view import NeighbourView
from geocorrect.api.anchor_cache import AnchorCache
from geocorrect.api.backends import build_matcher
from geocorrect.api.scene import AnchorSource
from geocorrect.config import Settings
from geocorrect.depth.lidar import LidarDepth
from geocorrect.depth.options import DepthSection
from geocorrect.errors import ExitCode, InputError, Reason
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import observe
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.match.verify import verification_of
from geocorrect.records import Anchor, AnchorNoise, DepthMap, Query
from geocorrect.retrieve.neighbours import NeighbourFinder
from geocorrect.retrieve.spatial import AnchorPositions

Float = NDArray[np.float64]
SEED = 0
MAX_MATCHES = 250
"""Matches per neighbour: beyond it nothing is gained."""
ACROSS_M = 1.5, -1.5
"""Wished distances of the neighbours that other cameras of the rig took."""
NO_DEPTH = DepthMap("none", False, samples_px=np.zeros((0, 2)), samples_z_m=np.zeros(0))


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
        noise = tuple(1.0 if np.isnan(factor) else factor for factor in self.check.noise)
        rows = []
        for name, view in sorted(self.check.views.items()):
            east_m, north_m, up_m = view.shift[:3].tolist()
            rows.append(
                {
                    "anchor_id": name,
                    "verdict": "contradicts its neighbours" if name in self.check.named else "consistent",
                    "sigmas": float(np.sqrt(view.distance2((noise[0], noise[1])) / 3)),
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


def neighbour_view(
    observations: Sequence[Observations], camera: Camera, recorded: Pose, options: LocalizeOptions
) -> NeighbourView | None:
    """How the neighbours see an anchor: its matches with them, localised like a photo; None where there is no pose.

    Args:
        observations: of the anchor (as the query) with each neighbour, empty ones left out.
        camera: of the anchor.
        recorded: its pose on record.
        options: of the method, with the noise that the drive states.
    """
    position_m, rotation_deg = options.joint.anchor_noise
    # What all anchors of a drive have in common is no part of the comparison: georeference, mounting.
    joint = replace(
        options.joint, max_matches=MAX_MATCHES, shared_rotation=0.0, anchor_position_m=position_m,
        anchor_rotation_deg=rotation_deg,
    )  # fmt: skip
    local = [replace(o, anchor=replace(o.anchor, world_from_cam=_bare(o.anchor.world_from_cam))) for o in observations]
    found = solve_joint(local, camera, replace(options, joint=joint), SEED, guesses=(_bare(recorded),))
    if isinstance(found, Reason):
        return None
    assert found.measured is not None
    assert found.by_records is not None
    own = np.repeat([position_m, np.radians(rotation_deg)], 3)
    by_neighbour = np.moveaxis(found.by_records.reshape(6, len(local), 6), 1, 0)
    by_noise = by_neighbour * own
    of_neighbours = np.einsum("nij,nkj->ik", by_noise, by_noise)
    names = [o.anchor.id for o in observations]
    return NeighbourView(
        recorded.minus(found.world_from_cam), found.measured, of_neighbours + np.diag(own**2),
        dict(zip(names, by_neighbour, strict=True)),
    )  # fmt: skip


def _other_cameras(anchors: Sequence[Anchor]) -> Callable[[int], NDArray[np.bool_]] | None:
    """What tells the anchors (N,) of the other cameras of an anchor's drive; None where every drive has one camera."""
    drive = np.array([f"{anchor.dataset}/{anchor.drive_id}" for anchor in anchors], object)
    camera = np.array([camera_of(anchor) for anchor in anchors], object)
    if len({*zip(drive, camera, strict=True)}) == len({*drive}):
        return None
    return lambda row: (drive == drive[row]) & (camera != camera[row])


def _bare(pose: Pose) -> Pose:
    return pose.with_covariance(None)


class CatalogCheck:
    """Matches the anchors of a source with their neighbours and compares views and records."""

    def __init__(self, settings: Settings, source: AnchorSource) -> None:
        """Settings: matcher and verification, which neighbours are asked, and the noise that the drives state."""
        self._options = settings.localize
        self._neighbours = settings.depth.neighbours
        self._source = source
        self._matcher = build_matcher(settings)
        self._pair = verification_of(self._matcher, settings.match.verify)
        self._cache = AnchorCache(settings.model_copy(update={"depth": DepthSection()}), self._matcher)
        self._lidar = LidarDepth()
        self._pairs: dict[tuple[str, str], Observations] = {}
        self._unusable: dict[str, str] = {}

    def run(self, on_progress: Callable[[int, int], None]) -> CheckOutcome:
        """Check all anchors."""
        index = self._source.index
        positions = AnchorPositions(index.ids, index.enu_m, index.heading_deg)
        finder = NeighbourFinder(positions, index.alignment_ids, self._neighbours)
        stated = self._options.joint.anchor_noise
        anchors = [anchor for chunk in self._source.chunks() for anchor in chunk]
        drives = drive_models(anchors, *stated)
        across = NeighbourFinder(positions, index.alignment_ids, replace(self._neighbours, baselines_m=ACROSS_M))
        of_rig = _other_cameras(anchors)
        neighbours: Mapping[str, Sequence[str]] = {
            name: tuple(dict.fromkeys([*finder.of(name), *(across.of(name, of_rig(row)) if of_rig else ())]))
            for row, name in enumerate(index.ids)
        }
        check = check_anchors(neighbours, self._view, on_progress, drives)
        return CheckOutcome(check, len(index.ids), stated, drives, sorted(self._unusable.values()))

    def _view(self, name: str, neighbours: Collection[str]) -> NeighbourView | None:
        anchors = self._source.read([name, *neighbours])
        seen = [o for other in neighbours if (o := self._observed(anchors[name], anchors[other])) is not None]
        if len(seen) < 2:
            return None
        return neighbour_view(seen, anchors[name].camera, anchors[name].world_from_cam, self._options)

    def _observed(self, anchor: Anchor, neighbour: Anchor) -> Observations | None:
        key = anchor.id, neighbour.id
        if not {*key}.isdisjoint(self._unusable):
            return None
        if key not in self._pairs:
            views = []
            for one in (anchor, neighbour):
                try:
                    views.append(self._cache.view(one))
                    depth = NO_DEPTH if one.lidar is None else self._lidar.depth(one, views[-1].pixels)
                except InputError as error:
                    self._unusable[one.id] = f"anchor {one.id}: {error}"
                    return None
            query = Query(anchor.id, views[0].pixels, anchor.camera, anchor.world_from_cam.translation_m)
            matches = self._matcher.match(query.pixels, [views[1].pixels])[0]
            self._pairs[key] = observe(query, views[1], matches, depth, self._options, SEED, self._pair)
        found = self._pairs[key]
        return found if len(found) else None
