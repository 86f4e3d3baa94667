from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from geocorrect.errors import InputError
from geocorrect.geometry.crs import crs_from_wgs84
from geocorrect.georeference.landmarks.click import LandmarkOptions
from geocorrect.georeference.landmarks.read import read_landmarks

PLACES = [(12.5160, 41.9030), (12.5161, 41.9031), (12.5163, 41.9029), (12.5162, 41.9032)]
PIXELS = [(100.0, 500.0), (640.5, 512.25), (900.0, 480.0), (300.0, 520.0)]


def own_csv(tmp_path: Path, rows: list[str] | None = None, header: str = "image,u_px,v_px,lon_deg,lat_deg") -> Path:
    path = tmp_path / "clicks.csv"
    if rows is None:
        rows = [
            f"000000064{k}.png,{u},{v},{lon},{lat}"
            for k, ((u, v), (lon, lat)) in enumerate(zip(PIXELS, PLACES, strict=True))
        ]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def write_geojson(tmp_path: Path) -> Path:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": list(place)},
            "properties": {"image": "7", "u_px": u, "v_px": v},
        }
        for (u, v), place in zip(PIXELS, PLACES, strict=True)
    ]
    path = tmp_path / "clicks.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def write_thesis(tmp_path: Path) -> Path:
    data = {"image_indices": [7], "pixel_locations": [PIXELS], "locations": [[(lat, lon) for lon, lat in PLACES]]}
    path = tmp_path / "clicks.json"
    path.write_text(json.dumps(data))
    return path


def write_opensfm(tmp_path: Path) -> Path:
    points = [
        {
            "id": str(k),
            "position": {"latitude": lat, "longitude": lon},
            "observations": [{"shot_id": "7.png", "projection": [(u - 693.5) / 1388, (v - 349.5) / 1388]}],
        }
        for k, ((u, v), (lon, lat)) in enumerate(zip(PIXELS, PLACES, strict=True))
    ]
    points.append({"id": "check", "observations": []})
    path = tmp_path / "ground_control_points.json"
    path.write_text(json.dumps({"points": points}))
    return path


def write_gcp_list(tmp_path: Path) -> Path:
    lines = ["WGS84 UTM 33N", "# comment"]
    for (u, v), (lon, lat) in zip(PIXELS, PLACES, strict=True):
        x, y = crs_from_wgs84("EPSG:32633", lon, lat)
        lines.append(f"{float(x)!r} {float(y)!r} NaN {u} {v} 7.png")
    path = tmp_path / "gcp_list.txt"
    path.write_text("\n".join(lines))
    return path


def write_qgis(tmp_path: Path) -> Path:
    lines = ["#CRS: EPSG:4326", "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual"]
    for (u, v), (lon, lat) in zip(PIXELS, PLACES, strict=True):
        lines.append(f"{lon},{lat},{u + 0.5},{-v - 0.5},1,0,0,0")
    lines.append("12.6,41.9,1,-1,0,0,0,0")
    path = tmp_path / "7.png.points"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("write", [own_csv, write_geojson, write_thesis, write_opensfm, write_gcp_list, write_qgis])
def test_every_format_gives_the_same_clicks(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    clicks = [click.in_pixels(1388, 700) for click in read_landmarks(write(tmp_path))]
    assert np.array([(c.u_px, c.v_px) for c in clicks]) == pytest.approx(np.array(PIXELS), abs=1e-9)
    assert np.array([(c.lon_deg, c.lat_deg) for c in clicks]) == pytest.approx(np.array(PLACES), abs=1e-9)
    assert all(np.isnan(c.height_m) for c in clicks)
    assert all("7" in c.image or c.image.startswith("000000064") for c in clicks)
    if write is not own_csv:
        assert [c.index for c in clicks] == [0, 1, 2, 3]


def test_optional_columns(tmp_path: Path) -> None:
    header = "image,u_px,v_px,x,y,height_m,sigma_px,sigma_m,sigma_height_m,landmark"
    rows = []
    for k, (lon, lat) in enumerate(PLACES):
        x, y = crs_from_wgs84("EPSG:32633", lon, lat)
        rows.append(f"7,1,2,{float(x)!r},{float(y)!r},50,2,0.1,0.05,corner {k // 2}")
    options = LandmarkOptions("EPSG:32633", None, "orthometric", 48.3)
    clicks = read_landmarks(own_csv(tmp_path, rows, header), options)
    assert [c.landmark for c in clicks] == ["corner 0", "corner 0", "corner 1", "corner 1"]
    assert (clicks[0].sigma_px, clicks[0].sigma_map_m, clicks[0].sigma_height_m) == (2.0, 0.1, 0.05)
    assert clicks[0].height_m == pytest.approx(98.3)
    assert clicks[2].lon_deg == pytest.approx(PLACES[2][0], abs=1e-9)


GOOD = "7,1,2,12.516,41.903"


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], None, r"clicks.csv: no rows"),
        ([GOOD, "7,1,2,41.903,12.516", GOOD, GOOD], None, r"line 3: .*latitude and longitude are swapped"),
        ([GOOD, "7,1,2,12.516,91", GOOD], None, r"line 3: \(12.516, 91\) is no place .*swapped"),
        ([GOOD, "7,one,2,12.516,41.903", GOOD], None, r"line 3: u_px must be a finite number, got 'one'"),
        ([GOOD, ",1,2,12.516,41.903", GOOD], None, r"line 3: column 'image' is missing or empty"),
        ([GOOD] * 3, "image,u_px,v_px,x,y", r"line 2: the coordinate system is not declared; add --crs"),
        ([GOOD + ",50"] * 3, "image,u_px,v_px,lon_deg,lat_deg,height_m", r"line 2: height 50 m.*--height-reference"),
        ([GOOD + ",0"] * 3, "image,u_px,v_px,lon_deg,lat_deg,sigma_m", r"line 2: sigma_m must be positive"),
    ],
)
def test_bad_rows_are_named_with_the_remedy(tmp_path: Path, rows: list[str], header: str | None, message: str) -> None:
    path = own_csv(tmp_path, rows, header) if header else own_csv(tmp_path, rows)
    with pytest.raises(InputError, match=message):
        read_landmarks(path)


