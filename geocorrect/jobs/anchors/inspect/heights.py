"""Whether the anchors' heights fit each other and the ground: the geoid is up to 110 m from the ellipsoid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from scipy.spatial import cKDTree

from geocorrect.config import Settings
from geocorrect.depth.pointcloud.store import CloudStore
from geocorrect.geometry.frame import Frame
from geocorrect.records import Anchor, Float

NEAR_M, STEP_M, GROUND_M = 20.0, 4.0, 4.0
"""Drives that meet within NEAR_M differ by less than STEP_M in height; ground is looked for within GROUND_M."""
CAMERA_ABOVE_GROUND_M = (0.5, 6.0)
Said = tuple[str, str, str]
"""Check, severity, text."""


def height_findings(settings: Settings, frame: Frame, anchors: Sequence[Anchor]) -> Iterator[Said]:
    """Of drives against each other, and of all against an indexed point cloud."""
    said = [*_between_drives(anchors), *_above_cloud(settings, frame, anchors)]
    nothing = "one drive and no point cloud: a wrong height reference moves everything alike, and nothing here shows it"
    yield from said or [("heights", "unknown", nothing)]


def _between_drives(anchors: Sequence[Anchor]) -> Iterator[Said]:
    drives: dict[tuple[str, str], list[Float]] = defaultdict(list)
    for anchor in anchors:
        drives[anchor.dataset, anchor.drive_id or ""].append(anchor.world_from_cam.translation_m)
    fits = []
    for (first, a), (second, b) in combinations(drives.items(), 2):
        places_a, places_b = np.array(a), np.array(b)
        distance, near = cKDTree(places_b[:, :2]).query(places_a[:, :2], distance_upper_bound=NEAR_M)
        met = np.isfinite(distance)
        if not met.any():
            continue
        step_m = float(np.median(places_a[met, 2] - places_b[near[met], 2]))
        names = f"{'/'.join(filter(None, first))} and {'/'.join(filter(None, second))}"
        if abs(step_m) > STEP_M:
            yield (
                "heights", "wrong", f"where {names} meet, the first is {step_m:+.1f} m higher: one of them has another "
                "height reference (the geoid is that far from the ellipsoid in places)",
            )  # fmt: skip
        else:
            fits.append(f"{names} differ by {step_m:+.2f} m")
    if fits:
        yield "heights", "ok", "; ".join(fits)


def _above_cloud(settings: Settings, frame: Frame, anchors: Sequence[Anchor]) -> Iterator[Said]:
    folder = settings.depth.pointcloud.folder
    if not (folder / "index.json").is_file():
        return
    store = CloudStore(folder, 2**28)
    store.require_frame(frame)
    above = []
    for anchor in anchors[:: max(1, len(anchors) // 20)]:
        here = anchor.world_from_cam.translation_m
        cells = [store.cell(place) for place in store.places_within(here, GROUND_M)]
        points = [cell.points_m + (cell.corner_m - here) for cell in cells]
        near = [p[np.hypot(p[:, 0], p[:, 1]) <= GROUND_M, 2] for p in points]
        heights = np.concatenate([*near, np.zeros(0)])
        if len(heights) >= 20:
            above.append(-float(np.percentile(heights, 10)))
    if not above:
        yield "heights", "wrong", f"no point of {folder} lies under any of the anchors looked at: another place?"
        return
    height_m = float(np.median(above))
    low, high = CAMERA_ABOVE_GROUND_M
    if low <= height_m <= high:
        yield "heights", "ok", f"cameras are {height_m:.1f} m above the ground of the point cloud"
    else:
        yield (
            "heights", "wrong", f"cameras are {height_m:.1f} m above the ground of the point cloud: anchors and cloud "
            "have different height references",
        )  # fmt: skip
