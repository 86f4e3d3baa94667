"""Point clouds as depth: files of every format, the index, what a camera sees of it, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from support.street_clouds import in_utm, write_e57, write_las, write_ply

from geocorrect.api.backends import build_depth
from geocorrect.config import Settings, with_depth
from geocorrect.demo.world.drives import FRAME
from geocorrect.depth.base import DepthSource
from geocorrect.depth.pointcloud.index import CELL_M, CloudPlaces, IndexSummary, reach_m, write_index
from geocorrect.depth.pointcloud.options import PointCloudOptions
from geocorrect.depth.pointcloud.read import cloud_files, open_cloud, read_cloud
from geocorrect.depth.pointcloud.source import PointCloudDepth, declare_pointcloud
from geocorrect.depth.pointcloud.store import CloudStore
from geocorrect.depth.registry import declare_depth
from geocorrect.errors import ConfigError, InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.records import Anchor

Float = NDArray[np.float64]
CAMERA = Camera.from_opencv(400, 300, (300.0, 300.0, 199.5, 149.5), (-0.1, 0.02, 0.0, 0.0))
NORTH = Pose(rotation_from_heading(0.0), np.array([3.0, -2.0, 1.5]))
"""Looks north from 1.5 m above the plane z = 0."""


def wall(north_m: float, half_width_m: float, top_m: float, spacing_m: float, seed: int = 0) -> Float:
    """(N, 3) points of a wall across the view, jittered."""
    rng = np.random.default_rng(seed)
    count = round(2 * half_width_m * top_m / spacing_m**2)
    east, up = rng.uniform(3 - half_width_m, 3 + half_width_m, count), rng.uniform(0, top_m, count)
    return np.stack([east, np.full(count, north_m), up], axis=1)


def ground(spacing_m: float) -> Float:
    rng = np.random.default_rng(5)
    count = round(40 * 60 / spacing_m**2)
    return np.stack([rng.uniform(-17, 23, count), rng.uniform(-2, 58, count), np.zeros(count)], axis=1)


def anchor(pose: Pose = NORTH, camera: Camera = CAMERA) -> Anchor:
    return Anchor("a", "test", Path("a.jpg"), camera, pose, "alignment")


def pixels(camera: Camera = CAMERA) -> NDArray[np.uint8]:
    return np.zeros((camera.height, camera.width, 3), np.uint8)


def indexed(folder: Path, enu_m: Float, **options: float) -> PointCloudDepth:
    las = write_las(folder / "cloud.las", in_utm(enu_m))
    write_index(folder / "index", [las], CloudPlaces(FRAME, height_reference="ellipsoid"))
    return PointCloudDepth(PointCloudOptions(folder=folder / "index", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["las", "laz", "ply", "big", "ascii", "e57"])
def test_every_format_gives_the_points_that_were_written(kind: str, tmp_path: Path) -> None:
    xyz = in_utm(wall(20.0, 8.0, 6.0, 0.5)).round(3)
    path = tmp_path / ("cloud." + {"big": "ply", "ascii": "ply"}.get(kind, kind))
    if kind in ("las", "laz"):
        write_las(path, xyz, np.arange(len(xyz)) % 8)
    elif kind == "e57":
        write_e57(path, xyz)
    else:
        write_ply(path, xyz, {"big": "binary_big_endian", "ascii": "ascii"}.get(kind, "binary_little_endian"))
    cloud = open_cloud(path)
    (points,) = read_cloud(cloud)
    assert np.abs(points.xyz - xyz).max() < 1e-3
    assert cloud.crs == ("EPSG:32633" if kind in ("las", "laz") else None)
    assert points.classes.tolist() == ([n % 8 for n in range(len(xyz))] if kind in ("las", "laz") else [0] * len(xyz))


def test_every_scan_of_an_e57_file_is_read_with_its_own_pose(tmp_path: Path) -> None:
    xyz = in_utm(wall(20.0, 8.0, 6.0, 0.5)).round(3)
    cloud = open_cloud(write_e57(tmp_path / "cloud.e57", xyz, scans=3))
    parts = [points.xyz for points in read_cloud(cloud)]
    assert len(parts) == 3
    assert np.abs(np.concatenate(parts) - xyz).max() < 1e-3


def test_points_come_back_in_the_scenes_frame_to_a_millimetre(tmp_path: Path) -> None:
    enu = np.concatenate([wall(20.0, 30.0, 6.0, 0.7), wall(-90.0, 5.0, 3.0, 0.5)])
    source = indexed(tmp_path, enu)
    places = source.store.places_within(np.zeros(3), 1000.0)
    back = np.concatenate([(cell := source.store.cell(place)).points_m + cell.corner_m for place in places])
    assert len(back) == len(enu)
    assert cKDTree(back).query(enu)[0].max() < 1e-3
    assert cKDTree(enu).query(back)[0].max() < 1e-3
    near = source.store.places_within(np.array([3.0, 20.0, 0.0]), 1.0)
    assert {place[1] for place in near} <= {int(19 // CELL_M), int(21 // CELL_M)}


def test_what_stands_behind_a_near_wall_does_not_shine_through_and_what_is_seen_stays(tmp_path: Path) -> None:
    """The near wall's points are 30 pixels apart, those of the far one 2: a pixel-wise z-buffer hides next to none."""
    near, far = wall(6.0, 2.0, 3.5, 0.25), wall(30.0, 14.0, 8.0, 0.15, seed=1)
    found = indexed(tmp_path, np.concatenate([near, far, ground(0.2)])).depth(anchor(), pixels())
    assert found.samples_px is not None
    assert found.samples_z_m is not None
    assert found.is_oracle
    rays = CAMERA.unproject(found.samples_px)
    at_wall = rays / rays[:, 2:] * 8.0  # the near wall is 8 m away
    inside = (np.abs(at_wall[:, 0]) < 1.7) & (at_wall[:, 1] > -1.7) & (at_wall[:, 1] < 1.2)
    behind = inside & (found.samples_z_m > 12.0)
    assert inside.sum() > 100
    assert behind.sum() <= 3
    beside = (np.abs(at_wall[:, 0]) > 2.1) & (found.samples_z_m > 31.0)
    assert beside.sum() > 2000
    floor = found.samples_z_m[(rays[:, 1] > 0) & ~inside]
    assert {3, 4, 5, 10, 20} <= set(floor.astype(int).tolist()), "the ground is seen from near to far"
    walls = np.abs(found.samples_z_m[:, None] - [8.0, 32.0]).min(axis=1) < 0.01
    on_ground = np.abs(rays[:, 1] / rays[:, 2] * found.samples_z_m - 1.5) < 0.01
    assert (walls | on_ground).all()


