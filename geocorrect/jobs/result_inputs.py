"""What a result rests on besides the configuration: the photo and its candidate anchors, as one hash.

A photo is due when the hash differs from that of its newest result under the same configuration. So a new anchor makes
exactly the photos due whose list of candidates it enters, a new georeference those that rest on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from geocorrect.config import Settings
from geocorrect.records import AnchorIndex
from geocorrect.retrieve.neighbours import NeighbourFinder
from geocorrect.retrieve.spatial import AnchorPositions


def input_hash(image_content: str, anchor_contents: Iterable[str]) -> str:
    """Hex hash, 32 characters, of a photo's content hash and those of its candidates, in their order."""
    return _digest([image_content, *anchor_contents])


def anchors_version(index: AnchorIndex) -> str:
    """Hex hash, 16 characters, of all anchors with their georeference."""
    return _digest(f"{name} {content}" for name, content in zip(index.ids, index.content_hashes, strict=True))[:16]


class AnchorContents:
    """Anchor id → hash of what a result takes from the anchor; with its neighbours where the depth source asks them."""

    def __init__(self, settings: Settings, index: AnchorIndex) -> None:
        self._own = dict(zip(index.ids, index.content_hashes, strict=True))
        self._known: dict[str, str] = {}
        self._finder = None
        if settings.depth.needs_neighbours:
            sites = AnchorPositions(index.ids, index.enu_m, index.heading_deg)
            self._finder = NeighbourFinder(sites, index.alignment_ids, settings.depth.neighbours)

    def __getitem__(self, anchor_id: str) -> str:
        if self._finder is None:
            return self._own[anchor_id]
        if anchor_id not in self._known:
            self._known[anchor_id] = _digest(self._own[name] for name in (anchor_id, *self._finder.of(anchor_id)))
        return self._known[anchor_id]


def _digest(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
