"""Synthetic drives with known truth and clicks of known quality: what the georeference is judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.georeference.joint.model import State, geometry_of, reach
from geocorrect.georeference.problem import ClickedImage, Mask, Priors, Problem

Float = NDArray[np.float64]

BASE_FROM_CAM = Pose(Rotation.from_matrix([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.07, 0.23, -0.67]))
CAMERA = Camera.from_opencv(1388, 700, (1265.4, 1259.1, 649.2, 349.1), (-0.1512, 0.2104, 0.0002, -0.0011))


@dataclass(frozen=True)
class Clicking:
    """How somebody clicked: images, clicks per image, noise, and the share of clicks that are plainly wrong."""

    n_images: int = 5
    clicks_per_image: int = 5
    sigma_px: float = 5.0
    sigma_map_m: float = 0.25
    bad_share: float = 0.0
    length_m: float = 600.0


@dataclass(frozen=True, eq=False)
class SyntheticDrive:
    """The problem, and what is true: alignment, base height, which clicks are bad, positions along the track."""

    problem: Problem
    world_from_local: Similarity
    base_height_m: float
    bad: Mask
    track_local_m: Float


def synthetic_drive(clicking: Clicking, seed: int, world_offset_m: float = 0.0) -> SyntheticDrive:
    """A winding drive over gentle hills in a tilted local frame, clicked in a few places; deterministic by seed."""
    random = np.random.default_rng(seed)
    priors = Priors()
    level_poses = _drive(random, clicking.length_m)
    lean = Rotation.from_rotvec(np.append(random.normal(0, np.radians(0.7), 2), 0.0))
    local_from_level = Similarity(1.0, lean, random.normal(0, 50, 3))
    scale = float(np.exp(random.normal(0, priors.scale_sigma)))
    world_from_level = Similarity(
        1.0, Rotation.from_rotvec([0, 0, random.uniform(-np.pi, np.pi)]), random.normal(0, 20, 3) + world_offset_m
    )
    shrink = Similarity(scale, Rotation.identity(), np.zeros(3))
    world_from_local = world_from_level @ shrink @ local_from_level.inverse()
    poses = [local_from_level.apply_pose(pose) for pose in level_poses]
    base_height_m = float(random.uniform(1.5, 2.4))
    chosen = np.sort(random.choice(len(poses), clicking.n_images, replace=False))
    images = tuple(ClickedImage(f"{k:010d}", CAMERA, poses[k], BASE_FROM_CAM) for k in chosen)
    up = np.mean([pose.rotation.apply([0, 0, 1]) for pose in poses], axis=0)
    problem, bad = _clicked(random, images, clicking, (world_from_local, base_height_m), up / np.linalg.norm(up))
    return SyntheticDrive(
        problem, world_from_local, base_height_m, bad, np.array([pose.translation_m for pose in poses])
    )


def _drive(random: np.random.Generator, length_m: float, step_m: float = 5.0) -> list[Pose]:
    """Poses in a level frame: heading drifts and takes corners, pitch and roll follow the ground."""
    n = int(length_m / step_m)
    corners = np.where(random.random(n) < 0.02, random.choice([-1.0, 1.0], n) * np.pi / 2, 0.0)
    heading = np.cumsum(corners + random.normal(0, 0.01, n))
    phase = random.uniform(0, 2 * np.pi, 2)
    pitch = np.radians(1.0) * np.sin(np.arange(n) * step_m / 60 + phase[0])
    roll = np.radians(0.7) * np.sin(np.arange(n) * step_m / 37 + phase[1])
    turns = Rotation.from_euler("ZYX", np.stack([heading, -pitch, roll], axis=1))
    forward = turns.apply([step_m, 0.0, 0.0])
    position = np.cumsum(forward, axis=0)
    return [Pose(turn, place) for turn, place in zip(turns, position, strict=True)]


def _clicked(
    random: np.random.Generator,
    images: tuple[ClickedImage, ...],
    clicking: Clicking,
    truth: tuple[Similarity, float],
    up_local: Float,
) -> tuple[Problem, Mask]:
    """Pixels on the road ahead, their true marks on ground that departs a little from a plane, then noise and
    blunders.
    """
    world_from_local, base_height_m = truth
    priors = Priors()
    n = clicking.n_images * clicking.clicks_per_image
    index = np.repeat(np.arange(clicking.n_images), clicking.clicks_per_image)
    distance_m = random.uniform(5, 22, n)
    px = np.stack([random.uniform(150, 1240, n), 349 + 1259 * (base_height_m - 0.67) / distance_m], axis=1)
    blank = np.tile([0.0, 0.0, np.nan], (n, 1))
    noise = (np.full(n, clicking.sigma_px), np.full(n, clicking.sigma_map_m), np.full(n, 1.0))
    exact = Problem(images, index, px, blank, *noise, np.arange(n), np.ones(n, bool), up_local)
    tilt = np.radians(priors.ground_tilt_sigma_deg)
    ground = random.normal(size=(len(images), 3)) * [tilt, tilt, priors.ground_step_sigma_m]
    marks = world_from_local.apply(
        reach(exact, geometry_of(exact), State(world_from_local, base_height_m, ground)).point_m
    )
    bad = np.zeros(n, bool)
    bad[random.choice(n, round(clicking.bad_share * n), replace=False)] = True
    marks[:, :2] += random.normal(0, clicking.sigma_map_m, (n, 2))
    direction = random.uniform(0, 2 * np.pi, n)
    size = random.uniform(5, 30, n)
    marks[bad, :2] += (size[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=1))[bad]
    marks[:, 2] = np.nan
    clicked = px + random.normal(0, clicking.sigma_px, (n, 2))
    return Problem(images, index, clicked, marks, *noise, np.arange(n), np.ones(n, bool), up_local), bad
