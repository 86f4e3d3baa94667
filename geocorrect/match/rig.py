"""A photo as a matcher needs to see it: the anchor's way up, things not much larger or smaller, a panorama as a rig.

A rig is pinhole faces around the horizon, each matched on its own, put together again: matchers know perspective
pictures; straight lines and corners of an equirectangular picture are bent away from what the anchors show. The faces
share one centre, so their matches are matches of the panorama.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.remap import panorama_faces, pixel_map
from geocorrect.match.base import Matcher, any_roll, any_size
from geocorrect.networks.local_features.turned import turned_back
from geocorrect.records import Anchor, DepthMap, Float32, ImageArray, Matches, Query

REPORTED_M = 5.0
"""A reported position may be so far off: a ratio that such an error explains is none."""
POINTS = 500
"""Of the anchor's depth, evenly drawn."""
STRIDE = 16
LEAST_SEEN = 0.1
"""Share of the points that must lie before the photo, else its heading or position is wrong and says nothing."""


def match_photo(
    matcher: Matcher,
    pixels: ImageArray,
    camera: Camera,
    anchors: Sequence[ImageArray],
    turns: Sequence[int] = (),
    anchor_cameras: Sequence[Camera] = (),
    distance_ratios: Sequence[float] = (),
) -> list[Matches]:
    """Matches of a photo with each anchor, in pixels of the full photos, whatever its camera.

    Args:
        matcher: Matches perspective pictures.
        pixels: (H, W, 3) RGB uint8; a spherical photo is cut into faces first.
        camera: Of the photo.
        anchors: (H, W, 3) RGB uint8 each.
        turns: Counter-clockwise quarter turns per anchor after which the photo is that anchor's way up, as far as
            known; a matcher that does not care is shown the photo as it is.
        anchor_cameras: Of the anchors; a matcher that needs it is shown the finer of two reduced.
        distance_ratios: Per anchor, the photo's distance from what it shows over the anchor's own; none: all 1.
    """
    if anchor_cameras and not any_size(matcher):
        ratios = distance_ratios or [1.0] * len(anchor_cameras)
        finer = [_halvings(camera, other, ratio) for other, ratio in zip(anchor_cameras, ratios, strict=True)]
        if any(finer):
            return _match_reduced(matcher, pixels, camera, anchors, turns, finer)
    if camera.projection is not Projection.SPHERICAL:
        if any(turn % 4 for turn in turns) and not any_roll(matcher):
            return _match_turned(matcher, pixels, anchors, [turn % 4 for turn in turns])
        return matcher.match(pixels, anchors)
    found: list[list[Matches]] = [[] for _ in anchors]
    for face_from_cam, face in panorama_faces(camera):
        face_pixels = pixel_map(camera, face, face_from_cam).apply(pixels)
        for collected, matches in zip(found, matcher.match(face_pixels, anchors), strict=True):
            rays = face.unproject(np.asarray(matches.query_px, float)) @ face_from_cam.as_matrix()
            panorama_px, _ = camera.project(rays)
            # A part of a sphere leaves some of a face black: what was matched there, or on its edge, is no picture.
            seen = camera.contains(panorama_px)
            collected.append(
                Matches(panorama_px[seen].astype(np.float32), matches.anchor_px[seen], matches.score[seen])
            )
    # Faces overlap and are matched apart: of the matches that claim one anchor pixel the best is kept.
    joined = [Matches.joined(parts) for parts in found]
    return [matches.best_of_each(matches.anchor_px) for matches in joined]


