"""Triangulated tracks of an anchor: matches with neighbours, the depths found, and how their errors correlate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose

Float = NDArray[np.float64]
Int = NDArray[np.intp]


@dataclass(frozen=True)
class TrackOptions:
    """Noise of matches and poses, and how the adjustment treats outliers."""

    sigma_px: float = 1.0
    """White noise of an anchor–anchor match, at 512 px image length."""
    field_px: float = 0.8
    """Smooth noise of the matches, at 512 px image length."""
    field_length: float = 0.12
    """Its correlation length, as a share of the image's long side."""
    robust_px: float = 3.5
    """Scale of the Geman–McClure weight of a match, in sigmas."""
    robust_depth: float = 2.0
    """Scale of the Cauchy weight of a predicted depth, in sigmas."""
    graduation: tuple[float, ...] = (6.0, 6.0, 4.0, 3.0, 2.0, 1.5, 1.0, 1.0, 1.0)
    """Inflation of both scales, step by step."""
    neighbour_position_m: float = 0.028
    """Pose noise between two anchors."""
    neighbour_rotation_deg: float = 0.07
    pose_evidence: float = 0.1
    """Worth of the matches' evidence on the neighbours' poses, because matches share smooth errors (simulator: a
    thousand matches are worth a hundred).
    """


@dataclass(frozen=True, eq=False)
class NeighbourMatches:
    """Matches of the anchor with one neighbour."""

    neighbour_from_anchor: Pose
    """As on record."""
    camera: Camera
    """Of the neighbour."""
    anchor_px: Float
    """(N, 2)."""
    neighbour_px: Float
    """(N, 2)."""


@dataclass(frozen=True, eq=False)
class TrackNoise:
    """Errors of T log depths from M matches with K neighbours.

    White pixel noise, each track its own; the neighbours' pose errors, which all tracks share; and the matcher's smooth
    shifts, which tracks close together in a neighbour's image share.
    """

    white_variance: Float
    """(T,)."""
    by_pose: Float
    """(T, K, 6) change of the track's log depth, up to its sign, per metre and radian of each neighbour."""
    pose_factor: Float
    """(6K, 6K) root of the covariance of the neighbours' pose errors."""
    by_px: Float
    """(M, 2) change of the track's log depth per pixel of the match."""
    track: Int
    """(M,) track of each match."""
    pair: Int
    """(M,) neighbour of each match."""
    at_px: Float
    """(M, 2) where the match lies in the neighbour."""
    field_px: float
    """Amplitude of the smooth shifts."""
    field_length_px: Float
    """(K,) their correlation length."""

    def scaled(self, factor: Float) -> TrackNoise:
        """The noise of the same tracks at depths that are a factor (T,) larger.

        A pixel or an angle moves an inverse depth by the same amount at any depth, a shift of the neighbour in
        proportion to it: the first two move a log depth in proportion to the depth, the shift moves all alike. Were
        that scaled, too, a track found too near would seem to be moved more, and the noise of the tracks would be
        taken for an error of the neighbours' distance.
        """
        by_depth = np.ones((len(factor), 1, 6))
        by_depth[:, :, 3:] = factor[:, None, None]
        return replace(
            self,
            white_variance=self.white_variance * factor**2,
            by_pose=self.by_pose * by_depth,
            by_px=self.by_px * factor[self.track, None],
        )

    def _by_unit_pose(self, chosen: Int | slice) -> Float:
        """(P, 6K) change of the chosen tracks' log depths per unit of independent pose errors."""
        by_pose = self.by_pose[chosen]
        unit: Float = by_pose.reshape(len(by_pose), -1) @ self.pose_factor
        return unit

    @property
    def sigma(self) -> Float:
        """(T,) standard deviation of each log depth."""
        smooth = np.bincount(self.track, (self.by_px**2).sum(axis=1), len(self.white_variance)) * self.field_px**2
        poses = (self._by_unit_pose(slice(None)) ** 2).sum(axis=1)
        total: Float = np.sqrt(self.white_variance + poses + smooth)
        return total

    def covariance(self, chosen: Int) -> Float:
        """(P, P) covariance of the chosen tracks' log depths."""
        by_pose = self._by_unit_pose(chosen)
        total = np.diag(self.white_variance[chosen]) + by_pose @ by_pose.T
        place = np.full(len(self.white_variance), -1)
        place[chosen] = np.arange(len(chosen))
        for n, length in enumerate(self.field_length_px):
            rows = np.flatnonzero((self.pair == n) & (place[self.track] >= 0))
            at, once = np.unique(place[self.track[rows]], return_index=True)
            rows = rows[once]
            scaled = self.at_px[rows] / length
            squared = (scaled**2).sum(1)[:, None] + (scaled**2).sum(1)[None] - 2 * scaled @ scaled.T
            effect = self.field_px * self.by_px[rows]
            shared = (effect @ effect.T) * np.exp(-0.5 * np.maximum(squared, 0.0))
            total[np.ix_(at, at)] += shared
        return total


@dataclass(frozen=True, eq=False)
class Tracks:
    """Triangulated tracks of an anchor."""

    px: Float
    """(T, 2) pixels of the anchor."""
    log_z: Float
    """(T,) log z-depth from the matches alone."""
    support: Float
    """(T,) best robust weight of the track's matches, 0…1."""
    coefficients: Float
    """β (P,) of the prediction's correction, empty without a prediction."""
    noise: TrackNoise

    def about(self, log_z: Float) -> Tracks:
        """The same tracks to first order in inverse depth about expected log depths (T,), nan where there is none.

        The noise of a triangulated inverse depth does not depend on the depth found, that of its logarithm does: a
        point found too near would claim to be more certain than one found too far, and pull depths towards the camera.
        """
        known = np.isfinite(log_z)
        ratio = np.where(known, np.exp(np.clip(np.where(known, log_z, 0.0) - self.log_z, -1.5, 1.5)), 1.0)
        moved = np.where(known, np.where(known, log_z, 0.0) + 1.0 - ratio, self.log_z)
        return replace(self, log_z=moved, noise=self.noise.scaled(ratio))

    @property
    def sigma(self) -> Float:
        """(T,) standard deviation of each log depth."""
        return self.noise.sigma


def track_pixels(pairs: Sequence[NeighbourMatches]) -> tuple[Float, Int]:
    """(px (T, 2), track index of every match (M,)) of the anchor's pixels."""
    px = np.concatenate([p.anchor_px for p in pairs])
    first, track = track_index(px)
    return px[first], track


def track_index(px: Float) -> tuple[Int, Int]:
    """(first row of every track (T,), track of every row (M,)): equal pixels (M, 2), to 0.01 px, are one track."""
    cell = np.round(px * 100).astype(np.int64)
    _, first, track = np.unique(cell[:, 0] * 2**32 + cell[:, 1], return_index=True, return_inverse=True)
    return np.asarray(first), np.asarray(track).reshape(-1)
