"""One anchor whose matches agree on two places: what moved together, and what stood still."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize.gate import decide, gate_statistics
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.joint.second_place import SecondPlace, _by_depth, _least_angle, second_place
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Anchor, Matches, Query

Float = NDArray[np.float64]

OPTIONS = LocalizeOptions()
SIGMA = np.diag([0.03**2] * 3 + [np.radians(0.1) ** 2] * 3)
CAMERA = replace(Camera.pinhole(640, 480, 500.0, 500.0, 319.5, 239.5), focal_sigma=3e-4)
ANCHOR = Anchor("a", "d", Path("none"), CAMERA, Pose.identity(), "s")
PHOTO = Pose(Rotation.from_rotvec([0.0, 0.03, 0.0]), np.array([0.3, 0.0, 2.5]))
"""Looks along z, 2.5 m ahead of the anchor."""
WITH = np.array([0.0, 0.0, 2.4])
"""How far a vehicle moves along with the cameras between the two pictures."""


def seen(moving: int, standing: int, lifted: bool = True, shaken_px: float = 0.3) -> Observations:
    """Matches on vehicles that moved along and on the street; lifted: whether those on the street have depth."""
    rng = np.random.default_rng(3)
    n = moving + standing
    points = np.column_stack([rng.uniform(-5, 5, n), rng.uniform(-3, 2, n), rng.uniform(8, 25, n)])
    later = points + np.where(np.arange(n) < moving, 1.0, 0.0)[:, None] * WITH
    anchor_px = CAMERA.project(points)[0] + shaken_px * rng.normal(size=(n, 2))
    query_px = CAMERA.project(PHOTO.inverse().apply(later))[0] + shaken_px * rng.normal(size=(n, 2))
    depth_m = np.where(lifted | (np.arange(n) < moving), points[:, 2], np.nan)
    inside = (query_px >= 0).all(axis=1) & (query_px < [640, 480]).all(axis=1)
    return observations(query_px[inside], anchor_px[inside], depth_m[inside])


def observations(query_px: Float, anchor_px: Float, depth_m: Float) -> Observations:
    rays = unit_rays(CAMERA, query_px), unit_rays(CAMERA, anchor_px)
    return Observations(ANCHOR, query_px, anchor_px, *rays, depth_m, np.full(len(depth_m), 0.01), n_matches=400)


def look(o: Observations, pose: Pose) -> SecondPlace | None:
    return second_place([o], pose.with_covariance(SIGMA), np.zeros(3), CAMERA, OPTIONS, 0)


def along() -> Pose:
    """Where the photo would be if the vehicles stood."""
    return Pose(PHOTO.rotation, PHOTO.translation_m - WITH)


def test_where_most_of_the_matches_moved_the_street_is_in_the_stated_error() -> None:
    o = seen(moving=250, standing=120)
    solution = solve_joint([o], CAMERA, OPTIONS, 0)
    assert isinstance(solution, Solution)
    pose = solution.world_from_cam
    assert pose.covariance is not None
    off = pose.minus(PHOTO)[:3]
    assert np.linalg.norm(off) > 2.0, "the majority has it: nothing else is known"
    assert off @ np.linalg.solve(pose.covariance[:3, :3], off) < 9.0
    assert solution.alternative_share > 0.3


def test_a_street_that_all_matches_are_on_is_one_place() -> None:
    o = seen(moving=0, standing=300)
    assert look(o, PHOTO) is None
    few = seen(moving=25, standing=300)
    assert look(few, PHOTO) is None, "a vehicle that hardly shows"


def test_two_places_within_their_errors_are_one() -> None:
    o, vague = seen(moving=120, standing=250), np.diag([0.5**2] * 3 + [np.radians(1.0) ** 2] * 3)
    sharp, wide = (_by_depth([o], PHOTO.with_covariance(c), np.zeros(3), CAMERA, OPTIONS, 0) for c in (SIGMA, vague))
    assert sharp is not None
    assert wide is None


def test_mismatches_agree_on_nothing() -> None:
    o, rng = seen(moving=0, standing=300), np.random.default_rng(5)
    shuffled = o.query_px.copy()
    shuffled[:120] = rng.permutation(shuffled[:120])
    assert look(observations(shuffled, o.anchor_px, o.depth_m), PHOTO) is None


def test_a_street_without_depth_contradicts_vehicles_by_its_bearings() -> None:
    """As with LiDAR, which sees vehicles but no façades: no distance, so the gate refuses the pose."""
    o = seen(moving=250, standing=90, lifted=False)
    assert look(seen(moving=250, standing=0), along()) is None
    found = look(o, along())
    assert found is not None
    assert (found.share, found.spread.any()) == (1.0, False)
    solution = solve_joint([o], CAMERA, OPTIONS, 0)
    assert isinstance(solution, Solution)
    query = Query("q", np.zeros((1, 1, 3), np.uint8), CAMERA, PHOTO.translation_m)
    decision = decide(gate_statistics(solution, [o], query, OPTIONS.gate), OPTIONS.gate)
    assert decision.reason == "ambiguous_pose"


def test_what_verification_dropped_is_heard_too() -> None:
    o = seen(moving=250, standing=90, lifted=False)
    street = np.isnan(o.depth_m)
    dropped = Matches(o.query_px[street], o.anchor_px[street], np.ones(street.sum()))
    rest = o.subset(np.flatnonzero(~street))
    assert look(rest, along()) is None
    assert look(replace(rest, dropped=dropped), along()) is not None


PACE = 0.5
"""Of the anchors', at which vehicles move along that they all see."""
BESIDE = Pose(Rotation.identity(), np.array([1.2, 0.0, 1.0]))
"""A photo taken a second after the middle anchor, in the next lane, at a metre a second."""


