"""Anchors as photos: each is left out, with all that stand too near, and localised from those that remain.

What is judged is the ordinary method, retrieval, gate and stated errors included. The truth is the anchor's own pose
under the georeference that all share, so the georeference's error is in neither the errors nor the stated ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geocorrect.api.anchor_cache import AnchorCache
from geocorrect.api.motion import with_motion
from geocorrect.api.photo import PhotoLocalizer
from geocorrect.api.scene import AnchorSource, Scene
from geocorrect.config import Settings
from geocorrect.errors import InputError, Reason, UsageError
from geocorrect.evaluate.metrics import transform_error
from geocorrect.evaluate.remembered import remembered
from geocorrect.evaluate.table import Journal, Row
from geocorrect.geometry.frame import Frame, angle_difference_deg
from geocorrect.geometry.pose import rotation_angle_deg
from geocorrect.jobs.run_identity import config_key
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.match.base import Matcher
from geocorrect.records import NAN, Anchor, AnchorIndex, Correction, Float, ImageArray, Pair, Query, Rejection


@dataclass(frozen=True)
class LeaveOutProtocol:
    """Which anchors become photos, what is left out with them, and what their provider would say of them."""

    max_queries: int = 100
    """Drawn from the anchors; all when there are fewer."""
    gaps_m: tuple[float, ...] = (0.0, 5.0, 10.0, 20.0)
    """Anchors nearer than this to the photo are left out with it."""
    n_anchors: tuple[int, ...] = (1, 2, 4, 8)
    """Best-ranked candidates that the photo is localised from; more than `retrieve.max_candidates` are not found."""
    reported_sigma_m: float = 5.0
    """Error of the reported position, per horizontal axis."""
    heading_sigma_deg: float = 10.0
    """Of the reported heading."""
    seed: int = 0
    """Of the choice of photos and of what is reported."""

    def __post_init__(self) -> None:
        if self.max_queries < 1 or not self.gaps_m or not self.n_anchors:
            raise UsageError("evaluate own: at least one photo, one gap and one number of anchors are needed")
        if min(self.gaps_m) < 0 or min(self.n_anchors) < 1 or self.reported_sigma_m < 0 or self.heading_sigma_deg < 0:
            raise UsageError("evaluate own: gaps and errors must not be negative, numbers of anchors be at least 1")


def evaluate_own(
    settings: Settings,
    anchors: AnchorSource,
    protocol: LeaveOutProtocol,
    journal_file: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    stopped: Callable[[], bool] = lambda: False,
    matchers: dict[str, Matcher] | None = None,
) -> list[Row]:
    """One row per photo, gap and number of anchors; what the journal holds is not computed again.

    Args:
        settings: Matcher, depth, estimator and gate.
        anchors: At least two.
        protocol: See there.
        journal_file: Rows of finished photos.
        on_progress: Called with photos done and photos in all.
        stopped: Asked before every photo; the rows so far are returned.
        matchers: By fingerprint, with the matches that they have found; what another configuration on the same photos
            left here is used again.

    Raises:
        InputError: there are fewer than two anchors, or no anchor's picture and depth can be read.
    """
    if len(anchors.index.ids) < 2:
        raise InputError(f"{len(anchors.index.ids)} anchor: leaving one out takes at least two; add more anchors")
    photos = PhotoLocalizer(settings)
    matchers = {} if matchers is None else matchers
    photos.matcher = matchers.setdefault(photos.matcher.fingerprint, remembered(photos.matcher))
    scene = Scene(settings, anchors)
    scene.train_appearance(photos.appearance)
    version = scene.version
    parts = [config_key(settings, photos.fingerprints), replace(protocol, max_queries=1), version]
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    queries = drawn(anchors.index.ids, protocol)
    keys = [f"own/{key}/{name}" for name in queries]
    rows: list[Row] = []
    problems: list[str] = []
    with Journal(journal_file) as journal:
        for done, (name, unit) in enumerate(zip(queries, keys, strict=True)):
            if stopped():
                break
            if unit not in journal.known:
                found = _Photo(settings, anchors, protocol, photos, key, problems).rows(name)
                # What a file is to blame for is tried again next time.
                if not any(row.reason == UNUSABLE for row in found):
                    journal.add_rows(unit, found)
            else:
                found = journal.rows([unit])
            rows += found
            if problems and done + 1 >= min(TRIED, len(queries)):
                tried = [row for row in rows if row.n_anchors or row.reason == UNUSABLE]
                if all(row.reason == UNUSABLE for row in tried):
                    raise InputError(f"no photo can be localised for what is wrong with the files: {problems[0]}")
            on_progress(done + 1, len(queries))
    return rows


UNUSABLE = "files_unusable"
"""The left-out picture, or picture or depth of every anchor in reach, cannot be read."""
TRIED = 5
"""When all of the first few photos fail for their files, there is no use in trying the others."""


def drawn(ids: Sequence[str], protocol: LeaveOutProtocol) -> list[str]:
    """The anchors that become photos, sorted."""
    if len(ids) <= protocol.max_queries:
        return sorted(ids)
    picks = np.random.default_rng(protocol.seed).choice(len(ids), protocol.max_queries, replace=False)
    return sorted(ids[i] for i in picks)


def without(anchors: AnchorSource, query_row: int, gap_m: float) -> AnchorSource:
    """The anchors that remain, with poses that are exact under their georeference.

    Args:
        anchors: All.
        query_row: Row of the left-out anchor in their index.
        gap_m: Others nearer than this are left out, too.
    """
    index = anchors.index
    keep = np.linalg.norm(index.enu_m - index.enu_m[query_row], axis=1) >= gap_m
    keep[query_row] = False
    rows = np.flatnonzero(keep)

    def read(ids: Sequence[str]) -> Mapping[str, Anchor]:
        found = anchors.read(ids)
        return {i: replace(a, world_from_cam=a.world_from_cam.with_covariance(None)) for i, a in found.items()}

    def taken(values: Sequence[str]) -> tuple[str, ...]:
        return tuple(values[row] for row in rows.tolist())

    remaining = AnchorIndex(
        taken(index.ids), index.enu_m[rows], index.heading_deg[rows], taken(index.alignment_ids),
        taken(index.content_hashes),
    )  # fmt: skip
    return AnchorSource(anchors.frame, remaining, read)


@dataclass(frozen=True, eq=False)
class _Photo:
    """One left-out anchor under every gap and number of anchors."""

    settings: Settings
    anchors: AnchorSource
    protocol: LeaveOutProtocol
    photos: PhotoLocalizer
    key: str
    problems: list[str]
    """Messages about files are added here."""

    def rows(self, query_id: str) -> list[Row]:
        truth = with_motion(self.anchors.read, self.anchors.index)([query_id])[query_id]
        try:
            view = self.photos.anchors.view(truth)
        except InputError as error:
            self.problems.append(str(error))
            unread = Rejection(query_id, Reason.IMAGE_UNREADABLE)
            return [self._row(truth, (), gap_m, NAN, unread, reason=UNUSABLE) for gap_m in self.protocol.gaps_m]
        query, reported_m = self._reported(truth, view.pixels)
        query = replace(query, mask=view.mask)
        return [row for gap_m in self.protocol.gaps_m for row in self._at_gap(truth, query, reported_m, gap_m)]

    def _reported(self, truth: Anchor, pixels: ImageArray) -> tuple[Query, float]:
        """The anchor as a photo: reported where a phone would put it; and by how much that is wrong."""
        digest = hashlib.blake2b(f"{self.protocol.seed}/{truth.id}".encode(), digest_size=8).digest()
        random = np.random.default_rng(int.from_bytes(digest, "big"))
        off_m = random.normal(0.0, self.protocol.reported_sigma_m, 2)
        turn_deg = random.normal(0.0, self.protocol.heading_sigma_deg)
        reported_m = truth.world_from_cam.translation_m + np.array([*off_m, NAN])
        heading_deg = (self.anchors.frame.heading_deg(truth.world_from_cam) + turn_deg) % 360.0
        query = Query(truth.id, pixels, truth.camera, reported_m, heading_deg, motion=truth.motion)
        return query, float(np.hypot(*off_m))

    def _at_gap(self, truth: Anchor, query: Query, reported_m: float, gap_m: float) -> list[Row]:
        remaining = without(self.anchors, self.anchors.index.ids.index(truth.id), gap_m)
        scene = Scene(self.settings, remaining)
        pairs = tuple(scene.retriever.candidates(query.image_id, query.reported_enu_m, query.heading_deg))
        if self.settings.depth.needs_neighbours:
            # The depth of an anchor must not come from the photo that is left out: other anchors, other depth.
            self.photos.anchors = AnchorCache(self.settings, self.photos.matcher)
        if not pairs:
            nothing = Rejection(query.image_id, Reason.NO_ANCHOR_NEARBY)
            return [self._row(truth, (), gap_m, reported_m, nothing)]
        counts = sorted({min(n, len(pairs)) for n in self.protocol.n_anchors})
        return [self._localized(scene, truth, query, reported_m, gap_m, pairs[:n]) for n in counts]

    def _localized(
        self, scene: Scene, truth: Anchor, query: Query, reported_m: float, gap_m: float, pairs: tuple[Pair, ...]
    ) -> Row:
        by_id = scene.read([pair.anchor_id for pair in pairs])
        chosen = tuple(by_id[pair.anchor_id] for pair in pairs)
        found = self.photos.localize(query, pairs, chosen, scene.neighbours_of(chosen))
        if found.views:
            return self._row(truth, chosen, gap_m, reported_m, found.found.result)
        self.problems.extend(found.unusable_anchors)
        return self._row(truth, chosen, gap_m, reported_m, found.found.result, reason=UNUSABLE)

    def _row(
        self, truth: Anchor, used: tuple[Anchor, ...], gap_m: float, reported_m: float,
        result: Correction | Rejection, reason: str = "",
    ) -> Row:  # fmt: skip
        centre_m = truth.world_from_cam.translation_m
        distances = [float(np.linalg.norm(a.world_from_cam.translation_m - centre_m)) for a in used]
        row = Row(
            protocol="own",
            scene=truth.drive_id or truth.dataset,
            query_id=truth.id,
            anchor_ids=" ".join(anchor.id for anchor in used),
            n_anchors=len(used),
            depth=self.settings.depth.source,
            depth_is_oracle=result.evidence.depth_is_oracle,
            matcher=self.photos.matcher.fingerprint,
            estimator=self.settings.localize.estimator_variant,
            config_hash=self.key,
            seed=self.protocol.seed,
            status="rejected" if isinstance(result, Rejection) else result.status.value,
            reason=reason or (result.reason.value if isinstance(result, Rejection) else ""),
            n_matches=result.evidence.n_matches,
            n_inliers=result.evidence.n_inliers,
            baseline_m=min(distances, default=NAN),
            gap_m=gap_m,
            reported_m=reported_m,
        )
        return row if isinstance(result, Rejection) else with_errors(row, result, truth, used, self.anchors.frame)


def with_errors(row: Row, found: Correction, truth: Anchor, used: Sequence[Anchor], frame: Frame) -> Row:
    """The row with what the pose is wrong by, and what it said it would be."""
    pose, true = found.world_from_cam, truth.world_from_cam
    off_m = pose.translation_m - true.translation_m
    row = replace(
        row,
        centre_m=float(np.linalg.norm(off_m)),
        horizontal_m=float(np.hypot(off_m[0], off_m[1])),
        rotation_deg=rotation_angle_deg(pose.rotation, true.rotation),
        expected_m=found.expected_error_m,
        expected_heading_deg=found.expected_heading_error_deg,
        heading_error_deg=abs(float(angle_difference_deg(frame.heading_deg(pose), frame.heading_deg(true)))),
        chi2=_chi2(off_m, pose.covariance),
        gate=json.dumps(dict(found.evidence.gate)),
        inflation=COVARIANCE_INFLATION,
    )
    if len(used) != 1:
        return row
    anchor = used[0].world_from_cam
    error = transform_error(pose.inverse() @ anchor, true.inverse() @ anchor)
    x_m, y_m, z_m = error.axes_m
    return replace(row, transform_m=error.transform_m, x_m=x_m, y_m=y_m, z_m=z_m)


def _chi2(off_m: Float, covariance: Float | None) -> float:
    assert covariance is not None
    return float(off_m @ np.linalg.solve(covariance[:3, :3], off_m))
