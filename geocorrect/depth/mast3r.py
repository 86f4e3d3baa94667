"""Depth from MASt3R's point-map head (Leroy et al. 2024), raw or without its least confident pixels.

The network wants two views. A lone anchor is paired with itself; `points_of_pair` gives the anchor's points as seen
together with another photo. Shares weights and tokens with the matcher.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geocorrect.depth.base import DepthDeclaration, declared_by_card
from geocorrect.depth.validity import ValidityRules, believable
from geocorrect.errors import InputError
from geocorrect.networks.cards import CARDS
from geocorrect.networks.placement import at_photo_size, cropped_view
from geocorrect.networks.runtime import Runtime, require_libraries
from geocorrect.records import Anchor, DepthMap, Float32, ImageArray

if TYPE_CHECKING:
    from geocorrect.networks.mast3r.engine import Mast3rEngine
    from geocorrect.networks.placement import Placement


@dataclass(frozen=True)
class Mast3rDepthOptions:
    """Which of the network's points count, and how it runs."""

    runtime: Runtime = field(default_factory=Runtime)
    dropped_share: float = 0.4
    """Share of pixels, those of least confidence, that give no point; 0 keeps all."""
    edge_ratio: float = 1.15
    long_side_px: int = 512
    """Size of the network's input; it was trained at 512."""
    checkpoint: Path | None = None
    """A weights file of your own."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.dropped_share < 1.0:
            raise ValueError(f"dropped_share must be in [0, 1), got {self.dropped_share}")


@dataclass(frozen=True, eq=False)
class PointMap:
    """Points of a photo's network image."""

    xyz_m: Float32
    """(h, w, 3) in the photo's camera frame."""
    confidence: Float32
    """(h, w) > 1, larger is better."""
    placement: Placement
    """Where the network image is in the photo."""


class Mast3rDepth:
    """DepthSource around MASt3R's first point head."""

    def __init__(self, engine: Mast3rEngine, options: Mast3rDepthOptions) -> None:
        self.engine, self.options, self.declaration = engine, options, declare_mast3r()
        self.rules = ValidityRules(self.declaration.valid_range_m, cap_margin=0.0, edge_ratio=options.edge_ratio)
        # Weights, precision, size and rules.
        self.fingerprint = f"{engine.fingerprint}/dpt/{options.dropped_share}/{options.edge_ratio}/{self.rules.range_m}"

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Dense depth of the anchor's image, nan outside the network's crop and where it gives no point."""
        from geocorrect.networks.mast3r.engine import is_too_thin

        if (anchor.camera.width, anchor.camera.height) != (image.shape[1], image.shape[0]):
            raise InputError(f"anchor {anchor.id}: the image has another size than its camera")
        if is_too_thin(image, self.engine.long_side_px):
            raise InputError(f"anchor {anchor.id}: {image.shape[1]}×{image.shape[0]} pixels are too thin for MASt3R")
        return self.depth_of(image)

    def depth_of(self, image: ImageArray) -> DepthMap:
        """Dense depth of any image (H, W, 3)."""
        found = self.points_of_pair(image, image)
        confident = found.confidence >= np.quantile(found.confidence, self.options.dropped_share)
        visible = cropped_view(image, found.placement)
        z_m = believable(np.ascontiguousarray(found.xyz_m[..., 2]), visible, self.rules)
        z_m = np.where(confident, z_m, np.float32(np.nan))
        return DepthMap(
            name="mast3r_dpt",
            is_oracle=False,
            z_m=at_photo_size(z_m, found.placement),
            log_sigma=self.declaration.log_sigma,
            common_log_sigma=self.declaration.common_log_sigma,
        )

    def points_of_pair(self, image: ImageArray, other: ImageArray) -> PointMap:
        """Points of `image` in its own camera frame, predicted together with `other`, cached."""
        from geocorrect.networks.store import content_key

        first, second = self.engine.encode([image, other])
        partner = content_key(other, self.engine.fingerprint)
        key = content_key(image, self.engine.fingerprint, "points of view 1 with", partner)
        cached = self.engine.store.get(key)
        if cached is None:
            view1, _ = self.engine.model.decode(first.encoded(), second.encoded())
            points = self.engine.model.points(view1, 1)
            cached = {"xyz_m": points.xyz_m[0].cpu(), "confidence": points.confidence[0].cpu()}
            self.engine.store.put(key, cached)
        xyz_m, confidence = (cached[name].cpu().numpy() for name in ("xyz_m", "confidence"))
        return PointMap(xyz_m, confidence, first.placement)


def declare_mast3r() -> DepthDeclaration:
    """What MASt3R's point head is as a depth source; its weights need not be here."""
    return declared_by_card(CARDS["mast3r"])


def build(options: Mast3rDepthOptions) -> Mast3rDepth:
    """The depth source; ModelError when torch or the weights are missing or the licence forbids their use."""
    require_libraries()
    from geocorrect.networks.mast3r.loading import load_engine

    return Mast3rDepth(load_engine(options.runtime, options.long_side_px, options.checkpoint), options)
