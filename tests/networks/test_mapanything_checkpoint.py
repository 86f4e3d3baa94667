"""Published layouts load; whatever is truncated, wrong or hostile is refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.hostile_pickle import TouchesFile
from support.mapanything_world import TINY, TINY_ENCODER_HEAD_DIM, TINY_V1, seeded_model
from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.networks.mapanything.loading import CONFIG, assemble, first_name, load_mapanything
from geocorrect.networks.mapanything.sizes import (
    SUPPORTED_HEAD,
    V1_1,
    Layout,
    MapAnythingSizes,
    layout_from_config,
    read_layout,
)

Tensors = dict[str, Tensor]
LAYOUT = Layout((3, 5), 4, class_tokens=True, encoder_head_dim=TINY_ENCODER_HEAD_DIM)
LAYOUT_V1 = Layout((3, 5), 4, class_tokens=False, encoder_head_dim=TINY_ENCODER_HEAD_DIM)
CONVOLUTIONS = [f"dense_head.0.input_process.{index}.1.weight" for index in range(4)]


def config(**changes: Any) -> dict[str, Any]:
    """The part of a published config.json that counts, with changes to the module's arguments."""
    module = {"indices": [7, 11], "num_heads": 24, "distinguish_ref_and_non_ref_views": True, "qk_norm": False}
    return {
        "name": "mapanything",
        "info_sharing_config": {"module_args": {**module, **changes}},
        "pred_head_config": {"adaptor_type": SUPPORTED_HEAD, "ray_vmin": float("-inf")},
        "use_register_tokens_from_encoder": True,
    }


@pytest.fixture
def tensors() -> Tensors:
    return {key: tensor.clone() for key, tensor in seeded_model().state_dict().items()}


def full_layout(tensors: Tensors) -> Tensors:
    """With every second name that a whole state dict has."""
    full = dict(tensors)
    for index, name in enumerate(CONVOLUTIONS):
        full[f"dense_head.0.scratch.layer{index + 1}_rn.weight"] = tensors[name]
        full[f"dense_head.0.scratch.layer_rn.{index}.weight"] = tensors[name]
    for number, head in enumerate(("dpt_feature_head", "dpt_regressor_head")):
        prefix = f"dense_head.{number}."
        full |= {f"{head}.{key.removeprefix(prefix)}": full[key] for key in list(full) if key.startswith(prefix)}
    return full


def test_the_full_state_dict_has_the_published_number_of_names() -> None:
    with torch.device("meta"):
        names = full_layout(seeded_names(V1_1))
    assert len(names) == 812
    assert len({first_name(name) for name in names}) == 736


def seeded_names(sizes: MapAnythingSizes) -> Tensors:
    from geocorrect.networks.mapanything.model import MapAnything

    return dict(MapAnything(sizes).state_dict())


