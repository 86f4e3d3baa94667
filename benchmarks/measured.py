"""A real photo's result as a row: what the gate looked at and what came of it, for tables and for the gate's fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import TracedResult
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.records import Correction


def measured(traced: TracedResult, truth: Pose | None) -> dict[str, Any]:
    """What a result says and how wrong its pose is, refused or not; without a truth every pose is infinitely wrong."""
    found, solution = traced.result, traced.solution
    row: dict[str, Any] = {"status": "rejected", "matcher": found.evidence.matcher.partition("/")[0]}
    if isinstance(found, Correction):
        row |= {"status": found.status.value, "expected_m": found.expected_error_m}
    else:
        row |= {"reason": found.reason.value, "detail": found.detail}
    if solution is None:
        return row
    row |= judged(traced)
    if truth is None:
        return row | {"error_m": float("inf"), "rotation_deg": 180.0, "nees": 1e9, "nees_rotation": 1e9}
    off, covariance = solution.world_from_cam.minus(truth), solution.world_from_cam.covariance
    assert covariance is not None
    return row | {
        "error_m": float(np.linalg.norm(off[:3])),
        "rotation_deg": float(np.degrees(np.linalg.norm(off[3:]))),
        "nees": float(off[:3] @ np.linalg.solve(covariance[:3, :3], off[:3])),
        "nees_rotation": float(off[3:] @ np.linalg.solve(covariance[3:, 3:], off[3:])),
        "sigma_deg": float(np.degrees(np.sqrt(np.trace(covariance[3:, 3:]) / 3))),
        "focal_ratio": found.evidence.focal_ratio,
        "off": off.tolist(),
    }


def judged(traced: TracedResult) -> dict[str, Any]:
    """What the gate judged, and the inflation that its expected error holds; empty when no pose came out."""
    if traced.solution is None:
        return {}
    return {"gate": dict(traced.result.evidence.gate), "inflation": COVARIANCE_INFLATION}
