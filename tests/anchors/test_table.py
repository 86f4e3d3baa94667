from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.anchors.readers.table import TableOptions, read_table
from geocorrect.cli.app import app
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.crs import crs_from_wgs84, ellipsoidal_height_m, grid_convergence_deg
from geocorrect.geometry.frame import Frame, rotation_from_heading
from geocorrect.geometry.pose import Pose, rotation_angle_deg
from geocorrect.geometry.projection import Projection

LON, LAT, HEIGHT = 12.516, 41.903, 98.0
HEADER = "file,lon_deg,lat_deg,height_m,heading_deg,pitch_deg,roll_deg,width,height,fx,fy,cx,cy,k1,captured_at"
ROW = f"a.png,{LON},{LAT},{HEIGHT},30,2,-1,32,24,30,30,15.5,11.5,-0.1,2024-05-01T10:00:00+02:00"
WGS84 = TableOptions("EPSG:4326", "ellipsoid")


def write(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((24, 32, 3), np.uint8))
    path = tmp_path / "anchors.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_row_becomes_an_anchor(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, ROW), WGS84)
    (anchor,) = table.anchors
    frame = table.alignment.frame
    assert (anchor.id, anchor.dataset, anchor.path) == ("a", "table", tmp_path / "a.png")
    assert np.array(frame.wgs84_from_enu(anchor.world_from_cam.translation_m)) == pytest.approx([LON, LAT, HEIGHT])
    assert frame.heading_deg(anchor.world_from_cam) == pytest.approx(30.0)
    assert rotation_angle_deg(anchor.world_from_cam.rotation, rotation_from_heading(30, 2, -1)) < 1e-6
    assert anchor.captured_at is not None
    assert anchor.captured_at.isoformat() == "2024-05-01T08:00:00+00:00"
    assert anchor.camera.distortion[0] == -0.1
    assert anchor.world_from_cam.covariance is None


@pytest.mark.parametrize(("disk", "written"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
@pytest.mark.parametrize("kind", ["csv", "geojson"])
def test_the_picture_is_found_in_either_unicode_form(tmp_path: Path, kind: str, disk: str, written: str) -> None:
    path = write(tmp_path, ROW.replace("a.png", unicodedata.normalize(written, "é.png")))
    picture = (tmp_path / "a.png").rename(tmp_path / unicodedata.normalize(disk, "é.png"))
    if kind == "geojson":
        row = dict(zip(*(line.split(",") for line in path.read_text().splitlines()), strict=True))
        point = {"type": "Point", "coordinates": [LON, LAT, HEIGHT]}
        features = [{"type": "Feature", "geometry": point, "properties": row}]
        path = tmp_path / "anchors.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    options = WGS84 if kind == "csv" else TableOptions(None, "ellipsoid")
    (anchor,) = read_table(path, options).anchors
    assert (anchor.id, anchor.path) == ("\xe9", picture)


def test_geojson_is_wgs84_and_quaternions_and_sigmas_are_read(tmp_path: Path) -> None:
    write(tmp_path)
    x, y, z, w = rotation_from_heading(123.0).as_quat()
    properties = {"file": "a.png", "id": "one", "qx": x, "qy": y, "qz": z, "qw": w, "width": 32, "height": 24}
    properties |= {"fx": 30, "fy": 30, "cx": 15.5, "cy": 11.5, "sigma_position_m": 0.2, "sigma_rotation_deg": 0.5}
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [LON, LAT, HEIGHT]},
        "properties": properties,
    }
    path = tmp_path / "anchors.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    far = Frame("far", LON + 0.1, LAT, 0.0)
    (anchor,) = read_table(path, TableOptions(None, "ellipsoid", frame=far)).anchors
    assert far.heading_deg(anchor.world_from_cam) == pytest.approx(123.0, abs=1e-6)
    assert anchor.world_from_cam.covariance is not None
    assert np.sqrt(np.diag(anchor.world_from_cam.covariance)) == pytest.approx([0.2] * 3 + [np.radians(0.5)] * 3)


