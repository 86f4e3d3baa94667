"""A tiny MASt3R: the official architecture at a size for tests, with seeded weights, and comparison helpers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geocorrect.networks.mast3r.engine import Mast3rEngine, to_tensor
from geocorrect.networks.mast3r.model import Encoded, Mast3r
from geocorrect.networks.mast3r.sizes import Mast3rSizes
from geocorrect.networks.store import TensorStore

TINY_HEAD_DIMS = (32, 16)
TINY = Mast3rSizes(
    encoder_dim=64,
    encoder_depth=2,
    encoder_heads=2,
    decoder_dim=48,
    decoder_depth=4,
    decoder_heads=3,
    dpt_layer_dims=(8, 12, 16, 24),
    dpt_feature_dim=16,
    dpt_last_dim=8,
    descriptor_hidden_dim=14,
)


def seeded_model(seed: int = 4) -> Mast3r:
    """The tiny architecture with seeded weights: needs no data."""
    torch.manual_seed(seed)
    return Mast3r(TINY).eval().requires_grad_(False)


def seeded_engine(store: TensorStore | None = None) -> Mast3rEngine:
    """An engine around the seeded model, for images of 64 pixels."""
    return Mast3rEngine(seeded_model(), "seeded", store or TensorStore(), long_side_px=64)


def random_photo(width: int, height: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 with structure at every scale."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode(model: Mast3r, image: np.ndarray) -> Encoded:
    return model.encode(to_tensor([image]))


def assert_equal_to(found: Tensor, expected: np.ndarray, relative: float = 1e-4) -> None:
    """Within `relative` of every value, with an absolute floor of a tenth of that times the largest value."""
    floor = 0.1 * relative * float(np.abs(expected).max())
    np.testing.assert_allclose(found.numpy(), expected, rtol=relative, atol=floor)
