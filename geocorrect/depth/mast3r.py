"""Depth from MASt3R's point-map head (Leroy et al. 2024), raw or without its least confident pixels.

The network wants two views. `Mast3rPairDepth` shows it the anchor and the photo that is to be localised, and takes the
anchor's points as they come, off the rays of the calibrated camera. `Mast3rDepth` pairs the anchor with itself and
takes their z: depth that can be had before there is a photo. Both share weights and tokens with the matcher.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from geocorrect.depth.base import DepthDeclaration, declared_by_card
from geocorrect.depth.validity import ValidityRules, believable
from geocorrect.errors import InputError
from geocorrect.io.checksum import sha256_of
from geocorrect.networks.cards import CARDS
from geocorrect.networks.deferred import deferred
from geocorrect.networks.placement import at_photo_size, cropped_view
from geocorrect.networks.runtime import Runtime, require_libraries
from geocorrect.records import Anchor, DepthMap, Float32, ImageArray

if TYPE_CHECKING:
    from geocorrect.networks.mast3r.dpt import DptHead
    from geocorrect.networks.mast3r.engine import Mast3rEngine
    from geocorrect.networks.placement import Placement


@dataclass(frozen=True)
class Mast3rDepthOptions:
    """Which of the network's points count, and how it runs."""

    runtime: Runtime = field(default_factory=Runtime)
    pair_with: Literal["query", "self"] = "self"
    """The other view: the photo that is to be localised, as the thesis had it; or the anchor itself, which gives depth
    without a photo (for calibration by neighbours, `geocorrect anchors scale`)."""
    dropped_share: float = 0.4
    """Share of pixels, those of least confidence, that give no point; 0 keeps all."""
    edge_ratio: float = 1.15
    keep_all: bool = False
    """Keep sky, depth edges and depths out of range, too, as the thesis did."""
    head: Literal["base", "file"] = "base"
    """The network's own point head, or one that `geocorrect models finetune mast3r` made."""
    head_file: Path | None = None
    """Of `head = "file"`."""
    long_side_px: int = 512
    """Size of the network's input; it was trained at 512."""
    checkpoint: Path | None = None
    """A weights file of your own."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.dropped_share < 1.0:
            raise ValueError(f"dropped_share must be in [0, 1), got {self.dropped_share}")
        if (self.head == "file") != (self.head_file is not None):
            raise ValueError('head = "file" and head_file go together: give both or none')


@dataclass(frozen=True, eq=False)
class PointMap:
    """Points of a photo's network image."""

    xyz_m: Float32
    """(h, w, 3) in the photo's camera frame."""
    confidence: Float32
    """(h, w) > 1, larger is better."""
    placement: Placement
    """Where the network image is in the photo."""


@dataclass(frozen=True, eq=False)
class TunedHead:
    """A point head from a file."""

    network: DptHead
    """Of view 1; loaded when it is first used."""
    identity: str
    """Of the file's content."""


class PointHead:
    """MASt3R's first point head: points of a photo together with another, and which of them count."""

    def __init__(self, engine: Mast3rEngine, options: Mast3rDepthOptions, tuned: TunedHead | None = None) -> None:
        """tuned: a head to use instead of the network's own."""
        self.engine, self.options, self.tuned, self.declaration = engine, options, tuned, declare_mast3r()
        self.rules = ValidityRules(self.declaration.valid_range_m, cap_margin=0.0, edge_ratio=options.edge_ratio)
        # Weights, precision, size and rules.
        self.fingerprint = f"{engine.fingerprint}/dpt/{options.dropped_share}/{options.edge_ratio}/{self.rules.range_m}"
        self.fingerprint += "/all" if options.keep_all else ""
        self.fingerprint += "" if tuned is None else f"/head-{tuned.identity}"

    def check(self, anchor: Anchor, image: ImageArray) -> None:
        """InputError when the anchor's image (H, W, 3) can give no depth."""
        from geocorrect.networks.mast3r.engine import is_too_thin

        if (anchor.camera.width, anchor.camera.height) != (image.shape[1], image.shape[0]):
            raise InputError(f"anchor {anchor.id}: the image has another size than its camera")
        if is_too_thin(image, self.engine.long_side_px):
            raise InputError(f"anchor {anchor.id}: {image.shape[1]}×{image.shape[0]} pixels are too thin for MASt3R")

    def kept_z_m(self, found: PointMap, image: ImageArray) -> Float32:
        """(h, w) z of the points that count, nan for the others; image: the photo that they are of."""
        z_m = np.ascontiguousarray(found.xyz_m[..., 2])
        if not self.options.keep_all:
            z_m = believable(z_m, cropped_view(image, found.placement), self.rules)
        kept = (found.confidence >= np.quantile(found.confidence, self.options.dropped_share)) & (z_m > 0)
        return np.where(kept, z_m, np.float32(np.nan))

    def as_map(self, name: str, z_m: Float32, points_m: Float32 | None = None) -> DepthMap:
        """The depth map with the network's errors."""
        sigma, common = self.declaration.log_sigma, self.declaration.common_log_sigma
        return DepthMap(name, is_oracle=False, z_m=z_m, points_m=points_m, log_sigma=sigma, common_log_sigma=common)

    def points_of_pair(self, image: ImageArray, other: ImageArray) -> PointMap:
        """Points of `image` in its own camera frame, predicted together with `other`, cached."""
        from geocorrect.networks.store import content_key

        first, second = self.engine.encode([image, other])
        partner = content_key(other, self.engine.fingerprint)
        head = "" if self.tuned is None else self.tuned.identity
        key = content_key(image, self.engine.fingerprint, "points of view 1 with", partner, head)
        cached = self.engine.store.get(key)
        if cached is None:
            view1, _ = self.engine.model.decode(first.encoded(), second.encoded())
            points = self.engine.model.points(view1, 1, None if self.tuned is None else self.tuned.network)
            cached = {"xyz_m": points.xyz_m[0].cpu(), "confidence": points.confidence[0].cpu()}
            # A pair of two photos is hardly asked for again, and never by a later process.
            (self.engine.store.put if image is other else self.engine.store.remember)(key, cached)
        xyz_m, confidence = (cached[name].cpu().numpy() for name in ("xyz_m", "confidence"))
        return PointMap(xyz_m, confidence, first.placement)

    def confidence_map(self, image: ImageArray, query: ImageArray) -> Float32:
        """(H, W) confidence of the points, > 1, nan outside the network's crop; for pictures."""
        found = self.points_of_pair(image, query if self.options.pair_with == "query" else image)
        return at_photo_size(found.confidence, found.placement)


