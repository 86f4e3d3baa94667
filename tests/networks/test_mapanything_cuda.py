"""On a CUDA device: the numbers of the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.mapanything_world import TINY_SIZES, seeded_engine, seeded_model, street_views

from geocorrect.networks.mapanything.engine import MapAnythingEngine
from geocorrect.networks.store import TensorStore

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def _engine(dtype: torch.dtype = torch.float32) -> MapAnythingEngine:
    return MapAnythingEngine(seeded_model().use_dtype(dtype).cuda(), "seeded", TensorStore(), sizes=TINY_SIZES)


def test_float32_agrees_with_the_cpu() -> None:
    """1e-4 is out of reach of TF32, which torch's convolutions use by default."""
    views = street_views(4, posed=3)
    (poses, (found,)), (expected_poses, (expected,)) = (one.dense(views, (1,)) for one in (_engine(), seeded_engine()))
    for name in ("distance_m", "rays", "confidence"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()
    for ours, theirs in zip(poses.first_from_view, expected_poses.first_from_view, strict=True):
        np.testing.assert_allclose(ours.matrix, theirs.matrix, atol=1e-4 * max(1.0, np.abs(theirs.matrix).max()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_agrees_within_its_digits(dtype: torch.dtype) -> None:
    views = street_views(3)
    found, expected = _engine(dtype).poses(views), seeded_engine().poses(views)
    for ours, theirs in zip(found.first_from_view, expected.first_from_view, strict=True):
        assert np.abs(ours.matrix - theirs.matrix).max() < 0.05 * max(1.0, np.abs(theirs.matrix).max())


def test_poses_without_the_dense_head_agree_on_the_device() -> None:
    views = street_views(4, posed=3)
    engine = _engine()
    plain, _ = engine.dense(views)
    for ours, theirs in zip(engine.poses(views).first_from_view, plain.first_from_view, strict=True):
        np.testing.assert_allclose(ours.matrix, theirs.matrix, atol=1e-4 * max(1.0, np.abs(theirs.matrix).max()))
