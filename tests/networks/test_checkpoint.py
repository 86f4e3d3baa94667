"""Both official layouts load; whatever is truncated, wrong or hostile is refused with a reason."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.hostile_pickle import TouchesFile
from support.mast3r_world import TINY, TINY_HEAD_DIMS, encode, random_photo, seeded_model
from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.networks.local_features.loading import read_state
from geocorrect.networks.mast3r.loading import ALIASES, load_mast3r
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.mast3r.sizes import Mast3rSizes, sizes_from_shapes
from geocorrect.networks.state_dict import read_tensors

Tensors = dict[str, Tensor]


@pytest.fixture
def tensors() -> Tensors:
    return {key: tensor.clone() for key, tensor in seeded_model().state_dict().items()}


def _full_layout(tensors: Tensors) -> Tensors:
    return {**tensors, **{alias: tensors[name] for alias, name in ALIASES.items()}}


def _write_pth(path: Path, tensors: Tensors) -> Path:
    arguments = argparse.Namespace(model="AsymmetricMASt3R(img_size=(512, 512))", lr=1e-4)
    torch.save({"args": arguments, "model": tensors, "epoch": 3}, path)
    return path


def _write_safetensors(path: Path, tensors: Tensors) -> Path:
    save_file(tensors, path)
    return path


def test_both_layouts_give_the_same_network(tensors: Tensors, tmp_path: Path) -> None:
    full = _write_pth(tmp_path / "full.pth", _full_layout(tensors))
    deduplicated = _write_safetensors(tmp_path / "model.safetensors", tensors)
    image = random_photo(64, 48)
    outputs = [encode(load_mast3r(path, TINY_HEAD_DIMS), image).tokens for path in (full, deduplicated)]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], encode(seeded_model(), image).tokens)


def test_a_bare_state_dict_and_the_other_names_of_shared_tensors_load(tensors: Tensors, tmp_path: Path) -> None:
    renamed = {
        **tensors,
        **{alias: tensors.pop(name) for alias, name in ALIASES.items() if tensors.get(name) is not None},
    }
    renamed = {key: value for key, value in renamed.items() if key not in ALIASES.values()}
    torch.save(renamed, tmp_path / "bare.pth")
    assert load_mast3r(tmp_path / "bare.pth", TINY_HEAD_DIMS).sizes == TINY


def test_shapes_alone_give_the_official_sizes() -> None:
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in Mast3r(Mast3rSizes()).state_dict().items()}
    assert sizes_from_shapes(shapes) == Mast3rSizes()
    assert len({**shapes, **ALIASES}) == 1017


def _drop(key: str) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.__delitem__(key)


def _set(key: str, value: Tensor) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({key: value})


@pytest.mark.long
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop("patch_embed.proj.weight"), "not a MASt3R checkpoint: it has no tensor `patch_embed.proj.weight`"),
        (_drop("dec_blocks2.1.norm_y.bias"), r"1 missing \(`dec_blocks2.1.norm_y.bias`\)"),
        (_set("surprise.weight", torch.zeros(3)), r"1 unknown \(`surprise.weight`\)"),
        (_set("enc_norm.weight", torch.zeros(63)), r"`enc_norm.weight` has the shape \(63,\) instead of \(64,\)"),
        (_set("enc_norm.weight", torch.full((64,), torch.nan)), "`enc_norm.weight` holds values that are not finite"),
        (_set("enc_norm.weight", torch.zeros(64, dtype=torch.int32)), "torch.int32 instead of floating-point"),
        (_set("patch_embed.proj.weight", torch.zeros(64)), r"`patch_embed.proj.weight` has the shape \(64,\)"),
        (_set("downstream_head1.dpt.scratch.layer_rn.0.weight", torch.zeros(16, 8, 3, 3)), "should be one tensor"),
        (_set("enc_blocks.7.norm1.weight", torch.zeros(64)), "blocks of `enc_blocks` are not numbered"),
    ],
)
@pytest.mark.parametrize("write", [_write_pth, _write_safetensors])
def test_wrong_tensors_are_named(
    tensors: Tensors,
    tmp_path: Path,
    damage: Callable[[Tensors], None],
    message: str,
    write: Callable[[Path, Tensors], Path],
) -> None:
    damage(tensors)
    path = write(tmp_path / ("model.pth" if write is _write_pth else "model.safetensors"), tensors)
    with pytest.raises(ModelError, match=message) as error:
        load_mast3r(path, TINY_HEAD_DIMS)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_truncated_files_are_refused(tensors: Tensors, tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"model{suffix}"
    (_write_pth if suffix == ".pth" else _write_safetensors)(path, tensors)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ModelError, match=r"(truncated|damaged|refused).*"):
        load_mast3r(path, TINY_HEAD_DIMS)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("read", [read_tensors, read_state])
def test_flipped_bytes_are_refused_or_harmless(
    zipped: bool, read: Callable[[Path], Tensors], tensors: Tensors, tmp_path: Path
) -> None:
    """Whatever a flipped bit makes the reader do, it ends in a state dict or in a ModelError."""
    path = tmp_path / "model.pth"
    few = dict(list(tensors.items())[-6:])
    torch.save({"model": few} if read is read_tensors else few, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    # Both formats begin with the pickle, where most can go wrong; numbers follow.
    for position in random.integers(0, 1500, 60):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            assert all(isinstance(tensor, Tensor) for tensor in read(path).values())
        except ModelError:
            refused += 1
    assert refused > 5


def test_the_old_format_of_torch_loads(tensors: Tensors, tmp_path: Path) -> None:
    torch.save({"model": tensors}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    loaded = load_mast3r(tmp_path / "old.pth", TINY_HEAD_DIMS)
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in loaded.state_dict().items())


def test_a_hostile_pickle_is_refused_and_not_run(tensors: Tensors, tmp_path: Path) -> None:
    trace = tmp_path / "was-here"
    torch.save({"model": tensors, "args": TouchesFile(trace)}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="refused: the file holds objects other than tensors"):
        load_mast3r(tmp_path / "evil.pth", TINY_HEAD_DIMS)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no state dict"),
        ({"model": {"a": 1}}, "`a` are not tensors"),
        ({3: torch.zeros(1)}, "no state dict"),
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=message):
        load_mast3r(tmp_path / "other.pth")


def test_missing_file_and_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such checkpoint file"):
        load_mast3r(tmp_path / "none.pth")
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"ends in .safetensors or .pth, not in `.bin`"):
        load_mast3r(tmp_path / "weights.bin")


def test_half_precision_weights_load_as_float32(tensors: Tensors, tmp_path: Path) -> None:
    path = _write_safetensors(tmp_path / "model.safetensors", {k: v.half() for k, v in tensors.items()})
    assert load_mast3r(path, TINY_HEAD_DIMS).dtype is torch.float32
