"""torch.compile for the networks, on request."""

from __future__ import annotations

import os
import shutil
from typing import Any

from geocorrect.errors import ConfigError
from geocorrect.networks.runtime import Runtime

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
