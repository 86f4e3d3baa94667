"""On a CUDA device: the numbers and the match lists of the CPU."""

from __future__ import annotations

import pytest
import torch
from support.mast3r_world import random_photo, seeded_engine, seeded_model
from torch import Tensor

from geocorrect.match.mast3r import Mast3rMatcher
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.reciprocal import DescriptorPair, reciprocal_matches
from geocorrect.networks.mast3r.rules import MatchingRules, Orders
from geocorrect.networks.store import TensorStore

PHOTOS = [random_photo(64, 48), random_photo(64, 48, 1)]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_matching_stays_on_the_device_and_agrees() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.nn.functional.normalize(torch.randn(96, 128, 24, generator=generator), dim=-1)
    noise = torch.randn(96, 128, 24, generator=generator)
    b = torch.nn.functional.normalize(a.roll((3, 5), (0, 1)) + 0.1 * noise, dim=-1)
    on_cpu = reciprocal_matches(DescriptorPair(a, b), 4)
    on_device = reciprocal_matches(DescriptorPair(a.cuda(), b.cuda()), 4)
    assert on_device.a_xy.is_cuda
    ours, theirs = (set(map(tuple, torch.cat([m.a_xy, m.b_xy], 1).tolist())) for m in (on_device, on_cpu))
    assert len(ours & theirs) >= 0.99 * len(theirs)


def _engine(dtype: torch.dtype = torch.float32) -> Mast3rEngine:
    return Mast3rEngine(seeded_model().use_dtype(dtype).cuda(), "seeded", TensorStore(), long_side_px=64)


def _outputs(engine: Mast3rEngine) -> list[Tensor]:
    """Descriptors and points of both views, in both orders of the pair, on the CPU."""
    query, anchor = (photo.encoded() for photo in engine.encode(PHOTOS))
    found = []
    for first, second in ((query, anchor), (anchor, query)):
        for number, view in enumerate(engine.model.decode(first, second), start=1):
            found.append(engine.model.descriptors(view, number).descriptor.cpu())
            found.append(engine.model.points(view, number).xyz_m.cpu())
    return found


def test_float32_outputs_agree_with_the_cpu() -> None:
    """1e-4 is out of reach of TF32, which torch's convolutions use by default."""
    for on_device, expected in zip(_outputs(_engine()), _outputs(seeded_engine()), strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(on_device, expected, rtol=1e-4, atol=1e-4 * scale)


def test_bfloat16_outputs_agree_within_its_digits() -> None:
    for on_device, expected in zip(_outputs(_engine(torch.bfloat16)), _outputs(seeded_engine()), strict=True):
        assert on_device.dtype is torch.float32
        assert torch.isfinite(on_device).all()
        relative = torch.linalg.vector_norm(on_device - expected) / torch.linalg.vector_norm(expected)
        assert relative < 0.05


@pytest.mark.parametrize("orders", list(Orders))
@pytest.mark.parametrize("coarse_patches", [0, 3])
def test_the_matcher_finds_the_matches_of_the_cpu(orders: Orders, coarse_patches: int) -> None:
    rules = MatchingRules(orders=orders, min_confidence=0.0, border_px=0, subsample_px=4, coarse_patches=coarse_patches)
    found, expected = (
        {(*a, *b) for a, b in zip(m.query_px.tolist(), m.anchor_px.tolist(), strict=True)}
        for m in (Mast3rMatcher(one, rules).match(PHOTOS[0], PHOTOS[1:])[0] for one in (_engine(), seeded_engine()))
    )
    assert len(found & expected) >= 0.95 * len(expected) > 0
