"""What a photo declares about itself as a panorama is parsed, and a part of a sphere is that part, at its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.photos import gpano, photo

from geocorrect.catalog.rows.codec import camera_from, camera_row
from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera
from geocorrect.harvest.local.exif import read_photo
from geocorrect.harvest.local.panorama import Panorama, declared_panorama

Size = tuple[int, int]
SPHERE = gpano(ProjectionType="equirectangular")
ELEMENTS = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/">
<GPano:ProjectionType>
  equirectangular</GPano:ProjectionType><GPano:FullPanoWidthPixels>1024</GPano:FullPanoWidthPixels>
<GPano:CroppedAreaImageWidthPixels>1024</GPano:CroppedAreaImageWidthPixels></rdf:Description></rdf:RDF></x:xmpmeta>"""


def crop(full: Size, part: Size, corner: tuple[int, int] = (0, 0), projection: str = "equirectangular") -> bytes:
    return gpano(
        ProjectionType=projection,
        FullPanoWidthPixels=full[0],
        FullPanoHeightPixels=full[1],
        CroppedAreaImageWidthPixels=part[0],
        CroppedAreaImageHeightPixels=part[1],
        CroppedAreaLeftPixels=corner[0],
        CroppedAreaTopPixels=corner[1],
    )


PART = crop((2048, 1024), (1024, 400), (512, 300))
WHOLE = "whole"


@pytest.mark.parametrize(
    ("xmp", "size", "expected"),
    [
        (SPHERE, (1024, 512), WHOLE),
        (SPHERE.replace(b'"', b"'"), (1024, 512), WHOLE),
        (SPHERE.replace(b"equirectangular", b"Equirectangular"), (1024, 512), WHOLE),
        (SPHERE.replace(b"GPano:", b"pano:").replace(b"xmlns:GPano", b"xmlns:pano"), (1024, 512), WHOLE),
        (SPHERE.replace(b"ProjectionType=", b"projectionType = "), (1024, 512), WHOLE),
        (ELEMENTS, (1024, 512), WHOLE),
        (SPHERE.decode().replace("begin=\"\"", "").encode("utf-16"), (1024, 512), WHOLE),
        (SPHERE + bytes(200), (1024, 512), WHOLE),
        (SPHERE, (1024, 511), WHOLE),
        # written before the picture was made smaller
        (crop((4096, 2048), (4096, 2048)), (1024, 512), WHOLE),
        # parts that nothing places, that are larger than their sphere, of another shape than the picture, of the zenith
        (gpano(ProjectionType="equirectangular", FullPanoWidthPixels=4096), (1024, 512), Panorama.UNSUPPORTED),
        (SPHERE, (1024, 400), Panorama.UNSUPPORTED),
        (PART.replace(b"CroppedAreaTopPixels", b"x"), (1024, 400), Panorama.UNSUPPORTED),
        (crop((2048, 1024), (1024, 400), (1100, 300)), (1024, 400), Panorama.UNSUPPORTED),
        (crop((2048, 1024), (1024, 400), (512, -3)), (1024, 400), Panorama.UNSUPPORTED),
        (crop((2048, 2048), (1024, 400), (512, 300)), (1024, 400), Panorama.UNSUPPORTED),
        (PART, (1024, 512), Panorama.UNSUPPORTED),
        (crop((2048, 1024), (1024, 200), (512, 0)), (1024, 200), Panorama.UNSUPPORTED),
        (crop((2048, 1024), (0, 0)), (1024, 200), Panorama.UNSUPPORTED),
        (PART.replace(b'"300"', b'"1e999"'), (1024, 400), Panorama.UNSUPPORTED),
        # other projections, and declarations that nobody can read
        (crop((2048, 1024), (2048, 1024), projection="cylindrical"), (2048, 1024), Panorama.UNSUPPORTED),
        (gpano(ProjectionType="cubemap"), (1024, 512), Panorama.UNSUPPORTED),
        (gpano(FullPanoWidthPixels=1024), (1024, 512), Panorama.UNSUPPORTED),
        (SPHERE[:-60], (1024, 512), Panorama.UNSUPPORTED),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + ELEMENTS, (1024, 512), Panorama.UNSUPPORTED),
        (crop((0, 0), (0, 0)), (1024, 512), Panorama.UNSUPPORTED),
        # no panorama
        (b"", (1024, 512), Panorama.NONE),
        (gpano(Rating="5"), (1024, 512), Panorama.NONE),
        (b"broken <xml", (1024, 512), Panorama.NONE),
    ],
)  # fmt: skip
def test_declarations(xmp: bytes, size: Size, expected: Panorama | str) -> None:
    assert declared_panorama(xmp, *size) == (Camera.spherical(*size) if expected == WHOLE else expected)


