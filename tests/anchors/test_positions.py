"""Photos of which only positions are known: what is read of them before they are matched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.positions.photos import read_positioned_photos
from geocorrect.anchors.readers.registry import anchor_files, find_format
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.frame import Frame

FRAME = Frame("p", 12.5, 41.9, 80.0)
PLACES_M = np.array([[0.0, 0.0, 1.5], [3.0, 0.5, 1.5], [3.2, 0.5, 1.5], [6.0, 2.0, 1.6]])
RTK = b'<x drone-dji:RtkStdLon="0.011" drone-dji:RtkStdLat="0.012" drone-dji:RtkStdHgt="0.025"/>'


def write_photo(path: Path, number: int, *, zone: bool = True, place: bool = True, comment: bytes = RTK) -> None:
    exif = Image.Exif()
    exif[Base.Make] = "DJI"
    exif.get_ifd(IFD.Exif).update({Base.DateTimeOriginal: f"2024:05:01 10:00:{number:02d}"})
    if zone:
        exif.get_ifd(IFD.Exif).update({Base.OffsetTimeOriginal: "+00:00"})
    if place:
        lon, lat, height = (float(v) for v in FRAME.wgs84_from_enu(PLACES_M[number]))
        sexagesimal = [(int(v), int(v % 1 * 60), (v % 1 * 60 % 1) * 60) for v in (lat, lon)]
        exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: sexagesimal[0], 3: "E", 4: sexagesimal[1], 5: b"\0", 6: height})
    Image.new("RGB", (64, 48)).save(path, exif=exif, comment=comment)


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, AnchorOptions]:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        write_photo(folder / f"{9 - number}.jpg", number)
    lens = tmp_path / "camera.yaml"
    lens.write_text(
        "model: PINHOLE\nwidth: 64\nheight: 48\nintrinsics: [60, 61, 31, 23]\nantenna_m: [0.1, -1.0, 0.2]\n"
    )
    return folder, AnchorOptions(calibration=lens, height_reference="ellipsoid")


def test_rtk_tags(photos: tuple[Path, AnchorOptions]) -> None:
    folder, options = photos
    found = read_positioned_photos(folder, options)
    assert find_format(folder).name == "positions"
    assert found.ids == ("positions/9", "positions/8", "positions/6"), "by time; the third is 0.2 m from the second"
    enu = FRAME.enu_from_wgs84(*found.frame.wgs84_from_enu(found.antenna_enu_m))
    assert np.abs(enu - PLACES_M[[0, 1, 3]]).max() < 1e-3
    assert found.sigma_m.tolist() == [[0.011, 0.012, 0.025]] * 3
    assert found.antenna_m.tolist() == [0.1, -1.0, 0.2]
    assert (found.camera.focal_x_px, found.camera.focal_y_px, found.camera.principal_y_px) == (60, 61, 23)
    assert [int(t) % 60_000_000_000 for t in found.time_ns] == [0, 1_000_000_000, 3_000_000_000]


def test_a_track_and_a_clock(photos: tuple[Path, AnchorOptions], tmp_path: Path) -> None:
    folder, options = photos
    rows = ['<gpx version="1.1" creator="x" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>']
    for second in range(12):
        lon, lat, height = (float(v) for v in FRAME.wgs84_from_enu(np.array([2.0 * second, 0.0, 1.0])))
        time = f"<time>2024-05-01T10:00:{second:02d}Z</time>"
        rows.append(f'<trkpt lat="{lat!r}" lon="{lon!r}"><ele>{height!r}</ele>{time}</trkpt>')
    track = tmp_path / "drive.gpx"
    track.write_text("".join([*rows, "</trkseg></trk></gpx>"]))
    chosen = replace(options, positions=track, position_sigma_m=0.5, clock_offset_s=2.25)
    found = read_positioned_photos(folder, chosen)
    enu = FRAME.enu_from_wgs84(*found.frame.wgs84_from_enu(found.antenna_enu_m))
    assert enu == pytest.approx(np.array([[2 * (second + 2.25), 0, 1] for second in range(4)]), abs=1e-3)
    assert found.sigma_m.tolist() == [[0.5, 0.5, 1.0]] * 4
    with pytest.raises(InputError, match="where .*drive.gpx has no positions"):
        read_positioned_photos(folder, replace(chosen, clock_offset_s=10.0))
    write_photo(folder / "8.jpg", 1, zone=False, place=False)
    with pytest.raises(InputError, match="8.jpg: its tags hold no time with a zone"):
        read_positioned_photos(folder, chosen)
    track.write_text("<!DOCTYPE x>" + track.read_text())
    with pytest.raises(InputError, match="declares entities"):
        read_positioned_photos(folder, chosen)


def test_a_photo_is_as_uncertain_as_the_track_at_its_moment(photos: tuple[Path, AnchorOptions], tmp_path: Path) -> None:
    """With a clock that is said to be off, too: sigmas were those of the moment that the camera's clock shows."""
    folder, options = photos
    head = (
        "% (lat/lon/height=WGS84/ellipsoidal,Q=1:fix)\n% UTC latitude(deg) longitude(deg) height(m) Q ns "
        "sdn(m) sde(m) sdu(m)\n"
    )
    rows = []
    for second in range(10, 22):
        lon, lat, height = (float(v) for v in FRAME.wgs84_from_enu(np.array([2.0 * second, 0.0, 1.0])))
        sigmas = f"{second / 100} {second / 50} {second / 10}"
        rows.append(f"2024/05/01 10:00:{second}.000 {lat:.9f} {lon:.9f} {height:.4f} 1 12 {sigmas}\n")
    track = tmp_path / "drive.pos"
    track.write_text(head + "".join(rows))
    found = read_positioned_photos(folder, replace(options, positions=track, clock_offset_s=12.5))
    assert found.sigma_m == pytest.approx(np.array([[s / 50, s / 100, s / 10] for s in (12.5, 13.5, 14.5, 15.5)]))


