"""MicKey's training: estimated against exact gradients, hand counts, a scale that is learnt, resuming to the bit."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from support.mickey_training import INTRINSICS, PhotoPairs, ScaleNetwork, SyntheticPairs, true_motion
from support.mickey_world import TINY_HEAD_DIM, seeded_model
from torch import Tensor
from torch.utils._pytree import tree_flatten

from geocorrect.errors import ModelError, UsageError
from geocorrect.geometry.pose import Pose
from geocorrect.networks.mickey.loading import assemble, read_heads
from geocorrect.networks.mickey.sizes import BACKBONE
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
from geocorrect.networks.mickey.train.trainee import MickeyTrainee
from geocorrect.networks.mickey.train.trainer import STATE_FILE, Trainer, kept_pairs, kept_percent

SMALL = TrainOptions(
    draw=DrawOptions(draws=2, pairs_per_draw=24, motions_per_draw=3, set_size=3),
    loss=LossOptions(null_hypothesis=False),
    epochs=2,
    batch_size=2,
    save_every_steps=1000,
)


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


# --- learning ------------------------------------------------------------------------------------------


def _translation_error_m(network: ScaleNetwork) -> float:
    """Mean over pairs, each aligned on its true matches."""
    source = SyntheticPairs(4)
    errors = []
    for item in range(4):
        pair = source.load(item)
        images = [torch.from_numpy(image).permute(2, 0, 1)[None] / 255.0 for image in (pair.image0, pair.image1)]
        with torch.no_grad():
            found0, found1, _ = network.predict(images[0], images[1])
        points = [
            (torch.linalg.inv(torch.from_numpy(INTRINSICS).float()) @ torch.cat([f.px[0], torch.ones(1, 64)])).mT
            * f.depth_m[0][:, None]
            for f in (found0, found1)
        ]
        _, translation = rigid_alignment(points[0], points[1], torch.ones(64))
        errors.append(float(np.linalg.norm(translation.numpy() - pair.cam1_from_cam0[:3, 3])))
    return float(np.mean(errors))


def test_a_tiny_network_learns_the_scale_of_its_depths(tmp_path: Path) -> None:
    network = ScaleNetwork(1.4)
    before = _translation_error_m(network)
    options = TrainOptions(
        draw=DrawOptions(draws=4, pairs_per_draw=64, motions_per_draw=6),
        loss=LossOptions(null_hypothesis=False),
        curriculum=CurriculumOptions(enabled=False),
        learning_rate=0.02,
        batch_size=4,
        epochs=25,
    )
    sharpness = float(network.sharpness.detach())
    assert Trainer(network, SyntheticPairs(4), options, tmp_path).run()
    after = _translation_error_m(network)
    assert before > 0.3
    assert after < 0.5 * before
    assert abs(float(network.log_scale.detach().exp()) - 1.0) < 0.2
    assert float(network.sharpness.detach()) > sharpness, "REINFORCE prefers the pairs that are right"


def _trainee(seed: int = 4) -> MickeyTrainee:
    return MickeyTrainee(seeded_model(seed))


def _trainer(folder: Path, options: TrainOptions = SMALL) -> Trainer:
    return Trainer(_trainee(), PhotoPairs(4), options, folder)


def test_interrupted_and_resumed_is_uninterrupted(tmp_path: Path) -> None:
    """Stopped after every single step, in the middle of epochs too, by a process that forgets everything."""
    whole = _trainer(tmp_path / "whole")
    assert whole.run()
    assert whole.progress.step == 4
    for stopped_after in (1, 2, 3):
        part = _trainer(tmp_path / "parts")
        assert part.progress.step == stopped_after - 1
        assert not part.run(stop=lambda: True)
    last = _trainer(tmp_path / "parts")
    assert last.run()
    # Weights, running statistics, moments of the optimizer, counts: all of it, to the bit.
    states = [torch.load(tmp_path / name / STATE_FILE, weights_only=True) for name in ("whole", "parts")]
    leaves = [tree_flatten(state) for state in states]
    assert leaves[0][1] == leaves[1][1]
    assert len(leaves[0][0]) > 600
    for expected, found in zip(leaves[0][0], leaves[1][0], strict=True):
        assert torch.equal(expected, found) if isinstance(expected, Tensor) else expected == found


def test_heads_learn_and_the_backbone_rests(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    before = {key: tensor.clone() for key, tensor in _trainee().mickey.state_dict().items()}
    reports = []
    trainer.run(report=reports.append)
    assert all(math.isfinite(told.loss) and told.n_kept == 1 for told in reports)
    assert trainer.progress.skipped_steps == 0
    trainee = trainer.network
    assert isinstance(trainee, MickeyTrainee)
    after = trainee.mickey.state_dict()
    moved = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert not any(key.startswith(BACKBONE) for key in moved)
    for part in (
        "depth_head.depth.weight",
        "det_offset.xy_offset.weight",
        "dsc_head.resblock4.conv2.weight",
        "det_head.score.weight",
        "depth_head.resblock1.bn1.running_mean",
    ):
        assert f"extractor.{part}" in moved
    assert "matcher.matching_mat.dustbin_score" in moved


def test_the_state_is_a_checkpoint_of_the_heads(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, replace(SMALL, epochs=1))
    trainer.run()
    heads = read_heads(tmp_path / STATE_FILE)
    backbone = {key: tensor for key, tensor in seeded_model().state_dict().items() if key.startswith(BACKBONE)}
    model = assemble(heads | backbone, TINY_HEAD_DIM)
    trained = trainer.network.trained_state()
    assert torch.equal(
        model.matcher.matching_mat.dustbin_score, trained["compute_matches.matcher.matching_mat.dustbin_score"]
    )


def test_another_training_is_not_continued(tmp_path: Path) -> None:
    _trainer(tmp_path, replace(SMALL, epochs=1)).run()
    with pytest.raises(UsageError, match=r"learning_rate: 0.0001 then, 0.01 now"):
        _trainer(tmp_path, replace(SMALL, learning_rate=0.01))
    with pytest.raises(UsageError, match=r"data: 'photos/4/\(140, 126\)' then, 'photos/5/\(140, 126\)' now"):
        Trainer(_trainee(), PhotoPairs(5), SMALL, tmp_path)
    assert _trainer(tmp_path, replace(SMALL, epochs=3)).progress.epoch == 1
    state = tmp_path / STATE_FILE
    state.write_bytes(state.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"training.ckpt: .*damaged"):
        _trainer(tmp_path)


class _Exploding(ScaleNetwork):
    """Its gradient is no number."""

    def predict(self, images0: Tensor, images1: Tensor) -> object:  # type: ignore[override]
        found0, found1, weight = super().predict(images0, images1)
        bad = (self.log_scale - self.log_scale.detach()).sqrt()  # 0, with an infinite derivative
        return replace(found0, depth_m=found0.depth_m * (1.0 + bad)), found1, weight


def test_a_step_whose_gradient_is_no_number_is_left_out(tmp_path: Path) -> None:
    network = _Exploding(1.2)
    before = {key: tensor.clone() for key, tensor in network.trained_state().items()}
    trainer = Trainer(network, SyntheticPairs(2), replace(SMALL, epochs=1), tmp_path)
    trainer.run()
    assert trainer.progress.skipped_steps == trainer.progress.step == 1
    assert all(torch.equal(before[key], tensor) for key, tensor in network.trained_state().items())


def test_the_best_networks_are_kept(tmp_path: Path) -> None:
    figures = iter([{"vcre_auc": 0.3, "pose_auc": 0.2}, {"vcre_auc": 0.2, "pose_auc": math.nan}])
    trainer = Trainer(ScaleNetwork(1.2), SyntheticPairs(2), SMALL, tmp_path, validate=lambda network: next(figures))
    trainer.run()
    assert trainer.progress.best == {"vcre_auc": 0.3, "pose_auc": 0.2}
    first = torch.load(tmp_path / "best-vcre_auc.ckpt", weights_only=True)["progress"]
    assert first["epoch"] == 1
    assert (tmp_path / "best-pose_auc.ckpt").is_file()


@pytest.mark.parametrize(("draws", "set_size"), [(1, 5), (20, 2), (20, 600)])
def test_options_that_make_no_sense_are_refused(draws: int, set_size: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        DrawOptions(draws=draws, set_size=set_size)
