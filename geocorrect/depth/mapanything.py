"""Depth from MapAnything: an anchor with its lens, its neighbours of known pose and, where there are any, measured
depths of some pixels → dense metric depth.

What is given to the network is a hint to it, not a constraint. So its answer is held against what was given: measured
depths, or else the distances between the anchors, correct the scale, and say how well it is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from geocorrect.depth.base import LOCAL_SHARE, DepthDeclaration
from geocorrect.depth.calibration.given_geometry import (
    ScaleCheck,
    agreement_of_first,
    scale_from_baselines,
    scale_from_hints,
    z_depth,
)
from geocorrect.depth.validity import ValidityRules, believable
from geocorrect.errors import InputError
from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.networks.cards import ModelCard
from geocorrect.networks.mapanything.photo_view import DensePrediction, DepthHints, PhotoView, ScenePoses
from geocorrect.networks.placement import at_photo_size, cropped_view
from geocorrect.networks.runtime import Runtime, require_libraries
from geocorrect.networks.weights import card_of
from geocorrect.records import NAN, Anchor, AnchorView, DepthMap, Float32, ImageArray

if TYPE_CHECKING:
    from geocorrect.networks.mapanything.masks import MaskRules

Neighbours = Callable[[Anchor], Sequence[AnchorView]]
"""Gives an anchor's neighbours of known pose, with pixels, nearest first; not the anchor itself."""

Hints = Callable[[Anchor, ImageArray], DepthMap | None]
"""Gives measured or triangulated depth of an anchor; None: there is none."""


class DenseNetwork(Protocol):
    """What predicts: `networks.mapanything.engine.MapAnythingEngine`, or a stand-in."""

    fingerprint: str

    def dense(
        self, views: Sequence[PhotoView], wanted: Sequence[int] = (0,), rules: MaskRules | None = None
    ) -> tuple[ScenePoses, list[DensePrediction]]:
        """Poses of all views in the frame of the first, and the dense prediction of the views `wanted`."""
        ...


