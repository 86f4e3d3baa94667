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

    Args:
        matcher: Matches perspective pictures.
        pixels: (H, W, 3) RGB uint8; a spherical photo is cut into faces first.
        camera: Of the photo.
        anchors: (H, W, 3) RGB uint8 each.
    """
    if camera.projection is not Projection.SPHERICAL:
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
