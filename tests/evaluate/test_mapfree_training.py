"""Training on a Map-free set from files to files: a tiny network, one step, judged on a validation set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.mapfree_world import write_set
from support.mickey_world import TINY, TINY_HEAD_DIM, seeded_model

from geocorrect.errors import InputError, ModelError
from geocorrect.evaluate.mapfree.scene_files import read_set
from geocorrect.evaluate.mapfree.training_pairs import (
    MapfreeTraining,
    TrainingPairOptions,
    build_trainer,
    validate_mapfree,
)
from geocorrect.networks.mickey.loading import load_mickey
from geocorrect.networks.mickey.sizes import BACKBONE
from geocorrect.networks.mickey.train.options import DrawOptions, TrainOptions
from geocorrect.networks.mickey.train.trainer import STATE_FILE
from geocorrect.networks.runtime import Runtime


@pytest.fixture
def training(tmp_path: Path) -> MapfreeTraining:
    prefix = f"{BACKBONE}."
    state = seeded_model().state_dict()
    torch.save({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}, tmp_path / "dino.pth")
    return MapfreeTraining(
        training_set=write_set(tmp_path / "train", n_scenes=1, training=True),
        backbone=tmp_path / "dino.pth",
        folder=tmp_path / "run",
        validation_set=write_set(tmp_path / "val", n_scenes=1, n_queries=2),
        pairs=TrainingPairOptions(size=(160, 120), pairs_per_scene=2),
        options=TrainOptions(
            draw=DrawOptions(draws=2, pairs_per_draw=16, motions_per_draw=2, set_size=3), epochs=1, batch_size=2
        ),
        runtime=Runtime(device="cpu"),
    )


@pytest.mark.long
def test_one_epoch_writes_a_network_that_loads(training: MapfreeTraining) -> None:
    trainer = build_trainer(training, TINY)
    assert trainer.run()
    assert trainer.progress.step == 1
    assert set(trainer.progress.best) == {"vcre_auc", "pose_auc"}
    model = load_mickey(training.folder / STATE_FILE, training.backbone, TINY_HEAD_DIM)
    assert model.sizes == TINY
    # A second phase may begin with these heads.
    again = replace(training, folder=training.folder.parent / "second", start=training.folder / STATE_FILE)
    state = build_trainer(again, TINY).network.trained_state()
    dustbin = "matcher.matching_mat.dustbin_score"
    assert torch.equal(state[f"compute_matches.{dustbin}"], model.state_dict()[dustbin])


@pytest.mark.long
def test_fresh_heads_depend_on_the_seed_alone(training: MapfreeTraining) -> None:
    def weights(seed: int) -> torch.Tensor:
        changed = replace(training, folder=training.folder / str(seed), options=replace(training.options, seed=seed))
        return build_trainer(changed, TINY).network.trained_state()["compute_matches.extractor.depth_head.depth.weight"]

    first = weights(0)
    torch.rand(5)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


def test_a_backbone_of_another_size_is_named(training: MapfreeTraining) -> None:
    with pytest.raises(ModelError, match=r"dino.pth: not this backbone"):
        build_trainer(training, replace(TINY, backbone_depth=2))
    with pytest.raises(ModelError, match=r"none.pth: no such checkpoint file"):
        build_trainer(replace(training, backbone=training.folder / "none.pth"), TINY)


def test_validation_needs_published_poses(training: MapfreeTraining) -> None:
    assert training.validation_set is not None
    poses = training.validation_set / "s00000" / "poses.txt"
    poses.write_text("seq1/frame_00000.jpg 0 0 0 0 0 0 0\n")
    with pytest.raises(InputError, match="validate on a set whose poses are published"):
        validate_mapfree(seeded_model(), read_set(training.validation_set))
    with pytest.raises(InputError, match="validate on a set whose poses are published"):
        build_trainer(training, TINY)
