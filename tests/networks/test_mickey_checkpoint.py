"""The published layouts load; whatever is truncated, wrong or hostile is refused with a reason."""

from __future__ import annotations

import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.hostile_pickle import TouchesFile
from support.mickey_world import TINY, TINY_HEAD_DIM, random_photo, seeded_model
from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.networks.mickey.engine import to_tensor
from geocorrect.networks.mickey.loading import ARCHIVE_MEMBER, PREFIX, load_mickey, read_heads
from geocorrect.networks.mickey.sizes import BACKBONE

Tensors = dict[str, Tensor]


@pytest.fixture
def tensors() -> Tensors:
    return {key: tensor.clone() for key, tensor in seeded_model().state_dict().items()}


def _heads(tensors: Tensors) -> Tensors:
    return {f"{PREFIX}{key}": tensor for key, tensor in tensors.items() if not key.startswith(BACKBONE)}


def _write_ckpt(folder: Path, tensors: Tensors) -> Path:
    """As the training tool of the authors stores it: counters, settings, callbacks beside the weights."""
    path = folder / "mickey.ckpt"
    node: Any = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    settings = node({"MODEL": node({"DEPTH": 60})})
    settings.frozen = True
    extra = {"epoch": 3, "hyper_parameters": settings, "callbacks": {"best": {"score": torch.tensor(0.5)}}}
    module = types.ModuleType("yacs.config")
    vars(module)["CfgNode"] = node
    there = {"yacs": types.ModuleType("yacs"), "yacs.config": module}
    with mock.patch.dict(sys.modules, there):  # where such files are written
        torch.save({"state_dict": _heads(tensors), **extra}, path)
    return path


def _write_backbone(folder: Path, tensors: Tensors) -> Path:
    path = folder / "dinov2.pth"
    prefix = f"{BACKBONE}."
    torch.save({key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}, path)
    return path


def _write_zip(folder: Path, tensors: Tensors) -> Path:
    path = folder / "mickey_weights.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(_write_ckpt(folder, tensors), f"weights/{ARCHIVE_MEMBER}")
        archive.writestr("weights/mickey_sc.ckpt", b"the other network")
    return path


def _write_whole(folder: Path, tensors: Tensors) -> Path:
    path = folder / "whole.safetensors"
    save_file(tensors, path)
    return path


@pytest.mark.long
@pytest.mark.parametrize("write", [_write_ckpt, _write_zip, _write_whole])
def test_every_layout_gives_the_same_network(
    write: Callable[[Path, Tensors], Path], tensors: Tensors, tmp_path: Path
) -> None:
    backbone = None if write is _write_whole else _write_backbone(tmp_path, tensors)
    model = load_mickey(write(tmp_path, tensors), backbone, TINY_HEAD_DIM)
    assert model.sizes == TINY
    assert not any(parameter.requires_grad for parameter in model.parameters())
    image = to_tensor([random_photo(140, 126)])
    found, expected = model.detect(image), seeded_model().detect(image)
    for name in ("px", "depth_m", "score", "descriptor"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


def test_a_missing_backbone_is_named(tensors: Tensors, tmp_path: Path) -> None:
    heads = _write_ckpt(tmp_path, tensors)
    with pytest.raises(ModelError, match=r"mickey.ckpt: holds no backbone; name the file of DINOv2"):
        load_mickey(heads)
    with pytest.raises(ModelError, match=r"none.pth: no such checkpoint file"):
        load_mickey(heads, tmp_path / "none.pth")


def _drop(key: str) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.__delitem__(key)


def _set(key: str, value: Tensor) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({key: value})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop(f"{BACKBONE}.patch_embed.proj.weight"), "it has no tensor `extractor.dinov2_vitl14.patch_embed"),
        (_drop("matcher.matching_mat.dustbin_score"), r"1 missing \(`matcher.matching_mat.dustbin_score`\)"),
        (_set("surprise.weight", torch.zeros(3)), r"1 unknown \(`surprise.weight`\)"),
        (_set(f"{BACKBONE}.norm.weight", torch.zeros(47)), r"norm.weight` has the shape \(47,\) instead of \(48,\)"),
        (_set(f"{BACKBONE}.norm.weight", torch.full((48,), torch.nan)), "values that are not finite"),
        (
            _set(f"{BACKBONE}.norm.weight", torch.zeros(48, dtype=torch.int32)),
            "torch.int32 instead of floating-point numbers",
        ),
        (_set(f"{BACKBONE}.norm.weight", torch.zeros(48, dtype=torch.complex64)), "torch.complex64 instead of"),
        (_set(f"{BACKBONE}.pos_embed", torch.zeros(1, 25, 48)), "24 positions, which is no square grid"),
        (_set(f"{BACKBONE}.blocks.7.norm1.weight", torch.zeros(48)), "are not numbered 0, 1, 2"),
        (_set(f"{BACKBONE}.patch_embed.proj.weight", torch.zeros(49, 3, 14, 14)), "49 cannot be cut into heads of 16"),
        (_set("extractor.depth_head.resblock1.conv1.weight", torch.zeros(40)), r"has the shape \(40,\)"),
    ],
)
def test_wrong_tensors_are_named(
    tensors: Tensors, tmp_path: Path, damage: Callable[[Tensors], None], message: str
) -> None:
    damage(tensors)
    path = _write_whole(tmp_path, tensors)
    with pytest.raises(ModelError, match=message) as error:
        load_mickey(path, None, TINY_HEAD_DIM)
    assert str(path) in str(error.value)


