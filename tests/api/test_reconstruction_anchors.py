"""Photos of the demo street against the same drive, once as VBR wrote it and once as a COLMAP model of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from support.colmap_world import WORLD_FROM_LOCAL, TrueImage, write_tracks

from geocorrect import Camera, InputError, Localizer, Settings, read_anchors
from geocorrect.anchors.alignment import Alignment, read_alignment
from geocorrect.anchors.readers.vbr.sequence import VbrOptions, read_vbr
from geocorrect.api.scene import AnchorSource
from geocorrect.demo.world.build import DemoWorld
from geocorrect.geometry.pose import Float
from geocorrect.io.pixels import image_size, read_image
from geocorrect.match.options import MatchSection
from geocorrect.match.sift import SiftMatcher, SiftOptions
from geocorrect.records import Anchor, Correction

pytest.importorskip("pycolmap", exc_type=ImportError, reason="writes the model")
pytestmark = pytest.mark.slow  # a minute of SIFT
NEIGHBOURS = 3
MAX_REPROJECTION_PX = 2.0


def triangulated(anchors: list[Anchor]) -> list[tuple[Float, list[tuple[int, Float]]]]:
    """Points of matches between neighbours of known pose, as a reconstruction with fixed poses has them."""
    matcher = SiftMatcher(SiftOptions(max_features=4000))
    pictures = [read_image(anchor.path) for anchor in anchors]
    tracks = []
    for first in range(len(anchors)):
        others = range(first + 1, min(first + 1 + NEIGHBOURS, len(anchors)))
        for second, found in zip(others, matcher.match(pictures[first], [pictures[k] for k in others]), strict=True):
            pair = (first, second)
            px = (found.query_px.astype(float), found.anchor_px.astype(float))
            poses = [anchors[k].world_from_cam for k in pair]
            rays = [
                pose.rotation.apply(anchors[k].camera.unproject(p)) for k, p, pose in zip(pair, px, poses, strict=True)
            ]
            across = [np.eye(3) - ray[:, :, None] * ray[:, None, :] for ray in rays]
            target = sum(a @ pose.translation_m for a, pose in zip(across, poses, strict=True))
            parallel = np.linalg.norm(np.cross(*rays), axis=1) < 0.02
            matrix = across[0] + across[1] + 1e-9 * np.eye(3)
            points = np.linalg.solve(matrix, target[:, :, None])[:, :, 0]
            seen = [
                anchors[k].camera.project(pose.inverse().apply(points))[0] for k, pose in zip(pair, poses, strict=True)
            ]
            error = np.max([np.linalg.norm(s - p, axis=1) for s, p in zip(seen, px, strict=True)], axis=0)
            for row in np.flatnonzero(~parallel & (np.nan_to_num(error, nan=99.0) < MAX_REPROJECTION_PX)):
                tracks.append((points[row], [(first, px[0][row]), (second, px[1][row])]))
    return tracks


@dataclass(frozen=True)
class Drives:
    """All drives of a street in their own form."""

    world: DemoWorld

    def read(self) -> tuple[Alignment, list[Anchor]]:
        alignment, found = read_alignment(self.world.alignment), []
        for drive in self.world.drives:
            truth, calibration = drive / f"{drive.name}_gt.txt", drive / "vbr_calib.yaml"
            found += read_vbr(drive, calibration, truth, alignment, VbrOptions(spacing_m=0.0))
        return alignment, found


@pytest.fixture(scope="module")
def model(small_world: DemoWorld, tmp_path_factory: pytest.TempPathFactory) -> AnchorSource:
    folder, pictures = tmp_path_factory.mktemp("model"), small_world.drives[0].parent.resolve()
    alignment, anchors = Drives(small_world).read()
    names = [anchor.path.relative_to(pictures).as_posix() for anchor in anchors]
    images = [TrueImage(name, a.camera, a.world_from_cam) for name, a in zip(names, anchors, strict=True)]
    write_tracks(folder / "sparse/0", images, triangulated(anchors), binary=True)
    place = folder / "alignment.json"
    place.write_text(json.dumps(Alignment(alignment.frame, WORLD_FROM_LOCAL).as_json()))
    return read_anchors(folder, alignment=place, images=pictures)


def errors_m(localizer: Localizer, world: DemoWorld) -> dict[str, float]:
    """Distance from the truth of every photo that is localised."""
    found = {}
    for record in world.metadata:
        truth = world.truth.photos.get(record["id"])
        photo = world.photos.get(record["id"])
        if truth is None or photo is None or record["camera_type"] == "spherical":
            continue
        try:
            camera = Camera.from_opensfm_vector(record["camera_type"], record["camera_parameters"], *image_size(photo))
        except (InputError, ValueError):
            continue  # one of the photos that are there to be refused
        result = localizer.localize(photo, reported=tuple(record["geometry"]["coordinates"]), camera=camera)
        if isinstance(result.result, Correction):
            here = localizer.frame.enu_from_wgs84(result.lon_deg, result.lat_deg, result.height_m)
            found[record["id"]] = float(np.linalg.norm(here - truth.world_from_cam.translation_m))
    return found


def test_a_colmap_model_localises_photos_as_the_drive_does(model: AnchorSource, small_world: DemoWorld) -> None:
    match = MatchSection()
    settings = Settings(match=replace(match, sift=replace(match.sift, max_features=4000)))
    vbr = AnchorSource.of_files(Drives(small_world))
    as_vbr = errors_m(Localizer(vbr, depth="triangulated", settings=settings), small_world)
    by_scan = errors_m(Localizer(vbr, depth="lidar", settings=settings), small_world)
    as_model = errors_m(Localizer(model, depth="reconstruction", settings=settings), small_world)
    common = sorted(as_vbr.keys() & by_scan.keys() & as_model.keys())
    medians = [float(np.median([found[name] for name in common])) for found in (as_vbr, by_scan, as_model)]
    print(f"n = {len(common)} of {len(as_vbr)}, {len(by_scan)}, {len(as_model)}; medians {medians}")
    assert len(as_model) >= len(as_vbr) - 1
    assert medians[2] <= 1.2 * medians[0]


def test_one_photo_by_the_points_of_a_reconstruction(model: AnchorSource, small_world: DemoWorld) -> None:
    match = MatchSection()
    settings = Settings(match=replace(match, sift=replace(match.sift, max_features=4000)))
    localizer = Localizer(model, depth="reconstruction", settings=settings)
    world = replace(small_world, metadata=[r for r in small_world.metadata if r["id"] == "6242709432081940"])
    (error_m,) = errors_m(localizer, world).values()
    assert error_m < 0.1
