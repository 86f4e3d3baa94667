"""One drive: every valid pair under every depth and scale, one row each, against the drive's trajectory and scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from geocorrect.api.anchor_cache import read_anchor
from geocorrect.api.backends import build_depth, build_estimator, build_matcher
from geocorrect.config import Settings
from geocorrect.depth.base import DepthSource, PairDepthSource, depth_for
from geocorrect.depth.lidar import LidarDepth
from geocorrect.depth.mast3r import PointHead
from geocorrect.depth.scale import (
    DepthScale,
    ScaleError,
    ScaleHeuristic,
    ScaleOptions,
    common_points,
    scale_depth,
    scale_from_lidar,
    train_set_scale,
)
from geocorrect.errors import ConfigError, Reason
from geocorrect.evaluate.metrics import abs_rel, abs_rel_axes, transform_error
from geocorrect.evaluate.mining.candidates import Photos
from geocorrect.evaluate.mining.run import Mined, SplitPair
from geocorrect.evaluate.table import Journal, Row
from geocorrect.evaluate.vbr.scenes import PredictedFiles, digest
from geocorrect.geometry.camera import Camera
from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.localize.correct import observe
from geocorrect.localize.lift import lift, lift_points
from geocorrect.localize.observations import Observations
from geocorrect.match.rig import match_photo
from geocorrect.records import NAN, Anchor, AnchorView, DepthMap, Float, Float32, ImageArray, Query

ORACLE = "Oracle (LiDAR)"
Scales = Mapping[ScaleHeuristic, DepthScale]


@dataclass(frozen=True)
class Variant:
    """One H: a prediction, perhaps scaled, for one pair."""

    name: str
    depth: DepthMap
    is_oracle: bool
    factors: Float
    """(3,) what the prediction was multiplied by."""


@dataclass(frozen=True, eq=False)
class ShownPair:
    """What figures show of one pair."""

    anchor_id: str
    anchor: ImageArray
    query: ImageArray
    anchor_px: Float
    """(N, 2) verified matches in the anchor."""
    query_px: Float
    """(N, 2) in the query."""
    scan: DepthMap
    raw: Mapping[str, DepthMap]
    """By prediction."""
    scaled: Mapping[str, DepthMap | None]
    """The same scaled per axis (L1) by the anchor's scan; None: it fixes no scale."""
    confidence: Mapping[str, Float32]
    """(H, W) in the anchor, of predictions that state it."""


