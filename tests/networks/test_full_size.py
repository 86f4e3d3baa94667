"""The checkpoint at its real size: every key and shape of both layouts, as published.

The list is written out from that description, not from our network. Tensors are zeros that share one number, so that
the file is small; the network that comes of them has all 688,638,856 parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from geocorrect.networks.mast3r.loading import load_mast3r
from geocorrect.networks.mast3r.sizes import Mast3rSizes

Shape = tuple[int, ...]
LAYER_DIMS = (96, 192, 384, 768)
HEADS = ("downstream_head1", "downstream_head2")


def _linear(name: str, out: int, into: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, into)
    yield f"{name}.bias", (out,)


def _convolution(name: str, bias: int, *weight: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", (bias,)


def _norm(name: str, dim: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (dim,)
    yield f"{name}.bias", (dim,)


def _trunk() -> Iterator[tuple[str, Shape]]:
    yield "mask_token", (1, 1, 768)
    yield from _convolution("patch_embed.proj", 1024, 1024, 3, 16, 16)
    for block in (f"enc_blocks.{i}" for i in range(24)):
        yield from _norm(f"{block}.norm1", 1024)
        yield from _linear(f"{block}.attn.qkv", 3072, 1024)
        yield from _linear(f"{block}.attn.proj", 1024, 1024)
        yield from _norm(f"{block}.norm2", 1024)
        yield from _linear(f"{block}.mlp.fc1", 4096, 1024)
        yield from _linear(f"{block}.mlp.fc2", 1024, 4096)
    yield from _norm("enc_norm", 1024)
    yield from _linear("decoder_embed", 768, 1024)
    yield from _norm("dec_norm", 768)
    for block in (f"{stack}.{i}" for stack in ("dec_blocks", "dec_blocks2") for i in range(12)):
        for name in ("norm1", "norm2", "norm3", "norm_y"):
            yield from _norm(f"{block}.{name}", 768)
        yield from _linear(f"{block}.attn.qkv", 2304, 768)
        yield from _linear(f"{block}.attn.proj", 768, 768)
        for name in ("projq", "projk", "projv", "proj"):
            yield from _linear(f"{block}.cross_attn.{name}", 768, 768)
        yield from _linear(f"{block}.mlp.fc1", 3072, 768)
        yield from _linear(f"{block}.mlp.fc2", 768, 3072)


def _head(head: str) -> Iterator[tuple[str, Shape]]:
    yield from _linear(f"{head}.head_local_features.fc1", 7168, 1792)
    yield from _linear(f"{head}.head_local_features.fc2", 6400, 7168)
    act, scratch = f"{head}.dpt.act_postprocess", f"{head}.dpt.scratch"
    for i, (into, out) in enumerate(zip((1024, 768, 768, 768), LAYER_DIMS, strict=True)):
        yield from _convolution(f"{act}.{i}.0", out, out, into, 1, 1)
    yield from _convolution(f"{act}.0.1", 96, 96, 96, 4, 4)
    yield from _convolution(f"{act}.1.1", 192, 192, 192, 2, 2)
    yield from _convolution(f"{act}.3.1", 768, 768, 768, 3, 3)
    for i, dim in enumerate(LAYER_DIMS, start=1):
        yield f"{scratch}.layer{i}_rn.weight", (256, dim, 3, 3)
        yield from _convolution(f"{scratch}.refinenet{i}.out_conv", 256, 256, 256, 1, 1)
        for unit in (f"{scratch}.refinenet{i}.resConfUnit{j}" for j in (1, 2)):
            yield from _convolution(f"{unit}.conv1", 256, 256, 256, 3, 3)
            yield from _convolution(f"{unit}.conv2", 256, 256, 256, 3, 3)
    yield from _convolution(f"{head}.dpt.head.0", 128, 128, 256, 3, 3)
    yield from _convolution(f"{head}.dpt.head.2", 128, 128, 128, 3, 3)
    yield from _convolution(f"{head}.dpt.head.4", 4, 4, 128, 1, 1)


def _described() -> dict[str, Shape]:
    return dict(_trunk()) | {key: shape for head in HEADS for key, shape in _head(head)}


def _second_names() -> dict[str, Shape]:
    return {
        f"{head}.dpt.scratch.layer_rn.{i}.weight": (256, dim, 3, 3)
        for head in HEADS
        for i, dim in enumerate(LAYER_DIMS)
    }


@pytest.mark.long
@pytest.mark.parametrize("n_keys", [1009, 1017])
def test_both_layouts_load_at_full_size(n_keys: int, tmp_path: Path) -> None:
    described = _described()
    stored = described | (_second_names() if n_keys == 1017 else {})
    assert len(stored) == n_keys
    zero = torch.zeros(())
    torch.save({"model": {key: zero.expand(shape) for key, shape in stored.items()}}, tmp_path / "full.pth")
    assert (tmp_path / "full.pth").stat().st_size < 1_000_000
    model = load_mast3r(tmp_path / "full.pth")
    assert model.sizes == Mast3rSizes()
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == described
    assert sum(parameter.numel() for parameter in model.parameters()) == 688_638_856
