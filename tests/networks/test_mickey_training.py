"""MicKey's training: estimated against exact gradients, hand counts."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from support.mickey_training import INTRINSICS, true_motion
from torch import Tensor

from geocorrect.geometry.pose import Pose
from geocorrect.networks.mickey.train.options import (
    CurriculumOptions,
    DrawOptions,
    LossOptions,
    PoseLoss,
    TrainOptions,
)
from geocorrect.networks.mickey.train.pose_losses import motion_losses, vcre_px
from geocorrect.networks.mickey.train.reinforce import (
    DrawnMotions,
    NearestRotation,
    PairGeometry,
    draws_without_replacement,
    expected_losses,
    pair_loss,
    refined_members,
    reinforce,
    rigid_alignment,
)
from geocorrect.networks.mickey.train.trainer import kept_pairs, kept_percent


def _random_rotations(count: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(Rotation.random(count, rng=np.random.default_rng(seed)).as_matrix())


# --- geometry ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_rotation_is_differentiated_exactly(sign: float) -> None:
    """Against finite differences, for clouds and for their mirror images."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(5, 3, 3, generator=generator, dtype=torch.float64)
    matrix = matrix * (sign * torch.linalg.det(matrix).sign())[:, None, None]
    assert torch.autograd.gradcheck(NearestRotation.apply, matrix.requires_grad_(True))


def test_equal_singular_values_have_a_finite_gradient() -> None:
    """Where the derivative of the decomposition itself is infinite."""
    matrix = torch.eye(3, dtype=torch.float64)[None].requires_grad_(True)
    rotation = NearestRotation.apply(matrix)
    (rotation * torch.arange(9.0).view(3, 3)).sum().backward()
    assert matrix.grad is not None
    expected = torch.arange(9.0, dtype=torch.float64).view(3, 3)
    torch.testing.assert_close(matrix.grad[0], (expected - expected.T) / 2.0)


def test_alignment_finds_the_motion_and_ignores_what_has_no_weight() -> None:
    rotation = _random_rotations(4)
    source = torch.randn(4, 20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    target = source @ rotation.mT + torch.tensor([1.0, -2.0, 0.5])
    weight = torch.ones(4, 20, dtype=torch.float64)
    weight[:, 15:] = 0.0
    target[:, 15:] += 3.0
    found, translation = rigid_alignment(source, target, weight)
    torch.testing.assert_close(found, rotation)
    torch.testing.assert_close(translation, torch.tensor([[1.0, -2.0, 0.5]]).double().expand(4, 3))


def test_refinement_grows_the_sets_to_the_pairs_that_agree() -> None:
    source = torch.randn(1, 30, 3, generator=torch.Generator().manual_seed(2))
    target = source @ _random_rotations(1).float().mT + 0.3
    target[:, 20:] += torch.tensor([2.0, 0.0, 0.0])
    members = torch.zeros(1, 2, 30)
    members[0, 0, :3] = 1.0  # three pairs that are right
    members[0, 1, 18:21] = 1.0  # one of three is wrong
    options = DrawOptions(set_size=3, pairs_per_draw=30)
    found = refined_members(source, target, members, options)
    assert found[0, 0].nonzero().flatten().tolist() == list(range(20))
    assert found[0, 1].sum() >= 3
    assert torch.equal(refined_members(source, target, members, replace(options, refinements=0)), members)


def test_the_screen_error_is_the_benchmarks() -> None:
    """Against the benchmark's own measure, where neither clips."""
    from geocorrect.evaluate.mapfree.benchmark import vcre_px as benchmark_vcre_px

    truth = Pose(Rotation.identity(), np.zeros(3))
    estimates = [Pose(Rotation.from_rotvec([0.01, 0.02, -0.01]), np.array([0.05, -0.02, 0.03])), truth]
    stacked = torch.from_numpy(np.stack([pose.matrix for pose in estimates]))
    found = vcre_px(stacked, torch.from_numpy(truth.matrix), torch.from_numpy(INTRINSICS), 720.0)
    expected = [benchmark_vcre_px(pose, truth, INTRINSICS, (720, 720)) for pose in estimates]
    np.testing.assert_allclose(found.numpy(), expected, atol=1.1e-3)  # √(0 + 1e-6) where there is no error


def test_losses_look_both_ways_and_saturate() -> None:
    truth = torch.from_numpy(true_motion(3)).float()
    estimates = torch.stack([truth, torch.eye(4)])
    lens = torch.from_numpy(INTRINSICS).float()
    wide = lens * torch.tensor([[0.5, 1, 1], [1, 0.5, 1], [1, 1, 1]])
    soft = motion_losses(estimates, truth, lens, lens, LossOptions())
    assert float(soft[0]) < 1e-4
    assert 0.3 < float(soft[1]) < 1.0
    hard = motion_losses(estimates, truth, lens, lens, LossOptions(soft_clip=False))
    torch.testing.assert_close(torch.tanh(hard / 80.0), soft)
    inverse = motion_losses(torch.linalg.inv(estimates), torch.linalg.inv(truth), wide, lens, LossOptions())
    torch.testing.assert_close(
        inverse, motion_losses(estimates, truth, lens, wide, LossOptions()), atol=2e-4, rtol=1e-3
    )
    by_pose = motion_losses(estimates, truth, lens, lens, LossOptions(kind=PoseLoss.POSE))
    angle = float(Rotation.from_matrix(truth[:3, :3].numpy()).magnitude())
    expected = math.tanh(angle / 0.9) + math.tanh(float(truth[:3, 3].abs().sum()) / 0.9)
    assert float(by_pose[1]) == pytest.approx(expected, rel=1e-3)
    assert float(by_pose[0]) == pytest.approx(0.0, abs=1e-3)


# --- REINFORCE -----------------------------------------------------------------------------------------

WEIGHT = torch.tensor([[0.30, 0.02, 0.10], [0.05, 0.20, 0.03], [0.08, 0.12, 0.10]], dtype=torch.float64)
LOSS = torch.tensor([[0.1, 0.9, 0.5], [0.7, 0.2, 0.8], [0.3, 0.6, 0.4]], dtype=torch.float64)
DRAWS, REPETITIONS = 20, 1000


@cache
def _estimates(count: int, baseline: bool = True) -> np.ndarray:
    """(repetitions, 9) gradients by log weight, from 20 draws of `count` pairs each; a draw's loss is the mean of its
    pairs'.
    """
    generator = torch.Generator().manual_seed(5)
    estimates = []
    for _ in range(REPETITIONS):
        log_weight = WEIGHT.log().flatten().requires_grad_(True)
        pairs = draws_without_replacement(WEIGHT.flatten(), count, DRAWS, generator)
        losses = LOSS.flatten()[pairs].mean(dim=1)
        drawn = log_weight.exp()[pairs]
        surrogate = reinforce(losses, drawn) if baseline else (losses[:, None] * drawn.log()).sum() / DRAWS
        surrogate.backward()
        assert log_weight.grad is not None
        estimates.append(log_weight.grad.numpy())
    return np.stack(estimates)


def _assert_within_three_standard_errors(estimates: np.ndarray, expected: np.ndarray) -> None:
    error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates))
    assert (np.abs(estimates.mean(axis=0) - expected) < 3.0 * error).all()


@pytest.mark.long
def test_the_estimated_gradient_is_the_exact_one() -> None:
    """One pair per draw: the expected loss is Σ p l with p = w / Σ w, enumerated over the nine pairs.

    A draw is part of its own baseline, which shortens the gradient by (Q − 1) / Q.
    """
    log_weight = WEIGHT.log().flatten().requires_grad_(True)
    (log_weight.softmax(dim=0) * LOSS.flatten()).sum().backward()
    assert log_weight.grad is not None
    exact = log_weight.grad.numpy()
    assert np.abs(exact).max() > 0.03
    _assert_within_three_standard_errors(_estimates(1), (DRAWS - 1) / DRAWS * exact)


@pytest.mark.long
def test_two_pairs_per_draw_are_drawn_one_after_the_other() -> None:
    """Enumerated over ordered pairs: P(i) P(j | i), and the estimator's expectation over the sets that hold a pair."""
    weight, loss = WEIGHT.flatten().numpy(), LOSS.flatten().numpy()
    share = weight / weight.sum()
    probability = {(i, j): share[i] * share[j] / (1.0 - share[i]) for i, j in itertools.permutations(range(9), 2)}
    assert sum(probability.values()) == pytest.approx(1.0)
    mean = sum(p * (loss[i] + loss[j]) / 2 for (i, j), p in probability.items())
    expected = np.zeros(9)
    for (i, j), p in probability.items():
        for member in (i, j):
            expected[member] += p * ((loss[i] + loss[j]) / 2 - mean)
    _assert_within_three_standard_errors(_estimates(2), (DRAWS - 1) / DRAWS * expected)


@pytest.mark.long
def test_the_baseline_lowers_the_variance() -> None:
    assert _estimates(1).var(axis=0).sum() < 0.5 * _estimates(1, baseline=False).var(axis=0).sum()


