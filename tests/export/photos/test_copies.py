"""Copies of photos with corrected GPS tags, read by exiftool, by mapillary_tools and by our own import."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from support import catalog_world as world
from support.judges import judge, run

from geocorrect.catalog import Catalog
from geocorrect.errors import OutputError
from geocorrect.export.export import export_catalog
from geocorrect.export.formats import Format
from geocorrect.export.photos import exif_gps, jpeg, xmp
from geocorrect.geometry.camera import Camera
from geocorrect.harvest.local.exif import read_photo
from geocorrect.records import Attribution

EXIF_IFD, GPS_IFD, MAKER_NOTE = 0x8769, 0x8825, 0x927C
WRONG_PLACE = {1: "S", 2: (1.0, 2.0, 3.0), 3: "W", 4: (4.0, 5.0, 6.0), 11: 7.5, 16: "M", 17: 12.0, 14: "T", 15: 33.0}
OLD_PACKET = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4" xmp:CreatorTool="Darkroom"/>
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 exif:GPSImgDirection="12/1"><exif:GPSLatitude>1,2.0S</exif:GPSLatitude><exif:GPSDOP>7/1</exif:GPSDOP>
<dc:creator><rdf:Seq><rdf:li>Ana Původní</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"""


def picture(exif: PillowImage.Exif | None = None, packet: str | None = None) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    out = io.BytesIO()
    more: dict[str, Any] = {} if packet is None else {"xmp": packet.encode()}
    PillowImage.fromarray(pixels).save(out, "JPEG", exif=exif or PillowImage.Exif(), comment=b"a comment", **more)
    return out.getvalue()


def with_maker_note() -> bytes:
    """EXIF of a camera whose maker note, as Canon's do, points to a text by its offset in the whole block."""
    note_text = b"IMG:OFFSETS HOLD JPEG\x00"
    note = struct.pack("<HHHIII", 1, 6, 2, len(note_text), 0xDEADBEEF, 0) + note_text
    exif = PillowImage.Exif()
    exif.endian = "<"
    exif[0x010F], exif[0x0110] = "Canon", "Canon EOS 5D"
    exif.get_ifd(EXIF_IFD)[MAKER_NOTE] = note
    exif.get_ifd(EXIF_IFD)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(GPS_IFD).update(WRONG_PLACE)
    data = picture(exif, OLD_PACKET)
    block = data.index(b"Exif\x00\x00") + 6
    text_at = data.index(note_text) - block
    data = data.replace(struct.pack("<HH", MAKER_NOTE, 1), struct.pack("<HH", MAKER_NOTE, 7))  # bytes of no known type
    return data.replace(b"\xef\xbe\xad\xde", struct.pack("<I", text_at))


def files(folder: Path) -> dict[int, Path]:
    """Photos by index in the catalog of `world`, good ones and bad ones."""
    exif = PillowImage.Exif()
    exif[0x010F] = "Acme"
    exif[0x0112] = 6
    whole = picture(exif)
    contents = {
        0: ("camera.jpg", with_maker_note()),
        1: ("bare.JPG", picture()),
        2: ("Zoë's pano.jpg", picture(None, OLD_PACKET)),
        3: ("turned.jpg", whole),
        5: ("drawing.png", b"\x89PNG\r\n\x1a\n"),
        10: ("cut.jpg", whole[:40]),
        7: (
            "damaged.jpg",
            whole.replace(b"Exif\x00\x00MM\x00*\x00\x00\x00\x08", b"Exif\x00\x00MM\x00*\x7f\x00\x00\x08"),
        ),
        8: ("crossed.jpg", picture(None, OLD_PACKET.replace("</rdf:RDF>", ""))),
    }
    folder.mkdir()
    for name, content in contents.values():
        (folder / name).write_bytes(content)
    return {index: folder / name for index, (name, _) in contents.items()}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    photos = files(tmp_path / "originals")
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as opened:
        world.fill(opened, 11)
        images = [replace(world.image(index), path=path) for index, path in photos.items()]
        images[2] = replace(images[2], camera=Camera.spherical(2000, 1000))
        opened.upsert_images(images)
        yield opened


def scan(data: bytes) -> bytes:
    """From the start of the compressed picture to the end of the file."""
    stream = io.BytesIO(data)
    jpeg.read_head(stream)
    return stream.read()


