"""The tiny MASt3R whose official outputs are stored, and the seeded one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.mast3r_world import TINY_HEAD_DIMS, seeded_engine, seeded_model
from support.parity_fixture import stored_arrays
from torch import Tensor

from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.loading import assemble
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.state_dict import read_tensors


@pytest.fixture(scope="session")
def parity(shared_data: Path) -> Path:
    return shared_data / "mast3r_parity"


@pytest.fixture(scope="session")
def official(parity: Path) -> dict[str, np.ndarray]:
    """Inputs and outputs of the official code with the tiny weights."""
    return stored_arrays(parity / "mast3r_tiny_io.npz")


@pytest.fixture(scope="session")
def operations(parity: Path) -> dict[str, np.ndarray]:
    """Inputs and outputs of single official operations."""
    return stored_arrays(parity / "mast3r_ops.npz")


@pytest.fixture(scope="session")
def official_tensors(parity: Path) -> dict[str, Tensor]:
    return read_tensors(parity / "mast3r_tiny.safetensors")


@pytest.fixture(scope="session")
def tiny(official_tensors: dict[str, Tensor]) -> Mast3r:
    """The tiny network with the weights that the official outputs were made with; its heads are 32 and 16 wide."""
    return assemble(official_tensors, TINY_HEAD_DIMS)


@pytest.fixture(scope="session")
def seeded() -> Mast3r:
    return seeded_model()


@pytest.fixture
def engine() -> Mast3rEngine:
    return seeded_engine()
