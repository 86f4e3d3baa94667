"""From a file of weights to a network: tensors and plain values only, a named error for every kind of damage."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from geocorrect.errors import ModelError

Network = TypeVar("Network", bound=nn.Module)


def filled(make: Callable[[], Network], tensors: Mapping[str, Tensor], name: str) -> Network:
    """The network around these tensors, which it does not copy, for inference.

    Args:
        make: builds it; called on the meta device.
        tensors: by the names of its state dict.
        name: what a checkpoint of it is called: "a MASt3R checkpoint".

    Raises:
        ModelError: a key, shape or number format does not fit, or a value is not finite; names it.
    """
    with torch.device("meta"):
        model = make()
    expected = model.state_dict()
    _require_same_keys(expected, tensors, name)
    for key, wanted in expected.items():
        _require_usable(key, tensors[key], wanted)
    typed = {key: tensor.to(expected[key].dtype) for key, tensor in tensors.items()}
    model.load_state_dict(typed, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pth file by name."""
    if not path.is_file():
        raise ModelError("no such checkpoint file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pth", ".pt"):
        import argparse

        # MASt3R's file carries its training arguments beside the weights; a Namespace of plain values is harmless.
        return state_of(load_pickled_tensors(path, argparse.Namespace), "model")
    raise ModelError(f"a checkpoint ends in .safetensors or .pth, not in `{path.suffix}`")


def state_of(content: Any, key: str) -> dict[str, Tensor]:
    """The state dict that a file of torch.save holds, under a key or as a whole."""
    state = content.get(key, content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ModelError("not a checkpoint: it holds no state dict")
    strangers = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if strangers:
        raise ModelError(f"not a state dict: {_some(strangers)} are not tensors")
    return dict(state)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except MemoryError:
        raise
    except Exception as error:
        raise ModelError(f"truncated or damaged safetensors file ({error}); fetch it again") from None


def _require_same_keys(expected: Iterable[str], found: Iterable[str], name: str) -> None:
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    differing = [(what, keys) for what, keys in (("missing", missing), ("unknown", unknown)) if keys]
    if differing:
        parts = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in differing]
        raise ModelError(f"not {name}: {' and '.join(parts)}")


def _require_usable(key: str, tensor: Tensor, wanted: Tensor) -> None:
    if tensor.shape != wanted.shape:
        raise ModelError(f"`{key}` has the shape {tuple(tensor.shape)} instead of {tuple(wanted.shape)}")
    if tensor.is_floating_point() != wanted.is_floating_point() or tensor.is_complex():
        what = "floating-point numbers" if wanted.is_floating_point() else str(wanted.dtype)
        raise ModelError(f"`{key}` holds {tensor.dtype} instead of {what}")
    if not torch.isfinite(tensor).all():
        raise ModelError(f"`{key}` holds values that are not finite; the file is damaged")


def _some(keys: list[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def load_pickled_tensors(path: Path, *harmless: type) -> Any:
    """What torch saved, on the CPU; memory-mapped where the format allows (the one of torch before 1.6 does not).

    Args:
        path: The file.
        harmless: Classes beside tensors and plain values that the file may contain.

    Raises:
        ModelError: the file is damaged or holds other objects; the message does not name it.
    """
    try:
        with torch.serialization.safe_globals(list(harmless)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a damaged file happens to look like
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if "unsupported global" in str(error).lower():
            raise ModelError(
                "refused: the file holds objects other than tensors, which would have to be executed to be read; "
                "get the checkpoint from its authors"
            ) from None
        raise _damaged(error) from None
    except Exception as error:
        # A flipped byte can make the reader call anything on anything: no list of classes is complete.
        raise _damaged(error) from None


def _damaged(error: Exception) -> ModelError:
    reason = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
    return ModelError(f"truncated or damaged checkpoint ({reason}); fetch it again")
