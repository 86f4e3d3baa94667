"""LightGlue (Lindenberger et al. 2023) on ALIKED-n16 (Zhao et al. 2023): Apache-2.0 and BSD-3, for companies, too.

It costs 2.8 times the processor time of SIFT and is no sharper on easy photos (`docs/accuracy.md`), so it belongs
behind SIFT in a cascade. Photos that lie on their side are tried in quarter turns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from geocorrect.networks.deferred import deferred
from geocorrect.networks.local_features.loading import load_aliked, load_lightglue
from geocorrect.networks.local_features.matcher import Detector, FeatureMatcher, lightglue_pairing
from geocorrect.networks.local_features.turned import TurningMatcher
from geocorrect.networks.runtime import Runtime, require_libraries
from geocorrect.networks.weights import locate

if TYPE_CHECKING:
    from torch import Tensor

COARSE_LONG_SIDE_PX = 640
COARSE_KEYPOINTS = 256
"""Enough to tell which way up a photo is."""


@dataclass(frozen=True)
class AlikedLightGlueOptions:
    """Sizes and threshold."""

    runtime: Runtime = field(default_factory=Runtime)
    long_side_px: int = 1024
    """Size of the images for the detector, as LightGlue was trained; tiny photos are enlarged twice."""
    max_keypoints: int = 1024
    """Of a photo, the best first; LightGlue's cost grows faster than their number."""
    min_score: float = 0.1
    """LightGlue's matching score, its own default."""


def build(options: AlikedLightGlueOptions) -> TurningMatcher:
    """The matcher; ModelError when libraries or weights are missing. Damaged weights are refused at the first match."""
    require_libraries("kornia", extra="learned")
    weights, runtime = locate("aliked_lightglue", options.runtime.access), options.runtime
    aliked = deferred(partial(load_aliked, weights.file("aliked-n16.pth"), options.max_keypoints, runtime))
    lightglue = deferred(partial(load_lightglue, weights.file("aliked_lightglue.pth"), options.min_score, runtime))

    def find(image: Tensor) -> tuple[Tensor, Tensor]:
        found = aliked(image)[0]
        return found.keypoints, found.descriptors

    def find_few(image: Tensor) -> tuple[Tensor, Tensor]:
        found = aliked(image)[0]
        best = found.keypoint_scores.topk(min(COARSE_KEYPOINTS, len(found.keypoint_scores))).indices
        return found.keypoints[best], found.descriptors[best]

    detector = Detector(find, f"{weights.identity}/{options.max_keypoints}", options.long_side_px)
    coarse = Detector(
        find_few, f"{weights.identity}/{COARSE_KEYPOINTS}", min(COARSE_LONG_SIDE_PX, options.long_side_px)
    )
    pairing = lightglue_pairing(lightglue, f"{options.min_score:g}", runtime)
    return TurningMatcher(FeatureMatcher(detector, pairing, runtime), FeatureMatcher(coarse, pairing, runtime))
