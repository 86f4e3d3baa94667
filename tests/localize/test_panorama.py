"""A panorama of the demo street finds its place through its faces, whichever way it was turned."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.world_cache import cached_world

from geocorrect.anchors.alignment import read_alignment
from geocorrect.anchors.readers.vbr.sequence import VbrOptions, read_vbr
from geocorrect.demo.render.render import photograph, render
from geocorrect.demo.render.surfaces import Scene
from geocorrect.demo.world.build import ANCHOR_EXPOSURE, Studio
from geocorrect.demo.world.drives import ENU_FROM_STREET
from geocorrect.demo.world.plan import SIZES
from geocorrect.depth.lidar import LidarDepth
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.geometry.remap import panorama_faces
from geocorrect.io.pixels import read_image
from geocorrect.localize.correct import localize
from geocorrect.localize.options import LocalizeOptions
from geocorrect.match.rig import match_photo
from geocorrect.match.sift import SiftMatcher, SiftOptions
from geocorrect.records import AnchorView, Correction, Query

SEED, SIZE = 7, "small"
PANORAMA = Camera.spherical(1600, 800)


@pytest.fixture(scope="module")
def anchors(tmp_path_factory: pytest.TempPathFactory) -> list[AnchorView]:
    world = cached_world(tmp_path_factory.mktemp("panorama") / "world", SEED, SIZE)
    alignment = read_alignment(world.alignment)
    found = []
    for drive in world.drives:
        truth = drive / f"{drive.name}_gt.txt"
        found += read_vbr(drive, drive / "vbr_calib.yaml", truth, alignment, VbrOptions(spacing_m=0.0))
    return [AnchorView(anchor, read_image(Path(anchor.path))) for anchor in found]


@lru_cache(maxsize=2)
def panorama_turned_by(turn_deg: float, near: Pose) -> tuple[Pose, np.ndarray]:
    """Beside an anchor: where it was taken, and what it shows."""
    turned = near.rotation * Rotation.from_euler("y", turn_deg, degrees=True)
    truth = Pose(turned, near.translation_m + np.array([0.9, 0.5, 0.1]))
    return truth, panorama_at(truth)


def panorama_at(world_from_cam: Pose) -> np.ndarray:
    """An equirectangular picture put together from rendered faces; above and below them it stays grey."""
    studio = Studio(SEED, SIZES[SIZE])
    scene = Scene.of(studio.plan.street.quads)
    street_from_cam = ENU_FROM_STREET.inverse() @ world_from_cam
    u, v = np.meshgrid(np.arange(PANORAMA.width, dtype=float), np.arange(PANORAMA.height, dtype=float))
    rays = PANORAMA.unproject(np.column_stack([u.ravel(), v.ravel()]))
    picture = np.full((PANORAMA.height * PANORAMA.width, 3), 128, np.uint8)
    for face_from_cam, face in panorama_faces(PANORAMA):
        pose = street_from_cam @ Pose(face_from_cam.inv(), np.zeros(3))
        view = render(scene, studio.sky(41, 0.45), studio.rays(face), pose)
        pixels = photograph(view, ANCHOR_EXPOSURE, (1,))
        px, seen = face.project(rays @ face_from_cam.as_matrix().T)
        inside = seen & face.contains(px)
        columns, rows = np.rint(px[inside]).astype(int).T
        picture[inside] = pixels[np.clip(rows, 0, face.height - 1), np.clip(columns, 0, face.width - 1)]
    return picture.reshape(PANORAMA.height, PANORAMA.width, 3)


@pytest.mark.long
@pytest.mark.parametrize(
    ("turn_deg", "window"),
    [
        (0.0, (0, 0, 1600, 800)),
        (0.0, (0, 230, 1600, 360)),
        (0.0, (250, 100, 800, 600)),
        (140.0, (0, 0, 1600, 800)),
        (140.0, (0, 0, 1600, 560)),
    ],
    ids=["looking along", "band", "180 degrees", "looking back", "lower pole missing"],
)
def test_a_panorama_is_localised(anchors: list[AnchorView], turn_deg: float, window: tuple[int, int, int, int]) -> None:
    truth, picture = panorama_turned_by(turn_deg, anchors[1].anchor.world_from_cam)
    left, top, width, height = window
    pixels = picture[top : top + height, left : left + width]
    reported = truth.translation_m + np.array([4.0, -5.0, 0.0])
    query = Query("panorama", pixels, PANORAMA.cropped(*window), reported)
    matcher = SiftMatcher(SiftOptions(max_features=3000))
    result = localize(query, anchors, matcher, LidarDepth(), LocalizeOptions(), seed=0).result
    assert isinstance(result, Correction), result
    assert np.linalg.norm(result.world_from_cam.translation_m - truth.translation_m) < 0.15
    assert rotation_angle_deg(result.world_from_cam.rotation, truth.rotation) < 0.5


@pytest.mark.long
def test_faces_bring_matches_to_panorama_pixels(anchors: list[AnchorView]) -> None:
    """The anchor's own place and direction: what it shows at its centre lies at the centre of the panorama."""
    pose = anchors[0].anchor.world_from_cam
    matcher = SiftMatcher(SiftOptions(max_features=3000))
    (matches,) = match_photo(matcher, panorama_at(pose), PANORAMA, [anchors[0].pixels])
    assert len(matches) > 100
    rays = PANORAMA.unproject(np.asarray(matches.query_px, float))
    expected = anchors[0].anchor.camera.unproject(np.asarray(matches.anchor_px, float))
    angle_deg = np.degrees(np.arccos(np.clip(np.sum(rays * expected, axis=1), -1, 1)))
    assert np.median(angle_deg) < 0.15
    assert len(np.unique(matches.anchor_px, axis=0)) == len(matches)
