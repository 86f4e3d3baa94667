"""`Localizer` on photos of the small street: a file, its pixels, many photos, a catalog and its settings."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.world_cache import cached_demo

from geocorrect import (
    Camera,
    Catalog,
    Correction,
    InputError,
    LocalizationResult,
    Localizer,
    Reason,
    Settings,
    Status,
    read_anchors,
)
from geocorrect.api.describe_photo import PhotoOptions, with_stated
from geocorrect.demo.world.build import DemoWorld
from geocorrect.errors import UsageError
from geocorrect.io.pixels import read_image
from geocorrect.match.options import MatchSection
from geocorrect.records import Image, MetadataQuality, Position

pytestmark = pytest.mark.long

STREET = "6242709432081940"


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Plenty on these photos, and a quarter of the default's work."""
    match = MatchSection()
    return Settings(match=replace(match, sift=replace(match.sift, max_features=4000)))


@pytest.fixture(scope="module")
def localizer(small_world: DemoWorld, settings: Settings) -> Localizer:
    drive = small_world.drives[0]
    anchors = read_anchors(
        drive, "vbr", ground_truth=drive / f"{drive.name}_gt.txt", alignment=small_world.alignment, spacing_m=0
    )
    return Localizer(anchors, matcher="sift", depth="triangulated", settings=settings)


def camera_and_place(world: DemoWorld) -> tuple[Camera, tuple[float, float]]:
    record = next(record for record in world.metadata if record["id"] == STREET)
    focal, k1, k2 = record["camera_parameters"]
    pixels = read_image(world.photos[STREET])
    raw = {"projection_type": "perspective", "focal": focal, "k1": k1, "k2": k2}
    lon_deg, lat_deg = record["geometry"]["coordinates"]
    return Camera.from_opensfm(raw, pixels.shape[1], pixels.shape[0]), (lon_deg, lat_deg)


@pytest.fixture(scope="module")
def found(localizer: Localizer, small_world: DemoWorld) -> LocalizationResult:
    camera, place = camera_and_place(small_world)
    return localizer.localize(small_world.photos[STREET], reported=place, camera=camera)


