"""The published model at its real size: every key and shape, parameters and operations, without its memory.

The list of keys is written out from the description of the published file, not from our network.
"""

from __future__ import annotations

import resource
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from geocorrect.networks.mapanything.model import MapAnything
from geocorrect.networks.mapanything.sizes import V1_1, Layout, sizes_from_shapes
from geocorrect.networks.mapanything.view_inputs import ViewGeometry, ViewPoses

Shape = tuple[int, ...]
LAYOUT = Layout((7, 11), 24, class_tokens=True)
HEIGHT, WIDTH = 392, 518
TOKENS = 28 * 37
BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "mapanything.py"
OFFICIAL_GFLOP = {2: 6083.3, 4: 12589.0, 8: 26869.0}
"""What the official code spends on 518 × 392, all geometry given, as torch counts it."""


def _linear(name: str, out: int, into: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, into)
    yield f"{name}.bias", (out,)


def _convolution(name: str, bias: int, *weight: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", (bias,)


def _norm(name: str) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (1536,)
    yield f"{name}.bias", (1536,)


def _blocks() -> Iterator[tuple[str, Shape]]:
    stacks = [("encoder.model.blocks", 24), ("info_sharing.self_attention_blocks", 16)]
    for block in (f"{stack}.{i}" for stack, depth in stacks for i in range(depth)):
        yield from _norm(f"{block}.norm1")
        yield from _linear(f"{block}.attn.qkv", 4608, 1536)
        yield from _linear(f"{block}.attn.proj", 1536, 1536)
        yield f"{block}.ls1.gamma", (1536,)
        yield from _norm(f"{block}.norm2")
        yield from _linear(f"{block}.mlp.w12", 8192, 1536)
        yield from _linear(f"{block}.mlp.w3", 1536, 4096)
        yield f"{block}.ls2.gamma", (1536,)


def _trunk() -> Iterator[tuple[str, Shape]]:
    yield "encoder.model.cls_token", (1, 1, 1536)
    yield "encoder.model.pos_embed", (1, 1370, 1536)
    yield from _convolution("encoder.model.patch_embed.proj", 1536, 1536, 3, 14, 14)
    yield from _norm("info_sharing.norm")
    yield "info_sharing.view_pos_table", (1, 1536)
    yield "scale_token", (1536,)
    yield from _norm("fusion_norm_layer")


def _geometry() -> Iterator[tuple[str, Shape]]:
    for part, channels in (("ray_dirs_encoder", 588), ("depth_encoder", 196)):
        yield from _convolution(f"{part}.conv_in", 588, 588, channels, 3, 3)
        for i, (into, out) in enumerate(((588, 768), (768, 1024))):
            yield from _convolution(f"{part}.encoder.{i}.conv1", out, out, into, 3, 3)
            yield from _convolution(f"{part}.encoder.{i}.conv2", out, out, out, 3, 3)
            yield from _convolution(f"{part}.encoder.{i}.shortcut", out, out, into, 1, 1)
        yield from _convolution(f"{part}.encoder.2", 1536, 1536, 1024, 1, 1)
        yield from _norm(f"{part}.norm_layer")
    numbers = [("depth_scale", 1), ("cam_rot", 4), ("cam_trans", 3), ("cam_trans_scale", 1)]
    for part, channels in numbers:
        yield from _linear(f"{part}_encoder.encoder.0.0.0.0", 128, channels)
        yield from _linear(f"{part}_encoder.encoder.0.0.1", 256, 128)
        yield from _linear(f"{part}_encoder.encoder.0.1", 512, 256)
        yield from _linear(f"{part}_encoder.encoder.1", 1536, 512)
        yield from _norm(f"{part}_encoder.norm_layer")


def _heads() -> Iterator[tuple[str, Shape]]:
    process, scratch = "dense_head.0.input_process", "dense_head.0.scratch"
    for i, dim in enumerate((96, 192, 384, 768)):
        yield from _convolution(f"{process}.{i}.0.0", dim, dim, 1536, 1, 1)
        yield f"{process}.{i}.1.weight", (256, dim, 3, 3)
    yield from _convolution(f"{process}.0.0.1", 96, 96, 96, 4, 4)
    yield from _convolution(f"{process}.1.0.1", 192, 192, 192, 2, 2)
    yield from _convolution(f"{process}.3.0.1", 768, 768, 768, 3, 3)
    for i in (1, 2, 3, 4):
        yield from _convolution(f"{scratch}.refinenet{i}.out_conv", 256, 256, 256, 1, 1)
        for unit in (f"{scratch}.refinenet{i}.resConfUnit{j}" for j in ((2,) if i == 4 else (1, 2))):
            yield from _convolution(f"{unit}.conv1", 256, 256, 256, 3, 3)
            yield from _convolution(f"{unit}.conv2", 256, 256, 256, 3, 3)
    yield from _convolution("dense_head.1.conv1", 128, 128, 256, 3, 3)
    yield from _convolution("dense_head.1.conv2.0", 128, 128, 128, 3, 3)
    yield from _convolution("dense_head.1.conv2.2", 6, 6, 128, 1, 1)
    yield from _convolution("pose_head.proj", 784, 784, 1536, 1, 1)
    for name in (f"pose_head.res_conv.{i}.res_conv{j}" for i in (0, 1) for j in (1, 2, 3)):
        yield from _convolution(name, 784, 784, 784, 1, 1)
    for i in (0, 2):
        yield from _linear(f"pose_head.more_mlps.{i}", 784, 784)
    yield from _linear("pose_head.fc_t", 3, 784)
    yield from _linear("pose_head.fc_rot", 4, 784)
    yield from _linear("scale_head.proj", 196, 1536)
    for i in (0, 1):
        yield from _linear(f"scale_head.mlp.{i}.0", 196, 196)
    yield from _linear("scale_head.output_proj", 1, 196)


def _described() -> dict[str, Shape]:
    return {key: shape for part in (_trunk(), _blocks(), _geometry(), _heads()) for key, shape in part}


@pytest.fixture(scope="module")
def full() -> MapAnything:
    with torch.device("meta"):
        return MapAnything(V1_1).eval().requires_grad_(False)


def test_every_key_and_shape_of_the_published_file(full: MapAnything) -> None:
    described = _described()
    assert len(described) == 736
    assert {key: tuple(tensor.shape) for key, tensor in full.state_dict().items()} == described
    assert sum(parameter.numel() for parameter in full.parameters()) == 1_228_491_222
    numbers = sum(tensor.numel() for tensor in full.state_dict().values())
    assert 4 * numbers == pytest.approx(4_914_062_480, abs=150_000)  # the published file has a header of names besides


def test_the_published_sizes_are_read_from_the_shapes() -> None:
    assert sizes_from_shapes(_described(), LAYOUT) == V1_1


def _gflop(work: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        work()
    return counter.get_total_flops() / 1e9


def _all_poses(views: int) -> ViewPoses:
    with torch.device("meta"):
        return ViewPoses(torch.zeros(1, views, 4), torch.zeros(1, views, 3), torch.ones(1, views, dtype=torch.bool))


def _localise(model: MapAnything, views: int) -> None:
    """What one query costs: it is encoded with its rays, all else comes from the cache, no dense output."""
    model.encode(torch.zeros(1, 3, HEIGHT, WIDTH), ViewGeometry(torch.zeros(1, HEIGHT, WIDTH, 3)))
    patches, class_token = torch.zeros(1, views, TOKENS, 1536), torch.zeros(1, views, 1, 1536)
    fused = model.fuse(patches, class_token, (28, 37), _all_poses(views))
    model.poses(model.transform(fused, dense=False))


def _everything(model: MapAnything, views: int) -> None:
    """All views encoded with rays and depth, and every dense output."""
    geometry = ViewGeometry(torch.zeros(views, HEIGHT, WIDTH, 3), None, torch.ones(views, HEIGHT, WIDTH))
    tokens = model.encode(torch.zeros(views, 3, HEIGHT, WIDTH), geometry)
    patches, class_token = (part[None] for part in (tokens.patches, tokens.class_token))
    fused = model.fuse(patches, class_token, tokens.grid, _all_poses(views))
    transformed = model.transform(fused)
    model.poses(transformed)
    for view in range(views):
        model.dense(fused, transformed, view)


@pytest.mark.long
@pytest.mark.parametrize(("views", "gflop", "share"), [(2, 3853, 0.63), (4, 6492, 0.52), (8, 13040, 0.49)])
def test_operations_of_one_query_with_cached_anchors(full: MapAnything, views: int, gflop: int, share: float) -> None:
    found = _gflop(lambda: _localise(full, views))
    assert found == pytest.approx(gflop, rel=2e-3)
    assert found / OFFICIAL_GFLOP[views] == pytest.approx(share, abs=0.006)


@pytest.mark.long
def test_operations_of_everything(full: MapAnything) -> None:
    """As the official code, less what commutes: the 1×1 convolutions of the dense head before their upsampling."""
    found = _gflop(lambda: _everything(full, 2))
    assert 0.98 * OFFICIAL_GFLOP[2] < found <= OFFICIAL_GFLOP[2] * 1.0005


@pytest.mark.slow
def test_the_full_model_runs_and_stays_within_its_memory() -> None:
    """4.9 GB of seeded weights: one query and one anchor, finite answers, peak memory of weights plus 1.5 GB."""
    model = runpy.run_path(str(BENCHMARK))["random_model"]("float32", "cpu")
    tokens = model.encode(torch.randn(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)))
    fused = model.fuse(tokens.patches[None], tokens.class_token[None], tokens.grid, None)
    poses = model.poses(model.transform(fused, dense=False))
    assert torch.isfinite(poses.translation_m).all()
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    assert peak_gb < 4.92 + 1.5
