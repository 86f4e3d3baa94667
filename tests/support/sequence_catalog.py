"""A catalog whose photos are those of simulated sequences, with the results that single photos got."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np

from geocorrect.catalog import Catalog
from geocorrect.errors import Reason, Status
from geocorrect.geometry.frame import angle_difference_deg
from geocorrect.geometry.pose import Pose
from geocorrect.localize.covariance import heading_sigma_deg, horizontal_sigma_m
from geocorrect.records import Correction, Evidence, Image, MetadataQuality, Position, Rejection, Result, ScaleSource
from simulation.sequences import SimulatedSequence
from support import catalog_world as world

OWN = Evidence(matcher="sift", depth="lidar", depth_is_oracle=True, scale_source=ScaleSource.DEPTH, n_inliers=120)


def image_id(sequence_id: str, i: int) -> str:
    return f"{sequence_id}-{i:03d}"


def fill(catalog: Catalog, sequences: Mapping[str, SimulatedSequence], run_key: str = "run-a") -> None:
    """Frame, photos and their own results."""
    catalog.set_frame(world.ROME)
    for sequence_id, simulated in sequences.items():
        catalog.upsert_images(images(sequence_id, simulated))
    catalog.begin_run(world.manifest(run_key))
    for sequence_id, simulated in sequences.items():
        catalog.record(run_key, own_results(sequence_id, simulated))
    catalog.finish_run(run_key, duration_s=1.0)


def images(sequence_id: str, simulated: SimulatedSequence) -> list[Image]:
    """The photos as a provider describes them, its reconstruction as computed positions and rotations."""
    return [_image(sequence_id, simulated, i) for i in range(len(simulated.truth))]


def _image(sequence_id: str, simulated: SimulatedSequence, i: int) -> Image:
    frame, computed = world.ROME, simulated.frame_from_cam[i]
    lon, lat, _ = frame.wgs84_from_enu([*simulated.reported_enu_m[i, :2], 0.0])
    own_lon, own_lat, height_m = frame.wgs84_from_enu(computed.translation_m)
    return Image(
        id=image_id(sequence_id, i),
        reported=Position(float(lon), float(lat)),
        camera=world.CAMERA,
        path=Path(f"img/{sequence_id}/{i}.jpg"),
        sequence_id=sequence_id,
        captured_at=world.START + timedelta(seconds=float(simulated.time_s[i])),
        heading_deg=float(simulated.reported_heading_deg[i]),
        computed=Position(float(own_lon), float(own_lat), float(height_m) - frame.height_m),
        computed_enu_from_cam=Pose(computed.rotation, np.zeros(3)),
        quality=MetadataQuality.SFM,
        device_make="Acme",
        device_model="Cam 1",
        provider={"merge_cc": 4.5e18},
    )


def own_results(sequence_id: str, simulated: SimulatedSequence) -> list[Result]:
    """What single photos got: a correction, or no anchor nearby."""
    return [own_result(image_id(sequence_id, i), pose) for i, pose in enumerate(simulated.results)]


def own_result(name: str, pose: Pose | None, status: Status = Status.ACCEPTED) -> Result:
    if pose is None or pose.covariance is None:
        return Rejection(name, Reason.NO_ANCHOR_NEARBY, "no anchor within the search radius", Evidence(matcher="sift"))
    sigma_m, sigma_deg = horizontal_sigma_m(pose.covariance), heading_sigma_deg(pose.covariance)
    return Correction(name, pose, status, sigma_m, sigma_deg, OWN)


def write_cluster(folder: Path, name: str, poses: Mapping[str, Pose]) -> None:
    """A cluster file as the harvest leaves it, about the scene's own origin."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = world.ROME
    content = {
        "cluster": name,
        "reference": [frame.lon_deg, frame.lat_deg, frame.height_m],
        "world_from_cam": {
            key: [*map(float, pose.quaternion_xyzw), *map(float, pose.translation_m)] for key, pose in poses.items()
        },
    }
    (folder / f"{name}.json").write_text(json.dumps(content))


def active_results(catalog: Catalog) -> dict[str, Result]:
    return {stored.image_id: stored.result for stored in catalog.current()}


def errors_m(catalog: Catalog, sequence_id: str, simulated: SimulatedSequence) -> dict[int, float]:
    """Horizontal error of active results, by place in the sequence; photos without a correction are left out."""
    current = active_results(catalog)
    found = {i: current.get(image_id(sequence_id, i)) for i in range(len(simulated.truth))}
    return {
        i: float(np.linalg.norm((r.world_from_cam.translation_m - simulated.truth[i].translation_m)[:2]))
        for i, r in found.items()
        if isinstance(r, Correction)
    }


def true_heading_bias_deg(simulated: SimulatedSequence) -> float:
    """Median of true minus reported heading."""
    return float(np.median(angle_difference_deg(simulated.heading_deg, simulated.reported_heading_deg)))
