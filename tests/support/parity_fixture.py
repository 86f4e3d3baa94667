"""Stored outputs of the official programs, read in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def stored_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz; the test is skipped where the file is absent."""
    if not path.is_file():
        pytest.skip(f"parity data not found at {path}")
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


@pytest.fixture(scope="session")
def mickey_official(shared_data: Path) -> dict[str, np.ndarray]:
    """Inputs and outputs of MicKey's official code, of its benchmark and of its pose solver."""
    return stored_arrays(shared_data / "mickey_parity" / "mickey_tiny_io.npz")
