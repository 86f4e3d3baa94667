from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from scipy.spatial.transform import Rotation
from support.result_cache import kept
from support.vbr_world import MemoryCatalog
from support.world_cache import hash_of_files
from typer.testing import CliRunner

from geocorrect.anchors.alignment import Alignment, read_alignment
from geocorrect.anchors.readers.vbr.calibration import read_vbr_calibration
from geocorrect.anchors.readers.vbr.sequence import VbrOptions
from geocorrect.anchors.trajectory import Trajectory, read_tum
from geocorrect.cli.app import app
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.crs import grid_convergence_deg
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.georeference import command
from geocorrect.georeference.build import ClickedDrive, ClickNoise, build_problem, frame_of
from geocorrect.georeference.command import Inputs, read_drives, store, write_files
from geocorrect.georeference.dem import read_dem
from geocorrect.georeference.landmarks.read import read_landmarks
from geocorrect.georeference.problem import Priors
from geocorrect.georeference.result import Georeference
from geocorrect.georeference.run import GeoreferenceOptions, georeference

Solve = Callable[..., Georeference]


@pytest.fixture(scope="module")
def campus(shared_data: Path) -> Path:
    return shared_data / "vbr_campus"


@pytest.fixture(scope="module")
def drive(campus: Path) -> ClickedDrive:
    rig = read_vbr_calibration(campus / "vbr_calib.yaml").camera("left")
    clicks = read_landmarks(campus / "landmarks_campus_train1.json")
    return ClickedDrive(read_tum(campus / "campus_train1_gt.txt"), rig, clicks, row_offset=0.12)


@pytest.fixture(scope="module")
def solve(campus: Path) -> Solve:
    """`georeference` on clicks of this drive, under a name of its own; kept on disk."""
    names = ("vbr_calib.yaml", "landmarks_campus_train1.json", "campus_train1_gt.txt")
    data = hash_of_files("campus", [campus / name for name in names])

    def solve(name: str, drives: list[ClickedDrive], **options: Any) -> Georeference:
        def georeferenced() -> Georeference:
            return georeference(drives, **options)

        return kept(georeferenced, name, data)

    return solve


@pytest.fixture(scope="module")
def joint(drive: ClickedDrive, solve: Solve) -> Georeference:
    return solve("joint", [drive])


@pytest.mark.long
@pytest.mark.data
def test_real_clicks_two_are_bad_and_the_rest_agree(joint: Georeference) -> None:
    assert {(c.image, c.index) for c in joint.clicks if c.outlier} == {("1631", 2), ("7717", 2)}
    assert joint.median_residual_m <= 0.5
    assert joint.camera_position_shift_m <= 0.25
    assert set(joint.leave_one_out_m) == {"649", "1631", "2764", "7717", "11373"}
    assert joint.base_height_m == pytest.approx(2.08, abs=0.15)
    assert not [f for f in joint.findings if f.fatal]


@pytest.mark.long
@pytest.mark.data
def test_real_clicks_alone_find_the_scale(drive: ClickedDrive, solve: Solve) -> None:
    free = solve("free scale", [drive], options=GeoreferenceOptions(priors=Priors(scale_sigma=0.1)))
    assert free.alignment.world_from_local.scale == pytest.approx(1.0, abs=0.003)
    assert {(c.image, c.index) for c in free.clicks if c.outlier} == {("1631", 2), ("7717", 2)}


@pytest.mark.long
@pytest.mark.data
def test_the_reference_method_shows_its_own_residuals(drive: ClickedDrive, joint: Georeference) -> None:
    reference = georeference([drive], GeoreferenceOptions(method="umeyama"))
    assert reference.median_residual_m > 5 * joint.median_residual_m
    assert reference.camera_position_shift_m > 2.0
    assert [f.code for f in reference.findings if f.fatal] == ["weak"]


@pytest.mark.long
@pytest.mark.data
def test_true_north_differs_from_grid_north_by_the_convergence(joint: Georeference) -> None:
    """The published grid turn of this drive is −89.54° (from one click set) to −89.35° (from the other)."""
    frame = joint.alignment.frame
    convergence = grid_convergence_deg("EPSG:32633", frame.lon_deg, frame.lat_deg)
    assert convergence == pytest.approx(-1.66, abs=0.01)
    grid_yaw_deg = joint.yaw_deg + convergence
    assert -89.70 < grid_yaw_deg < -89.25


