"""Whether the anchors' laser scans fit their pictures: measured depth beside that which neighbours triangulate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from geocorrect.depth.lidar import LidarDepth
from geocorrect.errors import InputError
from geocorrect.jobs.anchors.inspect.views import MatchedPair, Placed
from geocorrect.localize.lift import lift
from geocorrect.localize.options import LiftOptions
from geocorrect.records import Anchor, AnchorView

MIN_BASELINE_M, MIN_POINTS = 0.5, 8
MAX_LOG_RATIO = 0.1
MIN_PARALLAX_DEG = 1.5
Said = tuple[str, str, str]


def scan_findings(
    anchors: Sequence[Anchor], pairs: Sequence[MatchedPair], declared: Placed, view: Callable[[Anchor], AnchorView]
) -> Iterator[Said]:
    """Nothing where no anchor has a scan."""
    if not any(anchor.lidar is not None for anchor in anchors):
        return
    ratios, broken = [], []
    for pair in pairs:
        anchor = anchors[pair.first]
        rotation, direction = declared.first_from_second(pair.first, pair.second)
        if anchor.lidar is None or np.linalg.norm(direction) < MIN_BASELINE_M:
            continue
        try:
            depth = LidarDepth().depth(anchor, view(anchor).pixels)
        except InputError as error:
            broken.append(str(error))
            continue
        measured_m, _ = lift(pair.first_px, depth, anchor.camera, LiftOptions())
        turned = pair.second_rays @ rotation.T
        parallax = np.degrees(np.arccos(np.clip(np.einsum("ij,ij->i", pair.first_rays, turned), -1, 1)))
        seen_m = pair.depths_m(rotation, direction, pair.first_rays, pair.second_rays)[:, 0] * pair.first_rays[:, 2]
        known = np.isfinite(measured_m) & (seen_m > 0) & (parallax > MIN_PARALLAX_DEG)
        if known.sum() >= MIN_POINTS:
            ratios.append(float(np.median(np.abs(np.log(measured_m[known] / seen_m[known])))))
    yield from (("scans", "wrong", message) for message in dict.fromkeys(broken))
    if len(ratios) < 3:
        yield "scans", "unknown", f"{len(ratios)} pairs of neighbours see points that a scan measured; 3 are needed"
    elif (middle := float(np.median(ratios))) > MAX_LOG_RATIO:
        yield (
            "scans", "wrong", f"measured depth differs from that of neighbours by {100 * middle:.0f} %: scans and "
            "pictures do not belong together (cam_from_lidar, the scans' axes or clock)",
        )  # fmt: skip
    else:
        yield "scans", "ok", f"measured depth fits that of neighbours to {100 * middle:.1f} % ({len(ratios)} pairs)"
