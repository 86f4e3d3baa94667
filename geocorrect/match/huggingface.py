"""EfficientLoFTR, and LightGlue on SuperPoint, through transformers. Torch and weights wait for the first match.

The library's own post-processing rounds coordinates to whole pixels; here its raw, normalised coordinates are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from geocorrect.match.network_pixels import NetworkMatches, to_photos
from geocorrect.networks.deferred import deferred
from geocorrect.networks.eloftr import published_eloftr_class
from geocorrect.networks.runtime import Runtime, require_libraries
from geocorrect.networks.weights import Checkpoint, locate
from geocorrect.records import ImageArray, Matches

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EloftrOptions:
    """long_side_px: size of both images in the network, which was trained at 832. min_score: of the coarse match."""

    runtime: Runtime = field(default_factory=Runtime)
    long_side_px: int = 832
    min_score: float = 0.2


@dataclass(frozen=True)
class LightGlueOptions:
    """long_side_px: size of the images for the detector. min_score: LightGlue's matching score, its own default."""

    runtime: Runtime = field(default_factory=Runtime)
    long_side_px: int = 1024
    min_score: float = 0.1


Selector = Callable[[Any], tuple["Tensor", "Tensor", "Tensor"]]
"""Raw output of a model → normalised keypoints (N, 2) of query and anchor, scores (N,)."""


class PairMatcher:
    """Matcher around a transformers model that takes both images of a pair at one size."""

    def __init__(self, model: Any, weights: Checkpoint, settings: EloftrOptions | LightGlueOptions) -> None:
        self.model = model
        self.settings = settings
        self._identity = weights.identity
        self._select: Selector = select_eloftr if isinstance(settings, EloftrOptions) else select_lightglue

    @property
    def fingerprint(self) -> str:
        """Weights, precision, size and threshold."""
        precision, size = self.settings.runtime.precision, self.settings.long_side_px
        return f"{self._identity}/{precision}/{size}/{self.settings.min_score}"

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`."""
        return [self._match_pair(query, anchor) for anchor in anchors]

    def _match_pair(self, query: ImageArray, anchor: ImageArray) -> Matches:
        import torch

        from geocorrect.networks.exact import full_float32
        from geocorrect.networks.image_input import grey, resized, size_with_long_side

        # Both images share one tensor, hence one size: that of the query. The scale back is per image and per axis.
        size = size_with_long_side(query.shape[1], query.shape[0], self.settings.long_side_px, 32)
        pair = torch.stack([grey(resized(photo, size)) for photo in (query, anchor)])
        with torch.inference_mode(), full_float32():
            output = self.model(pixel_values=pair[None].to(self.model.device, self.model.dtype))
        query_at, anchor_at, score = (part.double().cpu().numpy() for part in self._select(output))
        keep = score >= self.settings.min_score
        found = NetworkMatches(query_at[keep] * size, anchor_at[keep] * size, score[keep])
        return to_photos(found, (query, anchor), (size, size))


def select_eloftr(output: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Keypoint i of one image belongs to keypoint i of the other where both are marked as matched."""
    keypoints, matches, scores = output.keypoints[0], output.matches[0], output.matching_scores[0]
    matched = (matches[0] > -1) & (matches[1] > -1)
    return keypoints[0][matched], keypoints[1][matched], scores[0][matched]


def select_lightglue(output: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`matches[0]` holds for each keypoint of the query the index of its partner, −1 for none; padding is masked."""
    keypoints, matches, mask = output.keypoints[0], output.matches[0, 0], output.mask[0] > 0
    matched = mask[0] & (matches > -1) & (matches < int(mask[1].sum()))
    return keypoints[0][matched], keypoints[1][matches[matched].long()], output.matching_scores[0, 0][matched]


def build_eloftr(options: EloftrOptions) -> PairMatcher:
    """EfficientLoFTR; ModelError when libraries or weights are missing."""
    return _build("eloftr", published_eloftr_class, options, coarse_matching_threshold=options.min_score)


def build_lightglue_superpoint(options: LightGlueOptions) -> PairMatcher:
    """LightGlue on SuperPoint, whose licence is non-commercial; ModelError as above."""

    def lightglue_class() -> Any:
        from transformers import LightGlueForKeypointMatching

        return LightGlueForKeypointMatching

    return _build("lightglue_superpoint", lightglue_class, options, filter_threshold=options.min_score)


def _build(
    name: str, model_class: Callable[[], Any], options: EloftrOptions | LightGlueOptions, **settings: float
) -> PairMatcher:
    """The matcher around weights that are there; they are loaded with the first pair."""
    require_libraries("transformers")
    weights = locate(name, options.runtime.access)

    def load() -> Any:
        from geocorrect.networks.pretrained import load_pretrained

        return load_pretrained(model_class(), weights.folder, options.runtime, **settings)

    return PairMatcher(deferred(load), weights, options)
