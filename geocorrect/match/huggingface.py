"""EfficientLoFTR, and LightGlue on SuperPoint, through transformers. Torch and weights wait for the first match.

The library's own post-processing rounds coordinates to whole pixels; here its raw, normalised coordinates are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from geocorrect.networks.eloftr import published_eloftr_class
from geocorrect.networks.pretrained import deferred_pretrained
from geocorrect.networks.runtime import Runtime
from geocorrect.networks.weights import Checkpoint
from geocorrect.records import ImageArray, Matches

if TYPE_CHECKING:
    from torch import Tensor


MULTIPLE_PX = 32


@dataclass(frozen=True)
class EloftrOptions:
    """EfficientLoFTR (Wang et al. 2024)."""

    runtime: Runtime = field(default_factory=Runtime)
    long_side_px: int = 832
    """Size of both images in the network, which was trained at 832; smaller photos are not enlarged."""
    min_score: float = 0.2
    """Of the coarse match."""


@dataclass(frozen=True)
class LightGlueOptions:
    """LightGlue (Lindenberger et al. 2023)."""

    runtime: Runtime = field(default_factory=Runtime)
    long_side_px: int = 1024
    """Size of the images for the detector; smaller photos are not enlarged."""
    min_score: float = 0.1
    """LightGlue's matching score, its own default."""


Selector = Callable[[Any], tuple["Tensor", "Tensor", "Tensor"]]
"""Raw output of a model → normalised keypoints (N, 2) of query and anchor, scores (N,)."""


class PairMatcher:
    """Matcher around a transformers model that takes both images of a pair at one size."""

    def __init__(self, model: Any, weights: Checkpoint, settings: EloftrOptions | LightGlueOptions) -> None:
        self.model, self.settings = model, settings
        self._select: Selector = select_eloftr if isinstance(settings, EloftrOptions) else select_lightglue
        precision, size = settings.runtime.precision, settings.long_side_px
        self.fingerprint = f"{weights.identity}/{precision}/{size}/{settings.min_score}"

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`."""
        return [self._match_pair(query, anchor) for anchor in anchors]

    def _match_pair(self, query: ImageArray, anchor: ImageArray) -> Matches:
        import torch

        from geocorrect.networks.exact import full_float32
        from geocorrect.networks.image_input import grey, one_canvas, resized, size_within, to_photos

        # Both images share one tensor: each keeps its aspect, and the canvas is padded.
        sizes = tuple(size_within(photo, self.settings.long_side_px) for photo in (query, anchor))
        shrunk = [resized(photo, size) for photo, size in zip((query, anchor), sizes, strict=True)]
        pair = torch.stack([grey(photo) for photo in one_canvas(shrunk, MULTIPLE_PX)])
        canvas = pair.shape[-1], pair.shape[-2]
        with torch.inference_mode(), full_float32():
            output = self.model(pixel_values=pair[None].to(self.model.device, self.model.dtype))
        query_at, anchor_at, score = (part.double().cpu().numpy() for part in self._select(output))
        keep = score >= self.settings.min_score
        network_px = query_at[keep] * canvas, anchor_at[keep] * canvas
        return to_photos(network_px, score[keep], (query, anchor), (sizes[0], sizes[1]))


def select_eloftr(output: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Keypoint i of one image belongs to keypoint i of the other where both are marked as matched."""
    keypoints, matches, scores = output.keypoints[0], output.matches[0], output.matching_scores[0]
    matched = (matches[0] > -1) & (matches[1] > -1)
    return keypoints[0][matched], keypoints[1][matched], scores[0][matched]


def select_lightglue(output: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`matches[0]` gives for each keypoint of the query the index of its partner, −1 for none; padding is masked."""
    keypoints, matches, mask = output.keypoints[0], output.matches[0, 0], output.mask[0] > 0
    matched = mask[0] & (matches > -1) & (matches < int(mask[1].sum()))
    return keypoints[0][matched], keypoints[1][matches[matched].long()], output.matching_scores[0, 0][matched]


def build_eloftr(options: EloftrOptions) -> PairMatcher:
    """EfficientLoFTR; ModelError when libraries or weights are missing."""
    threshold, runtime = options.min_score, options.runtime
    model, weights = deferred_pretrained("eloftr", published_eloftr_class, runtime, coarse_matching_threshold=threshold)
    return PairMatcher(model, weights, options)


def build_lightglue_superpoint(options: LightGlueOptions) -> PairMatcher:
    """LightGlue on SuperPoint (DeTone et al. 2018), whose licence is non-commercial; ModelError as above."""
    name, model_class = "lightglue_superpoint", "LightGlueForKeypointMatching"
    model, weights = deferred_pretrained(name, model_class, options.runtime, filter_threshold=options.min_score)
    return PairMatcher(model, weights, options)
