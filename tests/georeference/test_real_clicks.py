"""Clicks, rasters and fixes as people hand them in: the right value, or a refusal that says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.readers.vbr.calibration import read_vbr_calibration
from geocorrect.anchors.trajectory import read_tum
from geocorrect.cli.app import app
from geocorrect.errors import InputError
from geocorrect.geometry.crs import crs_from_wgs84
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.similarity import Similarity
from geocorrect.georeference import command
from geocorrect.georeference.build import ClickedDrive, ClickNoise, build_problem, frame_number, frame_of
from geocorrect.georeference.command import Inputs, solve
from geocorrect.georeference.dem import read_dem
from geocorrect.georeference.gnss import GnssOptions, read_gnss
from geocorrect.georeference.joint.solve import solve_joint
from geocorrect.georeference.landmarks.click import Click, LandmarkOptions
from geocorrect.georeference.landmarks.read import read_landmarks
from geocorrect.georeference.problem import Priors
from geocorrect.georeference.result import Georeference
from geocorrect.georeference.run import GeoreferenceOptions, georeference

PLACES = [(12.5160, 41.9030), (12.5161, 41.9031), (12.5163, 41.9029), (12.5162, 41.9032)]


@pytest.fixture(scope="module")
def campus(shared_data: Path) -> Path:
    return shared_data / "vbr_campus"


@pytest.fixture(scope="module")
def drive(shared_data: Path) -> ClickedDrive:
    """The campus drive with its clicks, each at the height of a DEM, in metres."""
    campus = shared_data / "vbr_campus"
    rig = read_vbr_calibration(campus / "vbr_calib.yaml").camera("left")
    clicks = read_landmarks(shared_data / "cases/clicks/h_feet1.csv", LandmarkOptions(height_reference="ellipsoid"))
    wrong = max(clicks, key=lambda click: click.height_m)
    clicks = [replace(click, height_m=click.height_m * (0.3048 if click is wrong else 1.0)) for click in clicks]
    return ClickedDrive(read_tum(campus / "campus_train1_gt.txt"), rig, clicks, row_offset=0.12)


@pytest.mark.long
@pytest.mark.data
@pytest.mark.parametrize(
    "wrong",
    [lambda h: h / 0.3048, lambda h: h + 100, lambda h: h - 100, lambda h: h + 1e5],
    ids=["feet", "+100 m", "-100 m", "+1e5 m"],
)
@pytest.mark.parametrize("which", [0, 20])
def test_one_wrong_height_is_an_outlier_and_the_rest_stands(drive: ClickedDrive, wrong, which: int) -> None:  # type: ignore[no-untyped-def]
    clicks = list(drive.clicks)
    clicks[which] = replace(clicks[which], height_m=wrong(clicks[which].height_m))
    frame = frame_of([drive])
    wronged = build_problem([replace(drive, clicks=clicks)], frame, ClickNoise(), Priors())[0]
    right = build_problem([drive], frame, ClickNoise(), Priors())[0]
    found, good = (solve_joint(problem, n_starts=2) for problem in (wronged, right))
    assert found.outlier[which]
    track = drive.trajectory.translation_m[::500]
    moved = found.world_from_local.apply(track) - good.world_from_local.apply(track)
    assert np.linalg.norm(moved[:, :2], axis=1).max() < 0.6


@pytest.mark.data
def test_all_heights_in_feet_are_suspected_by_their_ratio(drive: ClickedDrive) -> None:
    for unit_m, off_m in ((0.3048, 0.0), (1200 / 3937, 0.0), (0.3048, 50.0)):
        feet = [replace(click, height_m=(click.height_m + off_m) / unit_m) for click in drive.clicks]
        with pytest.raises(InputError, match=r"fit the drive only in feet"):
            georeference([replace(drive, clicks=feet)])
    for off_m, words in ((20_000.0, "where no ground is"), (-700.0, "where no ground is")):
        away = [replace(click, height_m=click.height_m + off_m) for click in drive.clicks]
        with pytest.raises(InputError, match=words):
            georeference([replace(drive, clicks=away)])


@pytest.mark.data
@pytest.mark.parametrize(
    ("east_deg", "up_m", "words"),
    [
        (0.0, 0.0, None),
        (0.0002, 10.0, None),
        (6.0, 0.0, "check CRS, UTM zone and datum"),
        (0.0016, 0.0, "is 133 m away"),
        (0.0, 48.3, "[+]48 m in height"),
    ],
    ids=["right", "a bad receiver", "next UTM zone", "ED50", "no geoid"],
)
def test_a_wrong_place_is_found_by_the_drives_own_gnss(
    drive: ClickedDrive, campus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, east_deg: float, up_m: float,
    words: str | None,
) -> None:  # fmt: skip
    placed = Similarity(1.0, Rotation.from_euler("z", -87.9, degrees=True), np.array([100.0, 50.0, 3.0]))
    alignment = Alignment(Frame("campus", 12.516, 41.903, 95.0), placed, 0.01 * np.eye(7))
    places = placed.apply(drive.trajectory.translation_m[::200])
    lines = ["time_s,lon_deg,lat_deg,height_m"]
    times = drive.trajectory.time_ns[::200]
    for time_ns, lon, lat, height in zip(times, *alignment.frame.wgs84_from_enu(places), strict=True):
        lines.append(f"{time_ns / 1e9:.9f},{lon + east_deg:.9f},{lat:.9f},{height + up_m:.4f}")
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("\n".join(lines))
    monkeypatch.setattr(command, "georeference", lambda drives, *_: Georeference(alignment, drives=drives))
    inputs = Inputs(
        (campus / "campus_train1_gt.txt",), campus / "vbr_calib.yaml", (campus / "landmarks_campus_train1.json",),
        row_offset=0.12, gnss=(fixes,), landmark_options=LandmarkOptions(height_reference="ellipsoid"),
    )  # fmt: skip
    if words is None:
        summary = solve(inputs, GeoreferenceOptions()).summary()
        assert summary["distance of its own GNSS"].split()[0] == ("16.6" if east_deg else "0.0")
        lon, lat, height_m = alignment.frame.wgs84_from_enu(placed.apply(drive.trajectory.translation_m).mean(axis=0))
        assert summary["middle of the drive"] == f"{lat:.5f}° N {lon:.5f}° E"
        assert summary["height above the ellipsoid"] == f"{height_m:.1f} m"
    else:
        with pytest.raises(InputError, match=words):
            solve(inputs, GeoreferenceOptions())


@pytest.mark.data
def test_drives_that_do_not_share_a_frame_are_told_apart(drive: ClickedDrive) -> None:
    """Not as a second placement kilometres away."""
    trajectory = drive.trajectory
    moved = replace(
        trajectory, name="other.txt", translation_m=trajectory.translation_m + np.array([500.0, -300.0, 0.0])
    )
    first = replace(drive, clicks=[c for c in drive.clicks if c.image in ("649", "1631", "2764")])
    second = replace(drive, clicks=[c for c in drive.clicks if c.image in ("7717", "11373")], trajectory=moved)
    with pytest.raises(InputError, match=r"clicks of .*other.txt do not agree with .*give --link") as caught:
        georeference([first, second])
    assert "away" not in str(caught.value)
    with pytest.raises(InputError, match="3 clicks; at least 4 are needed"):
        georeference([replace(drive, clicks=drive.clicks[:3])])


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("0000000040.png", 40), ("0000000040_v2.png", 40), ("cam0 0000000040.png", 40), ("0000000040 (1).jpg", 40),
        ("0000000040-v3", 40), ("649", 649), ("frame_12_004.png", 4), ("IMG_20240101_0005.jpg", 5), ("40_V12.png", 40),
    ],
)  # fmt: skip
def test_frame_numbers_of_names(name: str, number: int) -> None:
    assert frame_number(Click(name, 0, 0, 12.5, 41.9, float("nan"), "mark", "here")) == number


@pytest.mark.parametrize("image", [-5, -1, 2.5, True])
def test_image_numbers_are_counts(tmp_path: Path, image: object) -> None:
    pixels, places = [[1, 2]] * 4, [[lat, lon] for lon, lat in PLACES]
    path = tmp_path / "clicks.json"
    path.write_text(json.dumps({"image_indices": [image], "pixel_locations": [pixels], "locations": [places]}))
    with pytest.raises(InputError, match="images are numbered from 0, or named"):
        read_landmarks(path)


def points_file(path: Path, crs: str, header: str = "EPSG:32633") -> Path:
    lines = [f"#CRS: {header}"] * bool(header) + ["mapX,mapY,sourceX,sourceY,enable,dX,dY,residual"]
    for k, place in enumerate(PLACES):
        x, y = crs_from_wgs84(crs, *place)
        lines.append(f"{float(x)!r},{float(y)!r},{100 + k},-{400 + k},1,0,0,0")
    path.write_text("\n".join(lines))
    return path


def test_qgis_files_of_several_images_are_one_set_and_their_crs_wins(tmp_path: Path) -> None:
    paths = [points_file(tmp_path / f"{k}.png.points", "EPSG:32633") for k in (7, 8)]
    for source in (paths, tmp_path):
        clicks = read_landmarks(source)
        assert [(c.image, c.index) for c in clicks] == [(f"{k}.png", i) for k in (7, 8) for i in range(4)]
        assert np.array([(c.lon_deg, c.lat_deg) for c in clicks[:4]]) == pytest.approx(np.array(PLACES), abs=1e-9)
    assert read_landmarks(paths[0], LandmarkOptions("EPSG:32633"))[0].lon_deg == pytest.approx(12.516)
    for given in ("EPSG:25833", "EPSG:32632", "EPSG:23033"):
        with pytest.raises(InputError, match=f"coordinates are in EPSG:32633, but --crs says {given}"):
            read_landmarks(paths[0], LandmarkOptions(given))


GCP = ["{x} {y} NaN 347.7 492.7 0000000040.png", "{x} {y} NaN 347.7 492.7 cam0 0000000040.png gcp 1"]


@pytest.mark.parametrize(
    ("line", "image"),
    [
        (GCP[0], "0000000040.png"),
        (GCP[1], "cam0 0000000040.png"),
        (GCP[1].replace(" ", "\t").replace("cam0\t", "cam0 "), "cam0 0000000040.png"),
        (GCP[0].replace(" ", "\t") + "\tgcp one\textra", "0000000040.png"),
        ("{x}   {y}  0 1 2 frame40", "frame40"),
    ],
)
@pytest.mark.parametrize("projection", ["WGS84 UTM 33N", "EPSG:32633", "+proj=utm +zone=33 +datum=WGS84 +units=m"])
def test_ground_control_lists(tmp_path: Path, line: str, image: str, projection: str) -> None:
    lines = [projection, "# ODM"]
    for place in PLACES:
        x, y = (float(value) for value in crs_from_wgs84("EPSG:32633", *place))
        lines.append(line.format(x=repr(x), y=repr(y)))
    path = tmp_path / "gcp_list.txt"
    path.write_text("\n".join(lines))
    clicks = read_landmarks(path, LandmarkOptions(height_reference="ellipsoid"))
    assert {c.image for c in clicks} == {image}
    assert np.array([(c.lon_deg, c.lat_deg) for c in clicks]) == pytest.approx(np.array(PLACES), abs=1e-9)


@pytest.mark.parametrize(
    ("projection", "message"),
    [
        ("WGS84 UTM 61N", "line 1: 'WGS84 UTM 61N': UTM has the zones 1 to 60"),
        ("WGS84 UTM 0S", "line 1: .*zones 1 to 60"),
        ("WGS84 UTM 999N", "line 1: .*zones 1 to 60"),
        ("EPSG:99999", "line 1: 'EPSG:99999' is no coordinate system"),
        ("+proj=utm +zone=99", "line 1: .* is no coordinate system"),
        ("+proj=utm +zone=33 +ellps=intl +units=m +no_defs", r"line 2: no operation .* is known .*\+towgs84"),
        ("EPSG:5773", "line 1: .* has no longitude and latitude"),
    ],
)
def test_bad_projections_name_file_and_line(tmp_path: Path, projection: str, message: str) -> None:
    path = tmp_path / "gcp_list.txt"
    path.write_text(f"{projection}\n292727.0 4641901.0 NaN 1 2 a.png\n")
    with pytest.raises(InputError, match=f"gcp_list.txt, {message}"):
        read_landmarks(path)


@pytest.mark.long
@pytest.mark.data
def test_the_cases_of_people(shared_data: Path) -> None:
    cases = shared_data / "cases"
    with pytest.raises(InputError, match=r"g_badepsg.txt, line 2: 'EPSG:99999' is no coordinate system"):
        read_landmarks(cases / "clicks/g_badepsg.txt")
    with pytest.raises(InputError, match=r"gcp_ed50.txt, line 2: no operation"):
        read_landmarks(cases / "tables/gcp_ed50.txt")
    ellipsoid = LandmarkOptions(height_reference="ellipsoid")
    names = {click.image for click in read_landmarks(cases / "tables/gcp_space.txt", ellipsoid)}
    assert all(name.startswith("cam0 ") and name.endswith(".png") for name in names)
    dem = read_dem(cases / "rasters/dem_scaled.tif", "ellipsoid")
    assert dem.height_m(12.5011584, 41.9018728) == pytest.approx(98.0)
    campus = shared_data / "vbr_campus"
    arguments = ["georeference", "--trajectory", campus / "campus_train1_gt.txt", "--calibration"]
    arguments += [campus / "vbr_calib.yaml", "--landmarks", cases / "clicks/h_feet1.csv", "--image-row-offset", "0.12"]
    arguments += ["--height-reference", "ellipsoid", "--dry-run", "--json"]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    clicks = json.loads(result.stdout)["clicks"]
    assert {(c["image"], c["index"]) for c in clicks if c["outlier"]} >= {("11373", 2)}


@pytest.mark.parametrize(
    ("scale", "offset", "unit", "reference", "expected_m"),
    [
        (1.0, 0.0, "", "orthometric", 98.0 + 48.3),
        (0.01, 0.0, "m", "orthometric", 0.98 + 48.3),
        (0.5, 300.0, "ft", "orthometric", (49 + 300) * 0.3048 + 48.3),
        (1.0, 0.0, "US survey foot", "orthometric", 98 * 1200 / 3937 + 48.3),
        (1.0, 0.0, "us-ft", "EPSG:6360", 98 * 1200 / 3937 + 48.3),
        (1.0, 0.0, "", "EPSG:6360", 98 * 1200 / 3937 + 48.3),
        (1.0, 0.0, "cm", "EPSG:5773", 0.98 + 48.3),
        (1.0, 0.0, "furlong", "orthometric", "heights in 'furlong'"),
        (1.0, 0.0, "m", "EPSG:6360", "those of EPSG:6360 have another unit"),
        (1.0, 0.0, "", "banana", "neither ellipsoid, orthometric nor"),
    ],
)
def test_rasters_in_other_units(
    tmp_path: Path, scale: float, offset: float, unit: str, reference: str, expected_m: float | str
) -> None:
    path = tmp_path / "dem.tif"
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "int16", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", **profile, transform=Affine(5, 0, 292720, 0, -5, 4641910)) as raster:
        raster.write(np.full((4, 4), 98, np.int16), 1)
        raster.scales, raster.offsets, raster.units = (scale,), (offset,), (unit,)
    if isinstance(expected_m, str):
        with pytest.raises(InputError, match=expected_m):
            read_dem(path, reference, 48.3)
    else:
        assert read_dem(path, reference, 48.3).height_m(12.50116, 41.90187) == pytest.approx(expected_m)


@pytest.mark.parametrize("sigma", ["0", "-1", "-0.5"])
def test_a_fix_without_an_error_is_refused_by_its_line(tmp_path: Path, sigma: str) -> None:
    path = tmp_path / "fixes.csv"
    path.write_text(f"time_s,lon_deg,lat_deg,height_m,sigma_m\n1,12.5,41.9,98,0.1\n2,12.5,41.9,98,{sigma}\n")
    with pytest.raises(InputError, match=r"fixes.csv, line 3: sigma_m must be positive"):
        read_gnss(path, GnssOptions("ellipsoid"))
