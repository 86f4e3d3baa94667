"""One photo of the queue as the page shows it: places, what the gate said in words, decisions, evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from geocorrect.catalog.curation.review import Reviews
from geocorrect.catalog.run import ResultFilter, StoredResult
from geocorrect.catalog.views.shapes import ellipse_outlines
from geocorrect.errors import InputError, Status
from geocorrect.localize.gate import decide, stored_statistics
from geocorrect.localize.options import GateOptions
from geocorrect.sequences.positions import SOURCES
from geocorrect.serve.state import ServeSettings

NUMBERS = (
    "lon_deg", "lat_deg", "height_m", "heading_deg", "expected_error_m", "expected_heading_error_deg",
    "displacement_m", "heading_change_deg", "reported_lon_deg", "reported_lat_deg", "reported_heading_deg",
    "computed_lon_deg", "computed_lat_deg", "semi_major_m", "semi_minor_m", "median_residual_px",
)  # fmt: skip


def active_result(state: ServeSettings, image_id: str) -> StoredResult:
    """The active result of a photo; InputError when there is none."""
    found = next(state.catalog.results(ResultFilter(image_ids=[image_id])), None)
    if found is None:
        raise InputError(f"photo {image_id[:60]!r}: no active result")
    return found


def describe(state: ServeSettings, image_id: str) -> dict[str, Any]:
    """Everything about a photo but its matches, as plain values."""
    stored = active_result(state, image_id)
    evidence = stored.result.evidence
    anchors = state.catalog.anchors([anchor.anchor_id for anchor in evidence.anchors])
    frame = state.catalog.frame()
    places = {} if frame is None else {
        key: [float(v) for v in frame.wgs84_from_enu(anchor.world_from_cam.translation_m)[:2]]
        for key, anchor in anchors.items()
    }  # fmt: skip
    image, decisions = state.catalog.images([image_id])[image_id], _decisions(state, image_id)
    return {
        "image_id": image_id,
        "version": stored.fid,
        "status": stored.status.value,
        "reason": stored.reason,
        "words": gate_words(stored, state.settings.localize.gate, by_person=any(d["is_active"] for d in decisions)),
        "numbers": {name: getattr(stored, name) for name in NUMBERS},
        "ellipse": _ellipse(stored),
        "sequence_id": stored.sequence_id,
        "device": " ".join(filter(None, [image.device_make, image.device_model])),
        "captured_at": None if stored.captured_at is None else stored.captured_at.isoformat(),
        "creator": stored.attribution.creator,
        "licence": stored.attribution.licence,
        "has_picture": image.path is not None,
        "matcher": stored.matcher,
        "depth": stored.depth,
        "gate": {name: float(value) for name, value in evidence.gate.items()},
        "anchors": [
            {
                "anchor_id": a.anchor_id, "n_matches": a.n_matches, "n_verified": a.n_verified,
                "n_inliers": a.n_inliers, "place": places.get(a.anchor_id),
            }
            for a in evidence.anchors
        ],
        "decisions": decisions,
    }  # fmt: skip


def gate_words(stored: StoredResult, options: GateOptions, by_person: bool = False) -> str:
    """Why the photo has its status, in a sentence; by_person: whether that is a decision of a person."""
    if stored.reason is not None:
        return f"{stored.reason.text} {stored.detail}".strip()
    gate: Mapping[str, float] = stored.result.evidence.gate
    statistics = stored_statistics(gate)
    if statistics is None:
        return f"predicted error {stored.expected_error_m:.2f} m"
    decision = decide(statistics, options)
    if decision.status is stored.status and decision.detail:
        return decision.detail
    of_sequence = math.nan if by_person else float(gate.get("sequence_weight", math.nan))
    if stored.status is Status.ACCEPTED and decision.status is Status.REVIEW:
        if of_sequence > 0:
            return f"confirmed by other photos of its sequence, {_apart(gate)}; on its own: {decision.detail}"
        return f"accepted, though the gate says: {decision.detail}"
    if stored.status is Status.REVIEW and decision.status is Status.ACCEPTED and of_sequence == 0:
        return f"contradicted by other photos of its sequence, {_apart(gate)}"
    return f"predicted error {stored.expected_error_m:.2f} m, {stored.n_inliers} inliers, {stored.n_anchors} anchors"


def _apart(gate: Mapping[str, float]) -> str:
    said = []
    if math.isfinite(gate["sequence_apart_m"]):
        said = [f"{gate['sequence_apart_m']:.2f} m and {gate['sequence_apart_deg']:.1f}° from where they put it"]
    said += [
        f"{gate[f'{source}_position_apart_m']:.2f} m from its {source} position less their offset, which is good to "
        f"{gate[f'{source}_position_error_m']:.2f} m"
        for source in SOURCES
        if f"{source}_position_apart_m" in gate
    ]
    return ", ".join(said)


def _decisions(state: ServeSettings, image_id: str) -> list[dict[str, Any]]:
    return [
        {
            "verdict": d.verdict.value, "note": d.note, "reviewer": d.reviewer, "is_active": d.is_active,
            "reviewed_at": d.reviewed_at.isoformat(),
        }
        for d in Reviews(state.catalog).decisions(image_id)
    ]  # fmt: skip


def _ellipse(stored: StoredResult) -> list[list[float]] | None:
    """Outline of the 95 % error ellipse, longitude and latitude."""
    values = (stored.lon_deg, stored.lat_deg, stored.semi_major_m, stored.semi_minor_m, stored.ellipse_azimuth_deg)
    if not all(map(math.isfinite, values)):
        return None
    outline: list[list[float]] = ellipse_outlines(*(np.array([value]) for value in values))[0].tolist()
    return outline
