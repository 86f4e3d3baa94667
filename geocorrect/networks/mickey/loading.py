"""From weights on disk to a running engine."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path

from torch import Tensor

from geocorrect.errors import ModelError
from geocorrect.io.checksum import sha256_of
from geocorrect.networks.deferred import deferred
from geocorrect.networks.mickey.engine import TRAINED_LONG_SIDE_PX, MickeyEngine
from geocorrect.networks.mickey.model import Mickey
from geocorrect.networks.mickey.sizes import BACKBONE, sizes_from_shapes
from geocorrect.networks.runtime import Runtime, open_store, torch_device, torch_dtype
from geocorrect.networks.state_dict import filled, load_pickled_tensors, read_tensors, state_of
from geocorrect.networks.weights import locate, require_usable_elsewhere

MODEL_NAME = "mickey"
HEADS_FILE = "mickey_weights.zip"
BACKBONE_FILE = "dinov2_vitl14_pretrain.pth"


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
    except (ModelError, MemoryError):
        raise
    except Exception as error:
        # A damaged archive breaks off in the zip directory, in zlib, or asks for a password.
        raise ModelError(f"truncated or damaged archive ({error}); fetch it again") from None


def _state_dict(path: Path) -> dict[str, Tensor]:
    return state_of(load_pickled_tensors(path, SETTINGS), "state_dict")


@lru_cache(maxsize=2)
def load_engine(
    runtime: Runtime,
    long_side_px: int = TRAINED_LONG_SIDE_PX,
    checkpoint: Path | None = None,
    backbone: Path | None = None,
) -> MickeyEngine:
    """The engine for this runtime. Matching, depth and pose that ask alike share weights and keypoints.

    Args:
        runtime: device, precision of the backbone, cache, licences.
        long_side_px: of the network image; trained at 720.
        checkpoint: file of the heads to use instead of the fetched one, such as one of your own training.
        backbone: file of DINOv2 beside it; None: the checkpoint holds it.

    Raises:
        ModelError: weights missing, not licensed for the profile or licence not accepted; damaged ones are refused
            when the network is first used.
    """
    if checkpoint is None:
        if backbone is not None:
            raise ModelError(f"{backbone}: a backbone goes with a checkpoint of the heads; name that, too")
        weights = locate(MODEL_NAME, runtime.access)
        heads, backbone, identity = weights.file(HEADS_FILE), weights.file(BACKBONE_FILE), weights.identity
    else:
        for path in (checkpoint, backbone):
            if path is not None and not path.is_file():
                raise ModelError(f"{path}: no such checkpoint file")
        require_usable_elsewhere(MODEL_NAME, runtime.access, checkpoint)
        heads, identity = checkpoint, _identity(checkpoint, backbone)
    torch_device(runtime)  # a device that is not there is said now
    model = deferred(partial(_load, heads, backbone, runtime))
    return MickeyEngine(model, identity, open_store(runtime), long_side_px, torch_dtype(runtime))


def _load(heads: Path, backbone: Path | None, runtime: Runtime) -> Mickey:
    return load_mickey(heads, backbone).use_dtype(torch_dtype(runtime)).to(torch_device(runtime))


def _identity(checkpoint: Path, backbone: Path | None) -> str:
    digests = [sha256_of(path) for path in (checkpoint, backbone) if path is not None]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