def test_projected_coordinates_and_grid_headings(tmp_path: Path) -> None:
    x, y = crs_from_wgs84("EPSG:32633", LON, LAT)
    header = HEADER.replace("lon_deg,lat_deg", "x,y")
    path = write(tmp_path, ROW.replace(f"{LON},{LAT}", f"{float(x)!r},{float(y)!r}"), header=header)
    table = read_table(path, TableOptions("EPSG:32633", "ellipsoid", heading_reference="grid"))
    convergence = grid_convergence_deg("EPSG:32633", LON, LAT)
    assert convergence == pytest.approx(-1.66, abs=0.01)
    assert table.alignment.frame.heading_deg(table.anchors[0].world_from_cam) == pytest.approx(30 + convergence)
    assert table.alignment.frame.lon_deg == pytest.approx(LON, abs=1e-9)


def test_heights_above_sea_level_are_moved_by_the_undulation(tmp_path: Path) -> None:
    path = write(tmp_path, ROW)
    table = read_table(path, TableOptions("EPSG:4326", "orthometric", 48.3))
    assert table.alignment.frame.height_m == pytest.approx(HEIGHT + 48.3)
    with pytest.raises(InputError, match=r"line 2: height_m: heights above sea level need the geoid undulation"):
        read_table(path, TableOptions("EPSG:4326", "orthometric"))
    with pytest.raises(InputError, match="nor a vertical CRS"):
        read_table(path, TableOptions("EPSG:4326", "EPSG:32633"))


def test_a_vertical_crs_is_converted_by_its_grid_or_refused() -> None:
    try:
        height = float(ellipsoidal_height_m(LON, LAT, 50.0, "EPSG:5773"))
    except ValueError as error:
        assert "geoid" in str(error)
    else:
        assert height == pytest.approx(98.0, abs=1.5)
    with pytest.raises(ValueError, match="drop one of the two"):
        ellipsoidal_height_m(LON, LAT, 50.0, "ellipsoid", 48.0)


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (ROW, TableOptions(None, "ellipsoid"), "coordinate system is not declared; add --crs"),
        (ROW, TableOptions("EPSG:4326"), "heights are measured from is not declared"),
        (ROW, TableOptions("EPSG:32633", "ellipsoid"), "coordinates are in EPSG:4326, but --crs says EPSG"),
        (
            ROW.replace("12.516,41.903", "41.903,112.516"),
            WGS84,
            r"line 2: \(41.903, 112.516\) is no place .*swapped",
        ),
        (ROW.replace("98.0", ""), WGS84, "line 2: column 'height_m' is missing or empty"),
        (ROW.replace("98.0", "high"), WGS84, "line 2: height_m must be a finite number, got 'high'"),
        (ROW.replace(",30,30,", ",nan,30,"), WGS84, "line 2: fx must be a finite number, got 'nan'"),
        (ROW.replace(",30,30,", ",-30,30,"), WGS84, "line 2: .*focal_x_px must be a positive"),
        (ROW.replace("32,24", "64,48"), WGS84, r"line 2: .*a.png is 32×24 pixels, the row says 64×48"),
        (ROW.replace("a.png", "c.png"), WGS84, r"c.png: no such image"),
        (ROW.replace("+02:00", ""), WGS84, "line 2: captured_at .* has no time zone"),
        (ROW.replace("2024-05-01T", "May "), WGS84, "line 2: captured_at .* is not an ISO 8601"),
        (ROW.replace("2024-05-01T", "0111-05-01T"), WGS84, "line 2: captured_at .* is before 1990"),
        (ROW.replace("2024-05-01T", "0001-01-01T"), WGS84, "line 2: captured_at .* is before 1990"),
        (ROW.replace("2024-05-01T", "2080-05-01T"), WGS84, "line 2: captured_at .* in the future"),
        (ROW + "\n" + ROW, WGS84, r"line 3: id 'a' was already used in .*line 2"),
        (ROW + ",7", WGS84, "line 2: more values than column names"),
        ("", WGS84, "no rows"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: str, options: TableOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_table(write(tmp_path, row), options)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.geojson", "{}", "not a GeoJSON FeatureCollection"),
        (
            "a.geojson",
            '{"features": [{"geometry": {"type": "LineString"}, "properties": {}}]}',
            "feature 0: .*LineString",
        ),
        ("a.geojson", '{"features": [7]}', "feature 0: not a GeoJSON point"),
        ("a.csv", "hello\n", "line 1: expected column names"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / name, WGS84)


def test_quaternions_of_a_grid_are_turned_as_headings_are(tmp_path: Path) -> None:
    """They never were: 1.7° in Rome."""
    x, y = map(float, crs_from_wgs84("EPSG:32633", LON, LAT))
    options = TableOptions("EPSG:32633", "ellipsoid", heading_reference="grid")
    header = HEADER.replace("lon_deg,lat_deg", "x,y")
    row = ROW.replace(f"{LON},{LAT}", f"{x!r},{y!r}")
    (by_angles,) = read_table(write(tmp_path, row, header=header), options).anchors
    quaternion = ",".join(repr(float(value)) for value in rotation_from_heading(30, 2, -1).as_quat())
    row = row.replace(",30,2,-1,", f",{quaternion},")
    header = header.replace("heading_deg,pitch_deg,roll_deg", "qx,qy,qz,qw")
    (by_quaternion,) = read_table(write(tmp_path, row, header=header), options).anchors
    assert rotation_angle_deg(by_quaternion.world_from_cam.rotation, by_angles.world_from_cam.rotation) < 1e-6
    (as_true,) = read_table(tmp_path / "anchors.csv", TableOptions("EPSG:32633", "ellipsoid")).anchors
    turned = rotation_angle_deg(as_true.world_from_cam.rotation, by_quaternion.world_from_cam.rotation)
    assert turned == pytest.approx(abs(grid_convergence_deg("EPSG:32633", LON, LAT)), abs=1e-6)


def test_grid_north_can_be_declared_on_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, ROW)
    for said, heading_deg in (("true", 30.0), ("grid", 30.0 + grid_convergence_deg("EPSG:32633", LON, LAT))):
        x, y = map(float, crs_from_wgs84("EPSG:32633", LON, LAT))
        path.write_text(f"{HEADER.replace('lon_deg,lat_deg', 'x,y')}\n{ROW.replace(f'{LON},{LAT}', f'{x!r},{y!r}')}\n")
        options = AnchorOptions(crs="EPSG:32633", height_reference="ellipsoid", heading_reference=said)
        alignment, (anchor,) = anchor_files(path, "auto", options).read()
        assert alignment.frame.heading_deg(anchor.world_from_cam) == pytest.approx(heading_deg)
    with pytest.raises(UsageError, match="--heading-reference 'magnetic': use true, grid"):
        anchor_files(path, "table", AnchorOptions(crs="EPSG:32633", heading_reference="magnetic")).read()


