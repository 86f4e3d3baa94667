"""Reading the official checkpoint: tensors only. Nothing in the file is executed; shapes decide the sizes.

Accepts the hub's `model.safetensors` (1009 tensors) and the authors' `.pth` file (1017, eight of them under a second
name); both are described in `docs/models.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.mast3r.sizes import RELEASED_HEAD_DIMS, sizes_from_shapes
from geocorrect.networks.state_dict import filled, read_tensors

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
