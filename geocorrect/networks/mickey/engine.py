"""Photos in, keypoints and pair probabilities out: each photo goes through the network once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocorrect.errors import ConfigError
from geocorrect.networks.mickey.heads import BORDER_CELLS
from geocorrect.networks.mickey.model import Keypoints, Mickey, PairProbabilities
from geocorrect.networks.mickey.sizes import MAX_CELLS, MIN_CELLS, PATCH_PX
from geocorrect.networks.placement import Placement
from geocorrect.networks.store import TensorStore, content_key
from geocorrect.records import ImageArray

DETECT_BATCH = 4
FIELDS = ("px", "depth_m", "score", "descriptor")


TRAINED_LONG_SIDE_PX = 720
"""MicKey was trained on 540 × 720 px (width × height)."""

MAX_LONG_SIDE_PX = MAX_CELLS * PATCH_PX


def network_image(photo: ImageArray, long_side_px: int = TRAINED_LONG_SIDE_PX) -> tuple[ImageArray, Placement]:
    """Resize the long side to `long_side_px`, then cut the right and lower edges to whole cells of 14 px.

    Pixels are averaged where the photo shrinks and interpolated linearly where it grows; a photo of the right size is
    left as it is. ValueError when it is too thin.
    """
    placement = place(photo.shape[1], photo.shape[0], long_side_px)
    resized = photo
    if placement.resized_size != placement.photo_size:
        shrinks = placement.resized_size[0] < placement.photo_size[0]
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(photo, placement.resized_size, interpolation=interpolation), np.uint8)
    width, height = placement.size
    return np.ascontiguousarray(resized[:height, :width]), placement


def place(width: int, height: int, long_side_px: int = TRAINED_LONG_SIDE_PX) -> Placement:
    """Where the network image of a photo of this size lies in it; ValueError when it has too few cells on a side."""
    longest = max(width, height)
    resized = (round(width * long_side_px / longest), round(height * long_side_px / longest))
    size = (resized[0] // PATCH_PX * PATCH_PX, resized[1] // PATCH_PX * PATCH_PX)
    if min(size) < MIN_CELLS * PATCH_PX or max(size) > MAX_LONG_SIDE_PX:
        raise ValueError(
            f"an image of {width}×{height} pixels resized to {long_side_px} px has {size[0] // PATCH_PX}×"
            f"{size[1] // PATCH_PX} cells; MicKey works on {MIN_CELLS} to {MAX_CELLS} per side"
        )
    return Placement((width, height), resized, (0, 0), size)


def is_too_thin(photo: ImageArray, long_side_px: int = TRAINED_LONG_SIDE_PX) -> bool:
    """Whether `place` refuses the photo."""
    try:
        place(photo.shape[1], photo.shape[0], long_side_px)
    except ValueError:
        return True
    return False


def to_tensor(images: Sequence[ImageArray]) -> Tensor:
    """Images of one size, (H, W, 3) RGB uint8 each → (B, 3, H, W) float32 in [0, 1]; no mean is subtracted."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255.0


@dataclass(frozen=True, eq=False)
class PhotoKeypoints:
    """Keypoints of one photo and where its network image lies in it."""

    keypoints: Keypoints
    """A batch of one, on the network's device."""
    placement: Placement

    def photo_px(self) -> NDArray[np.float64]:
        """(N, 2) in pixels of the photo."""
        return self.placement.to_photo(self.keypoints.px[0].T.cpu().numpy())

    def depth_m(self) -> NDArray[np.float64]:
        """(N,) as predicted, possibly negative."""
        return self.keypoints.depth_m[0].double().cpu().numpy()

    def score(self) -> NDArray[np.float64]:
        """(N,), sums to one; zero on the border."""
        return self.keypoints.score[0].double().cpu().numpy()

    def inner(self) -> NDArray[np.bool_]:
        """(N,) which keypoints lie away from the border, where scores are zero and depths were never trained."""
        columns, rows = (length // PATCH_PX for length in self.placement.size)
        inside = np.zeros((rows, columns), bool)
        inside[BORDER_CELLS : rows - BORDER_CELLS, BORDER_CELLS : columns - BORDER_CELLS] = True
        return inside.ravel()


class MickeyEngine:
    """A network with its cache of keypoints. `fingerprint` names weights, precision and image size."""

    def __init__(
        self,
        model: Mickey,
        weights_id: str,
        store: TensorStore,
        long_side_px: int = TRAINED_LONG_SIDE_PX,
        dtype: torch.dtype | None = None,
    ) -> None:
        """dtype: of the backbone, where the model is deferred and should not be loaded to be asked.

        ConfigError for a `long_side_px` at which the network works on no photo at all.
        """
        if not MIN_CELLS * PATCH_PX <= long_side_px < MAX_LONG_SIDE_PX + PATCH_PX:
            raise ConfigError(
                f"mickey: long_side_px must be {MIN_CELLS * PATCH_PX} to {MAX_LONG_SIDE_PX + PATCH_PX - 1}, "
                f"got {long_side_px}"
            )
        self.model, self.store, self.long_side_px = model, store, long_side_px
        precision = str(dtype or model.dtype).removeprefix("torch.")
        self.fingerprint = f"mickey/{weights_id}/{precision}/{long_side_px}"

    def keypoints(self, photos: Sequence[ImageArray]) -> list[PhotoKeypoints]:
        """Keypoints of photos (H, W, 3) RGB uint8, from the cache or the network, equal sizes in one batch.

        ValueError for a photo that is too thin, see `preprocess.is_too_thin`.
        """
        prepared = [network_image(photo, self.long_side_px) for photo in photos]
        keys = [content_key(image, self.fingerprint) for image, _ in prepared]
        found = {key: self._cached(key) for key in set(keys)}
        missing: dict[tuple[int, ...], dict[str, ImageArray]] = defaultdict(dict)
        for key, (image, _) in zip(keys, prepared, strict=True):
            if found[key] is None:
                missing[image.shape][key] = image
        for images in missing.values():
            found |= self._detect(images)
        return [
            PhotoKeypoints(Keypoints(**{name: found[key][name] for name in FIELDS}), placement)  # type: ignore[index]
            for key, (_, placement) in zip(keys, prepared, strict=True)
        ]

    def match(self, first: PhotoKeypoints, second: PhotoKeypoints) -> PairProbabilities:
        """Probabilities (1, N, M) of the pairs of keypoints of two photos."""
        return self.model.match(first.keypoints, second.keypoints)

    def _cached(self, key: str) -> Mapping[str, Tensor] | None:
        stored = self.store.get(key)
        return None if stored is None else {name: stored[name].to(self.model.device) for name in FIELDS}

    def _detect(self, images: Mapping[str, ImageArray]) -> dict[str, Mapping[str, Tensor]]:
        found: dict[str, Mapping[str, Tensor]] = {}
        items = list(images.items())
        for start in range(0, len(items), DETECT_BATCH):
            batch = items[start : start + DETECT_BATCH]
            detected = self.model.detect(to_tensor([image for _, image in batch]))
            for position, (key, _) in enumerate(batch):
                # Clones: a view would keep the whole batch alive in the cache.
                one = {name: getattr(detected, name)[position : position + 1].clone() for name in FIELDS}
                self.store.put(key, one)
                found[key] = one
        return found
