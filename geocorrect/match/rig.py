"""Panoramas are matched as a rig: pinhole faces around the horizon, each matched on its own, put together again.

Matchers know perspective pictures; straight lines and corners of an equirectangular picture are bent away from what the
anchors show. The faces share one centre, so their matches are matches of the panorama.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.remap import panorama_faces, pixel_map
from geocorrect.match.base import Matcher
from geocorrect.records import ImageArray, Matches


def match_photo(matcher: Matcher, pixels: ImageArray, camera: Camera, anchors: Sequence[ImageArray]) -> list[Matches]:
    """Matches of a photo with each anchor, in pixels of the full photo, whatever its camera.

    pixels: (H, W, 3) RGB uint8. See `match.base.Matcher.match`; a spherical photo is cut into faces first.
    """
    if camera.projection is not Projection.SPHERICAL:
        return matcher.match(pixels, anchors)
    found: list[list[Matches]] = [[] for _ in anchors]
    for face_from_cam, face in panorama_faces(camera):
        face_pixels = pixel_map(camera, face, face_from_cam).apply(pixels)
        for collected, matches in zip(found, matcher.match(face_pixels, anchors), strict=True):
            rays = face.unproject(np.asarray(matches.query_px, float)) @ face_from_cam.as_matrix()
            panorama_px, _ = camera.project(rays)
            collected.append(Matches(panorama_px.astype(np.float32), matches.anchor_px, matches.score))
    return [_best_per_anchor_pixel(parts) for parts in found]


def _best_per_anchor_pixel(parts: Sequence[Matches]) -> Matches:
    """Faces overlap and are matched apart: of the matches that claim one anchor pixel the best is kept."""
    anchor_px = np.concatenate([part.anchor_px for part in parts])
    score = np.concatenate([part.score for part in parts])
    query_px = np.concatenate([part.query_px for part in parts])
    best_first = np.argsort(-score, kind="stable")
    _, first = np.unique(anchor_px[best_first], axis=0, return_index=True)
    keep = np.sort(best_first[first])
    return Matches(query_px[keep], anchor_px[keep], score[keep])