@pytest.mark.long
@pytest.mark.parametrize("write", [_write_ckpt, _write_zip, _write_whole])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_truncated_files_are_refused(
    tensors: Tensors, tmp_path: Path, write: Callable[[Path, Tensors], Path], share: float
) -> None:
    path = write(tmp_path, tensors)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ModelError, match=r"(truncated|damaged|refused)"):
        load_mickey(path, _write_backbone(tmp_path, tensors), TINY_HEAD_DIM)


def test_flipped_bytes_are_refused_or_harmless(tensors: Tensors, tmp_path: Path) -> None:
    """Whatever a flipped bit makes the readers do, it ends in tensors or in a ModelError."""
    path = tmp_path / "mickey_weights.zip"
    few = dict(list(tensors.items())[-6:])
    torch.save({"state_dict": few}, tmp_path / ARCHIVE_MEMBER)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / ARCHIVE_MEMBER, ARCHIVE_MEMBER)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for position in random.integers(0, 1500, 60):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            assert all(isinstance(tensor, Tensor) for tensor in read_heads(path).values())
        except ModelError:
            refused += 1
    assert refused > 5


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_and_not_run(tensors: Tensors, tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "was-here"
    path = tmp_path / ARCHIVE_MEMBER
    torch.save({"state_dict": _heads(tensors), "hyper_parameters": TouchesFile(trace)}, path)
    if zipped:
        with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
            archive.write(path, ARCHIVE_MEMBER)
        path = tmp_path / "evil.zip"
    with pytest.raises(ModelError, match="refused: the file holds objects other than tensors"):
        load_mickey(path, _write_backbone(tmp_path, tensors), TINY_HEAD_DIM)
    assert not trace.exists()


def test_archives_with_another_content_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    with pytest.raises(ModelError, match=r"other.zip: the archive holds 0 files `mickey.ckpt` instead of one"):
        load_mickey(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(ARCHIVE_MEMBER, bytes(2_000_000))
    monkeypatch.setattr("geocorrect.networks.mickey.loading.MAX_MEMBER_BYTES", 1_000_000)
    with pytest.raises(ModelError, match="would unpack to 2000000 bytes: no checkpoint"):
        load_mickey(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "holds no state dict"), ({"state_dict": {"a": 1}}, "`a` are not tensors"), ({3: 1}, "no state dict")],
)
def test_other_pickles_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ModelError, match=message):
        load_mickey(tmp_path / "other.ckpt")


def test_missing_file_and_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none.ckpt: no such checkpoint file"):
        load_mickey(tmp_path / "none.ckpt")
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"ends in .zip, .ckpt, .pth or .safetensors, not in `.bin`"):
        load_mickey(tmp_path / "weights.bin")


def test_half_precision_weights_load_as_float32(tensors: Tensors, tmp_path: Path) -> None:
    halves = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    halves["extractor.det_head.eps"] = tensors["extractor.det_head.eps"]
    save_file(halves, tmp_path / "half.safetensors")
    assert load_mickey(tmp_path / "half.safetensors", None, TINY_HEAD_DIM).dtype is torch.float32
