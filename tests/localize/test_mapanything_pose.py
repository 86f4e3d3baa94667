"""The query's pose from a network that sees the truth, with known errors; and from one that sees nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.errors import Reason, Status
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.localize.estimators.mapanything import NetworkPose, as_solution, estimate_pose
from geocorrect.localize.estimators.options import MapAnythingPoseOptions
from geocorrect.localize.gate import decide, gate_statistics
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import GateOptions, LocalizeOptions
from geocorrect.networks.mapanything.photo_view import PhotoView, ScenePoses
from geocorrect.records import Anchor, AnchorView, DepthMap, Query, ScaleSource

CAMERA = Camera.pinhole(64, 48, 55.0, 55.0, 31.5, 23.5)
TRUTH = Pose(Rotation.from_euler("xyz", [-90, 0, 30], degrees=True), np.array([1003.0, 502.0, 1.8]))


def photo(number: int) -> np.ndarray:
    """A picture whose first pixel says which view it is."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[0, 0, 0] = number
    return pixels


def anchors(count: int) -> list[AnchorView]:
    random = np.random.default_rng(3)
    views = []
    for i in range(count):
        turn = Rotation.from_rotvec(random.normal(0.0, 0.1, 3)) * TRUTH.rotation
        pose = Pose(turn, np.array([1000.0 + 2.5 * i, 500.0, 1.8]))
        anchor = Anchor(f"a{i}", "street", Path(f"a{i}.png"), CAMERA, pose, "fixed")
        views.append(AnchorView(anchor, photo(i)))
    return views


def query(**changes: object) -> Query:
    known = replace(CAMERA, focal_sigma=0.01)
    return replace(Query("q", photo(200), known, np.array([1003.0, 502.0, np.nan])), **changes)


class SeeingNetwork:
    """Predicts the true poses, in the frame of the first view times a scale, each with an error of its own."""

    fingerprint = "seeing"

    def __init__(self, true_poses: dict[int, Pose], scale: float = 1.0, error_m: float = 0.0) -> None:
        self.true_poses, self.scale, self.error_m = true_poses, scale, error_m
        self.random = np.random.default_rng(0)
        self.calls: list[list[PhotoView]] = []

    def poses(self, views: Sequence[PhotoView]) -> ScenePoses:
        self.calls.append(list(views))
        world_from_view = [self.true_poses[int(view.pixels[0, 0, 0])] for view in views]
        found = []
        for pose in world_from_view:
            relative = world_from_view[0].inverse() @ pose
            shift = self.random.normal(0.0, self.error_m, 3) if self.error_m else np.zeros(3)
            found.append(Pose(relative.rotation, relative.translation_m / self.scale + shift))
        return ScenePoses(tuple(found))


def seeing(views: Sequence[AnchorView], scale: float = 1.0, error_m: float = 0.0) -> SeeingNetwork:
    known = {i: view.anchor.world_from_cam for i, view in enumerate(views)}
    return SeeingNetwork({**known, 200: TRUTH}, scale, error_m)


@pytest.mark.parametrize(("count", "scale"), [(1, 1.0), (2, 1.0), (2, 1.4), (5, 0.7)])
def test_a_network_that_sees_the_truth_gives_the_true_pose(count: int, scale: float) -> None:
    views = anchors(count)
    found = estimate_pose(query(), views, seeing(views, scale))
    assert isinstance(found, NetworkPose)
    np.testing.assert_allclose(found.world_from_cam.translation_m, TRUTH.translation_m, atol=1e-6)
    assert rotation_angle_deg(found.world_from_cam.rotation, TRUTH.rotation) < 1e-4
    if count > 1:
        assert found.scale_ratio == pytest.approx(scale, rel=1e-6)
        assert found.residual_m < 1e-6
        assert found.spread_m < 1e-6
    else:
        assert np.isnan([found.scale_ratio, found.residual_m, found.spread_m]).all()


def test_a_lone_anchor_is_less_certain_than_several() -> None:
    sigmas = []
    for count in (1, 3):
        views = anchors(count)
        found = estimate_pose(query(), views, seeing(views))
        assert isinstance(found, NetworkPose)
        assert found.world_from_cam.covariance is not None
        sigmas.append(np.sqrt(found.world_from_cam.covariance[0, 0]))
    assert sigmas[0] > 1.5 * sigmas[1]


def test_the_covariance_holds_what_the_anchors_show() -> None:
    """60 seeds with 0.5 m of error per predicted centre: the true pose within the stated ellipsoid as often as said."""
    views, squares = anchors(5), []
    for seed in range(60):
        network = seeing(views, error_m=0.5)
        network.random = np.random.default_rng(seed)
        found = estimate_pose(query(), views, network, MapAnythingPoseOptions(position_sigma_m=0.01, scale_sigma=0.01))
        assert isinstance(found, NetworkPose)
        assert found.world_from_cam.covariance is not None
        shift = found.world_from_cam.translation_m - TRUTH.translation_m
        squares.append(shift @ np.linalg.solve(found.world_from_cam.covariance[:3, :3], shift))
    # 68 % of a chi-square with 3 degrees of freedom lie below 3.53; conservative is right, optimistic is not.
    assert (np.array(squares) < 3.53).mean() > 0.6


