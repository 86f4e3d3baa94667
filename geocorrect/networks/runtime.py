"""Where and how networks run: device, number format, cache. Read from the configuration, shared by every back-end."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from geocorrect.errors import ConfigError, ModelError
from geocorrect.networks.weights import ModelAccess

if TYPE_CHECKING:
    import torch

    from geocorrect.networks.store import TensorStore

MIB = 1 << 20
Options = TypeVar("Options", bound=Any)


class Precision(StrEnum):
    """Number format of the network's weights and activations. Geometry is float32 or better in either."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True)
class Runtime:
    """Where and how all networks run."""

    device: str = "auto"
    """`auto` (CUDA if any), `cpu`, `cuda`, `cuda:1` …"""
    precision: Precision = Precision.FLOAT32
    compile: bool = False
    """Let torch compile the networks, which needs a C++ compiler and takes minutes once per machine and image size;
    worth it for long runs. Results change in the last digits only.
    """
    cache_folder: Path | None = None
    """Where features and depth are kept between runs; None: they stay in memory."""
    cache_memory_mib: int = 1024
    cache_disk_mib: int = 20 * 1024
    access: ModelAccess = field(default_factory=ModelAccess)


def with_runtime(options: Options, runtime: Runtime) -> Options:
    """A back-end's options, running where [models] says; ConfigError when they name a second place themselves.

    Options without a `runtime` belong to a back-end without a network and are returned as they are.
    """
    if not hasattr(options, "runtime"):
        return options
    if options.runtime != Runtime():
        raise ConfigError("device, precision, cache and licences are set in [models], not per back-end")
    return replace(options, runtime=runtime)


def require_libraries(*others: str, extra: str = "models") -> None:
    """ModelError with the one command that installs what the networks need; imports nothing.

    Args:
        others: What a back-end needs beside torch and safetensors.
        extra: Of geocorrect, which brings them.
    """
    from importlib.util import find_spec

    for name in ("torch", "safetensors", *others):
        if find_spec(name) is None:
            raise ModelError(f"the networks need {name}: pip install 'geocorrect[{extra}]'")


def torch_device(runtime: Runtime) -> torch.device:
    """The device that the runtime asks for; ConfigError when it is not there."""
    import torch

    if runtime.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", runtime.device):
        raise ConfigError(f"device {runtime.device!r} is not one of auto, cpu, cuda, cuda:N")
    device = torch.device(runtime.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {runtime.device!r}: this machine has no usable CUDA device; use auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise ConfigError(f"device {runtime.device!r}: this machine's CUDA devices are cuda:0 to cuda:{last}")
    return device


def torch_dtype(runtime: Runtime) -> torch.dtype:
    """The torch type of the runtime's precision."""
    import torch

    types = {Precision.BFLOAT16: torch.bfloat16, Precision.FLOAT16: torch.float16}
    return types.get(runtime.precision, torch.float32)


def open_store(runtime: Runtime) -> TensorStore:
    """The feature cache that the runtime describes."""
    from geocorrect.networks.store import StoreLimits, TensorStore

    limits = StoreLimits(runtime.cache_memory_mib * MIB, runtime.cache_disk_mib * MIB)
    return TensorStore(runtime.cache_folder, limits)


REMEDY = "install one (Debian: apt install g++) or set [models] compile = false"


def require_compiler(runtime: Runtime) -> None:
    """ConfigError when compiling is asked for on a machine without a C++ compiler. Compiles nothing."""
    if not runtime.compile:
        return
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    if not any(shutil.which(name) for name in wanted):
        raise ConfigError(
            f"[models] compile = true needs a C++ compiler, but {' or '.join(wanted)} is not here; {REMEDY}"
        )


def require_working_compiler(device: Any) -> None:
    """ConfigError when torch cannot compile for this device. Compiles a one-line function to see."""
    import torch

    try:
        torch.compile(_probe)(torch.zeros(8, device=device))
    except RuntimeError as error:  # the base of what torch raises when its compiler fails
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConfigError(
            f"[models] compile = true: torch cannot compile for {device} ({reason}); it needs a working C++ compiler; "
            f"{REMEDY}"
        ) from None


def _probe(values: Any) -> Any:
    return values.sin() + 1.0