def test_pictures_and_originals_stay_as_they_are(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = {path.name: path.read_bytes() for path in (tmp_path / "originals").iterdir()}
    assert export_catalog(catalog, tmp_path / "photos", Format.EXIF) == 4
    assert {path.name: path.read_bytes() for path in (tmp_path / "originals").iterdir()} == before
    copies = {path.name for path in (tmp_path / "photos").iterdir()} - {"ATTRIBUTION.txt", "left_out.txt"}
    assert copies == {"camera.jpg", "bare.JPG", "Zoë's pano.jpg", "turned.jpg"}
    for name in copies:
        copy = (tmp_path / "photos" / name).read_bytes()
        assert scan(copy) == scan(before[name])
        with PillowImage.open(io.BytesIO(copy)) as ours, PillowImage.open(io.BytesIO(before[name])) as theirs:
            assert ours.tobytes() == theirs.tobytes()
            assert ours.info["comment"] == b"a comment"
    left_out = (tmp_path / "photos" / "left_out.txt").read_text(encoding="utf-8")
    reasons = {line.split("\t")[0]: line.split("\t")[2] for line in left_out.splitlines()[1:]}
    assert f"{len(reasons)} photos have no copy" in caplog.text
    assert reasons["1005"] == "not a JPEG file"
    assert reasons["1010"].startswith("damaged JPEG file")
    assert reasons["1007"].startswith("damaged EXIF")
    assert reasons["1008"].startswith("damaged XMP")
    assert "ana\tCC-BY-SA-4.0" in (tmp_path / "photos" / "ATTRIBUTION.txt").read_text()
    with pytest.raises(OutputError, match="not a bundle of ours"):
        export_catalog(catalog, tmp_path / "originals", Format.EXIF)


def test_exiftool_reads_the_corrected_place(catalog: Catalog, tmp_path: Path) -> None:
    exiftool = judge("exiftool")
    export_catalog(catalog, tmp_path / "photos", Format.EXIF)
    names = {0: "camera.jpg", 1: "bare.JPG", 2: "Zoë's pano.jpg", 3: "turned.jpg"}
    arguments = ("-j", "-n", "-a", "-G1", "-validate", "-warning", "-all")
    read = json.loads(run(exiftool, *arguments, *(str(tmp_path / "photos" / name) for name in names.values())))
    for index, tags in zip(names, read, strict=True):
        lon, lat, height = (float(v) for v in world.ROME.wgs84_from_enu([5.0 * index, -2.0, 1.8]))
        for group in ("GPS", "XMP-exif"):
            assert abs(float(tags[f"{group}:GPSLatitude"])) == pytest.approx(lat, abs=2e-8)
            assert abs(float(tags[f"{group}:GPSLongitude"])) == pytest.approx(lon, abs=2e-8)
            assert float(tags[f"{group}:GPSAltitude"]) == pytest.approx(height, abs=1e-3)
            assert float(tags[f"{group}:GPSImgDirection"]) == pytest.approx(90.0, abs=2e-3)
            assert tags[f"{group}:GPSImgDirectionRef"] == "T"
            assert float(tags[f"{group}:GPSHPositioningError"]) == pytest.approx(0.2 + 0.01 * index)
            assert f"{group}:GPSDOP" not in tags
        assert tags["XMP-exif:GPSProcessingMethod"] == "geocorrect run run-a; depth lidar (measured); accepted"
        assert (tags["GPS:GPSLatitudeRef"], tags["GPS:GPSLongitudeRef"]) == ("N", "E")
        assert (tags["GPS:GPSDateStamp"], tags["GPS:GPSTimeStamp"]) == ("2026:03:01", f"10:00:{index:02d}")
        assert tags["XMP-xmpRights:WebStatement"] == f"https://example.org/{1000 + index}"
        warnings = [text for name, text in tags.items() if name.startswith("ExifTool:Warning")]
        assert [text for text in warnings if "XMP" in text or "GPS" in text] == []
    camera, bare, pano, turned = read
    assert camera["Canon:CanonImageType"] == "IMG:OFFSETS HOLD JPEG"
    assert (camera["GPS:GPSTrack"], camera["ExifIFD:DateTimeOriginal"]) == (33, "2020:01:02 03:04:05")
    assert (camera["XMP-xmp:Rating"], camera["XMP-xmp:CreatorTool"]) == (4, "Darkroom")
    assert (camera["XMP-dc:Creator"], bare["XMP-dc:Creator"]) == ("Ana Původní", "ana")
    assert bare["XMP-dc:Rights"] == "CC-BY-SA-4.0"
    assert turned["IFD0:Orientation"] == 6
    assert "XMP-GPano:PoseHeadingDegrees" not in camera
    angles = [pano[f"XMP-GPano:Pose{name}Degrees"] for name in ("Heading", "Pitch", "Roll")]
    assert angles == pytest.approx([90.0, 2.0, 1.0], abs=2e-3)


def test_mapillary_tools_reads_the_corrected_place(catalog: Catalog, tmp_path: Path) -> None:
    python = judge("python")
    export_catalog(catalog, tmp_path / "photos", Format.EXIF)
    script = (
        "import sys, json; from pathlib import Path; from mapillary_tools.exif_read import ExifRead, ExifReadFromEXIF\n"
        "def values(r): return [*r.extract_lon_lat(), r.extract_altitude(), r.extract_direction()]\n"
        "exif = ExifReadFromEXIF(Path(sys.argv[1])); xmp = ExifRead(Path(sys.argv[1]))._extract_xmp()\n"
        "print(json.dumps([values(exif), xmp.extract_lon_lat(),\n"
        "                  exif.extract_capture_time().isoformat(), exif.extract_make()]))\n"
    )
    exif, xmp_place, moment, make = json.loads(run(python, "-c", script, str(tmp_path / "photos/camera.jpg")))
    lon, lat, height = (float(v) for v in world.ROME.wgs84_from_enu([0.0, -2.0, 1.8]))
    assert exif == pytest.approx([lon, lat, height, 90.0], abs=2e-3)
    assert exif[:2] == pytest.approx([lon, lat], abs=2e-8)
    assert xmp_place == pytest.approx([lon, lat], abs=2e-8)
    assert (moment, make) == ("2026-03-01T10:00:00+00:00", "Canon")


@pytest.mark.parametrize(
    ("lon", "lat", "height"),
    [
        (12.5, 41.9, 48.25),
        (-122.4194155, 37.7749295, -3.5),
        (151.20732, -33.86785, 0.0),
        (-179.9999999, -0.0000003, 9.9),
    ],
)
def test_our_own_import_reads_it_everywhere_on_earth(tmp_path: Path, lon: float, lat: float, height: float) -> None:
    tags = exif_gps.GpsTags(lon, lat, height, 359.9999, 0.25, "test", world.START)
    head = jpeg.read_head(stream := io.BytesIO(picture()))
    with (tmp_path / "photo.jpg").open("wb") as file:
        head.with_app1(jpeg.EXIF, exif_gps.with_gps(None, tags)).write(file)
        file.write(stream.read())
    read = read_photo(tmp_path / "photo.jpg", "a")
    assert read.reported is not None
    place = (read.reported.lon_deg, read.reported.lat_deg, read.reported.height_m)
    assert place == pytest.approx((lon, lat, height), abs=2e-8 if height else 1e-6)
    assert read.heading_deg % 360.0 == pytest.approx(0.0, abs=1e-3)
    assert (read.captured_at, read.provider["accuracy_m"]) == (world.START, 0.25)


def test_what_is_unknown_now_does_not_keep_its_old_value() -> None:
    nan = float("nan")
    old = PillowImage.Exif()
    old.get_ifd(GPS_IFD).update(WRONG_PLACE | {6: 5.0, 31: 2.0})
    written = exif_gps.with_gps(old.tobytes()[6:], exif_gps.GpsTags(12.5, 41.9, nan, nan, nan, "test", None))
    read = PillowImage.Exif()
    read.load(b"Exif\x00\x00" + written)
    assert sorted(read.get_ifd(GPS_IFD)) == [0, 1, 2, 3, 4, 14, 15, 18]
    packet = xmp.with_pose(
        OLD_PACKET.encode(), exif_gps.GpsTags(-12.5, -41.9, nan, nan, nan, "test", None), (nan, nan, nan),
        Attribution(), is_panorama=False,
    ).decode()  # fmt: skip
    assert "GPSImgDirection" not in packet
    assert "GPSDOP" not in packet
    assert packet.count("GPSLatitude") == 1
    assert 'GPSLatitude="41,54.000000S"' in packet


def test_a_packet_that_would_load_other_files_is_refused() -> None:
    tags = exif_gps.GpsTags(12.5, 41.9, 0.0, 0.0, 0.0, "test", None)
    hostile = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + OLD_PACKET.encode()
    with pytest.raises(ValueError, match="document type"):
        xmp.with_pose(hostile, tags, (0.0, 0.0, 0.0), Attribution(), is_panorama=False)


def test_metadata_too_long_for_a_segment_is_refused() -> None:
    with pytest.raises(ValueError, match="more than a JPEG segment holds"):
        jpeg.Head(()).with_app1(jpeg.XMP, b"x" * 65_530)
