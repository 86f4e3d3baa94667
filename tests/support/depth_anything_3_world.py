"""A small Depth Anything 3 with numbers that follow from the names of its tensors, so that any code can have it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geocorrect.networks.depth_anything_3.loading import PREFIX
from geocorrect.networks.depth_anything_3.model import DepthAnything3, DepthAnything3Sizes
from geocorrect.networks.shapes import StackSizes

TINY = DepthAnything3Sizes(
    encoder=StackSizes(dim=128, depth=24, heads=2, hidden_dim=160, gated=False),
    position_grid=4,
    layer_dims=(8, 12, 16, 20),
    feature_dim=8,
)


def numbers(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Tensors of these shapes, each from a generator seeded by its name without the published prefix."""
    found = {}
    for key, shape in shapes.items():
        name = key.removeprefix(PREFIX)
        values = np.random.default_rng(zlib.crc32(name.encode())).normal(size=tuple(shape))
        if "norm" in name and name.endswith("weight"):
            values = 1.0 + 0.1 * values
        elif len(shape) > 1 and "embed.proj" not in name and "token" not in name and "pos_embed" not in name:
            values /= np.sqrt(np.prod(shape[1:]))
        else:
            values *= 0.2
        if name.endswith("sky_output_conv2.2.bias"):
            values += 0.5  # so that part of the picture is sky
        found[key] = torch.from_numpy(values.astype(np.float32))
    return found


def tiny_tensors() -> dict[str, Tensor]:
    """Those of a file like the published one."""
    with torch.device("meta"):
        state = DepthAnything3(TINY).state_dict()
    return numbers({PREFIX + key: tuple(tensor.shape) for key, tensor in state.items()})


def photo() -> np.ndarray:
    """(90, 150, 3) uint8: a gradient with blocks."""
    v, u = np.mgrid[0:90, 0:150]
    return np.stack([u * 1.6, v * 2.5, ((u // 20 + v // 15) % 2) * 180 + 30], axis=-1).astype(np.uint8)


def write(folder: Path) -> None:
    """A weights folder as fetched."""
    from safetensors.torch import save_file

    save_file(tiny_tensors(), folder / "model.safetensors")