@pytest.mark.long
@pytest.mark.data
def test_the_output_is_what_was_promised_and_an_alignment_file(joint: Georeference, tmp_path: Path) -> None:
    files = write_files(joint, tmp_path / "out")
    assert [path.name for path in files] == ["alignment.json", "residuals.png", "clicks.geojson", "clicks.gpkg"]
    data = json.loads(files[0].read_text())
    wanted = {"method", "scale", "yaw_deg", "origin", "world_from_local", "covariance", "clicks", "leave_one_out_m",
              "camera_position_shift_m"}  # fmt: skip
    assert wanted <= set(data)
    assert set(data["clicks"][0]) == {"image", "index", "residual_px", "residual_m", "outlier"}
    assert np.array(data["covariance"]).shape == (7, 7)
    assert read_alignment(files[0]).id == joint.alignment.id
    with Picture.open(files[1]) as picture:
        assert picture.size[0] > 1200
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 100
    features = json.loads(files[2].read_text())["features"]
    clicks = [f for f in features if f["properties"]["kind"] == "click"]
    assert len(clicks) == 23
    # the layer says where people clicked, to the millimetre
    assert clicks[0]["geometry"]["coordinates"] == pytest.approx([12.516064202300308, 41.90287800699522], abs=1e-8)
    assert sum(f["properties"]["outlier"] for f in clicks) == 2
    import pyogrio

    assert [name for name, _ in pyogrio.list_layers(files[3])] == ["clicks", "residuals", "drive"]
    residual = pyogrio.read_dataframe(files[3], layer="residuals").to_crs(32633)
    assert residual.geometry.length.to_numpy() == pytest.approx(residual["residual_m"].to_numpy(), abs=0.02)


@pytest.mark.data
def test_new_clicks_make_a_new_version(drive: ClickedDrive) -> None:
    """By the quick method: the name is made of the result, whatever made it."""
    fewer = ClickedDrive(drive.trajectory, drive.rig, drive.clicks[:-1], row_offset=0.12)
    first, again, other = (
        georeference([clicked], GeoreferenceOptions(method="umeyama")).alignment.id for clicked in (drive, drive, fewer)
    )
    assert first == again != other


@pytest.mark.long
@pytest.mark.data
def test_two_drives_linked_by_a_known_pose_are_solved_together(
    drive: ClickedDrive, joint: Georeference, solve: Solve
) -> None:
    """The drive cut in two, the second half given in a frame of its own."""
    shared_from_own = Pose(Rotation.from_euler("z", 30, degrees=True), [100.0, -50.0, 1.0])
    inverse = shared_from_own.inverse()
    t = drive.trajectory
    own = Trajectory(
        "second", t.time_ns, np.array([inverse.apply(p) for p in t.translation_m]), inverse.rotation * t.rotation
    )
    halves = [
        ClickedDrive(t, drive.rig, [c for c in drive.clicks if int(c.image) < 3000], row_offset=0.12),
        ClickedDrive(
            own,
            drive.rig,
            [c for c in drive.clicks if int(c.image) > 3000],
            row_offset=0.12,
            shared_from_local=shared_from_own,
        ),
    ]
    both = solve("two drives", halves)
    assert both.alignment.world_from_local.translation_m[:2] == pytest.approx(
        joint.alignment.world_from_local.translation_m[:2], abs=0.02
    )


@pytest.mark.long
@pytest.mark.data
def test_weak_clicks_are_refused_or_reported(drive: ClickedDrive) -> None:
    with pytest.raises(InputError, match="all clicks are in one image"):
        georeference([ClickedDrive(drive.trajectory, drive.rig, drive.clicks[:4], row_offset=0.12)])
    near = [c for c in drive.clicks if c.image in {"649", "2764", "11373"}]
    result = georeference(
        [ClickedDrive(drive.trajectory, drive.rig, near, row_offset=0.12)], GeoreferenceOptions(max_sigma_m=50.0)
    )
    assert "clicks_at_one_end" in {f.code for f in result.findings}
    with pytest.raises(InputError, match=r"predicted position error reaches .* more than 0.2 m"):
        georeference([drive], GeoreferenceOptions(max_sigma_m=0.2))


