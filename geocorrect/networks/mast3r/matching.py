"""One query against many anchors: tokens → descriptors → reciprocal matches → pixels of the photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from torch import Tensor

from geocorrect.networks.mast3r.engine import Mast3rEngine, PhotoTokens, is_too_thin, trained_size
from geocorrect.networks.mast3r.model import DecodedView, Descriptors
from geocorrect.networks.mast3r.reciprocal import (
    DescriptorPair,
    PixelMatches,
    coarse_admissible,
    reciprocal_matches,
    smaller_confidence,
)
from geocorrect.networks.mast3r.rules import MatchingRules, Orders
from geocorrect.networks.mast3r.sizes import PATCH_PX
from geocorrect.networks.placement import Placement
from geocorrect.records import ImageArray, Matches

_Pair = tuple[Descriptors, Descriptors]
"""Dense descriptors of a decoded pair, query and anchor, without the batch dimension."""


def match_photos(
    engine: Mast3rEngine, query: ImageArray, anchors: Sequence[ImageArray], rules: MatchingRules
) -> list[Matches]:
    """Matches of the query with each anchor, in pixels of the photos; score is the descriptor confidence.

    A photo too thin for the network matches nothing.
    """
    if not anchors:
        return []
    if is_too_thin(query, engine.long_side_px):
        return [Matches.empty() for _ in anchors]
    taken = [anchor for anchor in anchors if not is_too_thin(anchor, engine.long_side_px)]
    if len(taken) < len(anchors):
        found = iter(match_photos(engine, query, taken, rules))
        return [Matches.empty() if is_too_thin(a, engine.long_side_px) else next(found) for a in anchors]
    query_tokens, *anchor_tokens = engine.encode([query, *anchors])
    coarse = match_tokens(engine, [(query_tokens, anchor) for anchor in anchor_tokens], rules)
    if rules.fine_long_side_px <= engine.long_side_px:
        return coarse
    return [
        refine_in_crops(engine, (query, anchor), matches, rules)
        for anchor, matches in zip(anchors, coarse, strict=True)
    ]


def match_tokens(
    engine: Mast3rEngine, pairs: Sequence[tuple[PhotoTokens, PhotoTokens]], rules: MatchingRules
) -> list[Matches]:
    """Matches of (query, anchor) pairs of encoded photos, in pixels of the photos."""
    found: list[Matches | None] = [None] * len(pairs)
    anchor_first = rules.orders is Orders.ANCHOR_FIRST
    ordered = [(anchor, query) for query, anchor in pairs] if anchor_first else pairs
    for decoded in engine.decode(ordered, rules.batch):
        second = None
        if rules.orders is Orders.BOTH:
            second = engine.model.decode(decoded.view2.encoded, decoded.view1.encoded)
        for position, index in enumerate(decoded.indices):
            views = decoded.view1.at(position), decoded.view2.at(position)
            query, anchor = reversed(views) if anchor_first else views
            first = _descriptors(engine, query, anchor, anchor_number=1 if anchor_first else 2)
            other = None
            if second is not None:
                other = _descriptors(engine, second[1].at(position), second[0].at(position), anchor_number=1)
            xy, score = _reciprocal(first, other, rules)
            found[index] = _in_photos(xy, score, pairs[index][0].placement, pairs[index][1].placement)
    return [matches for matches in found if matches is not None]


def refine_in_crops(
    engine: Mast3rEngine, photos: tuple[ImageArray, ImageArray], coarse: Matches, rules: MatchingRules
) -> Matches:
    """Match crops of the (query, anchor) photos at higher resolution, where the coarse matches say that they overlap.

    Photos no larger than the network's input, or without enough coarse matches, keep their coarse matches.
    """
    if max(*photos[0].shape[:2], *photos[1].shape[:2]) <= engine.long_side_px:
        return coarse
    (query_fine, query_place), (anchor_fine, anchor_place) = (_shrunk(photo, rules) for photo in photos)
    sizes = query_place.resized_size, anchor_place.resized_size
    crops = _crop_size(sizes[0], engine.long_side_px), _crop_size(sizes[1], engine.long_side_px)
    chosen = crop_pairs(
        query_place.to_network(coarse.query_px), anchor_place.to_network(coarse.anchor_px), sizes, crops
    )
    if not chosen:
        return coarse
    queries = _encode_crops(engine, query_fine, query_place, [pair.a for pair in chosen])
    anchors = _encode_crops(engine, anchor_fine, anchor_place, [pair.b for pair in chosen])
    parts = match_tokens(engine, list(zip(queries, anchors, strict=True)), rules)
    # Crops overlap: of the matches that join the same two pixels of the shrunk photos only the best is evidence.
    found = Matches.joined(parts)
    at = query_place.to_network(found.query_px), anchor_place.to_network(found.anchor_px)
    return found.best_of_each(np.rint(np.hstack(at)))


def _descriptors(engine: Mast3rEngine, query: DecodedView, anchor: DecodedView, anchor_number: int) -> _Pair:
    """Dense descriptors of one pair, of which the anchor was view `anchor_number`."""
    both = engine.model.descriptors(query, 3 - anchor_number), engine.model.descriptors(anchor, anchor_number)
    of_query, of_anchor = (Descriptors(one.descriptor[0], one.confidence[0]) for one in both)
    return of_query, of_anchor


def _reciprocal(pair: _Pair, other_order: _Pair | None, rules: MatchingRules) -> tuple[PixelMatches, Tensor]:
    """Matches seeded on the anchor (a) with the query (b), and their scores."""
    query, anchor = (one.descriptor for one in pair)
    admissible = coarse_admissible(anchor, query, rules.coarse_patches) if rules.coarse_patches else None
    matches = reciprocal_matches(DescriptorPair(anchor, query, admissible), rules.subsample_px)
    score = smaller_confidence(matches, pair[1].confidence, pair[0].confidence)
    keep = (score >= rules.min_confidence) & _off_border(matches.a_xy, anchor, rules.border_px)
    keep &= _off_border(matches.b_xy, query, rules.border_px)
    if other_order is not None:
        again = smaller_confidence(matches, other_order[1].confidence, other_order[0].confidence)
        score = torch.minimum(score, again)
        keep &= (score >= rules.min_confidence) & _found_again(matches, other_order, rules.agreement_px)
    return PixelMatches(matches.a_xy[keep], matches.b_xy[keep]), score[keep]


def _found_again(matches: PixelMatches, order: _Pair, tolerance_px: float) -> Tensor:
    """Whether the anchor's pixels lead to the same query pixels with the descriptors of the other order."""
    query, anchor = (one.descriptor for one in order)
    nearest = DescriptorPair(anchor, query).b_of_a(matches.a_xy[:, 1] * anchor.shape[1] + matches.a_xy[:, 0])
    offset = torch.stack([nearest % query.shape[1], nearest // query.shape[1]], dim=1) - matches.b_xy
    return torch.linalg.vector_norm(offset.float(), dim=1) <= tolerance_px


def _off_border(xy: Tensor, field: Tensor, border_px: int) -> Tensor:
    limit = torch.tensor([field.shape[1], field.shape[0]], device=xy.device) - border_px
    return ((xy >= border_px) & (xy < limit)).all(dim=1)


def _in_photos(xy: PixelMatches, score: Tensor, query: Placement, anchor: Placement) -> Matches:
    return Matches(
        query.to_photo(xy.b_xy.cpu().numpy()).astype(np.float32),
        anchor.to_photo(xy.a_xy.cpu().numpy()).astype(np.float32),
        score.float().cpu().numpy(),
    )


def _shrunk(photo: ImageArray, rules: MatchingRules) -> tuple[ImageArray, Placement]:
    """The photo at no more than the fine size; its placement has no crop."""
    height, width = photo.shape[:2]
    scale = min(1.0, rules.fine_long_side_px / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if scale < 1.0:
        photo = np.asarray(PillowImage.fromarray(photo).resize(size, PillowImage.Resampling.LANCZOS))
    return photo, Placement((width, height), size, (0, 0), size)


def _crop_size(image: tuple[int, int], long_side_px: int) -> tuple[int, int]:
    trained = trained_size(*image, long_side_px)
    width, height = (min(part, whole // PATCH_PX * PATCH_PX) for part, whole in zip(trained, image, strict=True))
    return max(width, PATCH_PX), max(height, PATCH_PX)


def _encode_crops(
    engine: Mast3rEngine, image: ImageArray, place: Placement, crops: Sequence[Crop]
) -> list[PhotoTokens]:
    windows = [
        np.ascontiguousarray(image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width])
        for crop in crops
    ]
    placements = [
        Placement(place.photo_size, place.resized_size, (crop.left, crop.top), (crop.width, crop.height))
        for crop in crops
    ]
    return engine.encode_crops(windows, placements)


Float = NDArray[np.float64]
Size = tuple[int, int]
"""(width, height) in pixels."""

OVERLAP = 0.5
MIN_MATCHES = 10
MIN_SPREAD_PX = 20.0
COVERAGE = 0.9


@dataclass(frozen=True)
class Crop:
    """A window of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class CropPair:
    """Windows of images a and b that show the same thing."""

    a: Crop
    b: Crop


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two images."""

    px: Float
    """(N, 2) matched points."""
    image: Size
    crop: Size


def crop_pairs(a_px: Float, b_px: Float, images: tuple[Size, Size], crops: tuple[Size, Size]) -> list[CropPair]:
    """Crop pairs in order of importance, until 90 % of the attainable weight of all matches is covered.

    Every window of a grid over one image that contains at least ten matches proposes a pair: itself and a window of the
    other image around the mean of its matches. A match weighs more, the nearer it is to the centres of both.

    Args:
        a_px: (N, 2) coarse matches in pixels of image a.
        b_px: (N, 2) the same matches in pixels of image b.
        images: Sizes of the two images.
        crops: Sizes of their crops.
    """
    a, b = _Side(a_px, images[0], crops[0]), _Side(b_px, images[1], crops[1])
    proposed = [(CropPair(one, two), weight) for one, two, weight in _proposals(a, b)]
    proposed += [(CropPair(two, one), weight) for one, two, weight in _proposals(b, a)]
    if not proposed:
        return []
    weights = np.stack([weight for _, weight in proposed])
    attainable = COVERAGE * weights.max(axis=0).sum()
    covered, chosen = np.zeros(weights.shape[1]), list[int]()
    while covered.sum() < attainable:
        gain = np.maximum(weights - covered, 0.0).sum(axis=1)
        chosen.append(int(gain.argmax()))
        covered = np.maximum(covered, weights[chosen[-1]])
    return [proposed[index][0] for index in chosen]


def _proposals(here: _Side, there: _Side) -> Iterator[tuple[Crop, Crop, Float]]:
    for window in _grid(here.image, here.crop):
        corner = np.array([window.left, window.top])
        inside = ((here.px >= corner) & (here.px < corner + here.crop)).all(axis=1)
        if inside.sum() < MIN_MATCHES:
            continue
        centre = there.px[inside].mean(axis=0)
        magnification = float((_spread(there.px[inside]) / _spread(here.px[inside])).mean())
        partner = _centred(centre, there)
        weight = _weight(here.px, corner + np.array(here.crop) / 2, window.width)
        weight = weight + _weight(there.px, centre, window.width * magnification)
        yield window, partner, weight


def _grid(image: Size, crop: Size) -> Iterator[Crop]:
    columns, rows = (_starts(whole, part) for whole, part in zip(image, crop, strict=True))
    for top in rows:
        for left in columns:
            yield Crop(left, top, *crop)


def _starts(whole: int, part: int) -> list[int]:
    room = max(whole - part, 0)
    count = int(np.ceil(room / (part * (1 - OVERLAP)))) + 1
    return [int(start) for start in np.rint(np.linspace(0, room, count))]


def _centred(centre: Float, side: _Side) -> Crop:
    room = np.maximum(np.subtract(side.image, side.crop), 0)
    left, top = np.clip(np.floor(centre - np.array(side.crop) / 2), 0, room)
    return Crop(int(left), int(top), *side.crop)


def _spread(px: Float) -> Float:
    low, high = np.quantile(px, [0.1, 0.9], axis=0)
    return np.maximum(high - low, MIN_SPREAD_PX)


def _weight(px: Float, centre: Float, width: float) -> Float:
    offset = (px - centre) / (width / 2)
    return np.asarray(np.exp(-np.square(offset).sum(axis=1)))
