"""Reading the published checkpoints: tensors only. Nothing in the file is executed; shapes decide the sizes.

Accepts the hub's `model.safetensors` with its `config.json`, and files of torch.save, which hold every shared tensor
under up to four names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.networks.mapanything.layout import Layout, read_layout
from geocorrect.networks.mapanything.model import MapAnything
from geocorrect.networks.mapanything.sizes import sizes_from_shapes
from geocorrect.networks.state_dict import filled, read_tensors

CONFIG = "config.json"

_ALIASES = (
    (re.compile(r"^dpt_feature_head\."), "dense_head.0."),
    (re.compile(r"^dpt_regressor_head\."), "dense_head.1."),
    (re.compile(r"^dense_head\.0\.scratch\.layer_rn\.([0-3])\.weight$"), r"dense_head.0.input_process.\1.1.weight"),
)
_NUMBERED = re.compile(r"^dense_head\.0\.scratch\.layer([1-4])_rn\.weight$")


def load_mapanything(path: Path, layout: Layout | None = None) -> MapAnything:
    """The network with the weights of a checkpoint file, float32, on the CPU, memory-mapped where the format allows.

    layout: what the shapes do not tell; by default that of the `config.json` beside the file. Raises ModelError naming
    file and tensor.
    """
    if layout is None:
        layout = read_layout(path.parent / CONFIG)
    try:
        return assemble(read_tensors(path), layout)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def assemble(tensors: Mapping[str, Tensor], layout: Layout) -> MapAnything:
    """The network around these tensors, which it does not copy; ModelError on any key or shape that does not fit."""
    tensors = without_aliases(tensors)
    sizes = sizes_from_shapes({key: tensor.shape for key, tensor in tensors.items()}, layout)
    return filled(lambda: MapAnything(sizes), tensors, "a MapAnything checkpoint")


def without_aliases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor under its first name; ModelError where two names of one tensor hold different numbers."""
    kept: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = first_name(key)
        known = kept.setdefault(name, tensor)
        if known is not tensor and not _same(known, tensor):
            raise ModelError(f"`{key}` and `{name}` should be one tensor, but differ")
    return kept


def first_name(key: str) -> str:
    """The name that the published file keeps of a tensor with several."""
    for pattern, replacement in _ALIASES:
        key = pattern.sub(replacement, key)
    numbered = _NUMBERED.match(key)
    return f"dense_head.0.input_process.{int(numbered[1]) - 1}.1.weight" if numbered else key


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and first.dtype == second.dtype and torch.equal(first, second)
