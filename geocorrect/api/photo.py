"""One photo against given anchors: read pixels, choose anchors, run the method. The only state is models and caches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from geocorrect.api.anchor_cache import AnchorCache, Neighbours
from geocorrect.api.backends import (
    build_appearance,
    build_estimator,
    build_focal_network,
    build_matcher,
    further_fingerprints,
)  # fmt: skip
from geocorrect.api.other_place import beside_other_places
from geocorrect.config import Settings
from geocorrect.depth.base import depth_for
from geocorrect.errors import InputError, Reason
from geocorrect.geometry.frame import upright_turns
from geocorrect.io.masks import mask_beside
from geocorrect.io.pixels import COUNTER_CLOCKWISE_TURNS, read_image
from geocorrect.localize.correct import TracedResult, localize, match_all, observe
from geocorrect.localize.focal_prior import focal_prior
from geocorrect.localize.joint.device_lens import stated_camera
from geocorrect.localize.observations import Observations
from geocorrect.match.cascade import stages_of
from geocorrect.records import Anchor, AnchorView, CameraMotion, Image, MetadataQuality, Pair, Query, Rejection
from geocorrect.retrieve.by_appearance import Choice


@dataclass(frozen=True, eq=False)
class Localization:
    """A result with what led to it."""

    found: TracedResult
    pairs: tuple[Pair, ...]
    views: tuple[AnchorView, ...] = ()
    """The anchors that were matched with the photo."""
    unusable_anchors: tuple[str, ...] = ()
    """Messages about anchor files that could not be read."""


class PhotoLocalizer:
    """Loads models once and localises one photo after the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.matcher = build_matcher(settings)
        self.anchors = AnchorCache(settings, self.matcher)
        self.appearance = build_appearance(settings, self.matcher, self.anchors.view)
        self.estimator = build_estimator(settings, self.anchors.view)
        self.focal_network = build_focal_network(settings)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of matcher, depth source and further networks, weights included."""
        further = further_fingerprints(self.estimator, self.focal_network)
        return self.matcher.fingerprint, self.anchors.fingerprint, *further

    def read(
        self,
        image: Image,
        reported_enu_m: NDArray[np.float64],
        heading_deg: float,
        motion: CameraMotion | None = None,
    ) -> Query | Rejection:
        """Pixels, mask and camera of the photo, checked against each other, or the reason why it cannot be used.

        Args:
            image: Its record.
            reported_enu_m: (3,) reported position in the scene's frame, all nan when unknown.
            heading_deg: Best reported heading.
            motion: While it was taken; None: unknown.
        """
        masks = self._settings.localize.verify.masks
        if image.path is None or not image.path.is_file():
            return Rejection(image.id, Reason.IMAGE_MISSING, f"{image.path or 'not downloaded'}")
        if image.camera is None:
            return Rejection(image.id, Reason.CAMERA_UNSUPPORTED, "no usable intrinsics")
        try:
            pixels = read_image(image.path, image.exif_orientation)
            mask = mask_beside(image.path, masks, image.exif_orientation) if masks else None
        except InputError as error:
            return Rejection(image.id, Reason.IMAGE_UNREADABLE, str(error))
        if pixels.shape[:2] != (image.camera.height, image.camera.width):
            detail = f"file is {pixels.shape[1]}×{pixels.shape[0]}, camera {image.camera.width}×{image.camera.height}"
            return Rejection(image.id, Reason.CAMERA_UNSUPPORTED, detail)
        camera = stated_camera(image, self._settings.camera.lenses)
        assert camera is not None
        return Query(image.id, pixels, camera, reported_enu_m, heading_deg, mask, _upright_turns(image), motion)

    def localize(
        self, query: Query, pairs: tuple[Pair, ...], anchors: tuple[Anchor, ...], neighbours: Neighbours
    ) -> Localization:
        """The photo against candidate anchors.

        Args:
            query: The photo, read.
            pairs: Its ranked candidates; empty: the scene is searched.
            anchors: Those of the pairs, in their order; without pairs, a whole scene.
            neighbours: By anchor id, where the depth source uses them.
        """
        chosen = self._choose(query, pairs, anchors)
        if not pairs and self.appearance is not None:
            # No anchor is near the reported position, if there is one: it does not judge a pose found elsewhere.
            query = replace(query, reported_enu_m=np.full(3, np.nan))
        views, unusable = self.anchors.usable(chosen.anchors, neighbours)
        unusable = tuple(dict.fromkeys([*chosen.unusable, *unusable]))
        if not views:
            missing = Rejection(query.image_id, Reason.ANCHORS_UNUSABLE, "; ".join(unusable[:1]))
            return Localization(TracedResult(missing), chosen.pairs, (), unusable)
        if self.focal_network is not None:
            prior = self._settings.camera.prior
            query = replace(query, camera=focal_prior(query.pixels, query.camera, self.focal_network, options=prior))
        seed = _image_seed(self._settings.batch.seed, query.image_id)
        options, pair = self._settings.localize, self._settings.match.verify
        found = localize(query, views, self.matcher, self.anchors.depth_source, options, seed, self.estimator, pair)
        if chosen.likeness:
            asked = partial(self._observe, query, found, neighbours, seed)
            found = beside_other_places(found, query, anchors, chosen.likeness, asked, options)
        return Localization(found, chosen.pairs, tuple(views), unusable)

    def _observe(
        self, query: Query, found: TracedResult, neighbours: Neighbours, seed: int, anchor: Anchor
    ) -> Observations | None:
        """The photo's matches with one more anchor, by the matcher that gave the result; None if that is unusable."""
        views, _ = self.anchors.usable((anchor,), neighbours)
        if not views:
            return None
        depth = depth_for(self.anchors.depth_source, anchor, views[0].pixels, query.pixels)
        stages = {stage.fingerprint: stage for stage in stages_of(self.matcher).values()}
        options, pair = self._settings.localize, self._settings.match.verify
        matcher = stages[found.result.evidence.matcher]
        (matches,) = match_all(matcher, query, views, [depth])
        return observe(query, views[0], matches, depth, options, seed, matcher, pair)

    def _choose(self, query: Query, pairs: tuple[Pair, ...], anchors: tuple[Anchor, ...]) -> Choice:
        """The candidates to match: those given, or the most alike of them."""
        if self.appearance is None:
            return Choice(pairs, anchors)
        if pairs:
            return self.appearance.rerank(query, pairs, anchors)
        return self.appearance.search(query, anchors)


def _upright_turns(image: Image) -> int | None:
    """As the orientation tag says, which undone turns lead back to; else as the provider placed the photo."""
    if image.exif_orientation != 1:
        return -COUNTER_CLOCKWISE_TURNS[image.exif_orientation] % 4
    placed = image.computed_enu_from_cam if image.quality is MetadataQuality.SFM else None
    return None if placed is None else upright_turns(placed)


def _image_seed(seed: int, image_id: str) -> int:
    """A seed of its own for every image, whatever the order of the work."""
    digest = hashlib.blake2b(f"{seed}/{image_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF
