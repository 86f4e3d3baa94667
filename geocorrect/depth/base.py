"""The contract of every depth source."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from geocorrect.records import Anchor, DepthMap, ImageArray


@runtime_checkable
class DepthSource(Protocol):
    """Gives the depth of an anchor image in metres. `fingerprint` names back-end, parameters and weights."""

    @property
    def fingerprint(self) -> str:
        """Back-end, parameters and weights in one line; part of the run key."""
        ...

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Depth of the anchor's image (H, W, 3) RGB uint8.

        Raises InputError naming the file when what the source needs (a scan, weights) is missing or damaged.
        """
        ...
