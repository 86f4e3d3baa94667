"""Reading checkpoints: tensors only. Nothing in the file is executed; shapes decide the sizes.

MicKey's own file (`mickey.ckpt`, in `mickey_weights.zip`) holds the heads; the backbone is a file of Meta's.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.networks.mickey.model import Mickey
from geocorrect.networks.mickey.sizes import BACKBONE, sizes_from_shapes
from geocorrect.networks.state_dict import filled, load_pickled_tensors, read_tensors, state_of

ARCHIVE_MEMBER = "mickey.ckpt"
"""Of the two networks in the authors' archive the one trained with the curriculum, their default."""

PREFIX = "compute_matches."
"""Of every key in the authors' files."""

MAX_MEMBER_BYTES = 8 << 30
"""A larger member of an archive is no checkpoint of this network."""

SETTINGS = type("CfgNode", (), {"__module__": "yacs.config", "__new__": lambda cls, *values: OrderedDict()})
"""Stands for the nested settings that training tools store beside the weights: plain values, read and dropped. torch's
safe reader fills only its own kinds of dictionary, so it is given one."""


def load_mickey(heads: Path, backbone: Path | None = None, backbone_head_dim: int = 64) -> Mickey:
    """The network with the weights of checkpoint files, float32, on the CPU.

    Args:
        heads: the authors' `.zip` or `.ckpt`, or a file that our training wrote.
        backbone: DINOv2's `.pth`; None where the file of the heads holds the backbone, too.
        backbone_head_dim: channels per attention head of the backbone, which leaves no trace in the shapes.

    Raises:
        ModelError: naming file and tensor.
    """
    try:
        tensors = read_heads(heads)
        has_backbone = any(key.startswith(f"{BACKBONE}.") for key in tensors)
    except ModelError as error:
        raise ModelError(f"{heads}: {error}") from None
    if not has_backbone:
        if backbone is None:
            raise ModelError(f"{heads}: holds no backbone; name the file of DINOv2 ViT-L/14, too")
        tensors |= read_backbone(backbone)
    try:
        return assemble(tensors, backbone_head_dim)
    except ModelError as error:
        files = f"{heads}" if has_backbone else f"{heads} with {backbone}"
        raise ModelError(f"{files}: {error}") from None


def read_heads(path: Path) -> dict[str, Tensor]:
    """Tensors of the heads (and the backbone, where it is there) by the names of `Mickey`; ModelError without path."""
    if not path.is_file():
        raise ModelError("no such checkpoint file")
    if path.suffix == ".zip":
        found = _from_archive(path)
    elif path.suffix == ".safetensors":
        found = read_tensors(path)
    elif path.suffix in (".ckpt", ".pth", ".pt"):
        found = _state_dict(path)
    else:
        raise ModelError(f"a checkpoint ends in .zip, .ckpt, .pth or .safetensors, not in `{path.suffix}`")
    return {key.removeprefix(PREFIX): tensor for key, tensor in found.items()}


def read_backbone(path: Path) -> dict[str, Tensor]:
    """Tensors of DINOv2 by the names of `Mickey`; ModelError naming the file."""
    try:
        tensors = read_tensors(path)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    return {f"{BACKBONE}.{key}": tensor for key, tensor in tensors.items()}


def assemble(tensors: Mapping[str, Tensor], backbone_head_dim: int = 64) -> Mickey:
    """The network around these tensors, which it does not copy; ModelError on any key or shape that does not fit."""
    sizes = sizes_from_shapes({key: tensor.shape for key, tensor in tensors.items()}, backbone_head_dim)
    return filled(lambda: Mickey(sizes), tensors, "a MicKey network")


def _from_archive(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(prefix="geocorrect-") as folder:
            members = [entry for entry in archive.infolist() if Path(entry.filename).name == ARCHIVE_MEMBER]
            if len(members) != 1:
                raise ModelError(f"the archive holds {len(members)} files `{ARCHIVE_MEMBER}` instead of one")
            if members[0].file_size > MAX_MEMBER_BYTES:
                raise ModelError(f"`{ARCHIVE_MEMBER}` would unpack to {members[0].file_size} bytes: no checkpoint")
            unpacked = Path(folder) / ARCHIVE_MEMBER
            with archive.open(members[0]) as source, unpacked.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            # Cloned: the tensors are mapped from a file that is removed at the end of this block.
            return {key: tensor.clone() for key, tensor in _state_dict(unpacked).items()}
    except ModelError:
        raise
    except Exception as error:
        # A damaged archive breaks off in the zip directory, in zlib, or asks for a password.
        raise ModelError(f"truncated or damaged archive ({error}); fetch it again") from None


def _state_dict(path: Path) -> dict[str, Tensor]:
    return state_of(load_pickled_tensors(path, SETTINGS), "state_dict")
