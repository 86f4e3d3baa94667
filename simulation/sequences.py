"""Simulated sequences with known truth: a drive with bends, a reconstruction that drifts, single-image results of which
some are wrong. For the tests of `geocorrect.sequences` and for `benchmarks/sequences.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.sequences.motion import MotionHints

Float = NDArray[np.float64]


@dataclass(frozen=True)
class SequenceWorld:
    """How a simulated sequence is made."""

    n_images: int = 60
    step_m: float = 2.5
    """Mean distance of two photos."""
    rotation_deg: float = 0.1
    translation_share: float = 0.02
    """White noise of the reconstruction per step; the latter as a share of the step."""
    scale_drift_per_100_m: float = 0.01
    """Drift of its scale."""
    result_m: float = 0.08
    result_deg: float = 0.2
    """Standard deviations of the single-image results."""
    anchored: float = 0.3
    """Share of photos with a result."""
    wrong: float = 0.1
    """Share of these that are wrong."""
    wrong_m: tuple[float, float] = (1.5, 12.0)
    """By how much, from and to."""
    clumped: int = 1
    """Results come in runs of that many photos, so that long stretches have none."""
    stated: float = 1.0
    """Stated over true standard deviation of the results."""
    wrong_run: int = 1
    """So many results in a row are wrong in the same way."""
    gps_offset_m: float = 5.0
    compass_offset_deg: float = 6.0
    lag_s: float = 0.0
    every_s: float = 1.0


@dataclass(frozen=True, eq=False)
class SimulatedSequence:
    """One sequence."""

    truth: tuple[Pose, ...]
    """world_from_cam."""
    frame_from_cam: tuple[Pose, ...]
    """The reconstruction in its own frame, nearly ENU."""
    results: tuple[Pose | None, ...]
    """With covariance, None where there is none."""
    wrong: frozenset[int]
    """Which of them are wrong."""
    reported_enu_m: Float
    heading_deg: Float
    reported_heading_deg: Float
    time_s: Float

    def hints(self, source: str = "cluster") -> list[MotionHints]:
        """What is known of the way; source: cluster, computed or gps."""
        named = [("one", pose) for pose in self.frame_from_cam]
        return [
            MotionHints(
                reported,
                float(heading),
                cluster=pose if source == "cluster" else None,
                computed=pose if source == "computed" else None,
            )
            for reported, heading, pose in zip(self.reported_enu_m, self.reported_heading_deg, named, strict=True)
        ]

    def metres_to_right_result(self) -> Float:
        """(N,) way along the drive to the nearest photo with a result that is right."""
        steps = [np.linalg.norm(b.translation_m - a.translation_m) for a, b in pairwise(self.truth)]
        way = np.concatenate([[0.0], np.cumsum(steps)])
        right = [i for i, r in enumerate(self.results) if r is not None and i not in self.wrong]
        nearest: Float = np.abs(way[:, None] - way[right][None, :]).min(axis=1)
        return nearest


def simulate_sequence(world: SequenceWorld, seed: int) -> SimulatedSequence:
    """A sequence of this kind; the same seed gives the same one."""
    rng = np.random.default_rng([seed, 4711])
    truth, heading_deg, time_s = _drive(world, rng)
    results, wrong = _results(world, truth, rng)
    reported_m, reported_deg = _reported(world, truth, heading_deg, time_s, rng)
    return SimulatedSequence(
        tuple(truth), tuple(_reconstruction(world, truth, rng)), tuple(results), frozenset(wrong),
        reported_m, heading_deg, reported_deg, time_s,
    )  # fmt: skip


def _drive(world: SequenceWorld, rng: np.random.Generator) -> tuple[list[Pose], Float, Float]:
    """A drive with a bend about every 15 photos and speeds that vary; the camera looks a little aside."""
    n = world.n_images
    knots = np.arange(0, n + 15, 15)
    heading = np.interp(np.arange(n), knots, np.cumsum(rng.normal(0, 25, len(knots))))
    speed = np.interp(np.arange(n), knots, rng.uniform(0.6, 1.4, len(knots)))
    aside = float(rng.uniform(-20, 20))
    poses, position = [], np.zeros(3)
    for h, factor in zip(heading, speed, strict=True):
        wobble = rng.normal(0, 1.0, 2)
        poses.append(Pose(rotation_from_heading(h + aside, *wobble), position + rng.normal(0, [0.05, 0.05, 0.02])))
        ahead = np.array([np.sin(np.radians(h)), np.cos(np.radians(h)), 0.01])
        position = position + world.step_m * factor * ahead
    return poses, (heading + aside) % 360.0, world.every_s * np.arange(n, dtype=float)


def _reconstruction(world: SequenceWorld, truth: list[Pose], rng: np.random.Generator) -> list[Pose]:
    """Relative poses with white noise per step and a drifting scale, aligned to the world as a provider does."""
    sign = float(rng.choice([-1.0, 1.0]))
    scale, chain = float(np.exp(rng.normal(0, 0.02))), [Pose.identity()]
    for first, second in pairwise(truth):
        step = first.inverse() @ second
        length = float(np.linalg.norm(step.translation_m))
        scale *= np.exp(sign * world.scale_drift_per_100_m * length / 100.0)
        turn = Rotation.from_rotvec(rng.normal(0, np.radians(world.rotation_deg) / np.sqrt(3), 3))
        noise = rng.normal(0, world.translation_share * length / np.sqrt(3), 3)
        chain.append(chain[-1] @ Pose(step.rotation * turn, step.translation_m * scale + noise))
    tilt = Rotation.from_rotvec(np.radians(rng.normal(0, [0.5, 0.5, 2.0])))
    aligned = Similarity(1.0, tilt * truth[0].rotation, rng.normal(0, 3.0, 3))
    return [aligned.apply_pose(pose) for pose in chain]


def _results(world: SequenceWorld, truth: list[Pose], rng: np.random.Generator) -> tuple[list[Pose | None], set[int]]:
    n = world.n_images
    runs = [range(first, min(first + world.clumped, n)) for first in range(0, n, world.clumped)]
    chosen = rng.choice(len(runs), max(round(world.anchored * len(runs)), 1), replace=False)
    anchored = sorted(i for run in chosen for i in runs[run])
    n_runs = round(world.wrong * len(anchored) / world.wrong_run)
    first = rng.choice(len(anchored) // world.wrong_run, n_runs, replace=False) * world.wrong_run
    run_of = {anchored[k]: int(start) for start in first for k in range(start, start + world.wrong_run)}
    sigma = np.array([world.result_m] * 3 + [np.radians(world.result_deg)] * 3)
    results: list[Pose | None] = [None] * n
    for i in anchored:
        pose = truth[i].perturbed(sigma * rng.normal(0, 1, 6))
        if i in run_of:
            shared = np.random.default_rng([run_of[i], world.wrong_run]) if world.wrong_run > 1 else rng
            pose = _wrong(pose, world, shared)
        results[i] = pose.with_covariance(np.diag((world.stated * sigma) ** 2))
    return results, set(run_of)


def _wrong(pose: Pose, world: SequenceWorld, rng: np.random.Generator) -> Pose:
    """Half of the wrong ones are shifted along the street, as repeated façades do; the others are anywhere."""
    length = float(rng.uniform(*world.wrong_m))
    if rng.random() < 0.5:
        ahead = pose.rotation.as_matrix()[:, 2]
        return Pose(pose.rotation, pose.translation_m + length * rng.choice([-1, 1]) * ahead)
    direction = rng.normal(0, [1.0, 1.0, 0.2])
    turn = Rotation.from_rotvec(np.radians(rng.normal(0, 8.0, 3)))
    return Pose(turn * pose.rotation, pose.translation_m + length * direction / np.linalg.norm(direction))


def _reported(
    world: SequenceWorld, truth: list[Pose], heading_deg: Float, time_s: Float, rng: np.random.Generator
) -> tuple[Float, Float]:
    """Reported positions (N, 3), z nan: constant offset, slow walk, lag; and compass headings (N,)."""
    position = np.array([pose.translation_m for pose in truth])
    velocity = np.gradient(position, time_s, axis=0)
    direction = float(rng.uniform(0, 2 * np.pi))
    offset = world.gps_offset_m * np.array([np.cos(direction), np.sin(direction), 0.0])
    walk = np.cumsum(rng.normal(0, 0.3, position.shape), axis=0)
    reported = position + offset + walk - world.lag_s * velocity
    reported[:, 2] = np.nan
    noisy = (heading_deg + world.compass_offset_deg + rng.normal(0, 5, len(truth))) % 360.0
    return reported, noisy
