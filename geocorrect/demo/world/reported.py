"""What the provider says about a photo: Graph API v4 metadata with the errors that real uploads have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from geocorrect.demo.world.drives import FRAME
from geocorrect.demo.world.shots import PROVIDER_DEFAULT, Shot
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
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
