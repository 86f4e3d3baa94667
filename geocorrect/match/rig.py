"""Panoramas are matched as a rig: pinhole faces around the horizon, each matched on its own, put together again.

Matchers know perspective pictures; straight lines and corners of an equirectangular picture are bent away from what the
anchors show. The faces share one centre, so their matches are matches of the panorama.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.remap import panorama_faces, pixel_map
from geocorrect.match.base import Matcher, any_roll
from geocorrect.networks.local_features.turned import turned_back
from geocorrect.records import ImageArray, Matches


def match_photo(
    matcher: Matcher, pixels: ImageArray, camera: Camera, anchors: Sequence[ImageArray], turns: Sequence[int] = ()
) -> list[Matches]:
    """Matches of a photo with each anchor, in pixels of the full photo, whatever its camera.

    Args:
        matcher: Matches perspective pictures.
        pixels: (H, W, 3) RGB uint8; a spherical photo is cut into faces first.
        camera: Of the photo.
        anchors: (H, W, 3) RGB uint8 each.
        turns: Counter-clockwise quarter turns per anchor after which the photo is that anchor's way up, as far as
            known; a matcher that does not care is shown the photo as it is.
    """
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
