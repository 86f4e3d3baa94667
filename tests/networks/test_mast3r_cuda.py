"""On a CUDA device: the numbers and the match lists of the CPU."""

from __future__ import annotations

import pytest
import torch
from mast3r_world import random_photo, seeded_engine, seeded_model

from geocorrect.match.mast3r import Mast3rMatcher
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.reciprocal import DescriptorPair, reciprocal_matches
from geocorrect.networks.mast3r.rules import MatchingRules
from geocorrect.networks.store import TensorStore

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


def test_descriptors_agree_with_the_cpu() -> None:
    engine = Mast3rEngine(seeded_model().cuda(), "seeded", TensorStore(), long_side_px=64)
    reference = seeded_engine()
    photos = [random_photo(64, 48), random_photo(64, 48, 1)]
    fields = []
    for one in (engine, reference):
        query, anchor = one.encode(photos)
        view1, _ = one.model.decode(query.encoded(), anchor.encoded())
        fields.append(one.model.descriptors(view1, 1).descriptor.cpu())
    torch.testing.assert_close(fields[0], fields[1], rtol=1e-3, atol=1e-4)
    rules = MatchingRules(min_confidence=0.0, border_px=0)
    assert len(Mast3rMatcher(engine, rules).match(photos[0], photos[1:])[0]) > 0
