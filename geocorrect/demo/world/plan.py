"""Everything about a demo world that can be known before a single picture is rendered."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from geocorrect.demo.street.street import Street, StreetPlan, build_street
from geocorrect.demo.world.drives import (
    ENU_FROM_STREET,
    FRAME,
    LIDAR_FROM_CAMERA,
    OTHER_STREET_OFFSET_M,
    SCAN_DELAY_S,
    Drive,
    anchor_camera,
    two_drives,
)
from geocorrect.demo.world.shots import (
    FULL,
    FULL_NEGATIVES,
    PROVIDER_DEFAULT,
    SMALL,
    SMALL_NEGATIVES,
    SequencePlan,
    Shot,
    plan_shots,
)
from geocorrect.demo.world.truth import DemoTruth, PhotoTruth
from geocorrect.geometry.camera import Camera, turned_from_cam
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.io.pixels import COUNTER_CLOCKWISE_TURNS
from geocorrect.records import Float

NEAREST_BIAS_M, FARTHEST_BIAS_M = 3.0, 10.0
WRAPPED_ALTITUDE = 4294967281
"""−15 m as an unsigned 32-bit number: seen in real uploads."""


@dataclass(frozen=True)
class SequenceErrors:
    """How one upload errs."""

    bias_m: Float
    """(N, 2) east, north error of each photo."""
    compass: str
    """How headings are reported; see `compass_habit`."""
    compass_bias_deg: float
    sfm_bias_m: Float
    """(3,) error of the provider's own reconstruction."""
    sfm_turn_deg: float
    """Heading error of that reconstruction."""
    focal_factor: float
    """Its focal length over the true one."""
    cluster: int
    """Id of that reconstruction."""

    @classmethod
    def drawn(cls, rng: np.random.Generator, n_photos: int, compass: str) -> SequenceErrors:
        """A slowly varying position bias of 3–10 m (random walk in length and direction) and constant other errors."""
        length = _reflected(rng.uniform(4, 8) + np.cumsum(rng.normal(0, 0.45, n_photos)))
        direction = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.09, n_photos))
        return cls(
            bias_m=np.stack([length * np.cos(direction), length * np.sin(direction)], axis=1),
            compass=compass,
            compass_bias_deg=float(rng.normal(0, 14)),
            sfm_bias_m=rng.normal(0, [1.6, 1.6, 0.5]),
            sfm_turn_deg=float(rng.normal(0, 1.5)),
            focal_factor=float(1 + np.clip(rng.normal(0, 0.002), -0.003, 0.003)),
            cluster=int(rng.integers(10**14, 9 * 10**14)),
        )


def compass_habit(rng: np.random.Generator, number: int) -> str:
    """How the number-th sequence reports its headings; the first uploads cover every habit."""
    habits = ("noisy", "noisy", "some unknown", "noisy", "noisy", "always zero", "absent")
    return habits[number] if number < len(habits) else str(rng.choice(habits))


def metadata(
    shot: Shot, enu_from_raw: Pose, place_in_sequence: int, errors: SequenceErrors, seed: int
) -> dict[str, Any]:
    """The record that the API would serve for one photo; thumb URLs are the server's business.

    enu_from_raw: where the photo seems to have been taken, in raw sensor axes: the truth, or for photos of another
    street the place in this street that they claim. place_in_sequence: its number in the order of capture.
    """
    rng = np.random.default_rng([seed, 61, int(shot.id)])
    device, true_m = shot.plan.device, enu_from_raw.translation_m
    width, height = device.raw_size_px
    record: dict[str, Any] = {
        "id": shot.id,
        "sequence": shot.sequence_key,
        "captured_at": shot.captured_at_ms,
        "geometry": _point(true_m + np.append(errors.bias_m[place_in_sequence], 0.0)),
        "altitude": _altitude(rng, true_m),
        "camera_type": device.camera_type,
        "exif_orientation": device.exif_orientation,
        "width": width,
        "height": height,
        "make": device.make,
        "model": device.model,
        "is_pano": False,
        "quality_score": round(float(rng.uniform(0.35, 0.9)), 13),
        "creator": {"username": f"walker_{errors.cluster % 97}", "id": str(errors.cluster + 1)},
    }
    record |= _compass(rng, FRAME.heading_deg(enu_from_raw), errors)
    return record | _reconstruction(rng, shot, enu_from_raw, errors)


