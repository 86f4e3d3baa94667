"""MicKey as a matcher. Torch and the weights are touched by `build`, not by importing this module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geocorrect.match.metric_keypoints import KeypointPairing, MetricKeypoints
from geocorrect.networks.runtime import Runtime, require_libraries
from geocorrect.records import ImageArray, Matches

if TYPE_CHECKING:
    from geocorrect.networks.mickey.engine import MickeyEngine, PhotoKeypoints


@dataclass(frozen=True)
class MickeyOptions:
    """Which network runs how."""

    runtime: Runtime = field(default_factory=Runtime)
    """Device, precision of the backbone, cache, licences."""
    long_side_px: int = 720
    """Size of the network's input; trained at 720."""
    min_probability: float = 0.0
    """Mutual matches of a smaller match probability are dropped."""
    checkpoint: Path | None = None
    """A file of the heads of your own."""
    backbone: Path | None = None
    """The file of DINOv2 ViT-L/14 beside it; None: the checkpoint holds it."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_probability <= 1.0:
            raise ValueError(f"min_probability must be in [0, 1], got {self.min_probability}")


class MickeyMatcher:
    """Matcher and KeypointMatcher. Every photo goes through the network once; its keypoints are cached."""

    def __init__(self, engine: MickeyEngine, min_probability: float = 0.0) -> None:
        self.engine = engine
        self.min_probability = min_probability

    @property
    def fingerprint(self) -> str:
        """Weights, precision, size and threshold."""
        return f"{self.engine.fingerprint}/min_probability={self.min_probability:g}"

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`: pairs that are each other's best. The score is the match probability."""
        from geocorrect.networks.mickey.model import mutual_pairs

        found = []
        for query_found, anchor_found in self._keypoints(query, anchors):
            if query_found is None or anchor_found is None:
                found.append(Matches.empty())
                continue
            pair = self.engine.match(anchor_found, query_found)
            in_anchor, in_query = mutual_pairs(pair.weight[0])
            probability = pair.probability[0][in_anchor, in_query].cpu().numpy()
            matches = Matches(
                query_found.photo_px()[in_query.cpu().numpy()].astype(np.float32),
                anchor_found.photo_px()[in_anchor.cpu().numpy()].astype(np.float32),
                probability,
            )
            found.append(matches.subset(probability >= self.min_probability))
        return found

    def pair_keypoints(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[KeypointPairing]:
        """See `match.metric_keypoints.KeypointMatcher`. The weight is probability times both keypoint scores."""
        found = []
        for query_found, anchor_found in self._keypoints(query, anchors):
            if query_found is None or anchor_found is None:
                nothing = MetricKeypoints(np.zeros((0, 2)), np.zeros(0))
                found.append(KeypointPairing(nothing, nothing, np.zeros((0, 0))))
                continue
            weight = self.engine.match(anchor_found, query_found).weight[0].double().cpu().numpy()
            found.append(KeypointPairing(_metric(anchor_found), _metric(query_found), weight))
        return found

    def _keypoints(
        self, query: ImageArray, anchors: Sequence[ImageArray]
    ) -> list[tuple[PhotoKeypoints | None, PhotoKeypoints | None]]:
        """(query, anchor) per anchor; None for a photo that is too thin for the network."""
        from geocorrect.networks.mickey.engine import is_too_thin

        photos = [query, *anchors]
        usable = [index for index, photo in enumerate(photos) if not is_too_thin(photo, self.engine.long_side_px)]
        if 0 not in usable or len(usable) < 2:
            return [(None, None)] * len(anchors)
        detected = dict(zip(usable, self.engine.keypoints([photos[index] for index in usable]), strict=True))
        return [(detected[0], detected.get(index + 1)) for index in range(len(anchors))]


def _metric(found: PhotoKeypoints) -> MetricKeypoints:
    return MetricKeypoints(found.photo_px(), found.depth_m())


def build(options: MickeyOptions) -> MickeyMatcher:
    """The matcher; ModelError when torch or the weights are missing or the licence forbids their use."""
    require_libraries()
    from geocorrect.networks.mickey.loading import load_engine

    engine = load_engine(options.runtime, options.long_side_px, options.checkpoint, options.backbone)
    return MickeyMatcher(engine, options.min_probability)
