"""MicKey's training loop: a scale that is learnt, resuming to the bit, what moves and what rests."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.mickey_training import INTRINSICS, PhotoPairs, ScaleNetwork, SyntheticPairs
from support.mickey_world import TINY_HEAD_DIM, seeded_model
from torch import Tensor
from torch.utils._pytree import tree_flatten

from geocorrect.errors import ModelError, UsageError
from geocorrect.networks.mickey.loading import assemble, read_heads
from geocorrect.networks.mickey.sizes import BACKBONE
from geocorrect.networks.mickey.train.options import (
    CurriculumOptions,
    DrawOptions,
    LossOptions,
    TrainOptions,
)
from geocorrect.networks.mickey.train.reinforce import rigid_alignment
from geocorrect.networks.mickey.train.trainee import MickeyTrainee
from geocorrect.networks.mickey.train.trainer import STATE_FILE, Trainer

SMALL = TrainOptions(
    draw=DrawOptions(draws=2, pairs_per_draw=24, motions_per_draw=3, set_size=3),
    loss=LossOptions(null_hypothesis=False),
    epochs=2,
    batch_size=2,
    save_every_steps=1000,
)


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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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