def test_the_gradient_by_hand() -> None:
    """Two draws with losses 1 and 3, mean 2: pairs of the first get −1/2, of the second +1/2, of both 0."""
    weight = torch.tensor([0.5, 0.2, 0.3, 0.9], dtype=torch.float64, requires_grad=True)
    pairs = torch.tensor([[0, 1], [1, 2]])
    reinforce(torch.tensor([1.0, 3.0], dtype=torch.float64), weight[pairs]).backward()
    assert weight.grad is not None
    np.testing.assert_allclose(weight.grad.numpy() * weight.detach().numpy(), [-0.5, 0.0, 0.5, 0.0], atol=1e-12)


# --- null hypothesis -----------------------------------------------------------------------------------


def test_no_pose_competes_with_the_poses() -> None:
    """By hand: soft counts 0 against 0.35 · 512 / 20, and a draw in which one motion has 300 pairs."""
    scores = torch.zeros(2, 20)
    scores[1, 4] = 300.0
    losses = torch.full((2, 20), 0.3)
    losses[1, 4] = 0.1
    found = expected_losses(DrawnMotions(torch.zeros(0), scores), losses, 512, 20.0, LossOptions())
    null = math.exp(0.35 * 512 / 20)
    first = (20 * 0.3 + null * 0.8) / (20 + null)
    best = math.exp(300.0 / 20)
    second = (19 * 0.3 + best * 0.1 + null * 0.8) / (19 + best + null)
    np.testing.assert_allclose(found.numpy(), [first, second], rtol=1e-5)
    without = expected_losses(
        DrawnMotions(torch.zeros(0), scores), losses, 512, 20.0, LossOptions(null_hypothesis=False)
    )
    np.testing.assert_allclose(without.numpy(), [0.3, (19 * 0.3 + best * 0.1) / (19 + best)], rtol=1e-5)
    raw = LossOptions(soft_clip=False)
    unclipped = expected_losses(DrawnMotions(torch.zeros(0), scores[:1]), losses[:1], 512, 20.0, raw)
    assert float(unclipped) == pytest.approx((20 * 0.3 + null * 90.0) / (20 + null), rel=1e-5)


def _gradient_size(null_hypothesis: bool) -> float:
    """Of a pair of images that share nothing: random points, 512 pairs per draw."""
    generator = torch.Generator().manual_seed(3)
    source = (torch.rand(40, 3, generator=generator) * 8.0).requires_grad_(True)
    target = torch.rand(40, 3, generator=generator) * 8.0
    weight = torch.rand(40, 40, generator=generator).requires_grad_(True)
    lens = torch.from_numpy(INTRINSICS).float()
    geometry = PairGeometry(torch.eye(4), lens, lens, lens, lens)
    options = TrainOptions(draw=DrawOptions(draws=4), loss=LossOptions(null_hypothesis=null_hypothesis))
    pair_loss(source, target, weight, geometry, options, generator).total.backward()
    assert source.grad is not None
    assert weight.grad is not None
    return float(source.grad.norm() + weight.grad.norm())


def test_images_that_share_nothing_pull_at_nothing() -> None:
    assert _gradient_size(null_hypothesis=True) < 0.02 * _gradient_size(null_hypothesis=False)


# --- curriculum ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_pairs", "epoch", "expected"),
    [(8, 0, 2), (8, 1, 2), (8, 2, 3), (8, 9, 6), (8, 10, 6), (8, 99, 6), (32, 0, 9), (3, 0, 1), (1, 0, 1), (2, 99, 1)],
)
def test_how_many_pairs_are_learnt_from(n_pairs: int, epoch: int, expected: int) -> None:
    losses = [0.1 * number for number in range(n_pairs)][::-1]
    kept = kept_pairs(losses, epoch, CurriculumOptions())
    assert kept.nonzero().flatten().tolist() == list(range(n_pairs - expected, n_pairs))


def test_shares_rise_to_their_end() -> None:
    options = CurriculumOptions()
    assert [kept_percent(epoch, options) for epoch in (0, 1, 9, 10, 11)] == [30.0, 35.0, 75.0, 80.0, 80.0]


def test_ties_losses_that_are_no_numbers_and_no_curriculum() -> None:
    assert kept_pairs([0.5] * 8, 0, CurriculumOptions()).sum() == 0, "none is strictly below the third"
    assert kept_pairs([0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 0, CurriculumOptions()).tolist() == [True] + [False] * 7
    with_nan = kept_pairs([math.nan, 0.2, math.inf, 0.4], 0, replace(CurriculumOptions(), first_percent=50.0))
    assert with_nan.tolist() == [False, True, False, True]
    everything = kept_pairs([0.9, 0.1, math.nan], 0, CurriculumOptions(enabled=False))
    assert everything.tolist() == [True, True, False]


@pytest.mark.parametrize(("draws", "set_size"), [(1, 5), (20, 2), (20, 600)])
def test_options_that_make_no_sense_are_refused(draws: int, set_size: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        DrawOptions(draws=draws, set_size=set_size)