def seen_along(moving: int, standing: int, drop_standing: bool = False) -> list[Observations]:
    """Three anchors a drive of 1 m/s takes 4 s apart, their depth triangulated from each other.

    What keeps PACE looks standing to them, and 1 / (1 − PACE) times as far.
    """
    rng = np.random.default_rng(8)
    n = moving + standing
    moves = np.arange(n) < moving
    points = np.column_stack([rng.uniform(2, 9, n), rng.uniform(-3, 2, n), rng.uniform(14, 30, n)])
    points[moves, 0], points[moves, 2] = rng.uniform(-6, 1, moving), rng.uniform(9, 15, moving)
    found = []
    for number, along_m in enumerate((-4.0, 0.0, 4.0)):
        there, then = np.array([0.0, 0.0, along_m]), points + moves[:, None] * [0.0, 0.0, PACE * along_m]
        anchor = replace(ANCHOR, id=str(number), world_from_cam=Pose(Rotation.identity(), there))
        now = points + moves[:, None] * [0.0, 0.0, PACE * BESIDE.translation_m[2]]
        anchor_px = CAMERA.project(then - there)[0] + 0.3 * rng.normal(size=(n, 2))
        query_px = CAMERA.project(BESIDE.inverse().apply(now))[0] + 0.3 * rng.normal(size=(n, 2))
        depth_m = (then - there)[:, 2] / np.where(moves, 1.0 - PACE, 1.0)
        o = replace(observations(query_px, anchor_px, depth_m), anchor=anchor, depth_from=frozenset("012"))
        if drop_standing:
            gone, kept = np.flatnonzero(~moves), np.flatnonzero(moves)
            dropped = Matches(query_px[gone], anchor_px[gone], np.ones(len(gone)))
            o = replace(o.subset(kept), dropped=dropped, dropped_depth_m=depth_m[gone])
        found.append(o)
    return found


def off_sigmas(seen: list[Observations]) -> tuple[float, float, float]:
    """How far off a photo is, in metres and in stated sigmas, and the stated 68 % error."""
    solution = solve_joint(seen, CAMERA, OPTIONS, 0)
    assert isinstance(solution, Solution)
    query = Query("q", np.zeros((1, 1, 3), np.uint8), CAMERA, BESIDE.translation_m)
    statistics = gate_statistics(solution, seen, query, OPTIONS.gate)
    assert statistics.independent_anchors >= 2
    off, covariance = solution.world_from_cam.minus(BESIDE)[:3], solution.world_from_cam.covariance
    assert covariance is not None
    sigmas = float(np.sqrt(off @ np.linalg.solve(covariance[:3, :3], off)))
    return float(np.linalg.norm(off)), sigmas, statistics.expected_error_m


