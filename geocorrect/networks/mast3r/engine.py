"""Photos in, tokens and decoded views out: each photo is encoded once, pairs are decoded in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from geocorrect.networks.dinov2 import Grid
from geocorrect.networks.mast3r.model import DecodedView, Encoded, Mast3r
from geocorrect.networks.mast3r.sizes import PATCH_PX
from geocorrect.networks.placement import Placement
from geocorrect.networks.store import TensorStore, content_key
from geocorrect.records import ImageArray

T = TypeVar("T")

ENCODE_BATCH = 8
TOKENS = "tokens"


TRAINED_RATIOS = (4 / 3, 32 / 21, 16 / 9, 2 / 1, 16 / 5)
"""Width to height of the training resolutions 512 × {384, 336, 288, 256, 160}; others work, but were never seen."""


def network_image(photo: ImageArray, long_side_px: int = 512) -> tuple[ImageArray, Placement]:
    """Resize the long side to `long_side_px`, crop symmetrically to multiples of 16; see `docs/models.md`.

    A square photo loses a quarter of its height: the network was never trained on squares. At most 15 px are lost else.
    """
    placement = place(photo.shape[1], photo.shape[0], long_side_px)
    shrinks = max(placement.photo_size) > long_side_px
    resample = PillowImage.Resampling.LANCZOS if shrinks else PillowImage.Resampling.BICUBIC
    resized = np.asarray(PillowImage.fromarray(photo).resize(placement.resized_size, resample))
    (left, top), (width, height) = placement.crop_origin, placement.size
    return np.ascontiguousarray(resized[top : top + height, left : left + width]), placement


def is_too_thin(photo: ImageArray, long_side_px: int = 512) -> bool:
    """Whether the photo leaves no row or column of patches at the network's size (longer than about 32 to 1)."""
    height, width = photo.shape[:2]
    scale = long_side_px / max(width, height)
    return min(round(width * scale), round(height * scale)) // 2 * 2 < PATCH_PX