class DriveEvaluation:
    """The pairs of one drive; depth and scans of an anchor are read once while they are near the front of the work."""

    def __init__(
        self, settings: Settings, scene: str, photos: Photos, mined: Mined, files: Mapping[str, PredictedFiles]
    ):
        self.settings, self.scene, self.mined, self.files = settings, scene, mined, files
        self.anchors = {anchor.id: anchor for anchor in photos.anchors}
        self.matcher = build_matcher(settings)
        self.sources: dict[str, DepthSource] = dict(files)
        if settings.depth.source != "lidar":
            self.sources[settings.depth.source] = _unscaled(settings)
        self.lidar = LidarDepth()
        self.estimator = build_estimator(settings, self._view)
        self._views: BoundedCache[str, AnchorView] = BoundedCache(
            settings.batch.cached_anchors_mib * 2**20, lambda view: view.pixels.nbytes, keep_newest=True
        )
        self._maps: BoundedCache[tuple[str, str], DepthMap] = BoundedCache(
            settings.batch.cached_anchors_mib * 2**20, lambda depth: depth.n_bytes, keep_newest=True
        )
        self._rays: dict[Camera, Float32] = {}

    @cached_property
    def pairs(self) -> list[SplitPair]:
        """The valid pairs."""
        return [pair for pair in self.mined.rows() if pair.is_valid]

    @property
    def typical_pair(self) -> SplitPair:
        """The pair of median score, for figures."""
        return sorted(self.pairs, key=lambda p: (p.score, p.anchor_id))[len(self.pairs) // 2]

    @cached_property
    def scales(self) -> dict[str, dict[tuple[str, str], Scales]]:
        """Scales of every valid pair from the anchor's LiDAR, by prediction; pairs without a scale are left out."""
        found: dict[str, dict[tuple[str, str], Scales]] = {}
        for name in self.sources:
            of_anchor: dict[str, Scales | None] = {}
            found[name] = {}
            for pair in self.pairs:
                key = pair.anchor_id if self._is_single_view(name) else f"{pair.anchor_id} {pair.query_id}"
                if key not in of_anchor:
                    of_anchor[key] = self._measured(name, pair)
                if (scales := of_anchor[key]) is not None:
                    found[name][pair.anchor_id, pair.query_id] = scales
        return found

    def _measured(self, name: str, pair: SplitPair) -> Scales | None:
        anchor = self.anchors[pair.anchor_id]
        predicted = self._pointed(self._predicted(name, pair), anchor.camera)
        try:
            return {h: scale_from_lidar(predicted, self._scan(anchor), anchor.camera, h) for h in ScaleHeuristic}
        except ScaleError:
            return None

    @cached_property
    def train_scales(self) -> dict[str, dict[str, Scales]]:
        """Medians over the training pairs, by prediction and split; empty where there is no training set."""
        found: dict[str, dict[str, Scales]] = {}
        for name, measured in self.scales.items():
            found[name] = {}
            for split in ("random", "place"):
                rows = [measured[p.anchor_id, p.query_id] for p in self.pairs
                        if getattr(p, f"{split}_set") == "train" and (p.anchor_id, p.query_id) in measured]  # fmt: skip
                if rows:
                    found[name][split] = {h: train_set_scale([row[h] for row in rows]) for h in ScaleHeuristic}
        return found

    def rows(
        self, journal_file: Path, on_progress: Callable[[int, int], None], stopped: Callable[[], bool]
    ) -> list[Row]:
        """One row per valid pair and H; what the journal holds is not computed again."""
        configuration = digest([
            self.settings.fingerprint(), self.matcher.fingerprint, self.estimator.fingerprint,
            [(name, source.fingerprint) for name, source in self.sources.items()], repr(self.train_scales),
        ])  # fmt: skip
        with Journal(journal_file) as journal:
            keys = []
            for done, pair in enumerate(self.pairs):
                if stopped():
                    break
                anchor, query = self.anchors[pair.anchor_id], self.anchors[pair.query_id]
                contents = [anchor.sha256, query.sha256, *(f.content(anchor) for f in self.files.values())]
                key = f"vbr/{digest([configuration, self.scene, anchor.id, query.id, contents])}"
                if key not in journal.known:
                    journal.add_rows(key, self._pair_rows(pair, configuration))
                keys.append(key)
                on_progress(done + 1, len(self.pairs))
            # The sets may have been drawn anew since.
            sets = {(p.anchor_id, p.query_id): (p.random_set, p.place_set) for p in self.pairs}
            found = journal.rows(keys)
        both = [sets[row.anchor_ids, row.query_id] for row in found]
        return [replace(r, random_set=a, place_set=b) for r, (a, b) in zip(found, both, strict=True)]

    def _pair_rows(self, pair: SplitPair, configuration: str) -> list[Row]:
        anchor, photo = self.anchors[pair.anchor_id], self.anchors[pair.query_id]
        view, pixels = self._view(anchor), self._view(photo).pixels
        query = Query(photo.id, pixels, photo.camera, np.full(3, NAN))
        (matches,) = match_photo(self.matcher, pixels, photo.camera, [view.pixels], (), [anchor.camera])
        seed = int(digest([self.settings.batch.seed, anchor.id, photo.id])[:7], 16)
        scan, options = self._scan(anchor), self.settings.localize
        base = observe(query, view, matches, scan, options, seed, self.matcher, self.settings.match.verify)
        common = Row(
            protocol="vbr", scene=self.scene, query_id=photo.id, anchor_ids=anchor.id, n_anchors=1, depth="",
            depth_is_oracle=True, matcher=self.matcher.fingerprint, estimator=self.estimator.fingerprint,
            config_hash=configuration, seed=self.settings.batch.seed, status="failed", n_matches=len(matches),
            score=pair.score, baseline_m=pair.distance_m,
        )  # fmt: skip
        rows = []
        for variant in self._variants(pair):
            row = replace(common, depth=variant.name, depth_is_oracle=variant.is_oracle)
            row = self._with_depth_errors(row, variant, scan, anchor)
            seen = relifted(base, variant.depth, self.settings)
            rows.append(self._solved(row, seen, query, photo, seed))
        return rows

    def _solved(self, row: Row, seen: Observations, query: Query, photo: Anchor, seed: int) -> Row:
        if not len(seen):
            return replace(row, reason=Reason.TOO_FEW_MATCHES.value)
        found = self.estimator.solve((seen,), query, self.settings.localize, seed)
        if isinstance(found, Reason):
            return replace(row, reason=found.value)
        anchor = seen.anchor.world_from_cam
        estimate, truth = found.world_from_cam.inverse() @ anchor, photo.world_from_cam.inverse() @ anchor
        error = transform_error(estimate, truth)
        x_m, y_m, z_m = error.axes_m
        return replace(
            row, status="solved", transform_m=error.transform_m, centre_m=error.centre_m, x_m=x_m, y_m=y_m, z_m=z_m,
            rotation_deg=error.rotation_deg, n_inliers=found.n_inliers,
        )  # fmt: skip

    def _with_depth_errors(self, row: Row, variant: Variant, scan: DepthMap, anchor: Anchor) -> Row:
        if variant.depth is scan:
            return row
        predicted_m, measured_m = common_points(variant.depth, scan, anchor.camera)
        axes = abs_rel_axes(predicted_m, measured_m)
        return replace(
            row, abs_rel=abs_rel(predicted_m, measured_m), n_depth=len(measured_m),
            abs_rel_x=float(axes[0]), abs_rel_y=float(axes[1]), abs_rel_z=float(axes[2]),
            scale_x=float(variant.factors[0]), scale_y=float(variant.factors[1]), scale_z=float(variant.factors[2]),
        )  # fmt: skip

    def _variants(self, pair: SplitPair) -> Iterator[Variant]:
        anchor = self.anchors[pair.anchor_id]
        yield Variant(ORACLE, self._scan(anchor), True, np.ones(3))
        for name in self.sources:
            raw = self._predicted(name, pair)
            yield Variant(name, raw, raw.is_oracle, np.ones(3))
            pointed = self._pointed(raw, anchor.camera)
            measured = self.scales[name].get((pair.anchor_id, pair.query_id), {})
            for label, scales in {"LiDAR": measured, **self.train_scales[name]}.items():
                for heuristic, scale in scales.items():
                    where = label if label == "LiDAR" else f"train, {label}"
                    scaled = scale_depth(pointed, scale)
                    yield Variant(f"{name} × {heuristic} ({where})", scaled, scaled.is_oracle, scale.factors)

    def common(self, name: str, pair: SplitPair) -> tuple[Float, Float]:
        """(predicted (N, 3), measured (N, 3)) points of the pair's anchor, where both are known."""
        anchor = self.anchors[pair.anchor_id]
        return common_points(self._predicted(name, pair), self._scan(anchor), anchor.camera)

    def shown(self, pair: SplitPair) -> ShownPair:
        """The pair as figures show it."""
        anchor, photo = self.anchors[pair.anchor_id], self.anchors[pair.query_id]
        view, query = self._view(anchor), self._view(photo).pixels
        (matches,) = match_photo(self.matcher, query, photo.camera, [view.pixels], (), [anchor.camera])
        verified = observe(
            Query(photo.id, query, photo.camera, np.full(3, NAN)), view, matches, self._scan(anchor),
            self.settings.localize, self.settings.batch.seed, self.matcher, self.settings.match.verify,
        )  # fmt: skip
        return ShownPair(
            anchor.id, view.pixels, query, verified.anchor_px, verified.query_px, self._scan(anchor),
            {name: self._predicted(name, pair) for name in self.sources},
            {name: self._rescaled(name, pair) for name in self.sources},
            {name: source.confidence_map(view.pixels, query) for name, source in self.sources.items()
             if isinstance(source, PointHead)},
        )  # fmt: skip

    def _rescaled(self, name: str, pair: SplitPair) -> DepthMap | None:
        scales = self.scales[name].get((pair.anchor_id, pair.query_id))
        if scales is None:
            return None
        pointed = self._pointed(self._predicted(name, pair), self.anchors[pair.anchor_id].camera)
        return scale_depth(pointed, scales[ScaleHeuristic.PER_AXIS_L1])

    def _is_single_view(self, name: str) -> bool:
        return not isinstance(self.sources[name], PairDepthSource)

    def _predicted(self, name: str, pair: SplitPair) -> DepthMap:
        anchor, source = self.anchors[pair.anchor_id], self.sources[name]
        query = self._view(self.anchors[pair.query_id]).pixels
        key = (name, anchor.id if self._is_single_view(name) else f"{anchor.id} {pair.query_id}")
        return self._maps.get_or_make(key, lambda: depth_for(source, anchor, self._view(anchor).pixels, query))

    def _scan(self, anchor: Anchor) -> DepthMap:
        return self._maps.get_or_make(("", anchor.id), lambda: self.lidar.depth(anchor, self._view(anchor).pixels))

    def _pointed(self, depth: DepthMap, camera: Camera) -> DepthMap:
        """The map with points, so that each axis can be scaled by itself; on the rays where it says nothing else."""
        if depth.points_m is not None:
            return depth
        if camera not in self._rays:
            column, row = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
            rays = camera.unproject(np.column_stack([column.ravel(), row.ravel()]).astype(float))
            self._rays[camera] = (rays / rays[:, 2:]).reshape(camera.height, camera.width, 3).astype(np.float32)
        assert depth.z_m is not None
        return replace(depth, points_m=self._rays[camera] * depth.z_m[..., None])

    def _view(self, anchor: Anchor) -> AnchorView:
        return self._views.get_or_make(anchor.id, lambda: read_anchor(anchor))


def relifted(seen: Observations, depth: DepthMap, settings: Settings) -> Observations:
    """The same verified matches with depth from another source."""
    depth_m, log_sigma = lift(seen.anchor_px, depth, seen.anchor.camera, settings.localize.lift)
    points_m = lift_points(seen.anchor_px, depth, depth_m)
    return replace(
        seen, depth_m=depth_m, log_sigma=log_sigma, off_ray_m=points_m, common_log_sigma=depth.common_log_sigma
    )


def _unscaled(settings: Settings) -> DepthSource:
    if settings.depth.needs_neighbours:
        raise ConfigError(
            f'[depth] source = "{settings.depth.source}", as configured, looks at neighbours of the anchor; `evaluate '
            "vbr` compares what single pictures and pairs give. Judge it by `evaluate own`"
        )
    return build_depth(settings.model_copy(update={"depth": replace(settings.depth, scale=ScaleOptions())}))
