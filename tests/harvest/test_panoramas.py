"""What a photo declares about itself as a panorama is parsed, and a part of a sphere is neither sphere nor pinhole."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.photos import gpano, photo

from geocorrect.errors import Reason
from geocorrect.harvest.local.exif import read_photo
from geocorrect.harvest.local.panorama import Panorama, declared_panorama

SPHERE = gpano(ProjectionType="equirectangular")
ELEMENTS = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/">
<GPano:ProjectionType>
  equirectangular</GPano:ProjectionType><GPano:FullPanoWidthPixels>1024</GPano:FullPanoWidthPixels>
<GPano:CroppedAreaImageWidthPixels>1024</GPano:CroppedAreaImageWidthPixels></rdf:Description></rdf:RDF></x:xmpmeta>"""


def crop(full: tuple[int, int], part: tuple[int, int], projection: str = "equirectangular") -> bytes:
    return gpano(
        ProjectionType=projection,
        FullPanoWidthPixels=full[0],
        FullPanoHeightPixels=full[1],
        CroppedAreaImageWidthPixels=part[0],
        CroppedAreaImageHeightPixels=part[1],
        CroppedAreaLeftPixels=0,
        CroppedAreaTopPixels=0,
    )


@pytest.mark.parametrize(
    ("xmp", "size", "expected"),
    [
        (SPHERE, (1024, 512), Panorama.SPHERE),
        (SPHERE.replace(b'"', b"'"), (1024, 512), Panorama.SPHERE),
        (SPHERE.replace(b"equirectangular", b"Equirectangular"), (1024, 512), Panorama.SPHERE),
        (SPHERE.replace(b"GPano:", b"pano:").replace(b"xmlns:GPano", b"xmlns:pano"), (1024, 512), Panorama.SPHERE),
        (SPHERE.replace(b"ProjectionType=", b"projectionType = "), (1024, 512), Panorama.SPHERE),
        (ELEMENTS, (1024, 512), Panorama.SPHERE),
        (SPHERE.decode().replace("begin=\"\"", "").encode("utf-16"), (1024, 512), Panorama.SPHERE),
        (SPHERE + bytes(200), (1024, 512), Panorama.SPHERE),
        (SPHERE, (1024, 511), Panorama.SPHERE),
        # written before the picture was made smaller
        (crop((4096, 2048), (4096, 2048)), (1024, 512), Panorama.SPHERE),
        # parts of a sphere: a band, a half, a half of shape 2:1, a sphere that says only its full size
        (crop((2048, 1024), (1024, 400)), (1024, 400), Panorama.UNSUPPORTED),
        (crop((2048, 1024), (2048, 700)), (2048, 700), Panorama.UNSUPPORTED),
        (crop((2048, 1024), (1024, 512)), (1024, 512), Panorama.UNSUPPORTED),
        (gpano(ProjectionType="equirectangular", FullPanoWidthPixels=4096), (1024, 512), Panorama.UNSUPPORTED),
        (SPHERE, (1024, 400), Panorama.UNSUPPORTED),
        # other projections, and declarations that nobody can read
        (crop((2048, 1024), (2048, 1024), "cylindrical"), (2048, 1024), Panorama.UNSUPPORTED),
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
def test_declarations(xmp: bytes, size: tuple[int, int], expected: Panorama) -> None:
    assert declared_panorama(xmp, *size) is expected


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_photos_that_declare_themselves(tmp_path: Path, ending: str) -> None:
    whole = read_photo(photo(tmp_path / f"whole{ending}", size=(128, 64), xmp=SPHERE), "a")
    part = read_photo(photo(tmp_path / f"part{ending}", size=(128, 64), xmp=crop((256, 128), (128, 64))), "b")
    plain = read_photo(photo(tmp_path / f"plain{ending}", size=(128, 64)), "c")
    assert [str(image.camera and image.camera.projection) for image in (whole, plain)] == ["spherical", "perspective"]
    assert (whole.problem, plain.problem) == (None, None)
    assert (part.camera, part.problem) == (None, Reason.CAMERA_UNSUPPORTED)


def test_a_packet_behind_a_large_preview_is_found(tmp_path: Path) -> None:
    data = photo(tmp_path / "a.jpg", size=(128, 64), xmp=SPHERE).read_bytes()
    preview = b"".join(b"\xff\xe2" + (60_000).to_bytes(2, "big") + bytes(59_998) for _ in range(4))
    (tmp_path / "b.jpg").write_bytes(data[:2] + preview + data[2:])
    camera = read_photo(tmp_path / "b.jpg", "b").camera
    assert camera is not None
    assert str(camera.projection) == "spherical"
