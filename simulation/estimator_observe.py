"""From simulated matches to the estimator's observations: anchors, verified matches, depth of a chosen kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geocorrect.depth.calibration.calibrate import CalibrateOptions, DepthCalibration, calibrate
from geocorrect.depth.calibration.tracks import NeighbourMatches, TrackOptions
from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.verify import verify
from geocorrect.records import Anchor, Matches
from simulation.estimator import ANCHOR_CAMERA, SimulatedAnchor, SimulatedCase

Float = NDArray[np.float64]
DepthKind = Literal["predicted", "calibrated", "lidar", "none"]


def observe_case(
    case: SimulatedCase, kind: DepthKind, scale_sigma: float, options: LocalizeOptions, seed: int
) -> list[Observations]:
    """Verified observations of every anchor; those without a verified match are left out.

    scale_sigma: what the depth source states as its common error.
    """
    return observe_kinds(case, [kind], scale_sigma, options, seed)[kind]


def observe_kinds(
    case: SimulatedCase, kinds: Iterable[DepthKind], scale_sigma: float, options: LocalizeOptions, seed: int
) -> dict[DepthKind, list[Observations]]:
    """`observe_case` for several kinds of depth, the matches verified once."""
    verified = [_verified(case, index, anchor, options, seed) for index, anchor in enumerate(case.anchors)]
    return {
        kind: [
            _with_depth(bare, kept, anchor, kind, scale_sigma, options)
            for (bare, kept), anchor in zip(verified, case.anchors, strict=True)
            if len(bare)
        ]
        for kind in kinds
    }


def _verified(
    case: SimulatedCase, index: int, simulated: SimulatedAnchor, options: LocalizeOptions, seed: int
) -> tuple[Observations, NDArray[np.bool_]]:
    """Verified observations of one anchor without depth, and which of its matches they are."""
    anchor = Anchor(str(index), "simulated", Path("none"), ANCHOR_CAMERA, simulated.world_from_cam, "simulated")
    pairs = simulated.query
    matches = Matches(
        pairs.second_px.astype(np.float32),
        pairs.first_px.astype(np.float32),
        np.ones(len(pairs.first_px), np.float32),
    )
    kept = verify(matches, case.query_camera, ANCHOR_CAMERA, options.verify, seed)
    query_px = np.asarray(matches.query_px[kept], float)
    anchor_px = np.asarray(matches.anchor_px[kept], float)
    unknown = np.full(len(query_px), np.nan)
    bare = Observations(
        anchor=anchor,
        query_px=query_px,
        anchor_px=anchor_px,
        query_rays=unit_rays(case.query_camera, query_px),
        anchor_rays=unit_rays(ANCHOR_CAMERA, anchor_px),
        depth_m=unknown,
        log_sigma=unknown,
        n_matches=len(matches),
    )
    return bare, kept


def _with_depth(
    bare: Observations,
    kept: NDArray[np.bool_],
    simulated: SimulatedAnchor,
    kind: DepthKind,
    scale_sigma: float,
    options: LocalizeOptions,
) -> Observations:
    depth_m, log_sigma, common = _depth(simulated, kind, scale_sigma, options)
    return replace(bare, depth_m=depth_m[kept], log_sigma=log_sigma[kept], common_log_sigma=common)


def _depth(
    simulated: SimulatedAnchor, kind: DepthKind, scale_sigma: float, options: LocalizeOptions
) -> tuple[Float, Float, float]:
    pairs = simulated.query
    n = len(pairs.first_px)
    if kind == "none":
        return np.full(n, np.nan), np.full(n, np.nan), 0.0
    if kind == "lidar":
        noise = np.hypot(0.003, 0.02 / np.maximum(pairs.predicted_m, 1.0))
        return pairs.lidar_m.copy(), np.hypot(noise, pairs.log_slope), 0.0
    if kind == "calibrated":
        calibration = calibrate_anchor(simulated, scale_sigma, options)
        if calibration is not None:
            log_z, sigma = calibration.apply(pairs.first_px, np.log(pairs.predicted_m))
            return np.exp(log_z), np.hypot(sigma, pairs.log_slope), calibration.common_log_sigma
    return pairs.predicted_m.copy(), np.hypot(0.5 * scale_sigma, pairs.log_slope), scale_sigma


def calibrate_anchor(
    simulated: SimulatedAnchor, scale_sigma: float, options: LocalizeOptions | None = None
) -> DepthCalibration | None:
    """The anchor's predicted depth calibrated against its simulated neighbours, whose poses are as good as the
    options say.
    """
    pairs = [
        NeighbourMatches(pose.inverse() @ simulated.world_from_cam, ANCHOR_CAMERA, m.first_px, m.second_px)
        for pose, m in simulated.neighbours
    ]
    stacked_px = np.concatenate([m.first_px for _, m in simulated.neighbours])
    stacked_z = np.concatenate([m.predicted_m for _, m in simulated.neighbours])
    _, first = np.unique(np.round(stacked_px * 100), axis=0, return_index=True)
    position_m, rotation_deg = (options or LocalizeOptions()).joint.anchor_noise
    two = np.sqrt(2.0)
    tracks = TrackOptions(neighbour_position_m=two * position_m, neighbour_rotation_deg=two * rotation_deg)
    return calibrate(ANCHOR_CAMERA, pairs, stacked_z[first], scale_sigma, CalibrateOptions(tracks=tracks))
