"""From a folder of weights to an engine: licence and damage are named, nothing is loaded before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.mapanything_world import seeded_model, street_views

from geocorrect.errors import ModelError
from geocorrect.networks import cards
from geocorrect.networks.cards import APACHE, CC_BY_NC, Licence, ModelCard, RemoteFile, Task
from geocorrect.networks.mapanything.loading import load_engine
from geocorrect.networks.mapanything.sizes import SUPPORTED_HEAD, MapAnythingSizes
from geocorrect.networks.runtime import Precision, Runtime
from geocorrect.networks.shapes import StackSizes
from geocorrect.networks.weights import ModelAccess, Profile, verify

SMALL = MapAnythingSizes(
    patch_px=14,
    position_grid=37,
    encoder=StackSizes(dim=64, depth=2, heads=1, hidden_dim=176),
    transformer=StackSizes(dim=64, depth=4, heads=2, hidden_dim=176),
    taps=(1, 2),
    scale_token_dim=64,
    ray_dims=(16, 20, 24),
    depth_dims=(12, 16, 20),
    global_dims=(8, 12, 16),
    dpt_layer_dims=(8, 12, 16, 24),
    dpt_feature_dim=16,
    dpt_last_dim=8,
    pose_hidden_dim=16,
    scale_hidden_dim=12,
)
CONFIG = {
    "info_sharing_config": {"module_args": {"indices": [1, 2], "num_heads": 2}},
    "pred_head_config": {"adaptor_type": SUPPORTED_HEAD},
    "use_register_tokens_from_encoder": True,
}


def _card(name: str, licence: Licence) -> ModelCard:
    return ModelCard(
        name=name,
        title="MapAnything v1.1",
        task=Task.DEPTH,
        hub_id="facebook/map-anything-apache",
        files=(RemoteFile("config.json"), RemoteFile("model.safetensors")),
        size_mb=4914,
        memory_mb=7500,
        licence=licence,
        code="geocorrect (Apache-2.0)",
        valid_range_m=(0.3, 80.0),
        relative_depth_sigma=0.3,
    )


@pytest.fixture(autouse=True)
def _cards(monkeypatch: pytest.MonkeyPatch) -> None:
    for card in (_card("mapanything_apache", APACHE), _card("mapanything", CC_BY_NC)):
        monkeypatch.setitem(cards.CARDS, card.name, card)  # type: ignore[arg-type]


def _fill(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(dict(seeded_model(sizes=SMALL).state_dict()), folder / "model.safetensors")
    return folder


@pytest.mark.long
def test_verified_weights_make_an_engine_that_answers(tmp_path: Path) -> None:
    _fill(tmp_path / "mapanything_apache")
    access = ModelAccess(tmp_path, Profile.COMMERCIAL)
    with pytest.raises(ModelError, match="not verified yet"):
        load_engine(Runtime(access=access))
    verify("mapanything_apache", access)
    engine = load_engine(Runtime(device="cpu", precision=Precision.BFLOAT16, access=access))
    assert engine.fingerprint.startswith("mapanything/mapanything_apache-")
    assert engine.fingerprint.endswith("/bfloat16")
    found = engine.poses(street_views(2))
    assert len(found.first_from_view) == 2
    assert engine.model.dtype is torch.bfloat16


def test_weights_for_research_are_refused_commercially(tmp_path: Path) -> None:
    _fill(tmp_path / "mapanything")
    with pytest.raises(ModelError, match="commercial"):
        load_engine(Runtime(access=ModelAccess(tmp_path, Profile.COMMERCIAL)), "mapanything")


def test_a_file_of_ones_own_needs_its_config_beside_it(tmp_path: Path) -> None:
    folder = _fill(tmp_path / "own")
    runtime = Runtime(device="cpu", access=ModelAccess(tmp_path))
    engine = load_engine(runtime, checkpoint=folder / "model.safetensors")
    assert len(engine.poses(street_views(2)).first_from_view) == 2
    (folder / "config.json").rename(folder / "elsewhere.json")
    with pytest.raises(ModelError, match=r"config\.json: no such file"):
        load_engine(
            Runtime(device="cpu", access=ModelAccess(tmp_path)), "mapanything_apache", folder / "model.safetensors"
        )


def test_damaged_weights_are_refused_when_they_are_first_used(tmp_path: Path) -> None:
    folder = _fill(tmp_path / "damaged")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    engine = load_engine(Runtime(device="cpu", access=ModelAccess(tmp_path)), checkpoint=folder / "model.safetensors")
    with pytest.raises(ModelError, match="truncated or damaged"):
        engine.poses(street_views(2))


@pytest.mark.long
@pytest.mark.parametrize("module", ["localize.estimators.mapanything", "localize.focal_prior", "depth.mapanything"])
def test_its_uses_import_no_torch(module: str) -> None:
    code = f"import sys, geocorrect.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
