"""From weights on disk to a running engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.io.checksum import sha256_of
from geocorrect.networks.deferred import deferred
from geocorrect.networks.mapanything.engine import MapAnythingEngine
from geocorrect.networks.mapanything.model import MapAnything
from geocorrect.networks.mapanything.sizes import Layout, read_layout, sizes_from_shapes
from geocorrect.networks.runtime import (
    Runtime,
    open_store,
    require_compiler,
    require_working_compiler,
    torch_device,
    torch_dtype,
)
from geocorrect.networks.state_dict import filled, read_tensors
from geocorrect.networks.weights import locate, require_usable_elsewhere

DEFAULT_MODEL = "mapanything_apache"
"""The weights that may be used commercially."""


@lru_cache(maxsize=2)
def load_engine(runtime: Runtime, name: str = DEFAULT_MODEL, checkpoint: Path | None = None) -> MapAnythingEngine:
    """The engine for this runtime. Depth, focal prior and pose that ask alike share weights and tokens.

    checkpoint: a file to use instead of the fetched weights; its `config.json` lies beside it. Raises ModelError when
    the weights are missing, not licensed for the profile or their licence was not accepted; damaged ones are refused
    when the network is first used.
    """
    if checkpoint is None:
        weights = locate(name, runtime.access)
        path, identity = weights.file("model.safetensors"), weights.identity
    else:
        for file in (checkpoint, checkpoint.parent / CONFIG):
            if not file.is_file():
                raise ModelError(f"{file}: no such file; a checkpoint needs the {CONFIG} it was published with")
        require_usable_elsewhere(name, runtime.access, checkpoint)
        path = checkpoint
        identity = f"{sha256_of(checkpoint)[:16]}-{sha256_of(checkpoint.parent / CONFIG)[:8]}"
    torch_device(runtime)  # a device or a compiler that is not there is said now
    require_compiler(runtime)
    model = deferred(partial(_load, path, runtime))
    return MapAnythingEngine(model, identity, open_store(runtime), torch_dtype(runtime))


def _load(path: Path, runtime: Runtime) -> MapAnything:
    model = load_mapanything(path).use_dtype(torch_dtype(runtime)).to(torch_device(runtime))
    if runtime.compile:
        require_working_compiler(model.device)
        model.compile_blocks()
    return model


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
