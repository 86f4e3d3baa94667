"""From simulated matches to what the localize room works on: anchors, verified matches, depth of a chosen kind."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geocorrect.demo.simulator import ANCHOR_CAMERA, SimulatedAnchor, SimulatedCase
from geocorrect.depth.calibrate import CalibrateOptions, DepthCalibration, calibrate
from geocorrect.depth.track_adjustment import NeighbourMatches
from geocorrect.localize.observations import Observations, unit_rays
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.verify import verify
from geocorrect.records import Anchor, Matches

Float = NDArray[np.float64]
DepthKind = Literal["predicted", "calibrated", "lidar", "none"]


def observe_case(
    case: SimulatedCase, kind: DepthKind, scale_sigma: float, options: LocalizeOptions, seed: int
) -> list[Observations]:
    """Verified observations of every anchor; those without a verified match are left out.

    scale_sigma: what the depth source says of its own common error (METHOD's m).
    """
    found = [
        observe_anchor(case, index, anchor, kind, scale_sigma, options, seed)
        for index, anchor in enumerate(case.anchors)
    ]
    return [o for o in found if len(o)]


def observe_anchor(
    case: SimulatedCase,
    index: int,
    simulated: SimulatedAnchor,
    kind: DepthKind,
    scale_sigma: float,
    options: LocalizeOptions,
    seed: int,
) -> Observations:
    """Verified observations of one anchor with depth of the given kind."""
    anchor = Anchor(str(index), "simulated", Path("none"), ANCHOR_CAMERA, simulated.world_from_cam, "simulated")
    pairs = simulated.query
    matches = Matches(
        pairs.second_px.astype(np.float32),
        pairs.first_px.astype(np.float32),
        np.ones(len(pairs.first_px), np.float32),
    )
    kept = verify(matches, case.query_camera, ANCHOR_CAMERA, options.verify, seed)
    depth_m, log_sigma, common = _depth(simulated, kind, scale_sigma)
    query_px = np.asarray(matches.query_px[kept], float)
    anchor_px = np.asarray(matches.anchor_px[kept], float)
    return Observations(
        anchor=anchor,
        query_px=query_px,
        anchor_px=anchor_px,
        query_rays=unit_rays(case.query_camera, query_px),
        anchor_rays=unit_rays(ANCHOR_CAMERA, anchor_px),
        depth_m=depth_m[kept],
        log_sigma=log_sigma[kept],
        common_log_sigma=common,
        n_matches=len(matches),
    )


def _depth(simulated: SimulatedAnchor, kind: DepthKind, scale_sigma: float) -> tuple[Float, Float, float]:
    pairs = simulated.query
    n = len(pairs.first_px)
    if kind == "none":
        return np.full(n, np.nan), np.full(n, np.nan), 0.0
    if kind == "lidar":
        noise = np.hypot(0.003, 0.02 / np.maximum(pairs.predicted_m, 1.0))
        return pairs.lidar_m.copy(), np.hypot(noise, pairs.log_slope), 0.0
    if kind == "calibrated":
        calibration = calibrate_anchor(simulated, scale_sigma)
        if calibration is not None:
            log_z, sigma = calibration.apply(pairs.first_px, np.log(pairs.predicted_m))
            return np.exp(log_z), np.hypot(sigma, pairs.log_slope), calibration.common_log_sigma
    return pairs.predicted_m.copy(), np.hypot(0.5 * scale_sigma, pairs.log_slope), scale_sigma


def calibrate_anchor(simulated: SimulatedAnchor, scale_sigma: float) -> DepthCalibration | None:
    """The anchor's predicted depth calibrated against its simulated neighbours."""
    pairs = [
        NeighbourMatches(pose.inverse() @ simulated.world_from_cam, ANCHOR_CAMERA, m.first_px, m.second_px)
        for pose, m in simulated.neighbours
    ]
    stacked_px = np.concatenate([m.first_px for _, m in simulated.neighbours])
    stacked_z = np.concatenate([m.predicted_m for _, m in simulated.neighbours])
    _, first = np.unique(np.round(stacked_px * 100), axis=0, return_index=True)
    return calibrate(ANCHOR_CAMERA, pairs, stacked_z[first], scale_sigma, CalibrateOptions())
