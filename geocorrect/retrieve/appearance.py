"""Places that look alike: one global descriptor per photo from the matcher's own encoder tokens, ranked by cosine.

Sum of tokens (SPoC, Babenko & Lempitsky 2015), each weighted by the length of its whitened vector, which stands for
attention (HOW, Tolias et al. 2020); see `docs/models.md`. Re-ranks spatial candidates, and finds candidates among
anchors for photos without a position. It costs nothing once the matcher has encoded the photos.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geocorrect.errors import ModelError
from geocorrect.records import ImageArray, Pair

if TYPE_CHECKING:
    from geocorrect.networks.mast3r.engine import Mast3rEngine

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Whitening:
    """What is done to each token before the sum."""

    mean: Float
    """(D,), subtracted first."""
    matrix: Float
    """(D, D'), multiplied from the right."""

    def __post_init__(self) -> None:
        mean, matrix = np.asarray(self.mean, float).reshape(-1), np.asarray(self.matrix, float)
        if matrix.ndim != 2 or len(matrix) != len(mean):
            raise ValueError(f"whitening needs a mean (D,) and a matrix (D, D'), got {mean.shape} and {matrix.shape}")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "matrix", matrix)


def read_whitening(path: Path) -> Whitening:
    """Whitening of a retrieval checkpoint, `prewhiten.m` (1, D) and `prewhiten.p` (D, D'); ModelError if none."""
    from geocorrect.networks.state_dict import read_tensors

    try:
        tensors = read_tensors(path)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    found = {name: [tensors[key] for key in tensors if key.endswith(f"prewhiten.{name}")] for name in "mp"}
    if any(len(parts) != 1 for parts in found.values()):
        raise ModelError(f"{path}: holds no whitening (`prewhiten.m` and `prewhiten.p`)")
    return Whitening(found["m"][0].double().numpy(), found["p"][0].double().numpy())


def global_descriptor(tokens: ArrayLike, whitening: Whitening | None = None) -> Float:
    """Tokens (N, D) of one photo → unit descriptor (D',)."""
    features = np.asarray(tokens, float)
    if features.ndim != 2 or not len(features) or not np.isfinite(features).all():
        raise ValueError(f"tokens must be a finite, non-empty (N, D) array, got {features.shape}")
    if whitening is not None:
        features = (features - whitening.mean) @ whitening.matrix
    attention = np.linalg.norm(features, axis=1, keepdims=True)
    pooled = (attention * features).sum(axis=0)
    length = float(np.linalg.norm(pooled))
    if length == 0.0:
        raise ValueError("the tokens cancel out; there is no descriptor")
    unit: Float = pooled / length
    return unit


def describe(engine: Mast3rEngine, photos: Sequence[ImageArray], whitening: Whitening | None = None) -> Float:
    """(M, D') descriptors of photos (H, W, 3) RGB uint8, from cached tokens where there are any."""
    return np.stack(
        [global_descriptor(photo.tokens.float().cpu().numpy(), whitening) for photo in engine.encode(photos)]
    )


class AppearanceIndex:
    """Descriptors of anchors, searched exhaustively: a million of them is one matrix product."""

    def __init__(self, anchor_ids: Sequence[str], descriptors: ArrayLike) -> None:
        """descriptors: (M, D) unit rows, in the order of the ids."""
        self._ids = list(anchor_ids)
        self._descriptors = np.asarray(descriptors, float).reshape(len(self._ids), -1 if self._ids else 0)
        if len(set(self._ids)) != len(self._ids):
            raise ValueError("an anchor is in the index twice")
        self._row = {anchor_id: row for row, anchor_id in enumerate(self._ids)}

    def similar(self, descriptor: ArrayLike, count: int) -> list[tuple[str, float]]:
        """The `count` most similar anchors, (id, cosine), best first; ties by id.

        Args:
            descriptor: (D,), or (F, D) for a photo in F parts, of which the most similar one counts.
            count: How many at most.
        """
        cosine = self._cosine(descriptor)
        order = sorted(range(len(self._ids)), key=lambda row: (-cosine[row], self._ids[row]))[:count]
        return [(self._ids[row], float(cosine[row])) for row in order]

    def reranked(self, descriptor: ArrayLike, pairs: Iterable[Pair]) -> list[Pair]:
        """Spatial candidates in order of similarity, ranks renewed; descriptor: as in `similar`.

        Candidates that are not in the index keep their order behind those that are.
        """
        cosine = self._cosine(descriptor)

        def position(pair: Pair) -> tuple[float, int]:
            row = self._row.get(pair.anchor_id)
            return (np.inf if row is None else -float(cosine[row]), pair.rank)

        return [replace(pair, rank=rank) for rank, pair in enumerate(sorted(pairs, key=position))]

    def _cosine(self, descriptor: ArrayLike) -> Float:
        """(M,) similarity of every anchor."""
        if not self._ids:
            return np.zeros(0)
        best: Float = (self._descriptors @ np.atleast_2d(np.asarray(descriptor, float)).T).max(axis=1)
        return best
