"""The contract of every matcher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from geocorrect.records import ImageArray, Matches


@runtime_checkable
class Matcher(Protocol):
    """Finds pixel correspondences.

    `fingerprint` names the back-end, its parameters and its weights: it is part of the run key, and with the
    sha256 of the pixels it is the key of any per-image feature cache.
    """

    @property
    def fingerprint(self) -> str:
        """Back-end, parameters and weights in one line, e.g. `sift/8000/0.8`."""
        ...

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """Match one query with each anchor.

        query, anchors: (H, W, 3) RGB uint8, in the raw orientation that the cameras describe.
        Returns one `Matches` per anchor, in order, in pixels of the full images; empty where nothing matched.
        """
        ...
