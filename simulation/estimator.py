"""Simulated matches and depths of a street with known truth and realistic errors (`docs/method.md`).

No pixels are rendered: a case contains what matcher and depth network would have delivered. Same options and seed, same
case.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from simulation.estimator_noise import (
    AnchorDepthError,
    DepthNoise,
    MatchNoise,
    SmoothField,
    draw_depth_errors,
)
from simulation.estimator_scene import STREET_LENGTH_M, Scene, make_scene

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

ANCHOR_CAMERA = Camera.pinhole(512, 260, 300.0, 300.0, 255.5, 129.5)
MAX_DEPTH_M = 60.0


@dataclass(frozen=True)
class SimulatorOptions:
    """One cell of the tables."""

    anchors: int = 3
    spacing_m: float = 3.0
    """Between the anchors of the drive."""
    focal_error: float = 0.0
    """Relative, of random sign."""
    wrong_anchor_share: float = 0.0
    """Probability that an anchor is aliased or garbage."""
    repeated_share: float = 0.0
    """Probability that it sees the next copy of a repeated façade, the same copy for all such anchors."""
    mover_share: float = 0.0
    """Part of the matches that lie on one moving vehicle."""
    match_share: float = 1.0
    """Part of its matches that a poor photo (dusk, compression) keeps."""
    anchor_position_m: float = 0.02
    anchor_rotation_deg: float = 0.05
    """Noise of the recorded anchor poses."""
    neighbours_m: tuple[float, ...] = (-3.0, -1.5, 1.5, 3.0)
    """Where on the drive the images lie that calibrate an anchor's depth."""
    match_noise: MatchNoise = field(default_factory=MatchNoise)
    depth_noise: DepthNoise = field(default_factory=DepthNoise)


@dataclass(frozen=True, eq=False)
class SimulatedMatches:
    """Pixel pairs of one view (first) with another (second), and the depths at the first view's pixels."""

    first_px: Float
    second_px: Float
    """(N, 2) each."""
    correct: Bool
    """(N,) which pairs are true."""
    predicted_m: Float
    """(N,) z-depth of a network."""
    lidar_m: Float
    """(N,) measured z-depth, nan on 30 %."""
    log_slope: Float
    """(N,) change of the log depth per pixel there, as a depth map shows it."""


@dataclass(frozen=True, eq=False)
class SimulatedAnchor:
    """One anchor with all its matches."""

    world_from_cam: Pose
    """As recorded: wrong by trajectory noise, by metres when aliased."""
    query: SimulatedMatches
    """Pairs (anchor, query)."""
    neighbours: tuple[tuple[Pose, SimulatedMatches], ...]
    """(recorded pose, pairs (anchor, neighbour)) along the drive."""
    wrong: bool
    """Aliased or garbage."""


@dataclass(frozen=True, eq=False)
class SimulatedCase:
    """One query with its anchors."""

    query_camera: Camera
    """As given; its focal length may be wrong."""
    world_from_query: Pose
    reported_m: Float
    anchors: tuple[SimulatedAnchor, ...]


@dataclass(frozen=True, eq=False)
class View:
    """A camera as it really stands in the scene."""

    camera: Camera
    pose: Pose


def simulate(options: SimulatorOptions, seed: int) -> SimulatedCase:
    """One random street, one query, `options.anchors` retrieved anchors with neighbours."""
    rng = np.random.default_rng([seed, 20_260_101])
    scene = make_scene(rng)
    lane_x = rng.uniform(-2.0, 2.0)
    query, given = _draw_query(scene, rng, options)
    drive = _drive(query.pose, lane_x, rng, options)
    errors = draw_depth_errors(rng, options.depth_noise, len(drive))
    world = World(scene, rng, options, query)
    anchors = tuple(world.anchor(view, error, lane_x) for view, error in zip(drive, errors, strict=True))
    bias = rng.normal(0, 1, 2)
    bias *= rng.uniform(3, 10) / np.linalg.norm(bias)
    reported = np.array([*(query.pose.translation_m[:2] + bias), np.nan])
    return SimulatedCase(given, query.pose, reported, anchors)


