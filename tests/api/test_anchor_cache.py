"""Anchors that a worker keeps: bounded by what they weigh, not by how many they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.batch_scene import anchor

from geocorrect.api import anchor_cache
from geocorrect.api.anchor_cache import AnchorCache
from geocorrect.api.backends import build_matcher
from geocorrect.config import BatchOptions, Settings
from geocorrect.records import Anchor, AnchorView, DepthMap


def test_large_photos_with_dense_depth_keep_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 anchors of 12 Mpx with dense depth would be 8 GB; here as small ones, on a budget as small."""
    reads: list[str] = []

    def read(one: Anchor, _masks: str) -> AnchorView:
        reads.append(one.id)
        return AnchorView(one, np.zeros((256, 256, 3), np.uint8))

    def dense(one: Anchor, _image: object) -> DepthMap:
        z_m = np.ones((256, 256), np.float32)
        return DepthMap(one.id, False, z_m, log_sigma=np.ones_like(z_m))

    monkeypatch.setattr(anchor_cache, "read_anchor", read)
    settings = Settings(batch=BatchOptions(cached_anchors_mib=2))
    cache = AnchorCache(settings, build_matcher(settings))
    monkeypatch.setattr(cache, "source", type("Dense", (), {"depth": staticmethod(dense)}))
    anchors = tuple(anchor(f"a{i}", float(i)) for i in range(8))
    assert len(cache.usable(anchors, {})[0]) == 8
    each = 256 * 256 * (3 + 4 + 4)
    assert 2 * 2**20 - each < cache._kept.used <= 2 * 2**20
    # The last two are at hand, the first is not.
    for name in (anchors[7], anchors[6], anchors[0]):
        cache.view(name)
    assert reads == [f"a{i}" for i in [*range(8), 0]]
    assert Path(anchors[0].path).name == "a0.png"
