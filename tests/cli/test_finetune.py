"""`geocorrect models finetune mast3r` from catalogs and scans on disk to a head that depth uses."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.mast3r_world import TINY
from support.vbr_world import HEIGHT, WIDTH, VbrWorld
from typer.testing import CliRunner, Result

from geocorrect.cli.app import app
from geocorrect.config import load_settings
from geocorrect.depth.mast3r import Mast3rDepth, build
from geocorrect.errors import ConfigError, InputError, ModelError, UsageError
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.runtime import with_runtime
from geocorrect.networks.weights import ModelAccess, accept


@dataclass
class Place:
    """Two scenes with scans, one without, a checkpoint and a configuration."""

    folder: Path
    config: Path
    checkpoint: Path

    def finetune(self, train: str = "train", validate: str = "validate", *more: str) -> Result:
        scenes = ["--train", str(self.folder / f"{train}.gpkg"), "--validate", str(self.folder / f"{validate}.gpkg")]
        numbers = ["--epochs", "1", "--batch-size", "2", "--accumulation", "1", "--out", str(self.folder / "out")]
        command = ["--config", str(self.config), "models", "finetune", "mast3r", *scenes, *numbers, *more]
        return CliRunner().invoke(app, command, catch_exceptions=False)


@pytest.fixture
def place(vbr: VbrWorld, tmp_path: Path) -> Place:
    alignment = tmp_path / "alignment.json"
    alignment.write_text(json.dumps(vbr.alignment.as_json()))
    for number, (scene, scans) in enumerate({"train": "required", "validate": "required", "bare": "none"}.items()):
        drive, rng = tmp_path / f"{scene}-drive", np.random.default_rng(number)
        shutil.copytree(vbr.folder, drive)
        for path in (drive / "camera_left/data").glob("*.png"):
            cv2.imwrite(str(path), rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
        command = [
            "anchors", "add", str(drive), "--format", "vbr", "--ground-truth", str(vbr.ground_truth), "--scans", scans,
            "--alignment", str(alignment), "--calibration", str(vbr.calibration), "--spacing-m", "4",
            "--catalog", str(tmp_path / f"{scene}.gpkg"),
        ]  # fmt: skip
        assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    torch.manual_seed(0)
    model = Mast3r(replace(TINY, encoder_heads=1, decoder_dim=64, decoder_heads=1))
    model.downstream_head1.dpt.head[4].bias.data[2] += 2.0
    checkpoint = tmp_path / "model.safetensors"
    save_file(model.state_dict(), checkpoint)
    accept("mast3r", ModelAccess(tmp_path / "weights"))
    config = tmp_path / "geocorrect.toml"
    config.write_text(
        '[models.access]\nfolder = "weights"\n[match.mast3r]\ncheckpoint = "model.safetensors"\n'
        "[depth.mast3r]\nlong_side_px = 64\n"
    )
    return Place(tmp_path, config, checkpoint)


@pytest.mark.long
def test_from_scans_to_a_head_that_depth_uses(place: Place) -> None:
    run = place.finetune()
    assert run.exit_code == 0
    assert "epoch 1: training" in run.stderr
    out = place.folder / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "head.safetensors",
        "history.json",
        "tokens",
        "training.ckpt",
        "views",
    ]
    base, head = load_file(place.checkpoint), load_file(out / "head.safetensors")
    assert {key: tensor.shape for key, tensor in head.items()} == {
        key: tensor.shape for key, tensor in base.items() if key.startswith("downstream_head1.dpt.")
    }
    place.config.write_text(place.config.read_text() + 'head = "file"\nhead_file = "out/head.safetensors"\n')
    settings = load_settings(place.config, {}).settings
    source = build(with_runtime(settings.with_shared_checkpoints().depth.mast3r, settings.models))
    assert isinstance(source, Mast3rDepth)
    assert "head-" in source.fingerprint
    assert source.points_of_pair(*[np.zeros((48, 64, 3), np.uint8)] * 2).xyz_m.shape == (48, 64, 3)
    with pytest.raises(ConfigError, match="begins with the base head"):
        place.finetune()

    tensors = load_file(place.checkpoint)
    tensors["dec_norm.bias"] += 1.0
    save_file(tensors, place.checkpoint)
    with pytest.raises(ModelError, match=r"head\.safetensors: belongs to the checkpoint with sha256"):
        build(with_runtime(settings.with_shared_checkpoints().depth.mast3r, settings.models))
    place.config.write_text(place.config.read_text().split("head =")[0])
    with pytest.raises(UsageError, match="base checkpoint: "):
        place.finetune()


@pytest.mark.slow
def test_the_grid_is_trained_and_drawn_by_one_command(place: Place) -> None:
    out = place.folder / "grid"
    scenes = ["--train", str(place.folder / "train.gpkg"), "--validate", str(place.folder / "validate.gpkg")]
    numbers = ["--epochs", "2", "--batch-size", "2", "--accumulation", "1", "--learning-rates", "1e-3"]
    command = ["--config", str(place.config), "models", "finetune", "grid", *scenes, *numbers, "--out", str(out)]
    first = CliRunner().invoke(app, command, catch_exceptions=False)
    assert first.exit_code == 0
    names = {"none_0.001", "metric_0.001", "relative_0.001", "metric_scaled_0.001"}
    assert names <= {path.name for path in out.iterdir()}
    assert not any((out / name / "tokens").exists() for name in names)
    assert all(f"| {name} | 2 |" in first.stdout for name in names)
    assert "Figure 14" in (out / "report.html").read_text()
    states = {name: (out / name / "training.ckpt").read_bytes() for name in names}
    assert CliRunner().invoke(app, command, catch_exceptions=False).stdout == first.stdout
    assert all((out / name / "training.ckpt").read_bytes() == state for name, state in states.items())


@pytest.mark.long
def test_scenes_that_teach_nothing_are_named_and_nothing_is_written(place: Place) -> None:
    with pytest.raises(InputError, match=r"bare\.gpkg: none of its \d+ anchors has a laser scan"):
        place.finetune(train="bare")
    with pytest.raises(UsageError, match="shares anchors with"):
        place.finetune(validate="train")
    with pytest.raises(UsageError, match="'l3' is not a valid PointLoss"):
        place.finetune("train", "validate", "--loss", "l3")
    assert not (place.folder / "out").exists()
