"""What a matcher gives that predicts depth, too: metric keypoints of both photos and how likely they go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from geocorrect.records import Float, ImageArray


@dataclass(frozen=True, eq=False)
class MetricKeypoints:
    """Keypoints of one photo with the depth that the network predicts for them."""

    px: Float
    """(N, 2) pixels of the full photo."""
    depth_m: Float
    """(N,) z-depth in metres as predicted, possibly negative; nan = unknown."""

    def __post_init__(self) -> None:
        if self.px.ndim != 2 or self.px.shape[1] != 2 or self.depth_m.shape != (len(self.px),):
            raise ValueError(f"keypoints must be (N, 2) and (N,), got {self.px.shape} and {self.depth_m.shape}")


@dataclass(frozen=True, eq=False)
class KeypointPairing:
    """Keypoints of an anchor and of a query, and how often a sampler should draw each pair."""

    anchor: MetricKeypoints
    query: MetricKeypoints
    weight: Float
    """(N, M) ≥ 0, anchor keypoint by query keypoint; only ratios matter. Zero: never draw."""

    def __post_init__(self) -> None:
        expected = (len(self.anchor.px), len(self.query.px))
        if self.weight.shape != expected:
            raise ValueError(f"weight must be {expected}, got {self.weight.shape}")


@runtime_checkable
class KeypointMatcher(Protocol):
    """Pairs metric keypoints of a query with those of its anchors."""

    @property
    def fingerprint(self) -> str:
        """Back-end, parameters and weights in one line; part of the run key."""
        ...

    def pair_keypoints(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[KeypointPairing]:
        """One pairing per anchor, in order; without keypoints where a photo cannot be used.

        Args:
            query: (H, W, 3) RGB uint8, in the raw orientation that the camera describes.
            anchors: as the query.
        """
        ...
