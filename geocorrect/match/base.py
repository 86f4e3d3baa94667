"""The contract of every matcher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from geocorrect.records import ImageArray, Matches


@runtime_checkable
class Matcher(Protocol):
    """Finds pixel correspondences."""

    @property
    def fingerprint(self) -> str:
        """Back-end, parameters and weights in one line, e.g. `sift/8000/0.8`; part of the run key."""
        ...

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """Match one query with each anchor.

        Args:
            query: (H, W, 3) RGB uint8, in the raw orientation that its camera describes.
            anchors: The same of each anchor.

        Returns:
            One `Matches` per anchor, in order, in pixels of the full images; empty where nothing matched.
        """
        ...
