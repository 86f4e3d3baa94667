"""A simulated drive: anchors that see each other, with recorded poses of which some are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.match.registry import MATCHERS
from geocorrect.records import Anchor
from simulation.estimator import ANCHOR_CAMERA, SimulatedCase, SimulatorOptions, View, World, anchor_view
from simulation.estimator_noise import MatchNoise, draw_depth_errors
from simulation.estimator_observe import DepthKind, observe_kinds
from simulation.estimator_scene import make_scene

Float = NDArray[np.float64]

SIFT_NOISE = MatchNoise(
    white_px=0.29, coarse_px=0.8, anchor_field_px=0.07, anchor_field_per_m_px=0.01, query_field_px=0.03,
    principal_point_px=0.0, outlier_share=(0.05, 0.15),
)  # fmt: skip
"""RootSIFT on KITTI (`docs/accuracy.md`), at 512 px."""

START = datetime(2026, 6, 1, tzinfo=UTC)
WEAVE_LENGTH_M = 24.0


@dataclass(frozen=True)
class DriveOptions:
    """One drive."""

    anchors: int = 40
    spacing_m: float = 1.5
    position_m: float = 0.02
    rotation_deg: float = 0.05
    """Noise of the recorded poses."""
    wrong_share: float = 0.05
    """Of the anchors, displaced by `wrong_m` in a random direction."""
    wrong_m: float = 0.1
    neighbours: tuple[int, ...] = (1, -1, 2, -2)
    """Steps along the drive."""
    match_noise: MatchNoise = field(default_factory=lambda: SIFT_NOISE)
    smooth_noise: float = MATCHERS["sift"].smooth_noise
    """What the matcher declares of itself."""
    weave_m: float = 0.0
    """Amplitude of the way about the lane, 24 m long; 0: straight on, every camera a little turned by chance."""
    speed_m_s: float = 8.0
    clock_s: float = 0.0
    """How much later than its picture every record is."""
    mounting_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Rotation vector of the error of the second camera, in its axes; it takes every other picture."""


@dataclass(frozen=True, eq=False)
class SimulatedDrive:
    """Recorded poses, who sees whom, and which records are wrong."""

    recorded: Mapping[str, Pose]
    true: Mapping[str, Pose]
    neighbours: Mapping[str, tuple[str, ...]]
    wrong: frozenset[str]
    observations: Mapping[tuple[str, str], Observations]
    """By (anchor, neighbour): the anchor as query."""
    anchors: tuple[Anchor, ...] = ()
    """The records."""


def simulate_drive(options: DriveOptions, seed: int, with_lidar: bool) -> SimulatedDrive:
    """A drive along a random street; the same options and seed give the same drive."""
    rng = np.random.default_rng([seed, 20_261_129])
    scene = make_scene(rng)
    lane_x = rng.uniform(-2.0, 2.0)
    names = [f"{n:03d}" for n in range(options.anchors)]
    along_m = [40.0 + n * options.spacing_m for n in range(options.anchors)]
    views = [anchor_view(lane_x, y, rng) for y in along_m]
    if options.weave_m:
        views = [View(ANCHOR_CAMERA, _on_way(lane_x, y, options)) for y in along_m]
    n_wrong = round(options.wrong_share * options.anchors)
    wrong = rng.permutation(options.anchors)[:n_wrong]
    recorded = []
    for n, view in enumerate(views):
        shift = options.position_m * rng.normal(0, 1, 3)
        if n in wrong:
            direction = rng.normal(0, 1, 3)
            shift = shift + options.wrong_m * direction / np.linalg.norm(direction)
        turn = np.radians(options.rotation_deg) * rng.normal(0, 1, 3)
        late = _on_way(lane_x, along_m[n] + options.clock_s * options.speed_m_s, options)
        pose = late if options.weave_m else view.pose
        if n % 2:
            pose = Pose(pose.rotation * Rotation.from_rotvec(options.mounting_deg, degrees=True), pose.translation_m)
        recorded.append(pose.perturbed([*shift, *turn]))
    errors = draw_depth_errors(rng, SimulatorOptions().depth_noise, options.anchors)
    found: dict[tuple[str, str], Observations] = {}
    around: dict[str, tuple[str, ...]] = {}
    simulator = SimulatorOptions(match_noise=options.match_noise)
    for n, view in enumerate(views):
        others = [n + step for step in options.neighbours if 0 <= n + step < options.anchors]
        world = World(scene, rng, simulator, View(ANCHOR_CAMERA, view.pose))
        seen = tuple(world.seen_from(views[m], errors[m], recorded[m]) for m in others)
        case = SimulatedCase(ANCHOR_CAMERA, view.pose, np.full(3, np.nan), seen)
        kind: DepthKind = "lidar" if with_lidar else "none"
        for o in observe_kinds(case, [kind], 0.2, LocalizeOptions(), 0)[kind]:
            name = names[others[int(o.anchor.id)]]
            found[names[n], name] = replace(o, anchor=replace(o.anchor, id=name), smooth_noise=options.smooth_noise)
        around[names[n]] = tuple(names[m] for m in others)
    return SimulatedDrive(
        dict(zip(names, recorded, strict=True)),
        {name: view.pose for name, view in zip(names, views, strict=True)},
        around,
        frozenset(names[n] for n in wrong),
        found,
        tuple(
            Anchor(
                name, "simulated", Path(f"camera_{n % 2 if any(options.mounting_deg) else 0}/{name}.png"),
                ANCHOR_CAMERA, recorded[n], "exact", START + timedelta(seconds=along_m[n] / options.speed_m_s),
            )
            for n, name in enumerate(names)
        ),
    )  # fmt: skip


def _on_way(lane_x: float, along_m: float, options: DriveOptions) -> Pose:
    phase = 2 * np.pi * along_m / WEAVE_LENGTH_M
    x_m = lane_x + options.weave_m * np.sin(phase)
    slope = options.weave_m * 2 * np.pi / WEAVE_LENGTH_M * np.cos(phase)
    return Pose(rotation_from_heading(float(np.degrees(np.arctan(slope)))), np.array([x_m, along_m, 1.8]))