def test_a_pixel_outside_the_frame_names_its_row(tmp_path: Path) -> None:
    clicks = read_landmarks(own_csv(tmp_path))
    with pytest.raises(InputError, match=r"line 4: pixel \(900, 480\) is outside .*694×350 pixels; .*resized copy"):
        [click.in_pixels(694, 350) for click in clicks[2:]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{}", "not a clicks file; known are CSV"),
        ("a.json", "{", "not a JSON file"),
        (
            "a.json",
            '{"image_indices": [1], "pixel_locations": [[[1, 2]]], "locations": [[]]}',
            "image 1: 1 pixels, but 0 loc",
        ),
        ("a.json", '{"image_indices": [1], "pixel_locations": []}', "must be equally long"),
        (
            "a.json",
            '{"image_indices": [1], "pixel_locations": [[[1]]], "locations": [[[1, 2]]]}',
            "click 0: pixel must be 2 finite",
        ),
        ("a.json", '{"image_indices": [1], "pixel_locations": [[[1,2]]], "locations": [[[91, 2]]]}', "latitude 91"),
        ("a.json", '{"points": [{"id": "p", "position": {}, "observations": []}]}', "point p: not an OpenSfM"),
        ("gcp_list.txt", "MOON\n1 2 3 4 5 a.png", "line 1: projection 'MOON' is unknown"),
        ("gcp_list.txt", "WGS84\n1 2 3 4 a.png", "line 2: 5 columns"),
        ("gcp_list.txt", "WGS84\nx 2 3 4 5 a.png", "line 2: x y u v must be 4 finite numbers"),
        ("a.points", "mapX,mapY,sourceX,sourceY,enable\n12.5,41.9,1,-1,1", "coordinate system is not declared"),
        ("a.points", "#CRS: EPSG:4326\nmapX,mapY\n1,2", "no column sourceX"),
        ("a.points", "#CRS: EPSG:4326\nmapX,mapY,sourceX,sourceY,enable\n1,2,x,4,1", "line 3 must be 4 finite numbers"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_landmarks(tmp_path / name)


@pytest.mark.data
def test_real_files(shared_data: Path) -> None:
    clicks = read_landmarks(shared_data / "vbr_campus/landmarks_campus_train1.json")
    assert len(clicks) == 23
    assert {c.image for c in clicks} == {"649", "1631", "2764", "7717", "11373"}
    with pytest.raises(InputError, match=r"point 0: height .*--height-reference"):
        read_landmarks(shared_data / "opensfm_berlin/ground_control_points.json")
    options = LandmarkOptions(None, None, "orthometric", 39.5)
    points = read_landmarks(shared_data / "opensfm_berlin/ground_control_points.json", options)
    shared = [c for c in points if c.landmark == points[0].landmark]
    assert [c.image for c in shared] == ["02.jpg", "03.jpg"]
    pixel = shared[0].in_pixels(3264, 2448)
    assert (pixel.u_px, pixel.v_px) == pytest.approx((1631.5 - 0.015689 * 3264, 1223.5 - 0.0625362 * 3264))


@pytest.mark.parametrize("kind", ["csv", "json", "txt", "points"])
def test_one_image_named_in_both_unicode_forms_is_one_image(tmp_path: Path, kind: str) -> None:
    forms = [unicodedata.normalize(form, "Gerät 7.png") for form in ("NFC", "NFD")]
    places = [f"{lon},{lat}" for lon, lat in PLACES[:2]]
    if kind == "csv":
        rows = [f"{name},1,2,{place},{name}" for name, place in zip(forms, places, strict=True)]
        paths = [own_csv(tmp_path, rows, "image,u_px,v_px,lon_deg,lat_deg,landmark")]
    elif kind == "json":
        locations = [[[lat, lon]] for lon, lat in PLACES[:2]]
        content = {"image_indices": forms, "pixel_locations": [[[1, 2]], [[1, 2]]], "locations": locations}
        (tmp_path / "a.json").write_text(json.dumps(content))
        paths = [tmp_path / "a.json"]
    elif kind == "txt":
        rows = [f"{lon}\t{lat}\tnan\t1\t2\t{name}\t{name}" for name, (lon, lat) in zip(forms, PLACES[:2], strict=True)]
        (tmp_path / "gcp_list.txt").write_text("\n".join(["WGS84", *rows]))
        paths = [tmp_path / "gcp_list.txt"]
    else:
        paths = [tmp_path / f"{name}.points" for name in forms]
        for path, place in zip(paths, places, strict=True):
            path.write_text(f"#CRS: EPSG:4326\nmapX,mapY,sourceX,sourceY,enable\n{place},1,-2,1\n")
    clicks = read_landmarks(paths)
    assert [(click.image.removesuffix(".png"), click.index) for click in clicks] == [
        ("Ger\xe4t 7", 0),
        ("Ger\xe4t 7", 1),
    ]
    if kind in ("csv", "txt"):
        assert len({click.landmark for click in clicks}) == 1
