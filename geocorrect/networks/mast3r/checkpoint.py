"""Reading the official checkpoint: tensors only. Nothing in the file is executed; shapes decide the sizes.

Accepts the hub's `model.safetensors` (1009 tensors) and the authors' `.pth` file (1017, eight of them under a second
name); both are described in `docs/models.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.mast3r.sizes import RELEASED_HEAD_DIMS, sizes_from_shapes
from geocorrect.networks.pickled import load_pickled_tensors

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
    with torch.device("meta"):
        model = Mast3r(sizes)
    expected = model.state_dict()
    _require_same_keys(expected, tensors)
    for key, wanted in expected.items():
        _require_usable(key, tensors[key], wanted)
    floats = {key: tensor.float() for key, tensor in tensors.items()}
    model.load_state_dict(floats, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pth file by name."""
    if not path.is_file():
        raise ModelError("no such checkpoint file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pth", ".pt"):
        return _read_pth(path)
    raise ModelError(f"a checkpoint ends in .safetensors or .pth, not in `{path.suffix}`")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"truncated or damaged safetensors file ({error}); fetch it again") from None


def _read_pth(path: Path) -> dict[str, Tensor]:
    import argparse

    # The official file carries its training arguments beside the weights; a Namespace of plain values is harmless.
    content = load_pickled_tensors(path, argparse.Namespace)
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ModelError("not a checkpoint: it holds no state dict")
    strangers = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if strangers:
        raise ModelError(f"not a state dict: {_some(strangers)} are not tensors")
    return state


def _without_aliases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kept = {key: tensor for key, tensor in tensors.items() if key not in ALIASES}
    for alias, name in ALIASES.items():
        if alias in tensors and not torch.equal(kept.setdefault(name, tensors[alias]), tensors[alias]):
            raise ModelError(f"`{alias}` and `{name}` should be one tensor, but differ")
    return kept


def _require_same_keys(expected: Iterable[str], found: Iterable[str]) -> None:
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or unknown:
        parts = [
            f"{len(keys)} {what} ({_some(keys)})" for what, keys in (("missing", missing), ("unknown", unknown)) if keys
        ]
        raise ModelError(f"not a MASt3R checkpoint: {' and '.join(parts)}")


def _require_usable(key: str, tensor: Tensor, wanted: Tensor) -> None:
    if tensor.shape != wanted.shape:
        raise ModelError(f"`{key}` has the shape {tuple(tensor.shape)} instead of {tuple(wanted.shape)}")
    if not tensor.is_floating_point():
        raise ModelError(f"`{key}` holds {tensor.dtype} instead of floating-point numbers")
    if not torch.isfinite(tensor).all():
        raise ModelError(f"`{key}` holds values that are not finite; the file is damaged")


def _some(keys: list[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
