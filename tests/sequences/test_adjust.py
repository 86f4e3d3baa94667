"""Sequences with known truth: outliers flagged, photos without a result placed, sigmas that grow and are right; what
happens with little, with several reconstructions, and with reported positions alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.sequences.adjust import SequenceSolution, adjust_sequence
from geocorrect.sequences.compute import sequence_findings
from geocorrect.sequences.graph import Chain
from geocorrect.sequences.motion import MotionHints, MotionSource, motion_of
from geocorrect.sequences.options import SequenceOptions
from simulation.sequences import SequenceWorld, SimulatedSequence, simulate_sequence

OPTIONS = SequenceOptions()
WORLD = SequenceWorld()


def adjusted(simulated: SimulatedSequence, source: str = "cluster") -> SequenceSolution:
    motion = motion_of(simulated.hints(source), OPTIONS)
    assert motion is not None
    solution = adjust_sequence(motion, simulated.results, OPTIONS)
    assert solution is not None
    return solution


def errors_m(solution: SequenceSolution, simulated: SimulatedSequence) -> np.ndarray:
    pairs = zip(solution.poses, simulated.truth, strict=True)
    return np.array([np.linalg.norm(p.world_from_cam.translation_m - t.translation_m) for p, t in pairs])


def sigma_m(solution: SequenceSolution, i: int) -> float:
    covariance = solution.poses[i].world_from_cam.covariance
    assert covariance is not None
    return float(np.sqrt(np.trace(covariance[:3, :3])))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("source", ["cluster", "computed"])
def test_sequence_flags_sharpens_and_fills(seed: int, source: str) -> None:
    simulated = simulate_sequence(WORLD, seed)
    solution = adjusted(simulated, source)
    error = errors_m(solution, simulated)
    assert {i for i, p in enumerate(solution.poses) if p.is_outlier} == simulated.wrong
    assert solution.n_outliers == len(simulated.wrong)
    free = [i for i, r in enumerate(simulated.results) if r is None]
    assert np.median(error[free]) < 0.15
    good = [i for i, r in enumerate(simulated.results) if r is not None and i not in simulated.wrong]
    single = [
        float(np.linalg.norm(r.translation_m - simulated.truth[i].translation_m))
        for i, r in enumerate(simulated.results)
        if r is not None and i in good
    ]
    assert np.median(error[good]) <= np.median(single)
    assert all(error[i] < 4 * sigma_m(solution, i) for i in range(len(error)))


def test_sigma_grows_with_the_distance_from_the_last_result() -> None:
    simulated = simulate_sequence(replace(WORLD, wrong=0.0), 1)
    results = [r or simulated.truth[i].with_covariance(np.eye(6) * 1e-3) for i, r in enumerate(simulated.results)]
    only_first = [r if i < 30 else None for i, r in enumerate(results)]
    solution = adjusted(replace(simulated, results=tuple(only_first)))
    sigma = [sigma_m(solution, i) for i in (28, 38, 48, 58)]
    assert sigma[0] < sigma[1] < sigma[2] < sigma[3]
    assert [solution.poses[i].images_to_result for i in (27, 30, 59)] == [0, 1, 30]
    assert solution.poses[59].metres_to_result == pytest.approx(30 * WORLD.step_m, rel=0.4)


def test_any_frame_and_scale_of_the_reconstruction_will_do() -> None:
    simulated = simulate_sequence(WORLD, 2)
    frame = Similarity(0.31, Rotation.from_rotvec([0.3, -1.2, 0.7]), np.array([40.0, -3.0, 9.0]))
    clusters = [("one", frame.apply_pose(pose)) for pose in simulated.frame_from_cam]
    motion = motion_of([MotionHints(np.full(3, np.nan), cluster=cluster) for cluster in clusters], OPTIONS)
    assert motion is not None
    unknown_scale = replace(motion, scale_sigma=np.full(len(motion) - 1, 10.0))
    solution = adjust_sequence(unknown_scale, simulated.results, OPTIONS)
    assert solution is not None
    assert np.median(errors_m(solution, simulated)) < 0.15


def test_two_reconstructions_are_bridged_by_reported_positions() -> None:
    """Each half is placed by its own results; the photo between them by the better of the two."""
    simulated = simulate_sequence(replace(WORLD, wrong=0.0), 3)
    turned = Similarity(1.04, Rotation.from_rotvec([0, 0, 0.05]), np.array([8.0, 1.0, 0.0]))
    hints = [
        replace(h, cluster=("two", turned.apply_pose(h.cluster[1])) if i >= 30 and h.cluster else h.cluster)
        for i, h in enumerate(simulated.hints())
    ]
    motion = motion_of(hints, OPTIONS)
    assert motion is not None
    assert list(np.flatnonzero(motion.source == MotionSource.GPS)) == [29]
    solution = adjust_sequence(motion, simulated.results, OPTIONS)
    assert solution is not None
    assert solution.n_outliers == 0
    assert np.median(errors_m(solution, simulated)) < 0.15


def test_a_part_without_results_of_its_own_knows_its_heading_badly() -> None:
    simulated = simulate_sequence(replace(WORLD, wrong=0.0), 3)
    hints = [replace(h, cluster=None if i >= 30 else h.cluster) for i, h in enumerate(simulated.hints())]
    results = [r if i < 30 else None for i, r in enumerate(simulated.results)]
    motion = motion_of(hints, OPTIONS)
    assert motion is not None
    solution = adjust_sequence(motion, results, OPTIONS)
    assert solution is not None
    covariance = solution.poses[40].world_from_cam.covariance
    assert covariance is not None
    assert np.degrees(np.sqrt(covariance[5, 5])) > 2 * OPTIONS.review_rotation_deg


def test_photos_without_a_pose_inside_a_reconstruction_are_stepped_over() -> None:
    simulated = simulate_sequence(WORLD, 4)
    hints = [replace(h, cluster=None if i in (10, 11) else h.cluster) for i, h in enumerate(simulated.hints())]
    motion = motion_of(hints, OPTIONS)
    assert motion is not None
    assert set(range(60)) - set(motion.members.tolist()) == {10, 11}
    assert (motion.source == MotionSource.CLUSTER).all()


def test_reported_positions_alone_flag_what_is_far_off_and_nothing_that_is_right() -> None:
    simulated = simulate_sequence(replace(WORLD, anchored=1.0, wrong=0.0), 5)
    results = list(simulated.results)
    off = results[20]
    assert off is not None
    results[20] = Pose(off.rotation, off.translation_m + np.array([15.0, 10.0, 0.0]), off.covariance)
    solution = adjusted(replace(simulated, results=tuple(results)), "gps")
    assert {i for i, p in enumerate(solution.poses) if p.is_outlier} == {20}


def test_without_results_or_positions_there_is_none() -> None:
    simulated = simulate_sequence(WORLD, 0)
    motion = motion_of(simulated.hints(), OPTIONS)
    assert motion is not None
    assert adjust_sequence(motion, [None] * 60, OPTIONS) is None
    with pytest.raises(ValueError, match="members"):
        adjust_sequence(motion, [None], OPTIONS)
    assert motion_of([MotionHints(np.full(3, np.nan))] * 5, OPTIONS) is None


def test_as_many_wrong_results_as_right_ones_say_nothing() -> None:
    simulated = simulate_sequence(replace(WORLD, wrong=0.0, anchored=0.1), 6)
    shift = np.random.default_rng(0).uniform(5, 30, (60, 3))
    results = [
        r if r is None or i % 2 else Pose(r.rotation, r.translation_m + shift[i], r.covariance)
        for i, r in enumerate(simulated.results)
    ]
    motion = motion_of(simulated.hints(), OPTIONS)
    assert motion is not None
    assert adjust_sequence(motion, results, OPTIONS) is None


def test_the_chain_solves_what_dense_algebra_solves() -> None:
    rng = np.random.default_rng(0)
    n, b = 6, 3
    dense = np.zeros((n * b, n * b))
    for i in range(n - 1):
        rows = rng.normal(0, 1, (8, 2 * b))
        dense[i * b : (i + 2) * b, i * b : (i + 2) * b] += rows.T @ rows
    gradient = rng.normal(0, 1, (n, b))
    blocks = dense.reshape(n, b, n, b).swapaxes(1, 2)
    chain = Chain(blocks[range(n), range(n)], blocks[range(n - 1), range(1, n)], gradient)
    np.testing.assert_allclose(chain.solve().ravel(), -np.linalg.solve(dense, gradient.ravel()), atol=1e-8)
    inverse = np.linalg.inv(dense)
    single, pairs = chain.marginals()
    for i in range(n):
        np.testing.assert_allclose(single[i], inverse[i * b : (i + 1) * b, i * b : (i + 1) * b], atol=1e-8)
    for i in range(n - 1):
        np.testing.assert_allclose(pairs[i], inverse[i * b : (i + 2) * b, i * b : (i + 2) * b], atol=1e-8)


def test_the_noise_of_the_motion_is_found() -> None:
    exact = replace(WORLD, wrong=0.0, anchored=1.0, result_m=0.02, result_deg=0.03)
    quiet, loud = (adjusted(simulate_sequence(replace(exact, translation_share=share), 7)) for share in (0.01, 0.06))
    assert loud.noise_factors[0] > 3 * quiet.noise_factors[0]


def test_device_offset_heading_bias_and_lag_are_found() -> None:
    rng = np.random.default_rng(0)
    time_s = np.arange(80.0)
    angle = 0.08 * time_s
    position = np.stack([60 * np.sin(angle), 60 * np.cos(angle)], axis=1)
    velocity = np.gradient(position, axis=0)
    reported = position + np.array([3.0, -2.0]) - 0.8 * velocity + rng.normal(0, 0.3, position.shape)
    heading = np.degrees(angle) % 360
    found = sequence_findings(reported, position, (heading + 356.0) % 360, heading, time_s)
    assert found.lag_s == pytest.approx(0.8, abs=0.05)
    assert found.heading_bias_deg == pytest.approx(4.0, abs=1e-6)
    parked = sequence_findings(position + np.array([3.0, -2.0]), position, heading, heading, time_s)
    assert (parked.median_east_m, parked.median_north_m) == pytest.approx((-3.0, 2.0))


def test_wrong_results_in_a_row_that_agree_with_each_other_are_found() -> None:
    """At the end of a sequence, where the good ones before them predict worse than they predict each other."""
    world = replace(WORLD, wrong=0.17, wrong_run=3, rotation_deg=0.132, translation_share=0.019)
    simulated = simulate_sequence(world, 31)
    assert len(simulated.wrong) == 3
    solution = adjusted(simulated)
    assert {i for i, p in enumerate(solution.poses) if p.is_outlier} == simulated.wrong