def test_a_photo_is_put_where_it_was_taken(found: LocalizationResult, small_world: DemoWorld, tmp_path: Path) -> None:
    truth = small_world.truth.photos[STREET]
    assert (found.status, found.reason, found.detail) == (Status.ACCEPTED, None, "")
    assert isinstance(found.result, Correction)
    here_m = found.frame.enu_from_wgs84(found.lon_deg, found.lat_deg, found.height_m)
    # Three anchors of one drive at half size, depth from each other: 0.13 m, of which 0.18 are stated.
    assert np.linalg.norm(here_m - truth.world_from_cam.translation_m) < min(0.2, found.expected_error_m)
    assert found.heading_deg == pytest.approx(truth.heading_deg, abs=0.2)
    assert 0 < found.expected_error_m < 0.5
    assert found.covariance.shape == (6, 6)
    assert np.all(np.linalg.eigvalsh(found.covariance) > 0)
    best = max(found.matches, key=lambda m: m.is_inlier.sum())
    assert best.photo_px.shape == best.anchor_px.shape == (len(best.is_inlier), 2)
    assert sum(int(m.is_inlier.sum()) for m in found.matches) == found.evidence.n_inliers > 30
    assert found.plot(tmp_path / "found.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert f"{found.lat_deg:.8f}" in str(found)


def test_pixels_give_what_their_file_gives(
    found: LocalizationResult, localizer: Localizer, small_world: DemoWorld
) -> None:
    camera, place = camera_and_place(small_world)
    pixels = read_image(small_world.photos[STREET])
    same = localizer.localize(pixels, reported=Position(*place), camera=camera)
    assert (same.lon_deg, same.lat_deg, same.status) == pytest.approx(
        (found.lon_deg, found.lat_deg, found.status), abs=1e-6
    )


def test_without_a_pose_every_number_is_nan(localizer: Localizer, small_world: DemoWorld) -> None:
    camera, _ = camera_and_place(small_world)
    far = localizer.localize(small_world.photos[STREET], reported=(12.6, 41.9), camera=camera)
    assert (far.status, far.reason, far.pose, far.matches) == (Status.REJECTED, Reason.NO_ANCHOR_NEARBY, None, ())
    ellipse = far.ellipse_95
    numbers = [
        far.lon_deg,
        far.lat_deg,
        far.height_m,
        far.heading_deg,
        far.pitch_deg,
        far.roll_deg,
        ellipse.azimuth_deg,
    ]
    assert all(math.isnan(value) for value in [*numbers, far.expected_error_m, far.expected_heading_error_deg])
    assert far.covariance.shape == (6, 6)
    assert np.isnan(far.covariance).all()
    assert "search radius" in far.detail


def test_many_photos_of_which_some_cannot_be_used(localizer: Localizer, small_world: DemoWorld, tmp_path: Path) -> None:
    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.jpg"
    broken.write_bytes(b"\xff\xd8 no picture")
    unknown = small_world.photos[STREET]
    results = list(localizer.localize_many([missing, broken, unknown], progress=True))
    assert [result.status for result in results] == [Status.REJECTED] * 3
    assert [result.reason for result in results] == [
        Reason.IMAGE_MISSING,
        Reason.IMAGE_UNREADABLE,
        Reason.CAMERA_UNSUPPORTED,
    ]
    assert [str(path) in result.detail for path, result in zip([missing, broken, unknown], results, strict=True)] == [
        True
    ] * 3
    with pytest.raises(InputError, match="no such file"):
        results[0].plot(tmp_path / "x.png")


def test_bad_input_is_explained(localizer: Localizer, small_world: DemoWorld) -> None:
    photo = small_world.photos[STREET]
    pixels = np.zeros((40, 60, 3), np.uint8)
    for arguments, message in (
        ({"photo": pixels}, "carry no EXIF"),
        ({"photo": pixels, "camera": Camera.pinhole(61, 40, 50, 50, 30, 20)}, "its camera is for 61×40"),
        ({"photo": pixels[..., 0], "camera": 50.0}, r"expected \(H, W, 3\)"),
        ({"photo": photo, "reported": (41.9, 212.5)}, "reported="),
        ({"photo": photo}, "names no focal length"),
    ):
        with pytest.raises(InputError, match=message):
            localizer.localize(**arguments)  # type: ignore[arg-type]
    for camera in (0, -3.0, "nowhere.json"):
        with pytest.raises(InputError, match=r"focal length|nowhere"):
            localizer.localize(photo, camera=camera)
    with pytest.raises(InputError, match="read_anchors"):
        Localizer("anchors.csv")
    with pytest.raises(UsageError, match="matcher 'superglue': use one of sift"):
        Localizer("anchors.gpkg", matcher="superglue")  # type: ignore[arg-type]


def test_one_broken_anchor_is_left_out_and_named_and_many_end_nothing(
    small_world: DemoWorld, settings: Settings, tmp_path: Path, found: LocalizationResult
) -> None:
    drive = Path(shutil.copytree(small_world.drives[0], tmp_path / small_world.drives[0].name))
    files = {"ground_truth": drive / f"{drive.name}_gt.txt", "alignment": small_world.alignment}
    anchors = read_anchors(drive, "vbr", spacing_m=0, **files)  # type: ignore[arg-type]
    used = min(found.evidence.anchors, key=lambda anchor: anchor.n_inliers).anchor_id
    broken = next(path for path in drive.rglob("*.png") if path.stem == used.rsplit("/", 1)[-1] and "left" in str(path))
    whole = broken.read_bytes()
    broken.write_bytes(b"no picture")
    (camera, place), photo = camera_and_place(small_world), small_world.photos[STREET]
    result = Localizer(anchors, depth="lidar", settings=settings).localize(photo, reported=place, camera=camera)
    assert result.status is Status.ACCEPTED
    assert [used in message for message in result.unusable_anchors] == [True]
    broken.write_bytes(whole)
    shutil.rmtree(drive / "ouster_points")
    without_scans = read_anchors(drive, "vbr", spacing_m=0, **files)  # type: ignore[arg-type]
    (result,) = Localizer(without_scans, depth="lidar", settings=settings).localize_many([photo], camera=camera)
    assert (result.reason, result.photo_id) == (Reason.ANCHORS_UNUSABLE, photo.stem)
    assert "no anchor is usable" in result.detail


def test_settings_name_the_catalog_whose_record_describes_the_photo(settings: Settings) -> None:
    catalog = cached_demo() / "corrections.gpkg"
    configured = settings.model_copy(update={"catalog": replace(settings.catalog, url=str(catalog))})
    with Localizer.from_settings(configured, depth="lidar") as localizer, Catalog.open(str(catalog)) as records:
        stored = next(s for s in records.results() if isinstance(s.result, Correction))
        image = records.images([stored.result.image_id])[stored.result.image_id]
        assert image.path is not None
        result = localizer.localize(image.path)
    assert result.photo_id == image.id
    assert result.lon_deg == pytest.approx(stored.lon_deg, abs=3e-7)


def test_a_stated_heading_goes_before_a_computed_one() -> None:
    camera = Camera.pinhole(60, 40, 50, 50, 30, 20)
    photo = Image("p", None, camera, None, heading_deg=10.0, computed_heading_deg=90.0, quality=MetadataQuality.SFM)
    kept, stated = with_stated(photo, PhotoOptions()), with_stated(photo, PhotoOptions(heading_deg=370.0))
    assert (kept.heading_deg, kept.computed_heading_deg) == (10.0, 90.0)
    assert stated.heading_deg == 10.0
    assert math.isnan(stated.computed_heading_deg)
