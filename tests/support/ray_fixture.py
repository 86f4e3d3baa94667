"""Ray, where it is installed: an extra that machines may lack, but not those of CI."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def ray_or_skip() -> Any:
    """The module; a skip without it, a failure when GEOCORRECT_REQUIRE_RAY is set."""
    if os.environ.get("GEOCORRECT_REQUIRE_RAY"):
        return importlib.import_module("ray")
    return pytest.importorskip("ray", reason='pip install "geocorrect[ray]"')