@pytest.mark.long
@pytest.mark.data
def test_swapped_or_foreign_clicks_are_refused(drive: ClickedDrive) -> None:
    mixed = [
        replace(c, image=other.image)
        for c, other in zip(drive.clicks, [*drive.clicks[9:], *drive.clicks[:9]], strict=True)
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"georeference refused: only 5 of 23 clicks, in 1 images, agree"):
        georeference([ClickedDrive(drive.trajectory, drive.rig, mixed, row_offset=0.12)])


@pytest.mark.data
def test_clicks_on_unknown_images_name_their_row(drive: ClickedDrive) -> None:
    wrong = [replace(drive.clicks[0], image="99999"), *drive.clicks]
    with pytest.raises(InputError, match=r"image 649, click 0: image '99999' is not on the trajectory: .*row 99999"):
        georeference([ClickedDrive(drive.trajectory, drive.rig, wrong, row_offset=0.12)])
    wrong = [replace(drive.clicks[0], image="front"), *drive.clicks]
    with pytest.raises(InputError, match="no frame number"):
        georeference([ClickedDrive(drive.trajectory, drive.rig, wrong, row_offset=0.12)])
    times = drive.trajectory.time_ns[:700]
    with pytest.raises(InputError, match=r"image '1631' is not on the trajectory: the image timestamps have 700 rows"):
        georeference([ClickedDrive(drive.trajectory, drive.rig, drive.clicks, image_time_ns=times)])


@pytest.mark.data
def test_image_times_and_row_offset_agree(drive: ClickedDrive) -> None:
    steps = np.diff(drive.trajectory.time_ns)
    times = drive.trajectory.time_ns[:-1] + np.rint(0.12 * steps).astype(np.int64)
    timed = ClickedDrive(drive.trajectory, drive.rig, drive.clicks, image_time_ns=times)
    for click in drive.clicks:
        assert timed.pose_of(click).translation_m == pytest.approx(drive.pose_of(click).translation_m, abs=1e-6)


@pytest.mark.data
def test_an_orthometric_dem_is_converted_or_refused(shared_data: Path) -> None:
    path = shared_data / "dem/swiss_alps_2m5_epsg2056.tif"
    with pytest.raises(InputError, match=r"swiss_alps.*not declared, and the trajectory's are ellipsoidal"):
        read_dem(path)
    with pytest.raises(InputError, match="need the geoid undulation"):
        read_dem(path, "orthometric")
    import rasterio
    from rasterio.warp import transform

    with rasterio.open(path) as raster:
        row, column = raster.height // 2, raster.width // 2
        x, y = raster.xy(row, column)
        value = float(raster.read(1)[row, column])
        (lon,), (lat,) = transform(raster.crs, "EPSG:4326", [x], [y])
    above = read_dem(path, "orthometric", 50.3)
    plain = read_dem(path, "ellipsoid")
    assert plain.height_m(lon, lat) == pytest.approx(value, abs=0.02)
    assert above.height_m(lon, lat) == pytest.approx(value + 50.3, abs=0.02)
    assert np.isnan(plain.height_m(0.0, 0.0))
    with pytest.raises(InputError, match="no such DEM"):
        read_dem(shared_data / "dem/none.tif", "ellipsoid")
    with pytest.raises(InputError, match="not a readable raster"):
        read_dem(shared_data / "README.md", "ellipsoid")


class Slope:
    """A tilted plane of ground with a geoid under it."""

    def __init__(self, undulation_m: float) -> None:
        self.undulation_m = undulation_m

    def height_m(self, lon_deg: float, lat_deg: float) -> float:
        return 50.0 + self.undulation_m


@pytest.mark.long
@pytest.mark.data
def test_dem_heights_carry_the_anchors_to_the_ellipsoid(drive: ClickedDrive, solve: Solve) -> None:
    """The same DEM with and without its geoid: everything moves by the undulation, nothing in plan."""
    low, high = (solve(f"slope {u}", [drive], dem=Slope(u)) for u in (0.0, 48.3))
    assert high.alignment.frame.height_m == low.alignment.frame.height_m
    places = [
        r.alignment.frame.wgs84_from_enu(
            r.alignment.world_from_local.apply(drive.trajectory.pose_at_row(5000.0).translation_m)
        )
        for r in (low, high)
    ]
    assert float(places[1][2] - places[0][2]) == pytest.approx(48.3, abs=0.1)
    assert np.array(places[1][:2]) == pytest.approx(np.array(places[0][:2]), abs=3e-7)


