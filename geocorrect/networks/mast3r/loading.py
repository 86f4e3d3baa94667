"""From weights on disk to a running engine."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

from geocorrect.errors import ModelError
from geocorrect.io.checksum import sha256_of
from geocorrect.networks.compilation import require_compiler, require_working_compiler
from geocorrect.networks.deferred import deferred
from geocorrect.networks.mast3r.checkpoint import load_mast3r
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.runtime import Runtime, open_store, torch_device, torch_dtype
from geocorrect.networks.weights import locate, require_usable_elsewhere

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
        if not checkpoint.is_file():
            raise ModelError(f"{checkpoint}: no such checkpoint file")
        require_usable_elsewhere(MODEL_NAME, runtime.access, checkpoint)
        path, identity = checkpoint, sha256_of(checkpoint)[:16]
    torch_device(runtime)  # a device or a compiler that is not there is reported now
    require_compiler(runtime)
    model = deferred(partial(_load, path, runtime))
    return Mast3rEngine(model, identity, open_store(runtime), long_side_px, torch_dtype(runtime))


def _load(path: Path, runtime: Runtime) -> Mast3r:
    model = load_mast3r(path).use_dtype(torch_dtype(runtime)).to(torch_device(runtime))
    if runtime.compile:
        require_working_compiler(model.device)
        model.compile_blocks()
    return model