def test_a_large_photo_is_hidden_from_as_a_small_one(tmp_path: Path) -> None:
    """With 18 megapixels the spacing of the near wall's points is 90 pixels, the reach of its surface 370."""
    near, far = wall(6.0, 8.0, 9.0, 0.2), wall(30.0, 30.0, 20.0, 0.15, seed=1)
    source = indexed(tmp_path, np.concatenate([near, far]))
    for scale in (1, 12):
        camera = Camera.pinhole(400, 300, 300.0, 300.0, 199.5, 149.5).resized(400 * scale, 300 * scale)
        found = source.depth(anchor(camera=camera), pixels(camera))
        assert found.samples_z_m is not None
        assert (np.abs(found.samples_z_m - 8.0) < 0.05).sum() > 1000
        assert (found.samples_z_m > 12.0).sum() < 20


def test_a_cell_reaches_as_far_as_its_densest_part(tmp_path: Path) -> None:
    """The last points of a file are a block of their own, too few to tell how dense they are."""
    points = wall(20.0, 3.0, 6.0, 0.2)
    files = [write_las(tmp_path / f"{n}.las", in_utm(part)) for n, part in enumerate([points, points[:5]])]
    write_index(tmp_path / "index", files, CloudPlaces(FRAME, height_reference="ellipsoid"))
    cells = CloudStore(tmp_path / "index", 2**20)
    reaches = [cells.cell(place).reach_m for place in cells.places_within(np.array([3.0, 20.0, 0.0]), 3.0)]
    assert max(reaches) < 6 * 0.2


def test_the_same_points_a_cell_farther_are_another_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geocorrect.depth.pointcloud.index._enu", lambda path, xyz, *_: xyz)
    points, contents = np.array([[1.0, 20.0, 2.0], [2.0, 21.0, 3.0]]), set()
    for n, east_m in enumerate([0.0, CELL_M]):
        ply = write_ply(tmp_path / f"{n}.ply", points + np.array([east_m, 0.0, 0.0]))
        write_index(tmp_path / f"index{n}", [ply], CloudPlaces(FRAME, "EPSG:32633", "ellipsoid"))
        contents.add(CloudStore(tmp_path / f"index{n}", 1).content)
    assert len(contents) == 2


