"""Is another place as similar? Its most alike anchor is matched with the photo, and has to have fewer matches.

A façade that repeats itself, or the same house along a street, gives a wrong pose that no match contradicts where all
anchors near a wrong reported position see the same copy. Anchors of the other copies see more of what the photo shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from geocorrect.errors import Status
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize import pnp
from geocorrect.localize.correct import TracedResult
from geocorrect.localize.gate import SUPPORTING_INLIERS, as_mapping, decide, stored_statistics
from geocorrect.localize.observations import Observations, focal_px
from geocorrect.localize.options import LocalizeOptions, pixel_scale
from geocorrect.records import Anchor, Correction, Query

OTHER_PLACE_M = 15.0
"""An anchor that is farther from the pose, and does not support it, is at another place."""
ALIKE = 0.8
"""Likeness of another place, over that of the supporting anchors, from which its best anchor is matched. Photos put on
another copy of a house (rendered street): 0.82 to 8.6, n = 65; right ones of a street of different houses: 9 of 40."""


def beside_other_places(
    found: TracedResult,
    query: Query,
    considered: Sequence[Anchor],
    likeness: Mapping[str, float],
    observe: Callable[[Anchor], Observations | None],
    options: LocalizeOptions,
) -> TracedResult:
    """The result judged again, with `other_place_likeness` and `other_place_share` in its evidence.

    Args:
        found: of the photo.
        query: the photo.
        considered: anchors of the neighbourhood, matched or not.
        likeness: of the photo and these anchors, by id.
        observe: matches the photo with an anchor; None where that cannot be used.
        options: of the method.
    """
    correction, solution = found.result, found.solution
    if not isinstance(correction, Correction) or solution is None:
        return found
    pose, statistics = correction.world_from_cam, stored_statistics(correction.evidence.gate)
    supporting = {a.anchor_id: a for a in correction.evidence.anchors if a.n_inliers >= SUPPORTING_INLIERS}
    own = max((likeness[name] for name in supporting if name in likeness), default=0.0)
    others = [
        anchor
        for anchor in considered
        if anchor.id in likeness
        and anchor.id not in supporting
        and np.linalg.norm((anchor.world_from_cam.translation_m - pose.translation_m)[:2]) > OTHER_PLACE_M
    ]
    if statistics is None or not others or own <= 0.0:
        return found
    rival = max(others, key=lambda anchor: likeness[anchor.id])
    statistics = replace(statistics, other_place_likeness=likeness[rival.id] / own)
    believing = replace(options.gate, min_independent_anchors=1)
    if statistics.other_place_likeness >= ALIKE and decide(statistics, believing).status is Status.ACCEPTED:
        matched = {o.anchor.id: o for o in found.observations}
        seen = matched[rival.id] if rival.id in matched else observe(rival)
        most = max(anchor.n_points for anchor in supporting.values())
        if seen is not None and most:
            elsewhere = _unexplained(seen, pose, solution.query_camera or query.camera, options)
            statistics = replace(statistics, other_place_share=elsewhere / most)
    is_review = decide(statistics, options.gate).status is not Status.ACCEPTED
    evidence = replace(correction.evidence, gate=as_mapping(statistics))
    status = Status.REVIEW if is_review else correction.status
    return replace(found, result=replace(correction, evidence=evidence, status=status))


def _unexplained(o: Observations, pose: Pose, camera: Camera, options: LocalizeOptions) -> int:
    """Matches with depth that lie elsewhere in the photo than the pose says; an anchor behind may see the same."""
    lifted, origin_m = o.has_depth, pose.translation_m
    rays, points_m = unit_rays(camera, o.query_px[lifted]), o.points_m[lifted] - origin_m
    off_px = pnp.reprojection_px(Pose(pose.rotation, np.zeros(3)), rays, points_m, focal_px(camera))
    return int((off_px >= options.joint.single_px * pixel_scale(camera)).sum())