@pytest.mark.long
def test_both_layouts_give_the_same_network(tensors: Tensors, tmp_path: Path) -> None:
    torch.save({"model": full_layout(tensors)}, tmp_path / "full.pth")
    save_file(tensors, tmp_path / "model.safetensors")
    for name in ("full.pth", "model.safetensors"):
        model = load_mapanything(tmp_path / name, LAYOUT)
        assert model.sizes == TINY
        assert all(torch.equal(model.state_dict()[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize(
    "alias", ["dpt_feature_head.scratch.layer2_rn.weight", "dense_head.0.scratch.layer_rn.1.weight"]
)
def test_any_second_name_will_do(tensors: Tensors, alias: str) -> None:
    tensors[alias] = tensors.pop(CONVOLUTIONS[1])
    assert torch.equal(assemble(tensors, LAYOUT).state_dict()[CONVOLUTIONS[1]], tensors[alias])


def test_the_first_version_loads_too() -> None:
    """Another encoder, plain feed-forward, a projection between the widths, no class tokens."""
    model = assemble(dict(seeded_model(sizes=TINY_V1).state_dict()), LAYOUT_V1)
    assert model.sizes == TINY_V1
    assert any(key.startswith("info_sharing.proj_embed.") for key in model.state_dict())


def test_half_precision_files_are_read_as_float32(tensors: Tensors) -> None:
    model = assemble({key: tensor.half() for key, tensor in tensors.items()}, LAYOUT)
    assert model.scale_token.dtype is torch.float32


def _drop(key: str) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.__delitem__(key)


def _set(key: str, value: Tensor) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({key: value})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop("pose_head.fc_t.weight"), "missing.*pose_head.fc_t.weight"),
        (_drop("scale_token"), "no tensor `scale_token`"),
        (_drop("encoder.model.blocks.1.norm1.weight"), "missing.*encoder.model.blocks.1.norm1.weight"),
        (_set("surplus.weight", torch.zeros(3)), "unknown.*surplus.weight"),
        (_set("encoder.model.blocks.0.attn.q_norm.weight", torch.zeros(3)), "unknown.*q_norm"),
        (_set("encoder.model.blocks.7.norm1.weight", torch.zeros(40)), "not numbered 0, 1, 2"),
        (_set("pose_head.fc_t.weight", torch.zeros(4, 144)), r"fc_t.weight` has the shape \(4, 144\)"),
        (_set("scale_token", torch.zeros(1, 40)), r"scale_token` has the shape \(1, 40\)"),
        (_set("scale_token", torch.zeros(0)), r"scale_token` has the shape \(0,\)"),
        (_set("scale_token", torch.full((40,), torch.nan)), "not finite"),
        (_set("scale_token", torch.zeros(40, dtype=torch.int64)), "int64"),
        (_set("encoder.model.pos_embed", torch.zeros(1, 36, 40)), "35 positions, which is no square grid"),
        (_set("dense_head.0.scratch.layer_rn.1.weight", torch.zeros(16, 12, 3, 3)), "should be one tensor, but differ"),
    ],
)
def test_wrong_tensors_are_named(tensors: Tensors, damage: Callable[[Tensors], None], message: str) -> None:
    damage(tensors)
    with pytest.raises(ModelError, match=message):
        assemble(tensors, LAYOUT)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (replace(LAYOUT, transformer_heads=7), "cannot be cut into 7 attention heads"),
        (replace(LAYOUT, encoder_head_dim=64), "attention heads"),
        (replace(LAYOUT, taps=(3, 7)), "taps"),
        (replace(LAYOUT, marks_first_view=False), "unknown.*view_pos_table"),
    ],
)
def test_a_layout_of_another_network_is_refused(tensors: Tensors, layout: Layout, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        assemble(tensors, layout)


@pytest.mark.parametrize("kept", [0, 7, 100, 20_000, -1])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_truncated_files_are_refused(tensors: Tensors, tmp_path: Path, kept: int, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".pth":
        torch.save({"model": tensors}, path)
    else:
        save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelError, match=f"model{suffix}"):
        load_mapanything(path, LAYOUT)


def test_a_file_that_wants_to_run_something_is_refused(tensors: Tensors, tmp_path: Path) -> None:
    torch.save({"model": tensors, "extra": TouchesFile(tmp_path / "hostile-file-was-run")}, tmp_path / "hostile.pth")
    with pytest.raises(ModelError, match="refused"):
        load_mapanything(tmp_path / "hostile.pth", LAYOUT)
    assert not (tmp_path / "hostile-file-was-run").exists()


def test_the_layout_lies_beside_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(config()))  # with a bare -Infinity, as published
    assert read_layout(tmp_path / CONFIG) == Layout((7, 11), 24, class_tokens=True)
    first_version = config(indices=[11, 17], num_heads=12)
    del first_version["use_register_tokens_from_encoder"]
    assert layout_from_config(first_version) == Layout((11, 17), 12, class_tokens=False)


def test_a_checkpoint_without_its_config_is_refused(tensors: Tensors, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"config\.json: cannot be read"):
        load_mapanything(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[]", "no section info_sharing_config"),
        ('{"info_sharing_config": 3}', "no section info_sharing_config"),
        (json.dumps(config(indices=[7])), "indices must be two block numbers"),
        (json.dumps(config(indices=[7, True])), "indices must be two block numbers"),
        (json.dumps(config(num_heads=0)), "num_heads must be a positive number"),
        (json.dumps(config(num_heads="24")), "num_heads must be a positive number"),
        (json.dumps(config(qk_norm=True)), "qk_norm is not supported"),
        (json.dumps(config(distinguish_ref_and_non_ref_views=1)), "distinguish_ref_and_non_ref_views must be true"),
        (json.dumps({**config(), "pred_head_config": {"adaptor_type": "pointmap"}}), "adaptor_type must be"),
        (json.dumps({**config(), "use_register_tokens_from_encoder": "yes"}), "must be true or false, got 'yes'"),
    ],
)
def test_a_wrong_config_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / CONFIG).write_text(content)
    with pytest.raises(ModelError, match=message) as caught:
        read_layout(tmp_path / CONFIG)
    assert CONFIG in str(caught.value)
