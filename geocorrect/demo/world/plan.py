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
from geocorrect.demo.world.reported import SequenceErrors, compass_habit, metadata
from geocorrect.demo.world.shots import FULL, FULL_NEGATIVES, SMALL, SMALL_NEGATIVES, SequencePlan, Shot, plan_shots
from geocorrect.demo.world.truth import DemoTruth, PhotoTruth
from geocorrect.geometry.camera import Camera, turned_from_cam
from geocorrect.geometry.pose import Pose
from geocorrect.io.pixels import COUNTER_CLOCKWISE_TURNS
from geocorrect.records import Float


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


SIZES = {
    "full": WorldSize(160.0, 80.0, 30, FULL, FULL_NEGATIVES),
    "small": WorldSize(44.0, 50.0, 3, SMALL, SMALL_NEGATIVES, 0.5, 512),
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
