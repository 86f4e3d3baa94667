"""The checkpoints at their real size: every key and shape, written out from their description, not from our network.

Tensors are zeros that share one number, so that the files are small; the network that comes of them is the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from geocorrect.networks.mickey.loading import load_mickey
from geocorrect.networks.mickey.sizes import RELEASED

Shape = tuple[int, ...]


def _backbone() -> Iterator[tuple[str, Shape]]:
    yield "cls_token", (1, 1, 1024)
    yield "pos_embed", (1, 1370, 1024)
    yield "mask_token", (1, 1024)
    yield "patch_embed.proj.weight", (1024, 3, 14, 14)
    yield "patch_embed.proj.bias", (1024,)
    for block in (f"blocks.{i}" for i in range(24)):
        for norm in ("norm1", "norm2"):
            yield f"{block}.{norm}.weight", (1024,)
            yield f"{block}.{norm}.bias", (1024,)
        yield f"{block}.attn.qkv.weight", (3072, 1024)
        yield f"{block}.attn.qkv.bias", (3072,)
        yield f"{block}.attn.proj.weight", (1024, 1024)
        yield f"{block}.attn.proj.bias", (1024,)
        yield f"{block}.mlp.fc1.weight", (4096, 1024)
        yield f"{block}.mlp.fc1.bias", (4096,)
        yield f"{block}.mlp.fc2.weight", (1024, 4096)
        yield f"{block}.mlp.fc2.bias", (1024,)
        yield f"{block}.ls1.gamma", (1024,)
        yield f"{block}.ls2.gamma", (1024,)
    yield "norm.weight", (1024,)
    yield "norm.bias", (1024,)


def _head(head: str, last: int) -> Iterator[tuple[str, Shape]]:
    dims = (1024, 512, 256, 128, last)
    for number, (into, out) in enumerate(pairwise(dims), start=1):
        block = f"extractor.{head}.resblock{number}"
        yield f"{block}.conv1.weight", (out, into, 3, 3)
        yield f"{block}.conv2.weight", (out, out, 3, 3)
        for norm in ("bn1", "bn2"):
            for name in ("weight", "bias", "running_mean", "running_var"):
                yield f"{block}.{norm}.{name}", (out,)
            yield f"{block}.{norm}.num_batches_tracked", ()
        if into != out:
            yield f"{block}.shortcut.0.weight", (out, into, 1, 1)
    for layer in (f"extractor.{head}.att_layer.layers.{i}" for i in range(3)):
        for name in ("q_proj", "k_proj", "v_proj", "merge"):
            yield f"{layer}.{name}.weight", (128, 128)
        yield f"{layer}.mlp.0.weight", (256, 256)
        yield f"{layer}.mlp.2.weight", (128, 256)
        for norm in ("norm1", "norm2"):
            yield f"{layer}.{norm}.weight", (128,)
            yield f"{layer}.{norm}.bias", (128,)


def _heads() -> dict[str, Shape]:
    keys = [*_head("depth_head", 64), *_head("det_offset", 64), *_head("dsc_head", 128), *_head("det_head", 64)]
    keys += [
        ("extractor.depth_head.depth.weight", (1, 64, 1, 1)),
        ("extractor.det_offset.xy_offset.weight", (2, 64, 1, 1)),
        ("extractor.det_head.score.weight", (1, 64, 1, 1)),
        ("extractor.det_head.eps", ()),
        ("extractor.det_head.offset_par1", ()),
        ("extractor.det_head.offset_par2", ()),
        ("extractor.det_head.ones_kernel", (1, 1, 3, 3)),
        ("matcher.matching_mat.dustbin_score", ()),
    ]
    return dict(keys)


@pytest.mark.long
@pytest.mark.parametrize("with_backbone", [False, True])
def test_the_published_layouts_load_at_full_size(with_backbone: bool, tmp_path: Path) -> None:
    heads, backbone = _heads(), dict(_backbone())
    assert len(heads) == 335
    zero, count = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    state = {
        f"compute_matches.{key}": (count if key.endswith("tracked") else zero).expand(shape)
        for key, shape in heads.items()
    }
    dino = {key: zero.expand(shape) for key, shape in backbone.items()}
    if with_backbone:
        state |= {f"compute_matches.extractor.dinov2_vitl14.{key}": tensor for key, tensor in dino.items()}
    torch.save({"state_dict": state, "epoch": 99}, tmp_path / "mickey.ckpt")
    torch.save(dino, tmp_path / "dinov2_vitl14_pretrain.pth")
    assert (tmp_path / "mickey.ckpt").stat().st_size < 1_000_000
    model = load_mickey(tmp_path / "mickey.ckpt", None if with_backbone else tmp_path / "dinov2_vitl14_pretrain.pth")
    assert model.sizes == RELEASED
    described = heads | {f"extractor.dinov2_vitl14.{key}": shape for key, shape in backbone.items()}
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == described
    n_backbone = sum(parameter.numel() for parameter in model.extractor.dinov2_vitl14.parameters())
    n_heads = sum(parameter.numel() for parameter in model.parameters()) - n_backbone
    assert (n_backbone, n_heads) == (304_368_640, 42_550_785)
    # The published 42.57 M count the running statistics of the batch norms, too.
    assert round(sum(tensor.numel() for tensor in state.values() if not with_backbone) / 1e6, 2) in (42.57, 0.0)
