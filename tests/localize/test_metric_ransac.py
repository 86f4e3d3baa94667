"""The metric pose solver: official parts, synthetic clouds with known motion, sampling, chance."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.metric_clouds import cloud_pair

from geocorrect.localize.estimators.metric_ransac import (
    MetricMotion,
    MetricRansacOptions,
    WeightedSampler,
    distances_m,
    estimate_motion,
    refine_motion,
    rigid_alignment,
    soft_count,
)

PUBLISHED = MetricRansacOptions()
QUICK = MetricRansacOptions(draws=4, pairs_per_draw=512, hypotheses_per_draw=40)


# --- parts, against the official outputs ---------------------------------------------------------------


def test_alignment_is_the_official_one(mickey_official: dict[str, np.ndarray]) -> None:
    source, target = mickey_official["pr_A"].astype(float), mickey_official["pr_B"].astype(float)
    rotation, translation = rigid_alignment(source, target, mickey_official["pr_w"].astype(float))
    np.testing.assert_allclose(rotation, mickey_official["pr_R_masked"], atol=1e-5)
    np.testing.assert_allclose(translation, mickey_official["pr_t_masked"][:, 0], atol=1e-5)
    rotation, translation = rigid_alignment(source[:, :3], target[:, :3])
    np.testing.assert_allclose(rotation, mickey_official["pr_R_unw"], atol=1e-5)
    np.testing.assert_allclose(translation, mickey_official["pr_t_unw"][:, 0], atol=1e-5)


def test_inlier_counts_are_the_official_ones(mickey_official: dict[str, np.ndarray]) -> None:
    source, target = mickey_official["pr_A"].astype(float), mickey_official["pr_B"].astype(float)
    motions = zip(*rigid_alignment(source, target, mickey_official["pr_w"].astype(float)), source, target, strict=True)
    distance = np.stack([distances_m(*motion) for motion in motions])
    np.testing.assert_allclose(soft_count(distance, 0.3), mickey_official["soft03"][:, 0], rtol=1e-5)
    np.testing.assert_allclose(soft_count(distance, 0.15), mickey_official["soft015"][:, 0], rtol=1e-5, atol=2e-5)
    np.testing.assert_array_equal(distance <= 0.15, mickey_official["hard015"].astype(bool))


def test_back_projection_is_the_official_one(mickey_official: dict[str, np.ndarray]) -> None:
    from geocorrect.geometry.camera import Camera
    from geocorrect.localize.estimators.mickey import points_m
    from geocorrect.match.metric_keypoints import MetricKeypoints

    for uv, z, k, expected in zip(
        *(mickey_official[name] for name in ("bp_uv", "bp_z", "bp_K", "bp_xyz")), strict=True
    ):
        camera = Camera.pinhole(200, 150, float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]))
        found, known = points_m(MetricKeypoints(uv.astype(float), z[:, 0].astype(float)), camera, False)
        assert known.all()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# --- parts, by themselves ------------------------------------------------------------------------------


def test_alignment_never_mirrors() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(50, 12, 3))
    target = source * [1.0, 1.0, -1.0] + rng.normal(size=(50, 12, 3)) * 0.01
    rotation, _ = rigid_alignment(source, target)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0)


@pytest.mark.parametrize("n_points", [0, 1, 2, 3])
def test_few_points_give_a_finite_rotation(n_points: int) -> None:
    points = np.random.default_rng(1).normal(size=(n_points, 3))
    rotation, translation = rigid_alignment(points, points + np.array([1.0, 2.0, 3.0]))
    assert np.isfinite(rotation).all()
    assert np.isfinite(translation).all()
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_distances_are_those_of_the_plain_formula() -> None:
    rng = np.random.default_rng(2)
    rotation = Rotation.random(4, rng=rng).as_matrix()
    translation, source, target = rng.normal(size=(4, 3)), rng.normal(size=(9, 3)), rng.normal(size=(9, 3))
    moved = np.einsum("kij,nj->kni", rotation, source) + translation[:, None]
    expected = np.sqrt(np.square(moved - target).sum(axis=-1) + 1e-6)
    np.testing.assert_allclose(distances_m(rotation, translation, source, target), expected, rtol=1e-12)


def test_soft_counts_by_hand() -> None:
    assert float(soft_count(np.array([0.3]), 0.3)) == pytest.approx(0.5)
    assert float(soft_count(np.array([0.0, 0.6]), 0.3)) == pytest.approx(1.0)  # sigmoid(5) + sigmoid(−5)
    assert float(soft_count(np.array([1e6]), 0.3)) == pytest.approx(0.0, abs=1e-100)


# --- sampling ------------------------------------------------------------------------------------------


def test_pairs_are_drawn_one_after_the_other_in_proportion_to_what_is_left() -> None:
    """Against enumeration over ordered draws, within 4 standard errors; concentrated weights take the other branch."""
    weight = np.array([0.5, 0.0, 0.3, 0.15, 0.05])
    expected = {
        (i, j): weight[i] * weight[j] / (1.0 - weight[i])
        for i, j in itertools.permutations(np.flatnonzero(weight).tolist(), 2)
    }
    sampler, rng, n = WeightedSampler(weight), np.random.default_rng(0), 8000
    for drawn in (
        [tuple(sampler.sample(2, rng).tolist()) for _ in range(n)],
        [tuple(row) for row in sampler.sample_sets(n, 2, rng).tolist()],
    ):
        for pair, probability in expected.items():
            share = drawn.count(pair) / n
            assert abs(share - probability) < 4.0 * np.sqrt(probability * (1.0 - probability) / n)


def test_a_few_entries_may_hold_nearly_everything() -> None:
    weight = np.full(1000, 1e-9)
    weight[[3, 700]] = 1.0
    sampler, rng = WeightedSampler(weight), np.random.default_rng(0)
    drawn = sampler.sample(500, rng)
    assert set(drawn[:2].tolist()) == {3, 700}
    assert len(set(drawn.tolist())) == 500
    sets = sampler.sample_sets(50, 3, rng)
    assert all(len(set(row)) == 3 and {3, 700} <= set(row) for row in sets.tolist())


def test_what_has_no_weight_is_never_drawn() -> None:
    weight = np.zeros(50)
    weight[[4, 10, 49]] = [1.0, 2.0, 3.0]
    sampler, rng = WeightedSampler(weight), np.random.default_rng(0)
    assert sorted(sampler.sample(10, rng).tolist()) == [4, 10, 49]
    assert {int(i) for i in sampler.sample_sets(100, 3, rng).ravel()} == {4, 10, 49}
    with pytest.raises(ValueError, match="3 positive weights do not make sets of 4"):
        sampler.sample_sets(1, 4, rng)
    for bad in (np.array([1.0, np.nan]), np.array([1.0, -1.0]), np.array([np.inf])):
        with pytest.raises(ValueError, match="finite and not negative"):
            WeightedSampler(bad)


# --- the whole -----------------------------------------------------------------------------------------


def _solve(seed: int, options: MetricRansacOptions = PUBLISHED, **world: float) -> tuple[MetricMotion, float, float]:
    pair = cloud_pair(seed, **world)  # type: ignore[arg-type]
    motion = estimate_motion(pair.anchor_m, pair.query_m, pair.weight, options, seed)
    assert motion is not None
    return motion, *pair.errors(motion.rotation, motion.translation_m)


@pytest.mark.long
def test_fifty_clouds_with_five_percent_depth_noise() -> None:
    """400 keypoints, 60 % of the weight on true pairs, depths of both clouds off by 5 %: medians over 50 seeds."""
    found = [_solve(seed) for seed in range(50)]
    assert np.median([degrees for _, degrees, _ in found]) < 0.5
    assert np.median([metres for _, _, metres in found]) < 0.03
    assert max(metres for _, _, metres in found) < 0.12
    assert min(motion.support for motion, _, _ in found) > 100


@pytest.mark.long
def test_ninety_percent_outliers_are_survived() -> None:
    found = [_solve(seed, outlier_share=0.9) for seed in range(10)]
    assert max(degrees for _, degrees, _ in found) < 1.0
    assert np.median([metres for _, _, metres in found]) < 0.05
    assert min(motion.confidence for motion, _, _ in found) > 40.0


def test_outliers_alone_are_told_by_support_and_confidence() -> None:
    for seed in range(5):
        motion, _, _ = _solve(seed, outlier_share=1.0)
        assert motion.confidence < 8.0
        assert motion.support <= 8


@pytest.mark.long
def test_crowded_outliers_are_told_by_chance() -> None:
    """A wall at arm's length: a hundred thousand wrong pairs lie within 15 cm whatever the motion is."""
    crowd = {"depth_m": (0.8, 1.2), "n_points": 700}
    for seed in range(3):
        wrong, _, _ = _solve(seed, outlier_share=1.0, **crowd)  # type: ignore[arg-type]
        assert len(wrong.source_index) > 30
        assert len(wrong.source_index) < 2.2 * wrong.n_by_chance
        right, _, metres = _solve(seed, outlier_share=0.85, **crowd)  # type: ignore[arg-type]
        assert metres < 0.1
        assert len(right.source_index) > 3.0 * right.n_by_chance


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    pair = cloud_pair(1)
    first, same, other = (estimate_motion(pair.anchor_m, pair.query_m, pair.weight, QUICK, seed) for seed in (7, 7, 8))
    assert first is not None
    assert same is not None
    assert other is not None
    assert first.rotation.tobytes() == same.rotation.tobytes()
    np.testing.assert_array_equal(first.source_index, same.source_index)
    assert first.rotation.tobytes() != other.rotation.tobytes()


