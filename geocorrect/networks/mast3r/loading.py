"""From weights on disk to a running engine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.io.checksum import sha256_of
from geocorrect.networks.deferred import deferred
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.mast3r.sizes import RELEASED_HEAD_DIMS, sizes_from_shapes
from geocorrect.networks.runtime import (
    Runtime,
    open_store,
    require_compiler,
    require_working_compiler,
    torch_device,
    torch_dtype,
)
from geocorrect.networks.state_dict import filled, read_tensors
from geocorrect.networks.weights import locate, read_manifest, require_usable_elsewhere

MODEL_NAME = "mast3r"


@lru_cache(maxsize=2)
def load_engine(runtime: Runtime, long_side_px: int = 512, checkpoint: Path | None = None) -> Mast3rEngine:
    """The engine for this runtime. Matching, depth and retrieval that ask alike share weights and tokens.

    Args:
        runtime: Where it runs, and where the weights are.
        long_side_px: Size of the network's input.
        checkpoint: A file to use instead of the fetched weights, such as the official `.pth`.

    Raises:
        ModelError: the weights are missing, not licensed for the profile, or their licence was not accepted; damaged
            ones are refused when the network is first used.
    """
    if checkpoint is None:
        weights = locate(MODEL_NAME, runtime.access)
        path, identity = weights.file("model.safetensors"), weights.identity
    else:
        path, identity = checkpoint, base_sha256(runtime, checkpoint)[:16]
    torch_device(runtime)  # a device or a compiler that is not there is reported now
    require_compiler(runtime)
    model = deferred(partial(_load, path, runtime))
    return Mast3rEngine(model, identity, open_store(runtime), long_side_px, torch_dtype(runtime))


def base_sha256(runtime: Runtime, checkpoint: Path | None = None) -> str:
    """Hex sha256 of the checkpoint's file, as recorded or read now; ModelError as `load_engine`."""
    if checkpoint is None:
        folder = locate(MODEL_NAME, runtime.access).folder
        manifest = read_manifest(folder)
        assert manifest is not None
        return manifest.files["model.safetensors"]
    if not checkpoint.is_file():
        raise ModelError(f"{checkpoint}: no such checkpoint file")
    require_usable_elsewhere(MODEL_NAME, runtime.access, checkpoint)
    status = checkpoint.stat()
    return _digest(checkpoint, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _digest(path: Path, _size: int, _changed_ns: int) -> str:
    return sha256_of(path)


def _load(path: Path, runtime: Runtime) -> Mast3r:
    model = load_mast3r(path).use_dtype(torch_dtype(runtime)).to(torch_device(runtime))
    if runtime.compile:
        require_working_compiler(model.device)
        model.compile_blocks()
    return model


ALIASES = {
    f"{scratch}.layer_rn.{index}.weight": f"{scratch}.layer{index + 1}_rn.weight"
    for scratch in ("downstream_head1.dpt.scratch", "downstream_head2.dpt.scratch")
    for index in range(4)
}
"""Second names of eight tensors in the full state dict."""


def load_mast3r(path: Path, head_dims: tuple[int, int] = RELEASED_HEAD_DIMS) -> Mast3r:
    """The network with the weights of a checkpoint file, float32, on the CPU, memory-mapped where the format allows.

    Args:
        path: A `.safetensors` or `.pth` file.
        head_dims: Channels per attention head of encoder and decoder, the only sizes that leave no trace in the shapes.

    Raises:
        ModelError: the file is damaged or of another network; names file and tensor.
    """
    try:
        tensors = _without_aliases(read_tensors(path))
        return assemble(tensors, head_dims)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def assemble(tensors: Mapping[str, Tensor], head_dims: tuple[int, int] = RELEASED_HEAD_DIMS) -> Mast3r:
    """The network around these tensors, which it does not copy; ModelError on any key or shape that does not fit."""
    sizes = sizes_from_shapes({key: tensor.shape for key, tensor in tensors.items()}, *head_dims)
    return filled(lambda: Mast3r(sizes), tensors, "a MASt3R checkpoint")


def _without_aliases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kept = {key: tensor for key, tensor in tensors.items() if key not in ALIASES}
    for alias, name in ALIASES.items():
        if alias in tensors and not torch.equal(kept.setdefault(name, tensors[alias]), tensors[alias]):
            raise ModelError(f"`{alias}` and `{name}` should be one tensor, but differ")
    return kept