@pytest.mark.parametrize(
    ("full", "part", "corner", "smaller"),
    [
        ((2048, 1024), (2048, 400), (0, 250), 1),  # a band
        ((2048, 1024), (1024, 400), (512, 300), 1),  # 180° to the front
        ((2048, 1024), (1024, 512), (0, 0), 1),  # the upper left quarter: 2:1, and no sphere
        ((2048, 1024), (2048, 700), (0, 0), 1),  # the lower pole is missing
        ((2048, 1024), (2048, 1015), (0, 0), 1),  # so little of it that the shape looks whole
        ((4096, 2048), (1200, 1600), (2600, 400), 4),  # narrow, to the right, made smaller since
    ],
)
def test_a_part_of_a_sphere_looks_where_it_says(full: Size, part: Size, corner: Size, smaller: int) -> None:
    camera = declared_panorama(crop(full, part, corner), part[0] // smaller, part[1] // smaller)
    assert isinstance(camera, Camera)
    px = np.random.default_rng(0).uniform(0, 1, (500, 2)) * [camera.width - 1, camera.height - 1]
    # GPano: the full picture spans 360° from its left to its right edge, 180° from top to bottom.
    column, row = ((px + 0.5) * smaller + corner).T
    azimuth, up = np.radians(column / full[0] * 360 - 180), np.radians(90 - row / full[1] * 180)
    rays = np.column_stack([np.cos(up) * np.sin(azimuth), -np.sin(up), np.cos(up) * np.cos(azimuth)])
    np.testing.assert_allclose(camera.unproject(px), rays, atol=1e-9)
    np.testing.assert_allclose(camera.project(rays)[0], px, atol=1e-6)
    everywhere = np.random.default_rng(1).normal(size=(4000, 3))
    share = camera.contains(camera.project(everywhere)[0]).mean()
    heights = np.sin(np.radians(90 - np.array([corner[1], corner[1] + part[1]]) / full[1] * 180))
    assert share == pytest.approx(part[0] / full[0] * (heights[0] - heights[1]) / 2, abs=0.03)
    assert camera.horizontal_fov_deg == pytest.approx(part[0] / full[0] * 360)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_photos_that_declare_themselves(tmp_path: Path, ending: str) -> None:
    whole = read_photo(photo(tmp_path / f"whole{ending}", size=(128, 64), xmp=SPHERE), "a")
    part = read_photo(photo(tmp_path / f"part{ending}", size=(128, 64), xmp=crop((256, 128), (128, 64))), "b")
    plain = read_photo(photo(tmp_path / f"plain{ending}", size=(128, 64)), "c")
    assert [str(image.camera and image.camera.projection) for image in (whole, plain)] == ["spherical", "perspective"]
    assert (whole.problem, plain.problem) == (None, None)
    assert (part.camera, part.problem) == (Camera.spherical(256, 128).cropped(0, 0, 128, 64), None)
    assert camera_from(camera_row(part.camera)) == part.camera
    assert camera_from(camera_row(whole.camera)) == whole.camera
    lost = read_photo(photo(tmp_path / f"lost{ending}", size=(128, 64), xmp=crop((256, 128), (64, 64))), "d")
    assert (lost.camera, lost.problem) == (None, Reason.CAMERA_UNSUPPORTED)


def test_a_packet_behind_a_large_preview_is_found(tmp_path: Path) -> None:
    data = photo(tmp_path / "a.jpg", size=(128, 64), xmp=SPHERE).read_bytes()
    preview = b"".join(b"\xff\xe2" + (60_000).to_bytes(2, "big") + bytes(59_998) for _ in range(4))
    (tmp_path / "b.jpg").write_bytes(data[:2] + preview + data[2:])
    camera = read_photo(tmp_path / "b.jpg", "b").camera
    assert camera is not None
    assert str(camera.projection) == "spherical"
