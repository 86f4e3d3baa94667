"""Places that look alike: one global descriptor per photo, ranked by cosine.

It comes from the matcher's local features (`retrieve.vlad`) or from its encoder's tokens: their sum (SPoC, Babenko &
Lempitsky 2015), each weighted by the length of its whitened vector, which stands for attention (HOW, Tolias et al.
2020); see `docs/models.md`. Re-ranks spatial candidates, and finds candidates among anchors for photos without a usable
position. It costs next to nothing once the matcher has looked at the photos.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geocorrect.errors import ModelError
from geocorrect.io.checksum import sha256_of
from geocorrect.records import Float32, ImageArray, Pair
from geocorrect.retrieve.nearest import EXACT_DESCRIPTORS, ApproximateIndex

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


class Describer(Protocol):
    """Gives photos descriptors whose cosines tell how alike they are."""

    @property
    def identity(self) -> str:
        """Everything that a descriptor depends on beside the photo, in one line."""
        ...

    @property
    def is_trained(self) -> bool:
        """Whether photos can be described; else `train` comes first."""
        ...

    def train(self, photos: Iterable[ImageArray]) -> None:
        """Learn from photos of the place what describing it needs, and store that."""
        ...

    def refusal(self, photo: ImageArray) -> str:
        """Why this photo (H, W, 3) RGB uint8 has no descriptor; empty when it has one."""
        ...

    def describe(self, photos: Sequence[ImageArray]) -> Float32:
        """(M, D) unit descriptors of photos that are not refused."""
        ...


class TokenDescriber:
    """Sums of the tokens of the matcher's encoder; what is encoded here the matcher finds in its cache."""

    is_trained = True

    def __init__(self, engine: Mast3rEngine, whitening: Path | None = None) -> None:
        """whitening: see `read_whitening`."""
        self._engine, self._whitening = engine, None if whitening is None else read_whitening(whitening)
        self.identity = f"{engine.fingerprint}/{'plain' if whitening is None else sha256_of(whitening)}"

    def train(self, photos: Iterable[ImageArray]) -> None:
        """Nothing: the network was trained."""

    def refusal(self, photo: ImageArray) -> str:
        """See `Describer`."""
        from geocorrect.networks.mast3r.engine import is_too_thin

        thin = is_too_thin(photo, self._engine.long_side_px)
        return f"{photo.shape[1]}×{photo.shape[0]} pixels are too thin for the network" if thin else ""

    def describe(self, photos: Sequence[ImageArray]) -> Float32:
        """See `Describer`; from cached tokens where there are any."""
        encoded = self._engine.encode(photos)
        found = [global_descriptor(photo.tokens.float().cpu().numpy(), self._whitening) for photo in encoded]
        return np.stack(found).astype(np.float32)


class AppearanceIndex:
    """Descriptors of anchors: searched exhaustively up to 100,000, by an approximate index beyond."""

    def __init__(self, anchor_ids: Sequence[str], descriptors: ArrayLike) -> None:
        """descriptors: (M, D) unit rows, in the order of the ids."""
        self._ids = list(anchor_ids)
        rows = np.asarray(descriptors)
        if rows.dtype != np.float32:
            rows = rows.astype(float)
        self._descriptors = rows.reshape(len(self._ids), -1 if self._ids else 0)
        if len(set(self._ids)) != len(self._ids):
            raise ValueError("an anchor is in the index twice")
        self._row = {anchor_id: row for row, anchor_id in enumerate(self._ids)}
        large = len(self._ids) > EXACT_DESCRIPTORS
        self._approximate = ApproximateIndex(self._descriptors) if large else None

    def similar(self, descriptor: ArrayLike, count: int) -> list[tuple[str, float]]:
        """The `count` most similar anchors, (id, cosine), best first; ties by id.

        Args:
            descriptor: (D,), or (F, D) for a photo in F parts, of which the most similar one counts.
            count: How many at most.
        """
        if not self._ids:
            return []
        if self._approximate is None:
            cosine = self._cosine(descriptor)
            # All that tie with the last one are sorted, so that ids decide among them.
            least = np.partition(cosine, -count)[-count] if count < len(cosine) else -np.inf
            rows = np.flatnonzero(cosine >= least)
        else:
            rows = self._approximate.near(np.atleast_2d(np.asarray(descriptor)), count)
            cosine = np.full(len(self._ids), -np.inf)
            cosine[rows] = _best_cosine(self._descriptors[rows], descriptor)
        order = sorted(rows.tolist(), key=lambda row: (-cosine[row], self._ids[row]))[:count]
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

    def _cosine(self, descriptor: ArrayLike) -> NDArray[np.floating]:
        """(M,) similarity of every anchor."""
        return _best_cosine(self._descriptors, descriptor) if self._ids else np.zeros(0)


def _best_cosine(rows: NDArray[np.floating], descriptor: ArrayLike) -> NDArray[np.floating]:
    """(M,) largest scalar product of each row with the parts of a descriptor (D,) or (F, D)."""
    parts = np.atleast_2d(np.asarray(descriptor)).astype(rows.dtype)
    best: NDArray[np.floating] = (rows @ parts.T).max(axis=1)
    return best