def test_passes_begin_with_another_anchor_each() -> None:
    views = anchors(3)
    network = seeing(views)
    estimate_pose(query(), views, network, MapAnythingPoseOptions(passes=3))
    order = [[int(view.pixels[0, 0, 0]) for view in call] for call in network.calls]
    assert order == [[0, 1, 2, 200], [1, 0, 2, 200], [2, 0, 1, 200]]


def test_what_is_known_is_told_and_what_is_not_is_not() -> None:
    views = anchors(2)
    depth = DepthMap("lidar", True, samples_px=np.array([[3.0, 4.0]]), samples_z_m=np.array([7.0]))
    network = seeing(views)
    guessed = query(camera=replace(CAMERA, focal_sigma=0.3))
    estimate_pose(guessed, views, network, MapAnythingPoseOptions(passes=1), [None, depth])
    first, second, asked = network.calls[0]
    assert first.hints is None
    assert second.hints is not None
    assert second.camera == CAMERA
    assert asked.camera is None
    assert asked.world_from_cam is None
    estimate_pose(query(), views, network, MapAnythingPoseOptions(passes=1))
    assert network.calls[1][-1].camera is not None
    unknown = query(camera=CAMERA)  # nan: nothing is known about its focal length
    estimate_pose(unknown, views, network, MapAnythingPoseOptions(passes=1))
    assert network.calls[2][-1].camera is None


def test_no_more_anchors_than_allowed() -> None:
    views = anchors(6)
    network = seeing(views)
    estimate_pose(query(), views, network, MapAnythingPoseOptions(max_anchors=3, passes=1))
    assert len(network.calls[0]) == 4


def test_a_network_that_did_not_understand_the_scene_is_a_reason() -> None:
    views = anchors(3)
    assert estimate_pose(query(), views, seeing(views, scale=20.0)) is Reason.SCALE_DISAGREES
    assert estimate_pose(query(), views, seeing(views, scale=0.05)) is Reason.SCALE_DISAGREES


def test_panoramas_and_missing_anchors_are_reasons() -> None:
    views = anchors(2)
    spherical = query(pixels=np.zeros((48, 96, 3), np.uint8), camera=Camera.spherical(96, 48))
    assert estimate_pose(spherical, views, seeing(views)) is Reason.CAMERA_UNSUPPORTED
    assert estimate_pose(query(), [], seeing([])) is Reason.NO_ANCHOR_NEARBY


def _observations(view: AnchorView, count: int = 40) -> Observations:
    """Matches of the query with one anchor, exact, with depth."""
    random = np.random.default_rng(5)
    points = TRUTH.apply(
        np.column_stack([random.uniform(-4, 4, count), random.uniform(-2, 2, count), np.full(count, 9.0)])
    )
    in_query, in_anchor = (pose.inverse().apply(points) for pose in (TRUTH, view.anchor.world_from_cam))
    query_px, anchor_px = CAMERA.project(in_query)[0], CAMERA.project(in_anchor)[0]
    rays = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (in_query, in_anchor)]
    return Observations(
        view.anchor, query_px, anchor_px, rays[0], rays[1], in_anchor[:, 2], np.full(count, 0.01), 0.0, count
    )


def test_the_gate_gets_the_matches_that_agree() -> None:
    views = anchors(2)
    found = estimate_pose(query(), views, seeing(views))
    assert isinstance(found, NetworkPose)
    observations = [_observations(view) for view in views]
    solution = as_solution(found, observations, CAMERA, LocalizeOptions())
    assert solution.n_inliers == 80
    assert solution.scale_source is ScaleSource.BASELINES
    wrong = replace(found, world_from_cam=found.world_from_cam.perturbed([3.0, 0, 0, 0, 0, 0]))
    assert as_solution(wrong, observations, CAMERA, LocalizeOptions()).n_inliers < 8


def test_the_error_of_the_anchors_is_in_the_pose() -> None:
    """Two anchors known to 0.3 m, and to nothing in rotation: 0.09 m² more in each direction."""
    views = anchors(2)
    found = estimate_pose(query(), views, seeing(views))
    assert isinstance(found, NetworkPose)
    uncertain = np.diag([0.09] * 3 + [0.0] * 3)
    observations = [
        replace(o, anchor=replace(o.anchor, world_from_cam=o.anchor.world_from_cam.with_covariance(uncertain)))
        for o in map(_observations, views)
    ]
    pose = as_solution(found, observations, CAMERA, LocalizeOptions()).world_from_cam
    np.testing.assert_allclose(pose.covariance - found.world_from_cam.covariance, uncertain, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_random_weights_are_refused_by_the_gate(seed: int) -> None:
    """The real engine knows nothing, and everything else is exact: no answer of it may pass."""
    from support.mapanything_world import seeded_engine, seeded_model

    views = [replace(view, pixels=random_pixels(number)) for number, view in enumerate(anchors(3))]
    engine = seeded_engine(model=seeded_model(seed))
    options = MapAnythingPoseOptions(max_scale_error=1e9)  # let it through to the gate
    asked = query(pixels=random_pixels(9))
    found = estimate_pose(asked, views, engine, options)
    assert isinstance(found, NetworkPose)
    observations = [_observations(view) for view in views]
    solution = as_solution(found, observations, CAMERA, LocalizeOptions())
    decision = decide(gate_statistics(solution, observations, asked, GateOptions()), GateOptions())
    assert decision.status is Status.REJECTED


def random_pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("changes", [{"max_anchors": 0}, {"passes": 0}])
def test_impossible_options_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        MapAnythingPoseOptions(**changes)
