"""One picture of a matched pair: both photos, the matches between them, and the depth of the second beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from geocorrect.depth.base import DepthSource, depth_for
from geocorrect.errors import OutputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.io.atomic_file import atomic_path
from geocorrect.io.checksum import sha256_of
from geocorrect.io.pixels import read_image
from geocorrect.localize.options import VerifyOptions
from geocorrect.localize.verify import verify
from geocorrect.match.base import Matcher
from geocorrect.records import Anchor, DepthMap, Float, ImageArray, Matches
from geocorrect.report.pictures.figure import scaled_by

PANEL_HEIGHT_PX = 540
PANEL_WIDTH_PX = 1080
WIDE = 1.9
"""Photos wider than this many heights are stacked, narrower ones stand side by side."""
MAX_LINES = 300
INLIER, OUTLIER = (40, 200, 60), (220, 60, 40)
DEFAULT_FOCAL_RATIO = 0.85
"""Focal length over the long side, the usual guess for a phone; only the verification depends on it."""


@dataclass(frozen=True, eq=False)
class MatchedPair:
    """A query and an anchor photo with their matches."""

    query: ImageArray
    anchor: ImageArray
    matches: Matches
    inliers: NDArray[np.bool_]
    """(N,) matches that agree with one relative pose."""
    depth: DepthMap | None = None
    """Of the anchor."""

    def summary(self) -> dict[str, float | int | str | None]:
        """Counts, and how much of the depth is known, with its median."""
        z_m = None if self.depth is None else self.depth.z_m
        known = None if z_m is None else z_m[np.isfinite(z_m)]
        return {
            "n_matches": len(self.matches),
            "n_inliers": int(self.inliers.sum()),
            "depth": None if self.depth is None else self.depth.name,
            "depth_known_share": None if known is None else len(known) / (self.anchor.size / 3),
            "depth_median_m": None if known is None or not len(known) else float(np.median(known)),
        }


def match_pair(
    query_path: Path, anchor_path: Path, matcher: Matcher, depth: DepthSource | None = None, focal_ratio: float = 0.0
) -> MatchedPair:
    """Read, match and verify two photos; with a depth source also the depth of the anchor.

    focal_ratio: focal length of both photos over their long side; 0 takes a usual one. InputError names a bad file.
    """
    query, anchor = read_image(query_path), read_image(anchor_path)
    query_camera, anchor_camera = (_camera(photo, focal_ratio or DEFAULT_FOCAL_RATIO) for photo in (query, anchor))
    (matches,) = matcher.match(query, [anchor])
    inliers = verify(matches, query_camera, anchor_camera, VerifyOptions(), seed=0)
    if depth is None:
        return MatchedPair(query, anchor, matches, inliers)
    pose, checksum = Pose.identity(), sha256_of(anchor_path)
    record = Anchor(anchor_path.name, "pair", anchor_path, anchor_camera, pose, alignment_id="none", sha256=checksum)
    return MatchedPair(query, anchor, matches, inliers, depth_for(depth, record, anchor, query))


def draw(pair: MatchedPair) -> ImageArray:
    """(H, W, 3) RGB: query, anchor, the anchor's depth, in a row or stacked. Inliers green over outliers red."""
    stacked = min(photo.shape[1] / photo.shape[0] for photo in (pair.query, pair.anchor)) > WIDE
    join = np.vstack if stacked else np.hstack
    first, first_scale = _panel(pair.query, stacked)
    second, second_scale = _panel(pair.anchor, stacked)
    shift = np.array([0, first.shape[0]] if stacked else [first.shape[1], 0])
    canvas = np.ascontiguousarray(join([first, second]))
    for wanted, colour in ((False, OUTLIER), (True, INLIER)):
        chosen = np.flatnonzero(pair.inliers == wanted)
        for index in _spread(chosen, pair.matches.score):
            start = (pair.matches.query_px[index] + 0.5) * first_scale - 0.5
            end = (pair.matches.anchor_px[index] + 0.5) * second_scale - 0.5 + shift
            start_px, end_px = ([int(value) for value in np.rint(point)] for point in (start, end))
            cv2.line(canvas, start_px, end_px, colour, 1, cv2.LINE_AA)
            for point in (start_px, end_px):
                cv2.circle(canvas, point, 2, colour, -1, cv2.LINE_AA)
    panels = [canvas]
    if pair.depth is not None:
        panels.append(_depth_panel(pair.depth, pair.anchor, second.shape))
    picture: ImageArray = join(panels)
    text = f"{int(pair.inliers.sum())} of {len(pair.matches)} matches agree"
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(picture, text, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, thickness, cv2.LINE_AA)
    return picture


def write_picture(picture: ImageArray, path: Path) -> None:
    """Write a PNG or JPEG, whole or not at all; OutputError naming the path."""
    suffix = path.suffix.lower()
    if suffix not in {".png", ".jpg", ".jpeg"}:
        raise OutputError(f"{path}: a picture ends in .png or .jpg")
    with atomic_path(path) as unfinished:
        _, encoded = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        unfinished.write_bytes(encoded.tobytes())


def _camera(photo: ImageArray, focal_ratio: float) -> Camera:
    height, width = photo.shape[:2]
    focal_px = focal_ratio * max(width, height)
    return Camera.pinhole(width, height, focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)


def _panel(photo: ImageArray, stacked: bool) -> tuple[ImageArray, Float]:
    """The photo at panel height (width when stacked), and the scale (x, y) of its pixels."""
    return scaled_by(photo, PANEL_WIDTH_PX / photo.shape[1] if stacked else PANEL_HEIGHT_PX / photo.shape[0])


def _spread(chosen: NDArray[np.intp], score: NDArray[np.float32]) -> NDArray[np.intp]:
    """At most MAX_LINES of the matches, the best scored ones."""
    return chosen[np.argsort(-score[chosen], kind="stable")[:MAX_LINES]]


def _depth_panel(depth: DepthMap, photo: ImageArray, shape: tuple[int, ...]) -> ImageArray:
    """Near is bright, far is dark, unknown is grey; logarithmic between the 2nd and 98th percentile."""
    z_m = _dense(depth, photo)
    known = np.isfinite(z_m) & (z_m > 0)
    panel = np.full((*z_m.shape, 3), 128, np.uint8)
    if known.any():
        log_z = np.log(np.where(known, z_m, 1.0))
        near, far = np.quantile(log_z[known], [0.02, 0.98])
        shade = np.clip(255 * (far - log_z) / max(far - near, 1e-6), 0, 255).astype(np.uint8)
        coloured = cv2.cvtColor(cv2.applyColorMap(shade, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
        panel[known] = coloured[known]
    return np.asarray(cv2.resize(panel, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST), np.uint8)


def _dense(depth: DepthMap, photo: ImageArray) -> Float:
    """The map, or sparse samples as dots that are visible at panel size."""
    if depth.z_m is not None:
        return depth.z_m.astype(float)
    assert depth.samples_px is not None
    assert depth.samples_z_m is not None
    height, width = photo.shape[:2]
    z_m = np.full((height, width), np.nan)
    radius = max(1, height // PANEL_HEIGHT_PX)
    far_first = np.argsort(-depth.samples_z_m)
    for (x, y), z in zip(np.rint(depth.samples_px[far_first]).astype(int), depth.samples_z_m[far_first], strict=True):
        z_m[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1] = z
    return z_m
