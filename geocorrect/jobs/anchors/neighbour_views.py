"""Every anchor as its neighbours see it: matched with them and localised by them as if it were a photo.

What one picture says of another is found once for both: its matches and which of them one relative pose explains.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from geocorrect.anchors.neighbour_view import NeighbourView
from geocorrect.api.anchor_cache import AnchorCache
from geocorrect.api.backends import build_matcher
from geocorrect.config import Settings
from geocorrect.depth.options import DepthSection
from geocorrect.errors import InputError, Reason
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import observe
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.joint.initialise import choose_rows
from geocorrect.localize.lift import lift
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.records import Anchor, AnchorView, DepthMap, Matches, Query

SEED = 0
MAX_MATCHES = 250
"""Matches per neighbour: beyond it nothing is gained."""
STRONGEST = 1_500
"""Features of a picture that are matched: of KITTI's 7,100 they give 600 of 1,900 matches, at a fifth of the cost."""
ENOUGH = 100
"""Verified matches of a pair; where the strongest features give fewer, all are matched."""
NO_DEPTH = DepthMap("none", False, samples_px=np.zeros((0, 2)), samples_z_m=np.zeros(0))


class NeighbourViews:
    """How their neighbours see the anchors, asked for one by one."""

    def __init__(
        self, settings: Settings, anchors: Mapping[str, Anchor], neighbours: Mapping[str, Sequence[str]]
    ) -> None:
        """Settings: matcher and verification, and the noise that the drives state; neighbours: of each anchor."""
        self.unusable: dict[str, str] = {}
        """A message per anchor whose picture or scan could not be read."""
        self._anchors, self._neighbours = anchors, neighbours
        self._options, self._verify = settings.localize, settings.match.verify
        sift = replace(settings.match.sift, strongest=settings.match.sift.strongest or STRONGEST)
        every = build_matcher(settings)
        quick = build_matcher(settings.model_copy(update={"match": replace(settings.match, sift=sift)}))
        self._matchers = (quick,) if quick.fingerprint == every.fingerprint else (quick, every)
        self._cache = AnchorCache(settings.model_copy(update={"depth": DepthSection(source="lidar")}), every)
        self._seen: dict[str, list[Observations]] = {}
        self._reversed: dict[tuple[str, str], Observations] = {}

    def of(self, name: str, neighbours: Collection[str]) -> NeighbourView | None:
        """The view of an anchor by those of its neighbours; None where fewer than two of them match it."""
        if name not in self._seen:
            found = [self._observed(name, other) for other in self._neighbours[name]]
            seen = [o for o in found if o is not None and len(o)]
            rows = choose_rows(seen, MAX_MATCHES, SEED) if seen else []
            self._seen[name] = [o.subset(chosen) for o, chosen in zip(seen, rows, strict=True)]
        seen = [o for o in self._seen[name] if o.anchor.id in neighbours]
        if len(seen) < 2:
            return None
        anchor = self._anchors[name]
        return neighbour_view(seen, anchor.camera, anchor.world_from_cam, self._options)

    def _observed(self, name: str, other: str) -> Observations | None:
        if (name, other) in self._reversed:
            return self._reversed.pop((name, other))
        if not {name, other}.isdisjoint(self.unusable):
            return None
        views: list[AnchorView] = []
        depths: list[DepthMap] = []
        for one in (name, other):
            try:
                view = self._cache.view(self._anchors[one])
                depths.append(NO_DEPTH if view.anchor.lidar is None else self._cache.depth(view.anchor, view.pixels))
            except InputError as error:
                self.unusable[one] = f"anchor {one}: {error}"
                return None
            views.append(view)
        found = self._matched(views[0], views[1], depths[1])
        if name in self._neighbours[other] and other not in self._seen:
            self._reversed[other, name] = _reversed(found, views[0].anchor, depths[0], self._options)
        return found

    def _matched(self, view: AnchorView, other: AnchorView, depth: DepthMap) -> Observations:
        anchor = view.anchor
        query = Query(anchor.id, view.pixels, anchor.camera, anchor.world_from_cam.translation_m, mask=view.mask)
        for matcher in self._matchers:
            (matches,) = matcher.match(view.pixels, [other.pixels])
            seen = observe(query, other, matches, depth, self._options, SEED, matcher, self._verify)
            if len(seen) >= ENOUGH:
                break
        return replace(seen, dropped=Matches.empty(), dropped_depth_m=None)


def _reversed(seen: Observations, anchor: Anchor, depth: DepthMap, options: LocalizeOptions) -> Observations:
    """The same matches, with the query, an anchor with that depth, as the neighbour."""
    depth_m, log_sigma = lift(seen.query_px, depth, anchor.camera, options.lift)
    return replace(
        seen, anchor=anchor, query_px=seen.anchor_px, anchor_px=seen.query_px, query_rays=seen.anchor_rays,
        anchor_rays=seen.query_rays, depth_m=depth_m, log_sigma=log_sigma,
    )  # fmt: skip


def neighbour_view(
    observations: Sequence[Observations], camera: Camera, recorded: Pose, options: LocalizeOptions
) -> NeighbourView | None:
    """How the neighbours see an anchor: its matches with them, localised like a photo; None where there is no pose.

    The neighbours are not compared with each other: `anchors.check` does that, with more to go by.

    Args:
        observations: of the anchor (as the query) with each neighbour, empty ones left out.
        camera: of the anchor.
        recorded: its pose on record.
        options: of the method, with the noise that the drive states.
    """
    position_m, rotation_deg = options.joint.anchor_noise
    # What all anchors of a drive have in common is no part of the comparison: georeference, mounting.
    joint = replace(
        options.joint, max_matches=MAX_MATCHES, shared_rotation=0.0, anchor_position_m=position_m,
        anchor_rotation_deg=rotation_deg,
    )  # fmt: skip
    local = [replace(o, anchor=replace(o.anchor, world_from_cam=_bare(o.anchor.world_from_cam))) for o in observations]
    found = solve_joint(
        local, camera, replace(options, joint=joint), SEED, guesses=(_bare(recorded),), compare_anchors=False
    )
    if isinstance(found, Reason):
        return None
    assert found.measured is not None
    assert found.by_records is not None
    own = np.repeat([position_m, np.radians(rotation_deg)], 3)
    by_neighbour = np.moveaxis(found.by_records.reshape(6, len(local), 6), 1, 0)
    names = [o.anchor.id for o in observations]
    return NeighbourView(
        recorded.minus(found.world_from_cam), found.measured, own,
        dict(zip(names, by_neighbour, strict=True)),
    )  # fmt: skip


def _bare(pose: Pose) -> Pose:
    return pose.with_covariance(None)
