"""A point head by itself: tensors that fine-tuning changed, the sha256 of the checkpoint they belong to, its licence.

The licence of the base binds the head, too: the file carries it, and is only used where the base may be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from geocorrect.errors import ModelError
from geocorrect.io.atomic_file import write_atomically
from geocorrect.networks.cards import CARDS
from geocorrect.networks.mast3r.dpt import DptHead
from geocorrect.networks.mast3r.sizes import DPT_HEAD, Mast3rSizes
from geocorrect.networks.state_dict import filled

FORMAT = "geocorrect-mast3r-head-1"
HEADER = "geocorrect"
NAME = "mast3r"


def save_head(path: Path, head: DptHead, base_sha256: str, training: Mapping[str, Any]) -> None:
    """Write the head atomically.

    Args:
        path: a `.safetensors` file.
        head: of view 1.
        base_sha256: of the checkpoint whose head it was.
        training: how it came about, as plain JSON values.
    """
    from safetensors.torch import save

    licence = CARDS[NAME].licence
    header = {
        "format": FORMAT,
        "base_sha256": base_sha256,
        "licence": licence.name,
        "licence_url": licence.url,
        "training": training,
    }
    tensors = {f"{DPT_HEAD}.{key}": tensor.detach().cpu().contiguous() for key, tensor in head.state_dict().items()}
    # One entry: the order of several is not that of the dictionary, and equal heads would be different files.
    write_atomically(path, save(tensors, {HEADER: json.dumps(header, sort_keys=True)}))


def load_head(path: Path, base_sha256: str, sizes: Mast3rSizes) -> DptHead:
    """The head of a file, for inference, on the CPU.

    Raises:
        ModelError: naming the file: it is missing, damaged, no head, of another size, or of another base checkpoint.
    """
    from safetensors import SafetensorError, safe_open

    require_head_of(path, base_sha256)
    try:
        with safe_open(path, framework="pt") as content:
            tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 (no iterator)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: truncated or damaged file ({error})") from None
    own = {key.removeprefix(f"{DPT_HEAD}."): tensor for key, tensor in tensors.items()}
    try:
        return filled(lambda: DptHead(sizes), own, "a point head of this network")
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def require_head_of(path: Path, base_sha256: str) -> None:
    """ModelError unless the file is a head of the checkpoint with this sha256; its tensors are not read."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError(f"{path}: no such file; `geocorrect models finetune mast3r` writes one")
    try:
        with safe_open(path, framework="pt") as content:
            header = json.loads((content.metadata() or {}).get(HEADER, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: truncated or damaged file ({error})") from None
    if header.get("format") != FORMAT:
        raise ModelError(f"{path}: not a head that `geocorrect models finetune mast3r` wrote")
    if header.get("base_sha256") != base_sha256:
        raise ModelError(
            f"{path}: belongs to the checkpoint with sha256 {header.get('base_sha256')}, but the one in use has "
            f"{base_sha256}; use that one, or fine-tune again"
        )


def copy_of(head: DptHead) -> DptHead:
    """A head with the same weights that can learn; the original stays as it is."""
    from copy import deepcopy

    with torch.inference_mode(mode=False):
        return deepcopy(head).float().requires_grad_(True)