def _draw_query(scene: Scene, rng: np.random.Generator, options: SimulatorOptions) -> tuple[View, Camera]:
    """A query in the middle third that sees enough of the street; its true view and its camera as given."""
    focal = rng.uniform(290.0, 420.0)
    principal = np.array([255.5, 143.5]) + rng.normal(0, options.match_noise.principal_point_px, 2)
    camera = Camera.pinhole(512, 288, focal, focal, *principal)
    while True:
        yaw = rng.normal(0, 8) if rng.random() < 0.8 else rng.choice([-1, 1]) * rng.normal(28, 4)
        rotation = rotation_from_heading(yaw, rng.normal(0, 2), rng.normal(0, 2))
        position = np.array([rng.uniform(-5, 5), STREET_LENGTH_M * rng.uniform(0.35, 0.6), rng.uniform(1.4, 2.2)])
        if _free(scene, position):
            break
    sign = rng.choice([-1.0, 1.0])
    given_focal = focal * (1 + sign * options.focal_error)
    sigma = 0.002 if options.focal_error == 0 else float("nan")
    given = Camera.pinhole(512, 288, given_focal, given_focal, 255.5, 143.5)
    return View(camera, Pose(rotation, position)), replace(given, focal_sigma=sigma)


def _free(scene: Scene, position: Float) -> bool:
    """Not inside a box, and at least 2 m of air in every direction of a ring."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.stack([np.sin(angle), np.cos(angle), np.zeros(16)], axis=1)
    inside = ((position > scene.low_m) & (position < scene.high_m)).all(axis=1).any()
    return not inside and bool((scene.distance_m(position, ring) > 1.0).all())


def _drive(query: Pose, lane_x: float, rng: np.random.Generator, options: SimulatorOptions) -> list[View]:
    """The retrieved anchors: near ones of the drive, imperfectly chosen (0–10 m away, mostly behind or beside)."""
    start = query.translation_m[1] - rng.exponential(2.5) - rng.uniform(0, options.spacing_m)
    offsets = np.arange(options.anchors) * options.spacing_m
    # Alternate behind and ahead, so that the anchors surround the query as a radius search would return them.
    sign = np.where(np.arange(options.anchors) % 2 == 0, -1.0, 1.0)
    along = start + np.cumsum(sign * offsets)
    return [anchor_view(lane_x, y, rng) for y in along]


def anchor_view(lane_x: float, y: float, rng: np.random.Generator) -> View:
    """A camera of the drive at y along the street."""
    rotation = rotation_from_heading(rng.normal(0, 1.0), rng.normal(0, 0.7), rng.normal(0, 0.7))
    return View(ANCHOR_CAMERA, Pose(rotation, np.array([lane_x + rng.normal(0, 0.1), y, 1.8])))


class World:
    """The scene, its query and the shared errors, from which anchors are drawn one after another."""

    def __init__(self, scene: Scene, rng: np.random.Generator, options: SimulatorOptions, query: View) -> None:
        self.scene, self.rng, self.options, self.query = scene, rng, options, query
        noise = options.match_noise
        self.query_field = SmoothField.draw(rng, 2, noise.field_length_px, 2)
        self.features = _features(scene, query, rng, 6000)
        self.strength = rng.normal(0.0, 1.0, len(self.features))
        self.period_m = rng.uniform(3.0, 8.0) if options.repeated_share > 0 else 0.0

    def anchor(self, view: View, error: AnchorDepthError, lane_x: float) -> SimulatedAnchor:
        """An anchor at the view, perhaps a wrong one, with its neighbours."""
        wrong = self.rng.random() < self.options.wrong_anchor_share
        aliased = wrong and self.rng.random() < 0.5
        displaced = Pose.identity()
        if aliased:
            turn = Rotation.from_euler("z", self.rng.normal(0, 5), degrees=True)
            step = self.rng.normal(0, 1, 3) * [1, 1, 0]
            step *= self.rng.uniform(5, 25) / np.linalg.norm(step)
            centre = view.pose.translation_m
            displaced = Pose(turn, centre + step - turn.as_matrix() @ centre)
        if self.options.repeated_share > 0 and self.rng.random() < self.options.repeated_share:
            wrong, displaced = True, Pose(Rotation.identity(), np.array([0.0, self.period_m, 0.0]))
        pairs = self._match_query(view, error)
        if wrong and not aliased and self.options.repeated_share == 0:
            pairs = _garbage(pairs, self.rng)
        neighbours = []
        for offset in self.options.neighbours_m:
            other = anchor_view(lane_x, view.pose.translation_m[1] + offset, self.rng)
            neighbours.append((displaced @ self._recorded(other.pose), self._match_neighbour(view, other, error)))
        return SimulatedAnchor(displaced @ self._recorded(view.pose), pairs, tuple(neighbours), wrong)

    def seen_from(self, view: View, error: AnchorDepthError, recorded: Pose) -> SimulatedAnchor:
        """A right anchor with a given record and no neighbours."""
        return SimulatedAnchor(recorded, self._match_query(view, error), (), wrong=False)

    def _recorded(self, true: Pose) -> Pose:
        o = self.options
        turn = np.radians(o.anchor_rotation_deg) * self.rng.normal(0, 1, 3)
        return true.perturbed([*(o.anchor_position_m * self.rng.normal(0, 1, 3)), *turn])

    def _match_query(self, view: View, error: AnchorDepthError) -> SimulatedMatches:
        baseline = float(np.linalg.norm(view.pose.translation_m - self.query.pose.translation_m))
        seen = np.flatnonzero(_visible(self.scene, view, self.features))
        rank = self.strength[seen] + self.rng.normal(0, 0.7, len(seen))
        wanted = int(self.options.match_share * np.clip(2000 * np.exp(-baseline / 6.0), 200, 2000))
        chosen = seen[np.argsort(-rank)[:wanted]]
        points = self.features[chosen]
        query_px, _ = self.query.camera.project(self.query.pose.inverse().apply(points))
        query_px = query_px + self.options.match_noise.query_field_px * self.query_field(query_px)
        anchor_px = self._noisy(view, points, baseline)
        if self.options.mover_share > 0:
            anchor_px = _with_mover(anchor_px, self.rng, self.options.mover_share)
        return self._finish(view, anchor_px, query_px, error, self.query.camera)

    def _match_neighbour(self, view: View, other: View, error: AnchorDepthError) -> SimulatedMatches:
        baseline = float(np.linalg.norm(view.pose.translation_m - other.pose.translation_m))
        points = _features(self.scene, view, self.rng, 900)
        points = points[_visible(self.scene, other, points)]
        first_px, _ = view.camera.project(view.pose.inverse().apply(points))
        return self._finish(view, first_px, self._noisy(other, points, baseline), error, other.camera)

    def _noisy(self, view: View, points: Float, baseline_m: float) -> Float:
        """Where a matcher puts points in a view: projection + white noise + a smooth field of this pair."""
        noise = self.options.match_noise
        px, _ = view.camera.project(view.pose.inverse().apply(points))
        smooth = SmoothField.draw(self.rng, 2, noise.field_length_px, 2)
        amplitude = noise.anchor_field_px + noise.anchor_field_per_m_px * baseline_m
        noisy: Float = px + amplitude * smooth(px) + noise.white(self.rng, len(px))
        return noisy

    def _finish(
        self, view: View, first_px: Float, second_px: Float, error: AnchorDepthError, second_camera: Camera
    ) -> SimulatedMatches:
        """Replace some second pixels by wrong ones and read the depths at the first pixels."""
        low, high = self.options.match_noise.outlier_share
        wrong = self.rng.random(len(first_px)) < self.rng.uniform(low, high)
        second_px = _with_outliers(first_px, second_px, wrong, self.rng, second_camera)
        inside = view.camera.contains(first_px) & second_camera.contains(second_px)
        first_px, second_px, wrong = first_px[inside], second_px[inside], wrong[inside]
        return SimulatedMatches(first_px, second_px, ~wrong, *self._depths(view, first_px, error))

    def _depths(self, view: View, px: Float, error: AnchorDepthError) -> tuple[Float, Float, Float]:
        z, points = _depth_at(self.scene, view, px)
        jittered, _ = _depth_at(self.scene, view, px + self.rng.normal(0, 1.0, px.shape))
        predicted = error.predict(self.rng, jittered, points, px)
        lidar = z * np.exp(self.rng.normal(0, 0.003, len(z))) + self.rng.normal(0, 0.02, len(z))
        lidar[(self.rng.random(len(z)) < 0.3) | (z > 100.0)] = np.nan
        beside = [_depth_at(self.scene, view, px + step)[0] for step in np.eye(2)]
        slope = np.hypot(*(np.abs(np.log(other / z)) for other in beside))
        return np.minimum(predicted, 80.0), lidar, np.minimum(slope, 0.3)


def _features(scene: Scene, view: View, rng: np.random.Generator, count: int) -> Float:
    """(≤ count, 3) surface points under random pixels of a view, nearer than MAX_DEPTH_M."""
    px = rng.uniform([0, 0], [view.camera.width - 1, view.camera.height - 1], (count, 2))
    z, points = _depth_at(scene, view, px)
    near: Float = points[z < MAX_DEPTH_M]
    return near


def _depth_at(scene: Scene, view: View, px: Float) -> tuple[Float, Float]:
    """True z-depth (N,) and world points (N, 3) under pixels; sky is 200 m away."""
    rays = view.camera.unproject(px)
    directions = view.pose.rotation.apply(rays)
    distance = np.minimum(scene.distance_m(view.pose.translation_m, directions), 200.0)
    return distance * rays[:, 2], view.pose.translation_m + distance[:, None] * directions


def _visible(scene: Scene, view: View, points: Float) -> Bool:
    """(N,) inside the picture and not hidden by anything (2 % + 5 cm tolerance)."""
    px, ok = view.camera.project(view.pose.inverse().apply(points))
    seen: Bool = ok & view.camera.contains(px)
    offset = points[seen] - view.pose.translation_m
    length = np.linalg.norm(offset, axis=1)
    first = scene.distance_m(view.pose.translation_m, offset / length[:, None])
    seen[np.flatnonzero(seen)] = first > 0.98 * length - 0.05
    return seen


def _with_outliers(first_px: Float, second_px: Float, wrong: Bool, rng: np.random.Generator, camera: Camera) -> Float:
    """Half of the wrong ones anywhere, half slid along the direction of true motion (close to the epipolar line)."""
    result = second_px.copy()
    near_line = wrong & (rng.random(len(wrong)) < 0.5)
    anywhere = wrong & ~near_line
    result[anywhere] = rng.uniform([0, 0], [camera.width - 1, camera.height - 1], (anywhere.sum(), 2))
    motion = second_px - first_px
    direction = motion / np.maximum(np.linalg.norm(motion, axis=1, keepdims=True), 1e-9)
    slide = rng.choice([-1.0, 1.0], len(wrong)) * rng.exponential(40.0, len(wrong))
    result[near_line] += (direction * slide[:, None] + rng.normal(0, 1.5, first_px.shape))[near_line]
    return result


def _garbage(pairs: SimulatedMatches, rng: np.random.Generator) -> SimulatedMatches:
    """Another street: locally coherent chunks thrown elsewhere, no common pose."""
    cells = (pairs.second_px // 64).astype(int) @ np.array([1, 1000])
    _, chunk = np.unique(cells, return_inverse=True)
    shift = rng.uniform(-200, 200, (chunk.max(initial=0) + 1, 2))[chunk]
    second = pairs.second_px + shift + rng.normal(0, 2, shift.shape)
    inside = ((second >= 0) & (second < [512, 288])).all(axis=1)
    return SimulatedMatches(
        pairs.first_px[inside],
        second[inside],
        np.zeros(int(inside.sum()), bool),
        pairs.predicted_m[inside],
        pairs.lidar_m[inside],
        pairs.log_slope[inside],
    )


def _with_mover(px: Float, rng: np.random.Generator, share: float) -> Float:
    """Move the matches in one window as a vehicle would: a common shift of 10–40 px."""
    if not len(px):
        return px
    centre = px[rng.integers(len(px))]
    order = np.argsort(np.abs(px - centre).max(axis=1))[: int(share * len(px))]
    moved = px.copy()
    moved[order] += rng.choice([-1, 1]) * rng.uniform(10, 40) * np.array([1.0, 0.1])
    return moved