def test_the_window_is_that_of_the_surface_in_the_picture(tmp_path: Path) -> None:
    """The same walls with the one window that scans use: hundreds shine through; the test above has what to catch."""
    from geocorrect.anchors.scan_projection import ProjectionOptions, hidden, project_scan

    points = np.concatenate([wall(6.0, 2.0, 3.5, 0.25), wall(30.0, 14.0, 8.0, 0.15, seed=1)])
    px, z_m = project_scan(points, NORTH.inverse(), CAMERA)
    at_wall = (rays := CAMERA.unproject(px)) / rays[:, 2:] * 8.0
    inside = (np.abs(at_wall[:, 0]) < 1.7) & (at_wall[:, 1] > -1.7) & (at_wall[:, 1] < 1.2)
    assert (inside & (z_m > 12.0) & ~hidden(px, z_m, CAMERA, ProjectionOptions())).sum() > 100


def test_memory_is_bounded_and_cells_out_of_view_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = indexed(tmp_path, np.concatenate([wall(20.0, 60.0, 6.0, 0.1), wall(-40.0, 60.0, 6.0, 0.1)]), cache_mib=1)
    read: list[tuple[int, int]] = []
    monkeypatch.setattr(
        source.store, "_read", lambda place, own=source.store._read: (read.append(place), own(place))[1]
    )
    source.depth(anchor(), pixels())
    assert read
    assert min(y for _, y in read) >= -1, "what lies behind the camera was read"
    assert source.store._cells.used <= 2**20


def test_moving_classes_and_noise_are_left_out(tmp_path: Path) -> None:
    xyz = in_utm(wall(20.0, 8.0, 6.0, 0.3))
    classes = np.resize(np.uint8([1, 6, 7, 18, 64]), len(xyz))
    las = write_las(tmp_path / "cloud.las", xyz, classes)
    places = CloudPlaces(FRAME, height_reference="ellipsoid", left_out=frozenset({7, 18, 64}))
    summary = write_index(tmp_path / "index", [las], places)
    assert summary.left_out == {number: int((classes == number).sum()) for number in (7, 18, 64)}
    assert summary.n_points == int(np.isin(classes, [1, 6]).sum())


def test_reach_closes_a_surface_of_any_spacing() -> None:
    for spacing in (0.05, 0.2):
        points = wall(10.0, 4.0, 4.0, spacing)
        assert 3 * spacing < reach_m(points) < 6 * spacing


def test_a_source_is_what_was_declared_and_its_name_follows_the_content_not_the_folder(tmp_path: Path) -> None:
    source = indexed(tmp_path, wall(20.0, 8.0, 6.0, 0.5))
    settings = with_depth(Settings(), "pointcloud")
    options = PointCloudOptions(folder=tmp_path / "index")
    settings = settings.model_copy(update={"depth": replace(settings.depth, pointcloud=options)})
    built = build_depth(settings)
    assert isinstance(built, DepthSource)
    assert built.declaration == declare_depth(settings.depth) == declare_pointcloud(options)
    assert built.fingerprint == source.fingerprint
    (tmp_path / "index").rename(tmp_path / "moved")
    assert PointCloudDepth(replace(options, folder=tmp_path / "moved", cache_mib=9)).fingerprint == source.fingerprint
    assert (
        settings.fingerprint()
        == settings.model_copy(
            update={"depth": replace(settings.depth, pointcloud=replace(options, folder=Path("elsewhere")))}
        ).fingerprint()
    )
    other = indexed(tmp_path, wall(20.0, 8.0, 6.0, 0.5, seed=3))
    assert other.fingerprint != source.fingerprint


def refused(folder: Path, path: Path, **meaning: object) -> str:
    """The message of a cloud that is refused; no index is left."""
    options: dict[str, object] = {"height_reference": "ellipsoid", **meaning}
    with pytest.raises(InputError) as error:
        write_index(folder / "index", [path], CloudPlaces(FRAME, **options))  # type: ignore[arg-type]
    assert not (folder / "index").exists()
    assert str(path) in str(error.value)
    return str(error.value)