def test_refinement_goes_on_while_more_agree() -> None:
    pair = cloud_pair(3, outlier_share=0.0)
    partner = np.argmax(pair.weight, axis=1)
    source, target = pair.anchor_m, pair.query_m[partner]
    off = pair.rotation * Rotation.from_rotvec([0.0, 0.03, 0.0])
    start = (off.as_matrix(), pair.translation_m)
    rotation, translation = refine_motion(*start, source, target, PUBLISHED)
    assert pair.errors(rotation, translation)[0] < 0.25 * pair.errors(*start)[0]
    unrefined = refine_motion(*start, source, target, replace(PUBLISHED, refinements=0))
    np.testing.assert_array_equal(unrefined[0], start[0])
    # Where not more than three agree, nothing is computed anew.
    far = (off.as_matrix(), pair.translation_m + 50.0)
    np.testing.assert_array_equal(refine_motion(*far, source, target, PUBLISHED)[1], far[1])


@pytest.mark.parametrize("weight", [np.zeros((5, 5)), np.eye(5)[:2].repeat([1, 1], axis=0)])
def test_too_few_pairs_give_no_motion(weight: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    assert estimate_motion(rng.normal(size=(len(weight), 3)), rng.normal(size=(5, 3)), weight, QUICK, 0) is None


def test_points_that_are_no_numbers_are_refused() -> None:
    points = np.full((6, 3), np.nan)
    with pytest.raises(ValueError, match="points must be finite"):
        estimate_motion(points, np.zeros((6, 3)), np.eye(6), QUICK, 0)


@pytest.mark.parametrize("change", [{"set_size": 2}, {"draws": 0}, {"inlier_m": 0.0}, {"soft_inlier_m": -1.0}])
def test_options_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        replace(PUBLISHED, **change)  # type: ignore[arg-type]