def _reflected(length_m: Float) -> Float:
    """Fold a walk back into the allowed range of bias lengths."""
    span = FARTHEST_BIAS_M - NEAREST_BIAS_M
    folded = np.abs((length_m - NEAREST_BIAS_M + span) % (2 * span) - span)
    return NEAREST_BIAS_M + span - folded


def _point(enu_m: Float) -> dict[str, Any]:
    lon, lat, _ = FRAME.wgs84_from_enu(enu_m)
    return {"type": "Point", "coordinates": [float(f"{float(lon):.14g}"), float(f"{float(lat):.14g}")]}


def _altitude(rng: np.random.Generator, true_m: Float) -> float:
    """Above sea level (the geoid lies 48 m above the ellipsoid), off by tens of metres; sometimes 0 or wrapped."""
    kind = rng.random()
    if kind < 0.1:
        return 0.0
    if kind < 0.14:
        return WRAPPED_ALTITUDE
    return round(FRAME.height_m + float(true_m[2]) - 48.4 + float(rng.normal(0, 14)), 3)


def _compass(rng: np.random.Generator, true_deg: float, errors: SequenceErrors) -> dict[str, float]:
    if errors.compass == "absent":
        return {}
    if errors.compass == "always zero":
        return {"compass_angle": 0.0}
    if errors.compass == "some unknown" and rng.random() < 0.4:
        return {"compass_angle": -1.0}
    heading = true_deg if np.isfinite(true_deg) else float(rng.uniform(0, 360))
    return {"compass_angle": round(float((heading + errors.compass_bias_deg + rng.normal(0, 7)) % 360), 2)}


def _reconstruction(rng: np.random.Generator, shot: Shot, enu_from_raw: Pose, errors: SequenceErrors) -> dict[str, Any]:
    """What the provider computed; when that failed: level, default lens, a cluster of its own."""
    cluster, mesh = errors.cluster, {}
    if shot.plan.device.calibrated and shot.kind in ("street", "other street"):
        focal, k1, k2 = shot.plan.device.parameters
        parameters = [focal * errors.focal_factor, k1 * 1.02, k2 * 0.97]
        turn = rotation_from_heading(errors.sfm_turn_deg) * rotation_from_heading(0).inv()
        place = enu_from_raw.translation_m + errors.sfm_bias_m + rng.normal(0, 0.15, 3)
        computed = Pose(turn * enu_from_raw.rotation, place)
        altitude, scale = round(2.0 + float(place[2] - 3.2), 10), round(0.9 + (cluster % 1000) / 4000, 13)
        mesh = {"mesh": {"id": str(cluster + 2)}}
    else:
        cluster, parameters, altitude, scale = int(shot.id) % 10**14 + 10**13, list(PROVIDER_DEFAULT), 2.0, 1
        level = rotation_from_heading(float(rng.uniform(0, 360)))
        offset = np.append(errors.bias_m.mean(axis=0) + rng.normal(0, 0.5, 2), 0.0)
        computed = Pose(level, enu_from_raw.translation_m + offset)
    return {
        "camera_parameters": parameters,
        "computed_geometry": _point(computed.translation_m),
        "computed_altitude": altitude,
        "computed_rotation": computed.rotation.inv().as_rotvec().tolist(),
        "computed_compass_angle": FRAME.heading_deg(computed),
        "atomic_scale": scale,
        "merge_cc": float(f"{cluster * 8191:.14g}"),
        **mesh,
        "sfm_cluster": {"id": str(cluster)},
    }


@dataclass(frozen=True)
class WorldSize:
    """How large a world is."""

    street_length_m: float
    facade_px_per_m: float
    anchors_per_drive: int
    sequences: tuple[SequencePlan, ...]
    negatives: tuple[str, ...]
    """Kinds of the photos that no anchor can localise."""
    image_scale: float = 1.0
    """Shrinks every raster."""
    lidar_columns: int = 1024

    @property
    def n_pictures(self) -> int:
        """Anchors of both drives, and photos."""
        return 2 * self.anchors_per_drive + sum(plan.n_photos for plan in self.sequences) + len(self.negatives)


SIZES = {
    "full": WorldSize(160.0, 64.0, 30, FULL, FULL_NEGATIVES, 0.75),
    "small": WorldSize(44.0, 50.0, 3, SMALL, SMALL_NEGATIVES, 0.5, 1024),
}


