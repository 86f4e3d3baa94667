"""Photos with measured positions as anchors: their poses from the matches of neighbours, with honest sigmas."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.readers.positions.photos import (
    UNKNOWN_TIME,
    PositionedPhotos,
    read_positioned_photos,
)
from geocorrect.anchors.readers.reconstruction.placing import MAX_TURN_SIGMA_DEG
from geocorrect.anchors.readers.registry import ChosenFiles
from geocorrect.anchors.readers.timestamps import utc_from_nanoseconds
from geocorrect.api.anchor_cache import read_anchor
from geocorrect.errors import InputError
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.georeference.gnss import GnssOptions
from geocorrect.georeference.photos.adjust import solve_photos
from geocorrect.georeference.photos.problem import Float, PhotoPoses, PhotoProblem, SeenTogether
from geocorrect.jobs.anchors.inspect.views import MAX_BASELINE_M, MIN_BASELINE_M, match_pair
from geocorrect.match.base import Matcher
from geocorrect.records import Anchor, AnchorView

logger = logging.getLogger(__name__)

REACH = 2
"""Photos are matched with so many that follow: two triangles in a row pass on the scale of their base lines."""
MIN_RAY_PX = 0.3
"""No matcher finds a point better than that, whatever a pair's residuals."""
RAY_SIGMAS = 2.1
"""A ray's sigma over the median distance of a pair's rays from their planes (two rays share the residual)."""
MAX_SLIP_M = 5.0
"""Uncertainty along the drive that an estimated clock may leave."""
OFFSETS_S = np.round(np.arange(-10.0, 10.01, 0.1), 3)
"""Of clocks that are tried."""


@dataclass(frozen=True)
class PhotosAsAnchors:
    """What `anchors add` reads of the format "positions"."""

    files: ChosenFiles
    matcher: Matcher

    def read(self) -> tuple[Alignment, list[Anchor]]:
        """The photos whose poses their matches fix.

        Raises:
            InputError: a photo or record is wrong, the positions do not fix how the photos are turned, or photos match
                no neighbours and `uncovered` is "refuse".
            UsageError: an option is missing.
        """
        options = self.files.options
        photos = read_positioned_photos(self.files.path, options)
        alignment = Alignment(photos.frame, Similarity.identity(), method="positions")
        anchors = [_anchor(photos, row, alignment.id) for row in range(len(photos.ids))]
        pairs = self._pairs(photos, anchors)
        try:
            found = _solved(photos, _problem(photos, pairs, is_level=options.level_cameras), options.uncovered)
        except InputError as error:
            raise InputError(f"{photos.source}: {error}") from None
        _judge(photos, found)
        left = sorted(set(range(len(anchors))) - set(found.rows.tolist()))
        if left and options.uncovered == "refuse":
            names = ", ".join(photos.paths[row].name for row in left[:5])
            raise InputError(f"{photos.source}: {len(left)} of {len(anchors)} photos match no neighbours ({names}…); "
                             "--uncovered skip leaves them out")  # fmt: skip
        if photos.track is not None:
            logger.info("clock offset %.3f ± %.3f s", found.offset_s, found.offset_sigma_s)
        shift_ns = round(found.offset_s * 1e9) if photos.track is not None else 0
        return alignment, [
            _anchor(photos, int(row), alignment.id, pose, shift_ns)
            for row, pose in zip(found.rows, found.world_from_cam, strict=True)
        ]

    def _pairs(self, photos: PositionedPhotos, anchors: list[Anchor]) -> list[SeenTogether]:
        @lru_cache(maxsize=REACH + 1)
        def view(row: int) -> AnchorView:
            return read_anchor(anchors[row])

        row_of = {anchor.id: row for row, anchor in enumerate(anchors)}
        wished = [
            (first, second)
            for first in range(len(anchors))
            for second in range(first + 1, min(first + 1 + REACH, len(anchors)))
            if MIN_BASELINE_M <= np.linalg.norm(photos.antenna_enu_m[second] - photos.antenna_enu_m[first])
            <= REACH * MAX_BASELINE_M
        ]  # fmt: skip
        found = []
        for first, second in wished:
            pair = match_pair(anchors, self.matcher, lambda anchor: view(row_of[anchor.id]), first, second)
            if pair is not None:
                sigma_rad = max(RAY_SIGMAS * pair.free_px, MIN_RAY_PX) / pair.focal_px
                found.append(SeenTogether(first, second, pair.first_rays, pair.second_rays, pair.free, sigma_rad))
        return found