def test_what_is_missing_is_named(photos: tuple[Path, AnchorOptions], tmp_path: Path) -> None:
    folder, options = photos
    with pytest.raises(UsageError, match=r"need --calibration camera.yaml"):
        read_positioned_photos(folder, replace(options, calibration=None))
    with pytest.raises(UsageError, match="found from their matches"):
        anchor_files(folder, options=options).read()
    with pytest.raises(UsageError, match="--format positions does not take --crs"):
        anchor_files(folder, options=replace(options, crs="EPSG:32633"))
    with pytest.raises(UsageError, match="--clock-offset is for photos beside a track"):
        read_positioned_photos(folder, replace(options, clock_offset_s=1.0))
    with pytest.raises(InputError, match="add --height-reference"):
        read_positioned_photos(folder, replace(options, height_reference="unknown"))
    write_photo(folder / "8.jpg", 1, comment=b"")
    with pytest.raises(InputError, match="8.jpg: its tags do not say how good"):
        read_positioned_photos(folder, options)
    assert read_positioned_photos(folder, replace(options, position_sigma_m=0.3)).sigma_m[1].tolist() == [0.3, 0.3, 0.6]
    write_photo(folder / "8.jpg", 1, place=False)
    with pytest.raises(InputError, match="8.jpg: its tags hold no position"):
        read_positioned_photos(folder, options)
    assert len(read_positioned_photos(folder, replace(options, uncovered="skip", spacing_m=0.0)).ids) == 3
    assert options.calibration is not None
    options.calibration.write_text("model: PINHOLE\nwidth: 65\nheight: 48\nintrinsics: [60, 61, 31, 23]\n")
    with pytest.raises(InputError, match="6.jpg: 64×48 pixels, .*camera.yaml is for 65×48"):
        read_positioned_photos(folder, options)
    options.calibration.write_text("model: PINHOLE\nwidht: 65\n")
    with pytest.raises(InputError, match="camera.yaml: width: Field required"):
        read_positioned_photos(folder, options)