@dataclass(frozen=True, eq=False)
class WorldPlan:
    """A world, computed once from seed and size; every process that renders makes the same."""

    seed: int
    size: WorldSize

    @cached_property
    def street(self) -> Street:
        """The street that the anchors drove through."""
        return build_street(StreetPlan(self.seed, self.size.street_length_m, self.size.facade_px_per_m))

    @cached_property
    def other_street(self) -> Street:
        """A street of the same kind but with nothing in common."""
        return build_street(StreetPlan(self.seed + 10_007, self.size.street_length_m, self.size.facade_px_per_m))

    @cached_property
    def drives(self) -> tuple[Drive, Drive]:
        """The two anchor drives."""
        return two_drives(self.seed, self.size.street_length_m, self.size.anchors_per_drive)

    @cached_property
    def anchor_camera(self) -> Camera:
        """The camera of both drives."""
        return anchor_camera(self.size.image_scale)

    @cached_property
    def shots(self) -> list[Shot]:
        """All photos."""
        sequences, negatives = self.size.sequences, self.size.negatives
        return plan_shots(sequences, negatives, self.size.street_length_m, self.street.object_outlines_m, self.seed)

    def street_from_anchor(self, drive: Drive, index: int) -> tuple[Pose, Pose]:
        """Poses in street axes of an anchor's camera at its exposure, and of the LiDAR at its (later) scan."""
        time_s = float(drive.image_times_s()[index])
        camera = drive.street_from_lidar(time_s) @ LIDAR_FROM_CAMERA
        return camera, drive.street_from_lidar(time_s + SCAN_DELAY_S)

    @cached_property
    def metadata(self) -> list[dict[str, Any]]:
        """API v4 records of all photos."""
        rng = np.random.default_rng([self.seed, 62])
        sequences: dict[str, list[Shot]] = defaultdict(list)
        for shot in self.shots:
            sequences[shot.sequence_key].append(shot)
        records = []
        for number, members in enumerate(sequences.values()):
            errors = SequenceErrors.drawn(rng, len(members), compass_habit(rng, number))
            for place, shot in enumerate(sorted(members, key=lambda s: s.captured_at_ms)):
                record = metadata(shot, ENU_FROM_STREET @ street_from_raw(shot), place, errors, self.seed)
                width, height = (round(side * self.size.image_scale) for side in shot.plan.device.raw_size_px)
                records.append(record | {"width": width, "height": height})
        return records

    @cached_property
    def truth(self) -> DemoTruth:
        """The truth about photos, anchors and what stands in the street."""
        reported = {record["id"]: record["geometry"]["coordinates"] for record in self.metadata}
        photos = {shot.id: _photo_truth(shot, reported[shot.id]) for shot in self.shots}
        anchors = [
            ENU_FROM_STREET.apply(self.street_from_anchor(drive, index)[0].translation_m)
            for drive in self.drives
            for index in range(drive.n_images)
        ]
        return DemoTruth(
            FRAME,
            photos,
            np.array(anchors),
            tuple(_on_map(outline) for outline in self.street.building_outlines_m),
            tuple(_on_map(outline) for outline in self.street.object_outlines_m),
        )


def street_from_raw(shot: Shot) -> Pose:
    """Pose of the raw sensor raster in street axes: the delivered picture turned back by its orientation."""
    upright_from_raw = turned_from_cam(COUNTER_CLOCKWISE_TURNS[shot.plan.device.exif_orientation]).inv()
    return Pose(shot.street_from_upright.rotation * upright_from_raw, shot.street_from_upright.translation_m)


def _photo_truth(shot: Shot, reported_lonlat: list[float]) -> PhotoTruth:
    world_from_cam = ENU_FROM_STREET @ street_from_raw(shot)
    if shot.kind == "other street":
        world_from_cam = Pose(world_from_cam.rotation, world_from_cam.translation_m + OTHER_STREET_OFFSET_M)
    lon, lat, height = (float(v) for v in FRAME.wgs84_from_enu(world_from_cam.translation_m))
    heading, device = FRAME.heading_deg(world_from_cam), shot.plan.device.name
    facts = (shot.localisable, shot.kind, device, shot.sequence_key)
    return PhotoTruth(shot.id, world_from_cam, lon, lat, height, heading, *facts, *reported_lonlat)


def _on_map(outline_m: Float) -> Float:
    return ENU_FROM_STREET.apply(np.column_stack([outline_m, np.zeros(len(outline_m))]))[:, :2]