def _problem(photos: PositionedPhotos, pairs: list[SeenTogether], *, is_level: bool) -> PhotoProblem:
    track, own = photos.track, photos.antenna_enu_m
    times, n = photos.time_ns, len(photos.ids)
    known = times[times != UNKNOWN_TIME]
    seconds = float(np.ptp(known)) / 1e9 if len(known) else 0.0
    independent = float(np.clip(seconds / (2 * GnssOptions.correlation_s) + 1.0, 1.0, n))
    is_searched = track is not None and photos.clock_offset_s is None

    def place_m(offset_s: float) -> Float:
        return own if track is None else track.place_m(times, offset_s)

    def velocity_m_s(offset_s: float) -> Float:
        return np.zeros_like(own) if track is None else track.velocity_m_s(times, offset_s)

    offsets_s = OFFSETS_S if is_searched else np.array([photos.clock_offset_s or 0.0])
    return PhotoProblem(
        place_m, velocity_m_s, photos.sigma_m, photos.antenna_m, independent, pairs, is_level, offsets_s
    )


def _solved(photos: PositionedPhotos, problem: PhotoProblem, uncovered: str) -> PhotoPoses:
    """The solution without photos that the estimated clock puts where the track has no positions."""
    while True:
        found = solve_photos(problem)
        beyond = _beyond(photos, found)
        if not beyond:
            return found
        if uncovered == "refuse":
            raise InputError(
                f"{photos.paths[min(beyond)].name}: a clock offset of {found.offset_s:.1f} s puts it where the track "
                "has no positions; --uncovered skip leaves such photos out"
            )
        kept = [pair for pair in problem.pairs if not beyond & {pair.first, pair.second}]
        problem = replace(problem, pairs=kept)


def _beyond(photos: PositionedPhotos, found: PhotoPoses) -> set[int]:
    if photos.track is None:
        return set()
    shift_ns = round(found.offset_s * 1e9)
    return {int(row) for row in found.rows if not photos.track.covers(int(photos.time_ns[row]) + shift_ns)}


def _judge(photos: PositionedPhotos, found: PhotoPoses) -> None:
    if found.turn_sigma_deg > MAX_TURN_SIGMA_DEG:
        raise InputError(
            f"{photos.source}: positions and matches leave the photos' turn uncertain by {found.turn_sigma_deg:.1f}°; "
            "add photos around a corner, better positions, or say --level-cameras where they stand upright"
        )
    if photos.track is None:
        return
    rows = photos.time_ns[found.rows]
    speed = float(np.median(np.linalg.norm(photos.track.velocity_m_s(rows, found.offset_s), axis=1)))
    if found.offset_sigma_s * speed > MAX_SLIP_M:
        raise InputError(
            f"{photos.source}: the offset of camera and track clock is known to ±{found.offset_sigma_s:.1f} s only, "
            "since the drive turns too little; say --clock-offset SECONDS"
        )


def _anchor(
    photos: PositionedPhotos, row: int, alignment_id: str, pose: Pose | None = None, shift_ns: int = 0
) -> Anchor:
    """Without a pose: what matching needs of it."""
    time_ns = int(photos.time_ns[row])
    return Anchor(
        id=photos.ids[row],
        dataset=photos.dataset,
        path=photos.paths[row].resolve(),
        camera=photos.camera,
        world_from_cam=pose or Pose(Rotation.identity(), photos.antenna_enu_m[row]),
        alignment_id=alignment_id,
        captured_at=None if time_ns == UNKNOWN_TIME else utc_from_nanoseconds(time_ns + shift_ns),
        drive_id=photos.source.name,
    )
