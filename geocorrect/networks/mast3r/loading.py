"""From weights on disk to a running engine."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from geocorrect.checksum import sha256_of
from geocorrect.networks.cards import CARDS
from geocorrect.networks.mast3r.checkpoint import load_mast3r
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.runtime import Runtime, open_store, torch_device, torch_dtype
from geocorrect.networks.weights import locate, require_permitted

MODEL_NAME = "mast3r"


@lru_cache(maxsize=2)
def load_engine(runtime: Runtime, long_side_px: int = 512, checkpoint: Path | None = None) -> Mast3rEngine:
    """The engine for this runtime. Matching, depth and retrieval that ask alike share weights and tokens.

    checkpoint: a file to use instead of the fetched weights, such as the official `.pth`. Raises ModelError when the
    weights are missing, damaged or not licensed for the profile.
    """
    if checkpoint is None:
        weights = locate(MODEL_NAME, runtime.access)
        path, identity = weights.file("model.safetensors"), weights.identity
    else:
        require_permitted(CARDS[MODEL_NAME], runtime.access.profile)
        path, identity = checkpoint, ""
    model = load_mast3r(path)
    model = model.use_dtype(torch_dtype(runtime)).to(torch_device(runtime))
    return Mast3rEngine(model, identity or sha256_of(path)[:16], open_store(runtime), long_side_px)