@pytest.mark.parametrize("drop_standing", [False, True])
def test_traffic_that_all_anchors_see_at_half_their_pace_is_in_the_stated_error(drop_standing: bool) -> None:
    """It looks standing and twice as far, so a photo beside the anchors' way is put off by the distance to it."""
    off_m, sigmas, _ = off_sigmas(seen_along(250, 60, drop_standing))
    assert off_m > 0.8
    assert sigmas < 3.0


def test_a_standing_street_of_three_anchors_is_as_sure_as_before() -> None:
    off_m, sigmas, stated_m = off_sigmas(seen_along(0, 310))
    assert off_m < 0.03
    assert sigmas < 3.0
    assert stated_m < 0.03


def test_one_record_alone_makes_no_second_place_beside_others() -> None:
    """A wrong anchor is told by the anchors' own poses; here two records have to agree."""
    first, *others = seen_along(120, 250)
    pose = BESIDE.with_covariance(SIGMA)

    def look_at(seen: list[Observations]) -> SecondPlace | None:
        return second_place(seen, pose, np.zeros(3), CAMERA, OPTIONS, 0, several=True)

    assert look_at([first, *others]) is not None
    standing = [o.subset(np.arange(120, len(o))) for o in others]
    assert look_at([first, *standing]) is None


def seen_with_copies(own: int, copied: int, apart: bool = False) -> list[Observations]:
    """Three anchors' matches with a street, some of them with its next bay, 4 m on; apart: those lie to the right."""
    rng = np.random.default_rng(9)
    n = own + copied
    is_copy = np.arange(n) < copied
    points = np.column_stack([rng.uniform(-5, 5, n), rng.uniform(-3, 2, n), rng.uniform(9, 20, n)])
    if apart:
        points[:, 0] = np.where(is_copy, rng.uniform(2.5, 5, n), rng.uniform(-5, 2, n))
    found = []
    for number, along_m in enumerate((-4.0, 0.0, 4.0)):
        there = np.array([0.0, 0.0, along_m])
        anchor = replace(ANCHOR, id=str(number), world_from_cam=Pose(Rotation.identity(), there))
        matched = points + is_copy[:, None] * [0.0, 0.0, 4.0] - there
        query_px = CAMERA.project(BESIDE.inverse().apply(points))[0] + 0.3 * rng.normal(size=(n, 2))
        anchor_px = CAMERA.project(matched)[0] + 0.3 * rng.normal(size=(n, 2))
        found.append(replace(observations(query_px, anchor_px, matched[:, 2]), anchor=anchor))
    return found


def test_a_copy_among_more_matches_of_the_same_wall_is_no_second_place() -> None:
    """Its own matches outnumber it there; what is apart, or nearly as much, may be the street."""

    def share_of(seen: list[Observations]) -> float | None:
        found = second_place(seen, BESIDE.with_covariance(SIGMA), np.zeros(3), CAMERA, OPTIONS, 0, several=True)
        return None if found is None else found.share

    assert share_of(seen_with_copies(300, 60)) is None
    assert share_of(seen_with_copies(300, 60, apart=True)) == pytest.approx(0.2, abs=0.03)
    assert share_of(seen_with_copies(300, 105)) == pytest.approx(0.35, abs=0.03)


def test_the_least_angle_is_over_all_distances() -> None:
    rng = np.random.default_rng(1)
    ahead, towards = (v / np.linalg.norm(v, axis=1)[:, None] for v in rng.normal([0, 0, 2], 1, (2, 50, 3)))
    between_m = np.array([0.5, -0.2, 1.5])
    points = between_m + np.geomspace(1.0, 1e5, 20_000)[:, None, None] * ahead
    cosines = ((points * towards).sum(axis=2) / np.linalg.norm(points, axis=2)).max(axis=0)
    assert np.allclose(_least_angle(ahead, towards, between_m), np.arccos(np.clip(cosines, -1, 1)), atol=2e-4)
