"""Results from rows, and what their anchors contributed to rows. Results to columns: `result_columns`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geocorrect.catalog.rows.codec import Row, known, number, pose_from_columns
from geocorrect.errors import Reason, Status
from geocorrect.records import AnchorEvidence, Correction, Evidence, Pair, Rejection, Result, ScaleSource


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
    for name in ("gate", "lens", "rolling_shutter"):
        fields[name] = {key: number(value) for key, value in sorted(fields.get(name, {}).items())}  # jsonb has an order
    source = fields["scale_source"]
    fields["scale_source"] = None if source is None else ScaleSource(source)
    return Evidence(**{name: value for name, value in fields.items() if name in Evidence.__dataclass_fields__})


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
