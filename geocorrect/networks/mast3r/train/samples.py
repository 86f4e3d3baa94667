"""What the head learns from: tokens of a pair through the frozen network, and the measured points of view 1."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocorrect.errors import InputError
from geocorrect.networks.dinov2 import Grid
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.store import content_key
from geocorrect.records import ImageArray


@dataclass(frozen=True, eq=False)
class MeasuredPair:
    """Two photos, and points that were measured in the first."""

    name: str
    """For messages."""
    image: ImageArray
    """(H, W, 3) of view 1."""
    other: ImageArray
    """(h, w, 3) of view 2."""
    px: NDArray[np.float64]
    """(N, 2) pixels of view 1 where the points are seen."""
    points_m: NDArray[np.float64]
    """(N, 3) in the camera frame of view 1."""


class PairSource(Protocol):
    """The pairs of a scene, in an order that never changes."""

    @property
    def fingerprint(self) -> str:
        """The scene and how its pairs are chosen, in one line; a training continues only on equal ones."""
        ...

    def __len__(self) -> int: ...

    def load(self, index: int) -> MeasuredPair:
        """One pair; InputError naming a file that is missing or damaged."""
        ...


@dataclass(frozen=True, eq=False)
class HeadSample:
    """One pair as the head sees it."""

    name: str
    tokens: Sequence[Tensor]
    """Four (N, D) float32 token sets."""
    grid: Grid
    pixels: Tensor
    """(M,) int64 places of the measured points in the flat network image."""
    points_m: Tensor
    """(M, 3) float32 points there, in the camera frame of view 1."""


class HeadSamples:
    """The samples of a source. The frozen network sees each pair once; tokens are kept in the engine's store."""

    def __init__(self, source: PairSource, engine: Mast3rEngine) -> None:
        self.source, self.engine = source, engine
        self._known: dict[int, tuple[str, str, int]] = {}
        """Name, key in the store, and number of measured points of each sample that was asked for."""

    def __len__(self) -> int:
        return len(self.source)

    @property
    def fingerprint(self) -> str:
        """The source's, and what the tokens depend on."""
        return f"{self.source.fingerprint}/{self.engine.fingerprint}"

    def __getitem__(self, index: int) -> HeadSample:
        """From the store, or computed now; InputError as the source."""
        name, key, _ = self._known.get(index, ("", "", 0))
        kept = self.engine.store.get(key) if key else None
        if kept is None:
            pair = self.source.load(index)
            name, key = pair.name, self._key(pair)
            kept = self.engine.store.get(key)
            if kept is None:
                kept = self._computed(pair)
                self.engine.store.put(key, kept)
            self._known[index] = (name, key, len(kept["pixels"]))
        device = self.engine.model.device
        tokens = [kept[f"tokens{number}"].to(device) for number in range(4)]
        rows, columns = (int(side) for side in kept["grid"])
        return HeadSample(name, tokens, (rows, columns), kept["pixels"].to(device), kept["points_m"].to(device))

    def prepare(self, index: int) -> int:
        """Number of a sample's measured points; computes the sample the first time, and later reads no tokens."""
        return self._known[index][2] if index in self._known else len(self[index].pixels)

    def _key(self, pair: MeasuredPair) -> str:
        partner = content_key(pair.other, self.engine.fingerprint)
        target = hashlib.sha256(np.ascontiguousarray(pair.px).tobytes() + np.ascontiguousarray(pair.points_m).tobytes())
        return content_key(pair.image, self.engine.fingerprint, "head sample with", partner, target.hexdigest())

    def _computed(self, pair: MeasuredPair) -> dict[str, Tensor]:
        first, second = self.engine.encode([pair.image, pair.other])
        view, _ = self.engine.model.decode(first.encoded(), second.encoded())
        sets = [part[0].float() for part in (view.encoded.tokens, *view.hooked)]
        pixels, points_m = nearest_per_pixel(first.placement.to_network(pair.px), pair.points_m, first.placement.size)
        found = {f"tokens{number}": part.clone() for number, part in enumerate(sets)}  # of inference: no gradient
        return {
            **found,
            "grid": torch.tensor(first.grid),
            "pixels": torch.from_numpy(pixels),
            "points_m": torch.from_numpy(points_m.astype(np.float32)),
        }


def nearest_per_pixel(
    px: NDArray[np.float64], points_m: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(flat places (M,), points (M, 3)): of the points that fall into one pixel of an image the nearest.

    Args:
        px: (N, 2) pixels of the image, possibly outside.
        points_m: (N, 3) their points in the camera frame.
        size: (width, height) of the image.
    """
    width, height = size
    column, row = np.rint(px).astype(np.int64).T
    usable = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    usable &= np.isfinite(points_m).all(axis=1) & (points_m[:, 2] > 0)
    place, points = (row * width + column)[usable], points_m[usable]
    order = np.lexsort((points[:, 2], place))
    place, first = np.unique(place[order], return_index=True)
    return place, points[order][first]


def require_points(samples: HeadSamples, scene: str) -> None:
    """InputError when not one pair of the samples has a measured point that the network sees; computes them all."""
    if not len(samples):
        raise InputError(f"{scene}: no pair of neighbouring anchors of which one has a scan")
    if not sum(samples.prepare(index) for index in range(len(samples))):
        raise InputError(f"{scene}: none of {len(samples)} pairs has a scanned point inside the network's image")