@dataclass(frozen=True)
class MapAnythingDepthOptions:
    """How depth is predicted and what of it is kept."""

    runtime: Runtime = field(default_factory=Runtime)
    """Device, precision, cache and access to the weights."""
    weights: str = "mapanything_apache"
    """Name of the model's card: `mapanything_apache`, or `mapanything` for research."""
    checkpoint: Path | None = None
    """A file to use instead of the fetched weights."""
    max_neighbours: int = 3
    """Neighbouring anchors that the network sees beside the anchor."""
    hints: Literal["none", "lidar", "triangulated"] = "none"
    """Measured depths that it is given besides: laser scans where there are any, or depths from the neighbours."""
    dropped_share: float = 0.2
    """Share of the pixels of least confidence that give no point; 0 keeps all."""
    edge_ratio: float = 1.15
    """Neighbouring pixels whose depths differ by more than this factor lie on an edge and give no point."""
    min_agreement: float = 0.0
    """Share of the other views that must see a point where it is said to be; 0 asks none, and runs the dense head for
    the anchor alone.
    """
    max_scale_error: float = 3.0
    """A prediction that contradicts the given scale by more than this factor is no prediction: the map is empty."""
    cached_anchors: int = 256
    """Maps that stay in memory."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.dropped_share < 1.0:
            raise ValueError(f"dropped_share must be in [0, 1), got {self.dropped_share}")
        if not 0.0 <= self.min_agreement <= 1.0:
            raise ValueError(f"min_agreement must be in [0, 1], got {self.min_agreement}")
        if self.max_neighbours < 0:
            raise ValueError(f"max_neighbours must be 0 or more, got {self.max_neighbours}")
        if not self.max_scale_error > 1.0:
            raise ValueError(f"max_scale_error must be above 1, got {self.max_scale_error}")


class MapAnythingDepth:
    """DepthSource around the network. A map carries its error pixel by pixel: larger where confidence is lower."""

    def __init__(
        self,
        network: DenseNetwork,
        card: ModelCard,
        options: MapAnythingDepthOptions,
        neighbours: Neighbours | None = None,
        hints: Hints | None = None,
        hints_fingerprint: str = "",
    ) -> None:
        """Make a source; hints_fingerprint: of what gives the hints, its options and weights included."""
        self.network, self.card, self.options = network, card, options
        self.neighbours, self.hints, self.hints_fingerprint = neighbours, hints, hints_fingerprint
        self.rules = ValidityRules(_range_m(card), cap_margin=0.0, edge_ratio=options.edge_ratio)
        self._maps: BoundedCache[str, DepthMap] = BoundedCache(options.cached_anchors)

    @property
    def declaration(self) -> DepthDeclaration:
        """See `depth.base.DepthSource.declaration`; each map states its error."""
        return declare_mapanything(self.card)

    @property
    def fingerprint(self) -> str:
        """Weights, precision, sizes and everything that shapes a map."""
        o = self.options
        shape = (o.dropped_share, o.edge_ratio, o.min_agreement, o.max_scale_error, self.rules.range_m)
        beside = (o.max_neighbours if self.neighbours else 0, self.hints is not None, self.hints_fingerprint)
        digest = hashlib.sha256(repr((shape, beside)).encode()).hexdigest()
        return f"{self.network.fingerprint}/depth/{digest[:12]}"

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Dense depth of the anchor's image, nan outside the network's crop and where it gives no point."""
        key = f"{anchor.alignment_id}/{anchor.id}"
        found = self._maps.get(key)
        if found is None:
            found = self._predict(anchor, image)
            self._maps.put(key, found)
        return found

    def _predict(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        from geocorrect.networks.mapanything.masks import MaskRules

        near = self.neighbours(anchor)[: self.options.max_neighbours] if self.neighbours else ()
        neighbours = [view for view in near if np.isfinite(view.anchor.camera.focal_x_px)]
        measured = self.hints(anchor, image) if self.hints else None
        views = [_photo_view(anchor, image, measured)]
        views += [_photo_view(view.anchor, view.pixels, self._hints_of_neighbour(view)) for view in neighbours]
        rules = MaskRules(dropped_share=self.options.dropped_share)
        asks_others = self.options.min_agreement > 0.0 and len(views) > 1
        try:
            poses, (dense, *others) = self.network.dense(views, range(len(views)) if asks_others else (0,), rules)
        except ValueError as error:  # a photo that does not fit into any of the network's sizes
            raise InputError(f"anchor {anchor.id}: {error}") from None
        if others:
            share = agreement_of_first([dense, *others], poses)
            dense = replace(dense, believed=dense.believed & (share >= self.options.min_agreement))
        beside = frozenset(view.anchor.id for view in neighbours)
        return self._as_map(image, views, poses, dense, measured, beside)

    def _hints_of_neighbour(self, view: AnchorView) -> DepthMap | None:
        """Scans only: depth from neighbours would need the neighbours of the neighbour."""
        return self.hints(view.anchor, view.pixels) if self.hints and self.options.hints == "lidar" else None

    def _as_map(
        self,
        image: ImageArray,
        views: Sequence[PhotoView],
        poses: ScenePoses,
        dense: DensePrediction,
        measured: DepthMap | None,
        beside: frozenset[str],
    ) -> DepthMap:
        """beside: ids of the neighbours among the views."""
        camera = views[0].camera
        assert camera is not None
        z_m = z_depth(dense, views[0])
        found = scale_from_hints(z_m, views[0].hints, dense)
        given_by: frozenset[str] = frozenset() if found is None or measured is None else measured.from_anchors
        if found is None:
            found = scale_from_baselines(views, poses, self._prior_sigma)
            given_by = frozenset() if found is None else beside
        check = self._checked(found)
        if check is None:
            z_m = np.full_like(z_m, np.nan)
            check = ScaleCheck(1.0, self._prior_sigma)
        z_m = believable(z_m * np.float32(check.factor), cropped_view(image, dense.placement), self.rules)
        z_m = np.where(dense.believed, z_m, np.float32(np.nan))
        return DepthMap(
            name="mapanything" if measured is None else f"mapanything+{measured.name}",
            is_oracle=measured is not None and measured.is_oracle,
            z_m=at_photo_size(z_m, dense.placement),
            log_sigma=at_photo_size(self._local_sigma(dense), dense.placement),
            common_log_sigma=check.common_log_sigma,
            from_anchors=given_by,
        )

    def _checked(self, found: ScaleCheck | None) -> ScaleCheck | None:
        """How the prediction fits what was given, if anything was; None where it contradicts it."""
        if found is None:
            return ScaleCheck(1.0, self._prior_sigma)
        return found if abs(np.log(found.factor)) <= np.log(self.options.max_scale_error) else None

    def _local_sigma(self, dense: DensePrediction) -> Float32:
        """(h, w): the card's share at median confidence and above, up to three times as much below.

        The network is trained so that its error is inversely proportional to its confidence.
        """
        known = dense.confidence[dense.believed] if dense.believed.any() else dense.confidence
        ratio = np.clip(np.median(known) / dense.confidence, 1.0, 3.0)
        return (LOCAL_SHARE * self._prior_sigma * ratio).astype(np.float32)

    @property
    def _prior_sigma(self) -> float:
        sigma = self.card.relative_depth_sigma
        assert sigma is not None
        return sigma


def declare_mapanything(card: ModelCard) -> DepthDeclaration:
    """What the network is as a depth source, whether or not its weights are here."""
    return DepthDeclaration(
        needs=(f"weights of `{card.name}`",),
        valid_range_m=_range_m(card),
        log_sigma=NAN,
        common_log_sigma=NAN,
        licence=card.licence,
        weights=card.name,
    )


def build(
    options: MapAnythingDepthOptions,
    neighbours: Neighbours | None = None,
    hints: Hints | None = None,
    hints_fingerprint: str = "",
) -> MapAnythingDepth:
    """The depth source; ModelError when torch or the weights are missing or the licence forbids their use."""
    require_libraries()
    from geocorrect.networks.mapanything.loading import load_engine

    engine = load_engine(options.runtime, options.weights, options.checkpoint)
    return MapAnythingDepth(engine, card_of(options.weights), options, neighbours, hints, hints_fingerprint)


def _photo_view(anchor: Anchor, image: ImageArray, measured: DepthMap | None) -> PhotoView:
    try:
        return PhotoView(
            image, anchor.camera, anchor.world_from_cam, None if measured is None else DepthHints.from_map(measured)
        )
    except ValueError as error:
        raise InputError(f"anchor {anchor.id}: {error}") from None


def _range_m(card: ModelCard) -> tuple[float, float]:
    if card.valid_range_m is None or card.relative_depth_sigma is None:
        raise ValueError(f"{card.name} is not a depth model")
    return card.valid_range_m