class Mast3rDepth(PointHead):
    """DepthSource: the anchor paired with itself, z of its points on the camera's rays."""

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Dense depth of the anchor's image, nan outside the network's crop and where it gives no point."""
        self.check(anchor, image)
        return self.depth_of(image)

    def depth_of(self, image: ImageArray) -> DepthMap:
        """Dense depth of any image (H, W, 3)."""
        found = self.points_of_pair(image, image)
        return self.as_map("mast3r_dpt", at_photo_size(self.kept_z_m(found, image), found.placement))


class Mast3rPairDepth(PointHead):
    """PairDepthSource: the anchor as view 1, the photo as view 2, points as the network gives them."""

    def __init__(self, engine: Mast3rEngine, options: Mast3rDepthOptions, tuned: TunedHead | None = None) -> None:
        """As `PointHead`."""
        super().__init__(engine, options, tuned)
        self.fingerprint += "/pair-2"  # what the estimators make of points off the rays counts, too

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Raises InputError: there is no depth without a photo."""
        raise InputError(
            f'anchor {anchor.id}: [depth.mast3r] pair_with = "query" gives depth only together with a photo to '
            'localise; use pair_with = "self"'
        )

    def pair_depth(self, anchor: Anchor, image: ImageArray, query: ImageArray) -> DepthMap:
        """See `depth.base.PairDepthSource`; nan everywhere where the query is too thin for the network."""
        from geocorrect.networks.mast3r.engine import is_too_thin

        self.check(anchor, image)
        name, shape = "mast3r_dpt_pair", (image.shape[0], image.shape[1])
        if is_too_thin(query, self.engine.long_side_px):
            return self.as_map(name, np.full(shape, np.nan, np.float32))
        found = self.points_of_pair(image, query)
        z_m = self.kept_z_m(found, image)
        points = np.where(np.isfinite(z_m)[..., None], found.xyz_m, np.float32(np.nan))
        at_photo = [at_photo_size(np.ascontiguousarray(points[..., axis]), found.placement) for axis in range(3)]
        return self.as_map(name, at_photo[2], np.stack(at_photo, axis=-1))


def declare_mast3r() -> DepthDeclaration:
    """What MASt3R's point head is as a depth source; its weights need not be here."""
    return declared_by_card(CARDS["mast3r"])


def build(options: Mast3rDepthOptions) -> Mast3rDepth | Mast3rPairDepth:
    """The depth source; ModelError when torch or the weights are missing or the licence forbids their use."""
    require_libraries()
    from geocorrect.networks.mast3r.loading import load_engine

    engine = load_engine(options.runtime, options.long_side_px, options.checkpoint)
    source = Mast3rPairDepth if options.pair_with == "query" else Mast3rDepth
    return source(engine, options, None if options.head_file is None else _tuned(engine, options))


def _tuned(engine: Mast3rEngine, options: Mast3rDepthOptions) -> TunedHead:
    """The head of a file, checked against the base checkpoint."""
    from geocorrect.networks.mast3r.head_file import load_head, require_head_of
    from geocorrect.networks.mast3r.loading import base_sha256

    assert options.head_file is not None
    base, path = base_sha256(options.runtime, options.checkpoint), options.head_file
    require_head_of(path, base)
    network = deferred(lambda: load_head(path, base, engine.model.sizes).to(engine.model.device))
    return TunedHead(network, sha256_of(path)[:16])
