"""LightGlue (Lindenberger et al. 2023) on DISK features (Tyszkiewicz et al. 2020) through kornia: all Apache-2.0.

transformers has no DISK of its own; its hub entry would run code fetched from the hub, which we do not do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from geocorrect.networks.deferred import deferred
from geocorrect.networks.local_features.loading import load_disk, load_lightglue
from geocorrect.networks.local_features.matcher import Detector, FeatureMatcher, lightglue_pairing
from geocorrect.networks.runtime import Runtime, require_libraries
from geocorrect.networks.weights import locate

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DiskLightGlueOptions:
    """Sizes and threshold."""

    runtime: Runtime = field(default_factory=Runtime)
    long_side_px: int = 1024
    """Size of the images for the detector; smaller photos keep theirs; tiny ones are enlarged twice."""
    max_keypoints: int = 2048
    """Of a photo, the best first."""
    min_score: float = 0.1
    """LightGlue's matching score, its own default."""


def build(options: DiskLightGlueOptions) -> FeatureMatcher:
    """The matcher; ModelError when libraries or weights are missing. Damaged weights are refused at the first match."""
    require_libraries("kornia", extra="learned")
    weights, runtime = locate("lightglue_disk", options.runtime.access), options.runtime
    disk = deferred(partial(load_disk, weights.file("disk.pth"), runtime))
    lightglue = deferred(partial(load_lightglue, weights.file("disk_lightglue.pth"), options.min_score, runtime))

    def find(image: Tensor) -> tuple[Tensor, Tensor]:
        found = disk(image, n=options.max_keypoints)[0]
        return found.keypoints, found.descriptors

    detector = Detector(find, f"{weights.identity}/{options.max_keypoints}", options.long_side_px)
    return FeatureMatcher(detector, lightglue_pairing(lightglue, f"{options.min_score:g}", runtime), runtime)