def distance_ratio(query: Query, anchor: Anchor, depth: DepthMap) -> float:
    """How far a photo stands from what an anchor shows, over the anchor's own distance; what is far is small.

    The median over the anchor's points; 1 where nothing is known, and nearer to 1 by what reported positions err. The
    photo is taken to stand as high as the anchor, and to see what lies in front of its reported heading.
    """
    px, z_m = depth.known(STRIDE)
    known = np.isfinite(query.reported_enu_m[:2]).all() and anchor.camera.projection is not Projection.SPHERICAL
    if not known or not len(z_m):
        return 1.0
    drawn = np.linspace(0, len(z_m) - 1, min(POINTS, len(z_m))).round().astype(int)
    rays = anchor.camera.unproject(px[drawn])
    from_anchor = anchor.world_from_cam.rotation.apply(rays / rays[:, 2:] * z_m[drawn, None])
    from_photo = from_anchor - np.append((query.reported_enu_m - anchor.world_from_cam.translation_m)[:2], 0.0)
    seen = np.isfinite(from_anchor).all(axis=1)
    if np.isfinite(query.heading_deg) and query.camera.projection is not Projection.SPHERICAL:
        heading = np.radians(query.heading_deg)
        seen &= from_photo[:, :2] @ np.array([np.sin(heading), np.cos(heading)]) > 0
    if np.mean(seen) < LEAST_SEEN:
        return 1.0
    anchor_m, photo_m = (np.linalg.norm(way[seen], axis=1) for way in (from_anchor, from_photo))
    # Of all places that the photo may have been taken at, the one that says least.
    nearest, farthest = (np.maximum(photo_m + off_m, 0.1) / anchor_m for off_m in (-REPORTED_M, REPORTED_M))
    return float(np.exp(np.median(np.log(np.clip(1.0, nearest, farthest)))))


def _halvings(photo: Camera, anchor: Camera, distance_ratio: float) -> int:
    """How often the photo is to be halved so that it has at most twice the anchor's pixels per metre of what both
    show; below 0: how often the anchor.
    """
    octaves = math.log2(photo.scale_px[0] / anchor.scale_px[0] / distance_ratio)
    return int(math.copysign(max(0, math.ceil(abs(octaves)) - 1), octaves))


def _match_reduced(
    matcher: Matcher,
    pixels: ImageArray,
    camera: Camera,
    anchors: Sequence[ImageArray],
    turns: Sequence[int],
    finer: Sequence[int],
) -> list[Matches]:
    """The photo in each of the sizes with the anchors that want it; both as often halved as `finer` says."""
    found: dict[int, Matches] = {}
    for times in sorted({max(0, f) for f in finer}):
        chosen = [number for number, f in enumerate(finer) if max(0, f) == times]
        small = _halved(pixels, times)
        small_camera = camera.resized(small.shape[1], small.shape[0])
        seen = [_halved(anchors[number], -finer[number]) for number in chosen]
        matches = match_photo(matcher, small, small_camera, seen, [turns[n] for n in chosen] if turns else ())
        for number, view, m in zip(chosen, seen, matches, strict=True):
            found[number] = Matches(
                _enlarged(m.query_px, small, pixels), _enlarged(m.anchor_px, view, anchors[number]), m.score
            )
    return [found[number] for number in range(len(anchors))]


def _halved(pixels: ImageArray, times: int) -> ImageArray:
    """The picture at half its size, as many times; as it is where that is none."""
    if times <= 0:
        return pixels
    size = [max(1, round(side / 2**times)) for side in (pixels.shape[1], pixels.shape[0])]
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _enlarged(px: Float32, small: ImageArray, full: ImageArray) -> Float32:
    """(N, 2) pixels of a reduced picture as those of the full one."""
    scale = np.array([full.shape[1] / small.shape[1], full.shape[0] / small.shape[0]])
    enlarged: Float32 = ((px + 0.5) * scale - 0.5).astype(np.float32)
    return enlarged


def _match_turned(
    matcher: Matcher, pixels: ImageArray, anchors: Sequence[ImageArray], turns: Sequence[int]
) -> list[Matches]:
    """The photo in each of the turns with the anchors of that turn."""
    found: dict[int, Matches] = {}
    for turn in sorted(set(turns)):
        chosen = [number for number, wanted in enumerate(turns) if wanted == turn]
        view = np.ascontiguousarray(np.rot90(pixels, turn))
        for number, m in zip(chosen, matcher.match(view, [anchors[number] for number in chosen]), strict=True):
            px = turned_back(m.query_px, turn, (pixels.shape[1], pixels.shape[0]))
            found[number] = Matches(px, m.anchor_px, m.score)
    return [found[number] for number in range(len(anchors))]