@pytest.mark.data
def test_a_dem_without_a_height_there_names_the_click(drive: ClickedDrive) -> None:
    class Hole:
        def height_m(self, lon_deg: float, lat_deg: float) -> float:
            return float("nan")

    with pytest.raises(InputError, match=r"image 649, click 0: the DEM has no height"):
        build_problem([drive], frame_of([drive]), ClickNoise(), Priors(), Hole())


COMMAND = ["georeference", "--image-row-offset", "0.12"]


def arguments(campus: Path) -> list[str]:
    return [
        *COMMAND, "--trajectory", str(campus / "campus_train1_gt.txt"), "--calibration", str(campus / "vbr_calib.yaml"),
        "--landmarks", str(campus / "landmarks_campus_train1.json"),
    ]  # fmt: skip


@pytest.mark.long
@pytest.mark.data
def test_the_command_prints_json_and_stores_a_version(campus: Path, tmp_path: Path) -> None:
    from geocorrect.catalog.store import Catalog

    url = str(tmp_path / "scene.gpkg")
    run = CliRunner().invoke(app, [*arguments(campus), "--json", "--catalog", url], catch_exceptions=False)
    assert run.exit_code == 0
    data = json.loads(run.stdout)
    assert data["method"] == "joint"
    with Catalog.open(url) as catalog:
        (stored,) = catalog.alignments()
        assert stored.id == data["alignment_id"]
        assert stored.method == "joint"
        assert len(stored.details["georeference"]["clicks"]) == 23
        assert stored.covariance is not None
        assert stored.covariance.shape == (7, 7)


@pytest.mark.long
@pytest.mark.data
def test_the_table_shows_both_methods(
    campus: Path, joint: Georeference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The joint result is known already; that the command makes it is seen above."""

    def solved(drives: list[ClickedDrive], options: GeoreferenceOptions, dem: None) -> Georeference:
        return joint if options.method == "joint" else georeference(drives, options, dem)

    monkeypatch.setattr(command, "georeference", solved)
    out = tmp_path / "out"
    run = CliRunner().invoke(app, [*arguments(campus), "--dry-run", "--out", str(out)], catch_exceptions=False)
    assert run.exit_code == 0
    assert run.stdout == ""
    assert "joint" in run.stderr
    assert "umeyama" in run.stderr
    assert "OUTLIER" in run.stderr
    assert not out.exists()


@pytest.mark.data
def test_lists_that_do_not_fit_are_usage_errors(campus: Path) -> None:
    gt, clicks = campus / "campus_train1_gt.txt", campus / "landmarks_campus_train1.json"
    with pytest.raises(UsageError, match="2 --trajectory but 1 --landmarks"):
        read_drives(Inputs((gt, gt), campus / "vbr_calib.yaml", (clicks,)))
    with pytest.raises(UsageError, match="--link: 2 files do not belong to 2"):
        read_drives(Inputs((gt, gt), campus / "vbr_calib.yaml", (clicks, clicks), links=(gt, gt)))
    with pytest.raises(UsageError, match="need --calibration"):
        read_drives(Inputs((gt,), None, (clicks,)))
    with pytest.raises(InputError, match="not a 4×4 rigid transform"):
        read_drives(Inputs((gt, gt), campus / "vbr_calib.yaml", (clicks, clicks), links=(gt,)))


def test_anchors_are_stored_with_the_uncertainty_of_the_clicks(vbr) -> None:  # type: ignore[no-untyped-def]
    covariance = np.diag([0.2**2, 0.2**2, 1.0, 1e-4, 1e-4, 4e-6, 4e-6])
    alignment = Alignment(
        Frame("Rome", 12.5, 41.9),
        Similarity(1.001, Rotation.from_euler("z", -88, degrees=True), np.zeros(3)),
        covariance,
        "joint",
    )  # fmt: skip
    result = Georeference(alignment)
    catalog = MemoryCatalog()
    inputs = Inputs((vbr.ground_truth,), vbr.calibration)
    (added,) = store(catalog, result, inputs, (vbr.folder,), VbrOptions())
    assert added.alignment_id == alignment.id
    assert all(anchor.world_from_cam.covariance is not None for anchor in catalog.anchors)
    assert {anchor.alignment_id for anchor in catalog.anchors} == {catalog.alignments[0].id}
    with pytest.raises(UsageError, match="2 --images for 1 trajectories"):
        store(catalog, result, inputs, (vbr.folder, vbr.folder), VbrOptions())