@pytest.mark.parametrize(
    ("column", "near"),
    [
        ("pitch", "pitch_deg"),
        ("lidar", "scan"),
        ("sigma_position", "sigma_position_m"),
        ("K1", "k1"),
    ],
)
def test_a_column_that_nobody_reads_is_an_error_with_the_nearest_name(tmp_path: Path, column: str, near: str) -> None:
    path = write(tmp_path, ROW + ",5", header=f"{HEADER},{column}")
    with pytest.raises(InputError, match=rf"line 2: column '{column}' is not known; did you mean '({near})'"):
        read_table(path, WGS84)
    assert len(read_table(write(tmp_path, ROW + ",5", header=f"{HEADER},_{column}"), WGS84).anchors) == 1


def test_the_readout_of_a_rolling_shutter(tmp_path: Path) -> None:
    header = HEADER + ",readout_s"
    anchors = read_table(write(tmp_path, ROW + ",0.025", ROW.replace("a.png", "b.png"), header=header), WGS84).anchors
    assert anchors[0].camera.readout_s == 0.025
    assert np.isnan(anchors[1].camera.readout_s)
    assert replace(anchors[0].camera, readout_s=np.nan) == anchors[1].camera
    for value, message in (
        ("25", "line 2: .*readout_s must be at most 0.2 seconds, got 25"),
        ("x", "line 2: readout_s"),
    ):
        with pytest.raises(InputError, match=message):
            read_table(write(tmp_path, f"{ROW},{value}", header=header), WGS84)


