"""How descriptors become matches: the numbers, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Orders(StrEnum):
    """In which order a pair goes through the network, which is not symmetric."""

    QUERY_FIRST = "query_first"
    """The query is view 1, as in the official localisation."""
    ANCHOR_FIRST = "anchor_first"
    """The anchor is view 1, as in the thesis."""
    BOTH = "both"
    """Both orders, sharing the encoder; a match must be found again in the other order. About 1.6 times the work."""


@dataclass(frozen=True)
class MatchingRules:
    """Defaults are those that MASt3R's authors use for visual localisation; see `docs/models.md`."""

    orders: Orders = Orders.QUERY_FIRST
    subsample_px: int = 8
    """Step of the grid of seeds on the anchor."""
    min_confidence: float = 1.001
    """Of the less confident of the two pixels."""
    border_px: int = 3
    """Matches nearer to an image border are dropped."""
    agreement_px: float = 2.0
    """With `Orders.BOTH`: how far the other order may land from the match."""
    coarse_patches: int = 0
    """Search only that many most similar 16-px patches and their neighbours; 0 searches everything."""
    fine_long_side_px: int = 0
    """Photos larger than the network's input are matched again in crops, at up to this size; 0 = off."""
    batch: int = 8
    """Pairs that are decoded together."""

    def __post_init__(self) -> None:
        if self.subsample_px < 1 or self.batch < 1 or self.border_px < 0 or self.coarse_patches < 0:
            raise ValueError("subsample_px and batch must be at least 1, border_px and coarse_patches at least 0")