def place(width: int, height: int, long_side_px: int = 512) -> Placement:
    """The placement of a photo of this size; ValueError when it is too thin to leave a row of patches."""
    longest = max(width, height)
    resized = (round(width * long_side_px / longest), round(height * long_side_px / longest))
    centre_x, centre_y = resized[0] // 2, resized[1] // 2
    half_width, half_height = (2 * centre // PATCH_PX * PATCH_PX // 2 for centre in (centre_x, centre_y))
    if resized[0] == resized[1]:
        half_height = 3 * half_width // 4
    if not half_width or not half_height:
        raise ValueError(f"an image of {width}×{height} pixels is too thin for MASt3R")
    size = (2 * half_width, 2 * half_height)
    return Placement((width, height), resized, (centre_x - half_width, centre_y - half_height), size)


def trained_size(width: int, height: int, long_side_px: int = 512) -> tuple[int, int]:
    """(width, height) of the training resolution nearest in shape to a photo; a square counts as landscape 4:3."""
    ratio = max(width, height) / min(width, height)
    nearest = min(TRAINED_RATIOS, key=lambda trained: abs(trained - ratio))
    short_side_px = round(long_side_px / nearest / PATCH_PX) * PATCH_PX
    return (long_side_px, short_side_px) if width >= height else (short_side_px, long_side_px)


def to_tensor(images: Sequence[ImageArray]) -> Tensor:
    """Images of one size, (H, W, 3) uint8 each → (B, 3, H, W) float32 in [−1, 1]."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return (stacked / 255.0 - 0.5) / 0.5


@dataclass(frozen=True, eq=False)
class PhotoTokens:
    """What the encoder makes of one photo."""

    tokens: Tensor
    """(N, D)."""
    grid: Grid
    placement: Placement
    """Where the network image is in the photo."""

    def encoded(self) -> Encoded:
        """As a batch of one."""
        return Encoded(self.tokens[None], self.grid)


@dataclass(frozen=True, eq=False)
class DecodedPairs:
    """A batch of decoded pairs."""

    indices: list[int]
    """Of the pairs in the list that was asked for."""
    view1: DecodedView
    view2: DecodedView


class Mast3rEngine:
    """A network with its token cache."""

    def __init__(
        self,
        model: Mast3r,
        weights_id: str,
        store: TensorStore,
        long_side_px: int = 512,
        dtype: torch.dtype | None = None,
    ) -> None:
        """dtype: of the weights, where the model is deferred and should not be loaded to be asked."""
        self.model, self.store, self.long_side_px = model, store, long_side_px
        precision = str(dtype or model.dtype).removeprefix("torch.")
        # What tokens depend on.
        self.fingerprint = f"mast3r/{weights_id}/{precision}/{long_side_px}"

    def encode(self, photos: Sequence[ImageArray]) -> list[PhotoTokens]:
        """Tokens of photos (H, W, 3) RGB uint8, from the cache or the network, equal sizes in one batch."""
        prepared = [network_image(photo, self.long_side_px) for photo in photos]
        images, placements = [image for image, _ in prepared], [placement for _, placement in prepared]
        return _as_photos(self._tokens(images, self.store.put), images, placements)

    def encode_crops(self, crops: Sequence[ImageArray], placements: Sequence[Placement]) -> list[PhotoTokens]:
        """Tokens of crops whose sides are multiples of 16 already.

        Kept in memory, where the next anchor may ask for them, but not on disk: they depend on the pair of photos.
        """
        return _as_photos(self._tokens(crops, self.store.remember), crops, placements)

    def _tokens(self, images: Sequence[ImageArray], keep: Callable[[str, Mapping[str, Tensor]], None]) -> list[Tensor]:
        """Tokens (N, D) of network images, each on the model's device; those that were computed are given to `keep`."""
        keys = [content_key(image, self.fingerprint) for image in images]
        cached = {key: self.store.get(key) for key in set(keys)}
        tokens = {key: found[TOKENS].to(self.model.device) for key, found in cached.items() if found is not None}
        by_size: dict[tuple[int, ...], dict[str, ImageArray]] = defaultdict(dict)
        for key, image in zip(keys, images, strict=True):
            if key not in tokens:
                by_size[image.shape][key] = image
        for missing in by_size.values():
            for batch in _batches(list(missing.items()), ENCODE_BATCH):
                encoded = self.model.encode(to_tensor([image for _, image in batch]))
                for (key, _), one in zip(batch, encoded.tokens, strict=True):
                    tokens[key] = one.clone()  # a view would keep the whole batch alive in the cache
                    keep(key, {TOKENS: tokens[key]})
        return [tokens[key] for key in keys]

    def decode(self, pairs: Sequence[tuple[PhotoTokens, PhotoTokens]], batch_size: int = 8) -> Iterator[DecodedPairs]:
        """Decode (view 1, view 2) pairs, equal grids in one batch, in no particular order.

        A photo that is view 1 (or 2) of a whole batch goes through its share of the first layer once.
        """
        by_grids: dict[tuple[Grid, Grid], list[int]] = defaultdict(list)
        for index, (first, second) in enumerate(pairs):
            by_grids[first.grid, second.grid].append(index)
        for indices in by_grids.values():
            for batch in _batches(indices, batch_size):
                views1, views2 = (_stacked([pairs[index][side] for index in batch]) for side in (0, 1))
                if len(views1.tokens) == len(views2.tokens) == 1:  # one pair, perhaps asked for repeatedly
                    views1 = Encoded(views1.tokens.expand(len(batch), -1, -1), views1.grid)
                yield DecodedPairs(batch, *self.model.decode(views1, views2))


def _stacked(photos: Sequence[PhotoTokens]) -> Encoded:
    if all(photo.tokens is photos[0].tokens for photo in photos) and len(photos) > 1:
        return photos[0].encoded()
    return Encoded(torch.stack([photo.tokens for photo in photos]), photos[0].grid)


def _as_photos(
    tokens: Sequence[Tensor], images: Sequence[ImageArray], placements: Sequence[Placement]
) -> list[PhotoTokens]:
    grids = [(image.shape[0] // PATCH_PX, image.shape[1] // PATCH_PX) for image in images]
    return [PhotoTokens(*parts) for parts in zip(tokens, grids, placements, strict=True)]


def _batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