def test_a_fisheye_and_its_coefficients(tmp_path: Path) -> None:
    header, row = HEADER + ",camera_model,k2,k3,k4", ROW + ",OPENCV_FISHEYE,0.02,-0.003,0.0004"
    (anchor,) = read_table(write(tmp_path, row, header=header), WGS84).anchors
    camera = Camera(Projection.FISHEYE_OPENCV, 32, 24, 30, 30, 15.5, 11.5, (-0.1, 0.02, -0.003, 0.0004))
    assert anchor.camera == camera
    for model, message in (("PINHOLE", "has no k4"), ("dual", "has no k3, k4"), ("SIMPLE_DIVISION", "known are persp")):
        with pytest.raises(InputError, match=f"line 2: .*{message}"):
            read_table(write(tmp_path, row.replace("OPENCV_FISHEYE", model), header=header), WGS84)


@pytest.mark.parametrize("model", ["", "OPENCV", "FULL_OPENCV"])
def test_a_rational_lens(tmp_path: Path, model: str) -> None:
    """Eight coefficients under their names, not in a column's order; without k4, k5, k6 it is the usual camera."""
    header, row = HEADER + ",camera_model,k6,k4,p2,k5", ROW + f",{model},0.03,0.4,0.002,-0.05"
    (anchor,) = read_table(write(tmp_path, row, header=header), WGS84).anchors
    assert anchor.camera == Camera(
        Projection.FULL_OPENCV, 32, 24, 30, 30, 15.5, 11.5, (-0.1, 0, 0, 0.002, 0, 0.4, -0.05, 0.03)
    )
    (anchor,) = read_table(write(tmp_path, ROW + f",{model},0,0,0.002,0", header=header), WGS84).anchors
    assert anchor.camera == Camera(Projection.BROWN, 32, 24, 30, 30, 15.5, 11.5, (-0.1, 0, 0, 0.002, 0))


def test_a_scan_of_the_row(tmp_path: Path) -> None:
    pose = Pose(rotation_from_heading(10, 3, 2), [0.1, -0.3, 0.5])
    numbers = " ".join(repr(float(value)) for value in pose.matrix[:3].ravel())
    header = HEADER + ",scan,scan_format,cam_from_lidar,scan_max_range_m"
    row = ROW + f",s/1.bin,float32x5,{numbers},80"
    (anchor,) = read_table(write(tmp_path, row, header=header), WGS84).anchors
    assert anchor.lidar is not None
    assert (anchor.lidar.path, anchor.lidar.format) == (tmp_path / "s/1.bin", "float32x5")
    assert anchor.lidar.max_range_m == 80.0
    assert anchor.lidar.cam_from_lidar.matrix == pytest.approx(pose.matrix, abs=1e-12)
    for old, new, message in (
        ("float32x5", "pcd", "scan_format 'pcd'; known are kitti_bin"),
        ("s/1.bin", "", "column 'scan' is missing"),
        (numbers, numbers[:-4], "cam_from_lidar"),
        (numbers, "1 2 3", "must be 12 or 16 numbers"),
        (numbers, numbers.replace("0.5", "nan"), "12 finite numbers"),
        (",80", ",-1", "scan_max_range_m must be positive"),
    ):
        with pytest.raises(InputError, match=message):
            read_table(write(tmp_path, row.replace(old, new), header=header), WGS84)


def test_a_rehearsal_reads_the_scans(tmp_path: Path) -> None:
    numbers = " ".join(str(value) for value in np.eye(4).ravel())
    path = write(tmp_path, ROW + f",1.bin,kitti_bin,{numbers}", header=HEADER + ",scan,scan_format,cam_from_lidar")
    (tmp_path / "1.bin").write_bytes(b"cut off")
    place = ["--crs", "EPSG:4326", "--height-reference", "ellipsoid"]
    with pytest.raises(InputError, match=r"1.bin: 7 bytes is no multiple of 16"):
        CliRunner().invoke(app, ["anchors", "add", str(path), *place, "--dry-run"], catch_exceptions=False)
    points = np.random.default_rng(0).uniform(-30, 30, (50, 4)).astype(np.float32)
    points[0, 0], points[1, 0] = 150.0, np.inf
    points.tofile(tmp_path / "1.bin")
    said = CliRunner().invoke(app, ["anchors", "add", str(path), *place, "--dry-run"], catch_exceptions=False).stderr
    assert "1 anchors could be added; 2 of 50 laser returns are beyond their sensor's range" in " ".join(said.split())
