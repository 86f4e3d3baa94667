"""Anchors that a worker keeps: bounded by what they weigh, not by how many they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.batch_scene import anchor

from geocorrect.config import Settings
from geocorrect.jobs.options import BatchOptions
from geocorrect.records import Anchor, AnchorView, DepthMap
from geocorrect.workers import anchor_cache as anchor_reader
from geocorrect.workers.anchor_cache import AnchorCache, MemoryBudget, Recent
from geocorrect.workers.backends import build_matcher


def test_the_least_recently_used_goes_when_the_space_is_full() -> None:
    made: list[str] = []

    def maker(name: str) -> Callable[[], str]:
        return lambda: made.append(name) or name  # type: ignore[func-returns-value]

    space = MemoryBudget(10)
    texts, others = Recent(space, len), Recent(space, len)
    for name in ("aaaa", "bbbb", "aaaa"):
        texts.get(name, maker(name))
    others.get("cccc", maker("cccc"))  # of another kind, in the same space: "bbbb" goes
    assert space.used_bytes == 8
    for name in ("aaaa", "bbbb"):
        assert texts.get(name, maker(name)) == name
    assert made == ["aaaa", "bbbb", "cccc", "bbbb"]
    texts.get("larger than all", maker("larger than all"))
    assert space.used_bytes == len("larger than all")
    texts.get("larger than all", maker("larger than all"))
    assert made.count("larger than all") == 1


def test_large_photos_with_dense_depth_keep_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 anchors of 12 Mpx with dense depth would be 8 GB; here as small ones, on a budget as small."""
    reads: list[str] = []

    def read(one: Anchor, _masks: str) -> AnchorView:
        reads.append(one.id)
        return AnchorView(one, np.zeros((256, 256, 3), np.uint8))

    def dense(one: Anchor, _image: object) -> DepthMap:
        z_m = np.ones((256, 256), np.float32)
        return DepthMap(one.id, False, z_m, log_sigma=np.ones_like(z_m))

    monkeypatch.setattr(anchor_reader, "read_anchor", read)
    settings = Settings(batch=BatchOptions(cached_anchors_mib=2))
    reader = AnchorCache(settings, build_matcher(settings))
    monkeypatch.setattr(reader.depth, "_source", type("Dense", (), {"depth": staticmethod(dense)}))
    anchors = tuple(anchor(f"a{i}", float(i)) for i in range(8))
    assert len(reader.usable(anchors, {})[0]) == 8
    each = 256 * 256 * (3 + 4 + 4)
    space = reader.depth._maps._space
    assert space is reader._views._space
    assert 2 * 2**20 - each < space.used_bytes <= 2 * 2**20
    # The last two are at hand, the first is not.
    for name in (anchors[7], anchors[6], anchors[0]):
        reader.view(name)
    assert reads == [f"a{i}" for i in [*range(8), 0]]
    assert Path(anchors[0].path).name == "a0.png"
