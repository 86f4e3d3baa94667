"""Positions that share an error: it is taken off, and what is left tells whether a result can be right."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from geocorrect.sequences.positions import PositionCheck, Positions, agrees, check_position

WAY_M = np.arange(0.0, 60.0, 3.0)
COVARIANCE = 0.05**2 * np.eye(6)
KNOWN = (0, 1, 2, 3, 8, 9, 10, 11, 16, 17)


def drive(seed: int, noise_m: float, walk_m: float) -> tuple[list[Pose | None], Positions]:
    """A straight street east with right results, and positions of this noise, all 7 m off to the north-west."""
    rng = np.random.default_rng(seed)
    places = np.column_stack([WAY_M, np.zeros_like(WAY_M)])
    shared = np.cumsum(rng.normal(0, walk_m * np.sqrt(0.03), places.shape), axis=0) + np.array([-5.0, 5.0])
    poses: list[Pose | None] = [Pose(Rotation.identity(), np.append(place, 0.0), COVARIANCE) for place in places]
    enu_m = places + shared + rng.normal(0, noise_m, places.shape)
    return poses, Positions("computed", enu_m, ("one",) * len(places), noise_m=0.15, walk_m=1.0)


def moved(poses: list[Pose | None], i: int, east_m: float) -> list[Pose | None]:
    own = poses[i]
    assert own is not None
    return [
        *poses[:i],
        Pose(own.rotation, own.translation_m + np.array([east_m, 0, 0]), own.covariance),
        *poses[i + 1 :],
    ]


def check(poses: list[Pose | None], positions: Positions, asked: int = 5) -> PositionCheck:
    found = check_position(positions, poses, KNOWN, asked, WAY_M)
    assert found is not None
    return found


def test_the_shared_error_is_taken_off_and_another_copy_refuted() -> None:
    poses, positions = drive(0, 0.15, 1.0)
    right, copy = check(poses, positions), check(moved(poses, 5, 6.0), positions)
    assert right.tells_copies
    assert agrees([right])
    assert (copy.apart_m > 5.0, agrees([copy]), agrees([right, copy])) == (True, False, False)


def test_distances_have_the_distribution_that_is_stated() -> None:
    """Two degrees of freedom: 2 on average; with the prior of the noise it is a little less."""
    squared = [check(*drive(seed, 0.15, 1.0)).distance ** 2 for seed in range(100)]
    assert 1.3 < np.mean(squared) < 2.7
    noisier = [check(*drive(seed, 0.45, 3.0)) for seed in range(100)]
    assert 1.3 < np.mean([one.distance**2 for one in noisier]) < 3.2, "the noise is that of the recording"
    assert np.median([one.error_m for one in noisier]) > 0.9


def test_a_source_that_cannot_tell_copies_apart_says_nothing() -> None:
    poses, positions = drive(1, 4.0, 1.0)
    found = check(poses, positions)
    assert not found.tells_copies
    assert not agrees([found])
    assert not agrees([None])


def test_results_of_another_part_do_not_show_the_error() -> None:
    poses, positions = drive(2, 0.15, 1.0)
    apart = Positions("computed", positions.enu_m, ("other",) * 4 + ("one",) * 16, 0.15, 1.0)
    assert check(poses, apart).apart_m != check(poses, positions).apart_m
    assert check_position(apart, poses, (0, 1, 2, 3, 8, 9), 5, WAY_M) is None
    assert check_position(positions, poses, (4, 5, 6), 5, WAY_M) is None, "what is asked about does not count"
