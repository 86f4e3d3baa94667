"""Depth from MicKey: one metric depth per keypoint, nothing in between.

The network gives a depth to the one keypoint of each 14 × 14 px cell and to no other pixel: between keypoints there is
nothing to interpolate. It goes with the matches of the same network, which are these keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from geocorrect.depth.base import DepthDeclaration, declared_by_card
from geocorrect.errors import InputError
from geocorrect.networks.cards import CARDS
from geocorrect.networks.runtime import Runtime, require_libraries
from geocorrect.records import Anchor, DepthMap, ImageArray

if TYPE_CHECKING:
    from geocorrect.networks.mickey.engine import MickeyEngine


@dataclass(frozen=True)
class MickeyDepthOptions:
    """Which network runs how; equal to those of the matcher, both share weights and keypoints."""

    runtime: Runtime = field(default_factory=Runtime)
    """Device, precision of the backbone, cache, licences."""
    long_side_px: int = 720
    """Size of the network's input; trained at 720."""
    checkpoint: Path | None = None
    """A file of the heads of your own."""
    backbone: Path | None = None
    """The file of DINOv2 ViT-L/14 beside it; None: the checkpoint holds it."""


class MickeyDepth:
    """DepthSource around MicKey's depth head."""

    def __init__(self, engine: MickeyEngine, declaration: DepthDeclaration) -> None:
        self.engine = engine
        self.declaration = declaration

    @property
    def fingerprint(self) -> str:
        """Weights, precision, size and range."""
        return f"{self.engine.fingerprint}/depth/{self.declaration.valid_range_m}"

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Sparse depth of the anchor's image (H, W, 3) RGB uint8; InputError when the size is wrong or too thin."""
        from geocorrect.networks.mickey.engine import is_too_thin

        if (anchor.camera.width, anchor.camera.height) != (image.shape[1], image.shape[0]):
            raise InputError(f"anchor {anchor.id}: the image has another size than its camera")
        if is_too_thin(image, self.engine.long_side_px):
            raise InputError(f"anchor {anchor.id}: {image.shape[1]}×{image.shape[0]} pixels are too thin for MicKey")
        return self.depth_of(image)

    def depth_of(self, image: ImageArray) -> DepthMap:
        """Depth at the keypoints of any image, those left out that lie on the border or outside the valid range."""
        (found,) = self.engine.keypoints([image])
        nearest_m, farthest_m = self.declaration.valid_range_m
        depth_m = found.depth_m()
        believable = found.inner() & (depth_m >= nearest_m) & (depth_m <= farthest_m)
        return DepthMap(
            name="mickey",
            is_oracle=False,
            samples_px=found.photo_px()[believable],
            samples_z_m=depth_m[believable],
            log_sigma=self.declaration.log_sigma,
            common_log_sigma=self.declaration.common_log_sigma,
        )


def declare_mickey() -> DepthDeclaration:
    """What MicKey's depth head is as a depth source, whether or not its weights are here."""
    return declared_by_card(CARDS["mickey"])


def build(options: MickeyDepthOptions) -> MickeyDepth:
    """The depth source; ModelError when torch or the weights are missing or the licence forbids their use."""
    require_libraries()
    from geocorrect.networks.mickey.loading import load_engine

    engine = load_engine(options.runtime, options.long_side_px, options.checkpoint, options.backbone)
    return MickeyDepth(engine, declare_mickey())