def test_bad_clouds_are_refused_by_name_and_leave_nothing(tmp_path: Path) -> None:
    xyz = in_utm(wall(20.0, 8.0, 6.0, 0.2))
    las = write_las(tmp_path / "a.las", xyz)
    assert "heights are measured from" in refused(tmp_path, las, height_reference="unknown")
    assert "--crs says EPSG:25832" in refused(tmp_path, las, crs="EPSG:25832")
    assert "coordinate system is not declared" in refused(tmp_path, write_ply(tmp_path / "b.ply", xyz))
    far = refused(tmp_path, write_ply(tmp_path / "b.ply", xyz + np.array([9e5, 0, 0])), crs="EPSG:32633")
    assert "is EPSG:32633 its CRS" in far
    whole = las.read_bytes()
    las.write_bytes(whole[:-1000])
    assert "header says" in refused(tmp_path, las) or "damaged" in refused(tmp_path, las)
    las.write_bytes(whole[:100])
    assert "not a readable LAS" in refused(tmp_path, las)
    ply = write_ply(tmp_path / "b.ply", xyz)
    ply.write_bytes(ply.read_bytes()[:-50])
    assert "truncated" in refused(tmp_path, ply, crs="EPSG:32633")
    nan = xyz.copy()
    nan[7, 2] = np.nan
    assert "point 7 is not finite" in refused(tmp_path, write_ply(tmp_path / "b.ply", nan), crs="EPSG:32633")
    coarse = write_ply(tmp_path / "b.ply", xyz, number="float")
    assert "export them as double" in refused(tmp_path, coarse, crs="EPSG:32633")
    assert "not a PLY file" in refused(tmp_path, _file(tmp_path / "c.ply", b"solid stl\n"))
    assert "not a readable E57" in refused(tmp_path, _file(tmp_path / "c.e57", b"nothing"))
    assert "use .las" in refused(tmp_path, _file(tmp_path / "c.pcd", b""))
    assert "no such" in refused(tmp_path, tmp_path / "gone.laz")
    with pytest.raises(InputError, match=r"holds no \.las"):
        cloud_files([Path(tmp_path / "empty").mkdir() or tmp_path / "empty"])


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_an_index_that_is_gone_damaged_or_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="geocorrect depth pointcloud"):
        CloudStore(tmp_path / "none", 1)
    source = indexed(tmp_path, wall(20.0, 8.0, 6.0, 0.2))
    (block,) = (tmp_path / "index").glob("*.f32")
    block.write_bytes(block.read_bytes()[:-12])
    with pytest.raises(InputError, match="shorter than it was"):
        [source.store.cell(place) for place in source.store.places_within(np.zeros(3), 1000.0)]
    described = tmp_path / "index" / "index.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"version": 0}))
    with pytest.raises(ConfigError, match="another version"):
        CloudStore(tmp_path / "index", 1)


def test_an_anchor_without_points_and_a_panorama_are_said_by_name(tmp_path: Path) -> None:
    source = indexed(tmp_path, wall(20.0, 8.0, 6.0, 0.5))
    with pytest.raises(InputError, match=r"anchor a: no point .* height reference"):
        source.depth(anchor(Pose(Rotation.identity(), [0.0, 0.0, 900.0])), pixels())
    with pytest.raises(InputError, match="anchor a: no point"):  # the wall is behind the camera, in its own cell
        source.depth(anchor(Pose(NORTH.rotation, [3.0, 20.5, 1.5])), pixels())
    with pytest.raises(InputError, match="panorama"):
        source.depth(anchor(camera=Camera.spherical(400, 200)), pixels())
    with pytest.raises(InputError, match="resolution"):
        source.depth(anchor(), np.zeros((4, 4, 3), np.uint8))


def test_summary_counts(tmp_path: Path) -> None:
    xyz = in_utm(wall(20.0, 8.0, 6.0, 0.5))
    files = [write_las(tmp_path / f"{n}.laz", xyz) for n in range(3)]
    summary = write_index(tmp_path / "index", files, CloudPlaces(FRAME, height_reference="ellipsoid"))
    assert isinstance(summary, IndexSummary)
    assert (summary.n_files, summary.n_points) == (3, 3 * len(xyz))
    cells = CloudStore(tmp_path / "index", 2**20)
    places = cells.places_within(np.zeros(3), 1000.0)
    assert summary.n_cells == len(places)
    assert sum(len(cells.cell(place).points_m) for place in places) == 3 * len(xyz), "parts of a cell in all blocks"
