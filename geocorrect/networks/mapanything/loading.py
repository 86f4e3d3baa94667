"""From weights on disk to a running engine."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

from geocorrect.errors import ModelError
from geocorrect.io.checksum import sha256_of
from geocorrect.networks.compilation import require_compiler, require_working_compiler
from geocorrect.networks.deferred import deferred
from geocorrect.networks.mapanything.checkpoint import CONFIG, load_mapanything
from geocorrect.networks.mapanything.engine import MapAnythingEngine
from geocorrect.networks.mapanything.model import MapAnything
from geocorrect.networks.runtime import Runtime, open_store, torch_device, torch_dtype
from geocorrect.networks.weights import locate, require_usable_elsewhere

DEFAULT_MODEL = "mapanything_apache"
"""The weights that may be used commercially."""


@lru_cache(maxsize=2)
def load_engine(runtime: Runtime, name: str = DEFAULT_MODEL, checkpoint: Path | None = None) -> MapAnythingEngine:
    """The engine for this runtime. Depth, focal prior and pose that ask alike share weights and tokens.

    checkpoint: a file to use instead of the fetched weights; its `config.json` lies beside it. Raises ModelError when
    the weights are missing, not licensed for the profile or their licence was not accepted; damaged ones are refused
    when the network is first used.
    """
    if checkpoint is None:
        weights = locate(name, runtime.access)
        path, identity = weights.file("model.safetensors"), weights.identity
    else:
        for file in (checkpoint, checkpoint.parent / CONFIG):
            if not file.is_file():
                raise ModelError(f"{file}: no such file; a checkpoint needs the {CONFIG} it was published with")
        require_usable_elsewhere(name, runtime.access, checkpoint)
        path = checkpoint
        identity = f"{sha256_of(checkpoint)[:16]}-{sha256_of(checkpoint.parent / CONFIG)[:8]}"
    torch_device(runtime)  # a device or a compiler that is not there is said now
    require_compiler(runtime)
    model = deferred(partial(_load, path, runtime))
    return MapAnythingEngine(model, identity, open_store(runtime), torch_dtype(runtime))


def _load(path: Path, runtime: Runtime) -> MapAnything:
    model = load_mapanything(path).use_dtype(torch_dtype(runtime)).to(torch_device(runtime))
    if runtime.compile:
        require_working_compiler(model.device)
        model.compile_blocks()
    return model
