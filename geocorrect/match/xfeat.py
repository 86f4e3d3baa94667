"""XFeat (Potje et al. 2024), mutual nearest neighbours: cheaper than SIFT, less exact. Apache-2.0.

No ratio test stands behind its matches, so a wrong street leaves many that look like some: no default uses it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from geocorrect.networks.deferred import deferred
from geocorrect.networks.local_features.loading import load_xfeat
from geocorrect.networks.local_features.matcher import Detector, FeatureMatcher, Features, Pairing
from geocorrect.networks.runtime import Runtime, require_libraries
from geocorrect.networks.weights import locate

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class XFeatOptions:
    """Sizes and threshold."""

    runtime: Runtime = field(default_factory=Runtime)
    long_side_px: int = 1248
    """Size of the images for the detector; smaller photos keep theirs; tiny ones are enlarged twice."""
    max_keypoints: int = 4096
    """Of a photo, the best first; the authors' default."""
    min_similarity: float = 0.82
    """Cosine of the two descriptors, the authors' default."""


def build(options: XFeatOptions) -> FeatureMatcher:
    """The matcher; ModelError when libraries or weights are missing. Damaged weights are refused at the first match."""
    require_libraries("kornia", extra="learned")
    weights, runtime = locate("xfeat", options.runtime.access), options.runtime
    xfeat = deferred(partial(load_xfeat, weights.file("xfeat.pt"), runtime))

    def find(image: Tensor) -> tuple[Tensor, Tensor]:
        found = xfeat.detectAndCompute(image, top_k=options.max_keypoints)[0]
        return found["keypoints"], found["descriptors"]

    detector = Detector(find, f"{weights.identity}/{options.max_keypoints}", options.long_side_px)
    pairing = Pairing(partial(mutual_nearest, min_similarity=options.min_similarity), f"{options.min_similarity:g}")
    return FeatureMatcher(detector, pairing, runtime)


def mutual_nearest(query: Features, anchor: Features, min_similarity: float) -> tuple[Tensor, Tensor]:
    """Pairs of which each is the other's nearest and alike enough; the score is their cosine."""
    import torch

    similarity = query["descriptors"] @ anchor["descriptors"].T
    best, of_query = similarity.max(dim=1)
    rows = torch.arange(len(similarity), device=similarity.device)
    mutual = (similarity.argmax(dim=0)[of_query] == rows) & (best > min_similarity)
    return torch.stack([rows[mutual], of_query[mutual]], dim=1), best[mutual]
