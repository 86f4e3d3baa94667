"""The answer about one photo in plain values and in a few human-readable lines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from geocorrect.catalog.rows.pose_columns import error_ellipses
from geocorrect.errors import Status
from geocorrect.geometry.frame import pitch_roll_deg
from geocorrect.jobs.photo.localize_photo import LocalizedPhoto
from geocorrect.records import Correction, Evidence


def as_json(photo: LocalizedPhoto) -> dict[str, Any]:
    """Plain values; a rejected photo has no pose. Angles in degrees, WGS84, ellipsoidal height."""
    result = photo.localization.found.result
    answer: dict[str, Any] = {"image_id": result.image_id}
    if isinstance(result, Correction):
        lon_deg, lat_deg, height_m = (float(v) for v in photo.frame.wgs84_from_enu(result.world_from_cam.translation_m))
        pitch_deg, roll_deg = pitch_roll_deg(result.world_from_cam)
        covariance = result.world_from_cam.covariance
        assert covariance is not None
        turn_deg = photo.frame.true_north_turn_deg(result.world_from_cam.translation_m[None])
        major, minor, azimuth = (float(v[0]) for v in error_ellipses(covariance[None], turn_deg))
        answer |= {
            "status": result.status.value,
            "lon_deg": lon_deg,
            "lat_deg": lat_deg,
            "height_m": height_m,
            "heading_deg": photo.frame.heading_deg(result.world_from_cam),
            "pitch_deg": pitch_deg,
            "roll_deg": roll_deg,
            "expected_error_m": result.expected_error_m,
            "expected_heading_error_deg": result.expected_heading_error_deg,
            "ellipse_95": {"semi_major_m": major, "semi_minor_m": minor, "azimuth_deg": azimuth},
            "enu_from_cam": result.world_from_cam.matrix.tolist(),
            "covariance": covariance.tolist(),
        }
    else:
        answer |= {"status": Status.REJECTED.value, "reason": result.reason.value, "detail": result.detail}
    return answer | _evidence(result.evidence) | {"unusable_anchors": list(photo.localization.unusable_anchors)}


def _evidence(evidence: Evidence) -> dict[str, Any]:
    anchors = [
        {"anchor_id": a.anchor_id, "n_matches": a.n_matches, "n_verified": a.n_verified, "n_inliers": a.n_inliers}
        for a in evidence.anchors
    ]
    return {
        "matcher": evidence.matcher,
        "depth": evidence.depth,
        "depth_is_oracle": evidence.depth_is_oracle,
        "scale_source": evidence.scale_source,
        "displacement_m": evidence.displacement_m,
        "n_matches": evidence.n_matches,
        "n_inliers": evidence.n_inliers,
        "anchors": anchors,
    }


def lines(photo: LocalizedPhoto) -> list[str]:
    """Human-readable: where, which way, how sure, by what evidence."""
    answer, result = as_json(photo), photo.localization.found.result
    if isinstance(result, Correction):
        ellipse = answer["ellipse_95"]
        text = [
            f"{answer['lat_deg']:.8f}°, {answer['lon_deg']:.8f}° (latitude, longitude, WGS84), "
            f"{answer['height_m']:.2f} m above the ellipsoid",
            f"heading {answer['heading_deg']:.2f}° from true north, pitch {answer['pitch_deg']:.2f}°, "
            f"roll {answer['roll_deg']:.2f}°",
            f"expected error {_metres(result.expected_error_m)}, heading "
            f"{result.expected_heading_error_deg:.2f}° (68 %); "
            f"95 % ellipse {_metres(ellipse['semi_major_m'])} × {_metres(ellipse['semi_minor_m'])}",
            f"{answer['status']}" + ("" if result.status is Status.ACCEPTED else ": have a person look at it"),
        ]
        if np.isfinite(result.evidence.displacement_m):
            text.append(f"{result.evidence.displacement_m:.2f} m from the reported position")
    else:
        text = [f"rejected, {result.reason.value}: {result.reason.text}", *filter(None, [result.detail])]
    used = [a for a in result.evidence.anchors if a.n_verified]
    if result.evidence.depth:
        oracle = " (measured: an oracle)" if result.evidence.depth_is_oracle else ""
        text.append(
            f"{result.evidence.n_inliers} inliers of {result.evidence.n_matches} matches with {len(used)} of "
            f"{len(result.evidence.anchors)} anchors; depth: {result.evidence.depth}{oracle}"
        )
    return text + [f"unusable {message}" for message in photo.localization.unusable_anchors]


def _metres(value_m: float) -> str:
    if not math.isfinite(value_m):
        return "unknown"
    return f"{100 * value_m:.1f} cm" if value_m < 1 else f"{value_m:.1f} m"
