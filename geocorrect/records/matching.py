"""What the method works on: a photo with its camera, a pair, its matches, the depth of an anchor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.records.basic import NAN, Float, Float32, ImageArray
from geocorrect.records.motion import CameraMotion


@dataclass(frozen=True, eq=False)
class Query:
    """A photo ready to be localised: pixels in memory, the reported position in the scene's ENU frame."""

    image_id: str
    pixels: ImageArray
    """(H, W, 3) RGB in the orientation that the camera describes."""
    camera: Camera
    reported_enu_m: Float
    """(3,) z is nan when unknown, all are when there is no position."""
    heading_deg: float = NAN
    """Clockwise from true north, nan when unknown."""
    mask: NDArray[np.bool_] | None = None
    """(H, W) True where the pixels may be trusted; None: everywhere."""
    upright_turns: int | None = None
    """Counter-clockwise quarter turns that bring the picture upright; None: unknown."""
    motion: CameraMotion | None = None
    """While the photo was taken, where its camera has a rolling shutter; None when unknown."""


@dataclass(frozen=True)
class Pair:
    """A query and one candidate anchor."""

    image_id: str
    anchor_id: str
    rank: int
    """Place among the query's candidates, best first, from 0."""
    distance_m: float = NAN
    heading_difference_deg: float = NAN
    """Horizontal distance and heading from what was reported to the anchor; nan when unknown."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Correspondences of one query with one anchor, in pixels of the full images (top-left pixel centre = (0, 0))."""

    query_px: Float32
    anchor_px: Float32
    """(N, 2) each."""
    score: Float32
    """(N,) confidence of the matcher, larger is better."""

    def __post_init__(self) -> None:
        for name, columns in (("query_px", 2), ("anchor_px", 2)):
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if array.ndim != 2 or array.shape[1] != columns or not np.isfinite(array).all():
                raise ValueError(f"Matches.{name} must be a finite (N, {columns}) array, got {array.shape}")
            object.__setattr__(self, name, array)
        score = np.ascontiguousarray(self.score, dtype=np.float32)
        if not len(self.query_px) == len(self.anchor_px) == len(score) or score.ndim != 1:
            raise ValueError("Matches need as many query points as anchor points and scores")
        object.__setattr__(self, "score", score)

    def __len__(self) -> int:
        return len(self.score)

    def subset(self, keep: NDArray[Any]) -> Matches:
        """The matches selected by a boolean mask or an index array."""
        return Matches(self.query_px[keep], self.anchor_px[keep], self.score[keep])

    def best_of_each(self, key: NDArray[Any]) -> Matches:
        """Of the matches with equal rows of `key` (N, D) the one of highest score, the first on a tie; order kept."""
        best_first = np.argsort(-self.score, kind="stable")
        _, first = np.unique(key[best_first], axis=0, return_index=True)
        return self.subset(np.sort(best_first[first]))

    @classmethod
    def joined(cls, parts: Sequence[Matches]) -> Matches:
        """The matches of all parts, one after the other."""
        columns = zip(*((part.query_px, part.anchor_px, part.score) for part in [cls.empty(), *parts]), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    @classmethod
    def empty(cls) -> Matches:
        """No match at all."""
        return cls(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Metric depth of one anchor image along the optical axis: a dense map, or sparse samples (LiDAR, tracks)."""

    name: str
    """Of the depth source, for the evidence."""
    is_oracle: bool
    """Whether it measured depth (LiDAR): never hidden in results."""
    z_m: Float32 | None = None
    """(H, W) a dense map, nan where unknown; else None."""
    samples_px: Float | None = None
    """(N, 2) exact sub-pixel projections of sparse samples; else None."""
    samples_z_m: Float | None = None
    """(N,) their depths."""
    points_m: Float32 | None = None
    """(H, W, 3) beside a dense map: points in the camera frame, of a source that puts them off their pixels' rays."""
    log_sigma: float | Float32 = 0.01
    """Standard deviation of log depth: one number, an (H, W) map, or (N,) per sample."""
    common_log_sigma: float = 0.0
    """Part of that error which all pixels share, 0 for LiDAR."""
    from_anchors: frozenset[str] = frozenset()
    """Ids of the anchors whose poses on record gave it its scale."""

    def __post_init__(self) -> None:
        if (self.z_m is None) == (self.samples_px is None):
            raise ValueError("DepthMap needs either a dense map z_m or sparse samples, not both and not neither")
        if self.z_m is not None:
            z = np.ascontiguousarray(self.z_m, dtype=np.float32)
            if z.ndim != 2 or (self.points_m is not None and self.points_m.shape != (*z.shape, 3)):
                raise ValueError(f"DepthMap.z_m must be (H, W), points_m (H, W, 3) if any; z_m is {z.shape}")
            object.__setattr__(self, "z_m", z)
        else:
            px, z_samples = (np.ascontiguousarray(v, dtype=np.float64) for v in (self.samples_px, self.samples_z_m))
            if px.ndim != 2 or px.shape[1] != 2 or z_samples.shape != (len(px),):
                raise ValueError(f"DepthMap samples must be (N, 2) and (N,), got {px.shape} and {z_samples.shape}")
            vars(self).update(samples_px=px, samples_z_m=z_samples)

    @property
    def n_bytes(self) -> int:
        """What its arrays take in memory."""
        return sum(array.nbytes for array in vars(self).values() if isinstance(array, np.ndarray))

    def known(self, stride: int = 1) -> tuple[Float, Float]:
        """(pixels (N, 2), depths (N,) in metres) that are known: the samples, or every `stride`-th pixel each way."""
        if self.z_m is not None:
            thinned = self.z_m[::stride, ::stride]
            rows, columns = np.nonzero(np.isfinite(thinned) & (thinned > 0))
            return stride * np.column_stack([columns, rows]).astype(float), thinned[rows, columns].astype(float)
        assert self.samples_px is not None
        assert self.samples_z_m is not None
        known = np.isfinite(self.samples_z_m) & (self.samples_z_m > 0)
        return self.samples_px[known], self.samples_z_m[known]

    def points(self, camera: Camera, stride: int = 1) -> tuple[Float, Float]:
        """(pixels (N, 2), points (N, 3) in metres in the camera's frame) that are known; camera: of the image."""
        px, z_m = self.known(stride)
        if self.points_m is None:
            rays = camera.unproject(px)
            points_m = np.where(rays[:, 2:] > 0, rays, np.nan) / rays[:, 2:] * z_m[:, None]
        else:
            columns, rows = px.astype(int).T
            points_m = self.points_m[rows, columns].astype(float)
        seen = np.isfinite(points_m).all(axis=1)
        return px[seen], points_m[seen]
