"""From weights on disk to a running engine."""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from pathlib import Path

from geocorrect.errors import ModelError
from geocorrect.io.checksum import sha256_of
from geocorrect.networks.deferred import deferred
from geocorrect.networks.mickey.checkpoint import load_mickey
from geocorrect.networks.mickey.engine import TRAINED_LONG_SIDE_PX, MickeyEngine
from geocorrect.networks.mickey.model import Mickey
from geocorrect.networks.runtime import Runtime, open_store, torch_device, torch_dtype
from geocorrect.networks.weights import locate, require_usable_elsewhere

MODEL_NAME = "mickey"
HEADS_FILE = "mickey_weights.zip"
BACKBONE_FILE = "dinov2_vitl14_pretrain.pth"


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
