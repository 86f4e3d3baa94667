"""Results to rows and back; whole batches at once, because a nightly run stores a hundred thousand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.catalog.codec import Row, checked_texts, known, number, pose_from_columns
from geocorrect.catalog.placement import as_rows, error_ellipses, pose_columns
from geocorrect.errors import Reason, Status
from geocorrect.geometry.frame import Frame, angle_difference_deg
from geocorrect.records import AnchorEvidence, Correction, Evidence, Pair, Rejection, Result, ScaleSource

Float = NDArray[np.float64]


@dataclass(frozen=True)
class ImageFacts:
    """What storing a result needs to know of its photo; nan where the provider said nothing."""

    content_hash: str
    lon_deg: float
    lat_deg: float
    heading_deg: float
    horizontal_fov_deg: float


def result_rows(results: Sequence[Result], frame: Frame, facts: Mapping[str, ImageFacts]) -> list[Row]:
    """Columns of the table `correction`, without run_id, recorded_at and fid, in the order of the results."""
    corrections = [r for r in results if isinstance(r, Correction)]
    placed = iter(_placed(corrections, frame, [facts[c.image_id] for c in corrections]) if corrections else [])
    rows = []
    for result in results:
        row = (
            _decision(result)
            | {"content_hash": facts[result.image_id].content_hash}
            | _evidence_columns(result.evidence)
        )
        row |= next(placed) if isinstance(result, Correction) else _NOWHERE
        texts = {"detail": row["detail"], "matcher": row["matcher"], "depth": row["depth"]}
        checked_texts(texts, f"result of image {result.image_id[:60]}")
        rows.append(row)
    return rows


def pair_rows(result: Result, pairs: Mapping[str, Pair]) -> list[Row]:
    """Columns of the table `pair`, without correction_id: candidates (by anchor id) and evidence together."""
    evidence = {e.anchor_id: e for e in result.evidence.anchors}
    anchor_ids = list(dict.fromkeys([*pairs, *evidence]))
    return [
        _pair_row(pairs.get(name) or Pair(result.image_id, name, rank), evidence.get(name))
        for rank, name in enumerate(anchor_ids)
    ]


def result_from(row: Mapping[str, Any]) -> Result:
    """The record of a row of `correction`."""
    evidence = _evidence_from(row["evidence"])
    if row["status"] == Status.REJECTED.value:
        return Rejection(row["image_id"], Reason(row["reason"]), row["detail"], evidence)
    return Correction(
        image_id=row["image_id"],
        world_from_cam=pose_from_columns(row),
        status=Status(row["status"]),
        expected_error_m=number(row["expected_error_m"]),
        expected_heading_error_deg=number(row["expected_heading_error_deg"]),
        evidence=evidence,
    )


_PLACED = (
    "lon_deg", "lat_deg", "height_m", "enu_x_m", "enu_y_m", "enu_z_m", "qx", "qy", "qz", "qw",
    "heading_deg", "pitch_deg", "roll_deg", "covariance",
    "semi_major_m", "semi_minor_m", "ellipse_azimuth_deg", "sigma_height_m",
    "expected_error_m", "expected_heading_error_deg",
    "displacement_m", "displacement_east_m", "displacement_north_m", "heading_change_deg", "geom",
)  # fmt: skip
_NOWHERE: Row = dict.fromkeys(_PLACED)


def _placed(corrections: Sequence[Correction], frame: Frame, facts: Sequence[ImageFacts]) -> list[Row]:
    columns, turn = pose_columns([c.world_from_cam for c in corrections], frame)
    covariances = np.array([c.world_from_cam.covariance for c in corrections])
    semi_major, semi_minor, azimuth = error_ellipses(covariances, turn)
    enu = np.stack([columns[f"enu_{axis}_m"] for axis in "xyz"], axis=1)
    east, north = _displacement(frame, enu, columns["height_m"], turn, facts)
    columns |= {
        "semi_major_m": semi_major, "semi_minor_m": semi_minor, "ellipse_azimuth_deg": azimuth,
        "sigma_height_m": np.sqrt(covariances[:, 2, 2]),
        "expected_error_m": np.array([c.expected_error_m for c in corrections]),
        "expected_heading_error_deg": np.array([c.expected_heading_error_deg for c in corrections]),
        "displacement_m": np.hypot(east, north), "displacement_east_m": east, "displacement_north_m": north,
        "heading_change_deg": angle_difference_deg(columns["heading_deg"], [f.heading_deg for f in facts]),
    }  # fmt: skip
    return as_rows(columns)


def _displacement(
    frame: Frame, enu: Float, height_m: Float, turn_deg: Float, facts: Sequence[ImageFacts]
) -> tuple[Float, Float]:
    """Corrected minus reported position, metres true east and true north; nan where nothing was reported."""
    lon, lat = np.array([f.lon_deg for f in facts]), np.array([f.lat_deg for f in facts])
    # The reported height is not trusted: the reported place is lifted to the corrected height.
    shift = enu - frame.enu_from_wgs84(lon, lat, height_m)
    turn = np.radians(turn_deg)
    east = shift[:, 0] * np.cos(turn) - shift[:, 1] * np.sin(turn)
    north = shift[:, 0] * np.sin(turn) + shift[:, 1] * np.cos(turn)
    return east, north


def _decision(result: Result) -> Row:
    if isinstance(result, Rejection):
        return {"image_id": result.image_id, "status": Status.REJECTED.value, "reason": result.reason.value,
                "detail": result.detail}  # fmt: skip
    return {"image_id": result.image_id, "status": result.status.value, "reason": None, "detail": ""}


def _evidence_columns(evidence: Evidence) -> Row:
    return {
        "matcher": evidence.matcher,
        "depth": evidence.depth,
        "depth_is_oracle": bool(evidence.depth_is_oracle),
        "scale_source": None if evidence.scale_source is None else evidence.scale_source.value,
        "n_anchors": sum(1 for anchor in evidence.anchors if anchor.n_inliers > 0),
        "n_matches": int(evidence.n_matches),
        "n_inliers": int(evidence.n_inliers),
        "inlier_coverage": known(evidence.inlier_coverage),
        "median_residual_px": known(evidence.median_residual_px),
        "anchor_spread_m": known(evidence.anchor_spread_m),
        "evidence": _evidence_json(evidence),
    }


def _evidence_json(evidence: Evidence) -> Row:
    values = {name: getattr(evidence, name) for name in evidence.__dataclass_fields__}
    return values | {
        "anchors": [dict(anchor.__dict__) for anchor in evidence.anchors],
        "gate": dict(evidence.gate),
    }


_EVIDENCE_NUMBERS = (
    "scale_ratio", "inlier_coverage", "median_residual_px", "displacement_m", "anchor_spread_m", "focal_ratio",
)  # fmt: skip
_ANCHOR_NUMBERS = ("median_residual_px", "single_anchor_shift_m", "weight")


def _evidence_from(values: Mapping[str, Any]) -> Evidence:
    fields = dict(values)
    fields |= {name: number(fields.get(name)) for name in _EVIDENCE_NUMBERS}
    fields["anchors"] = tuple(
        AnchorEvidence(**(anchor | {name: number(anchor[name]) for name in _ANCHOR_NUMBERS}))
        for anchor in fields["anchors"]
    )
    fields["gate"] = {name: number(value) for name, value in fields["gate"].items()}
    source = fields["scale_source"]
    fields["scale_source"] = None if source is None else ScaleSource(source)
    kept = {name: value for name, value in fields.items() if name in Evidence.__dataclass_fields__}
    return Evidence(**kept)


def _pair_row(pair: Pair, evidence: AnchorEvidence | None) -> Row:
    counts = dict.fromkeys(("n_matches", "n_verified", "n_points", "n_inliers"))
    numbers = dict.fromkeys(_ANCHOR_NUMBERS)
    if evidence is not None:
        counts = {name: getattr(evidence, name) for name in counts}
        numbers = {name: known(getattr(evidence, name)) for name in numbers}
    return {
        "anchor_id": pair.anchor_id,
        "rank": pair.rank,
        "distance_m": known(pair.distance_m),
        "heading_difference_deg": known(pair.heading_difference_deg),
        **counts,
        **numbers,
    }
