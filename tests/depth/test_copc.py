"""COPC files are read by tiles: each point once, all levels of a place together, unwanted places not at all."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from support.copc_file import HEADER, VLR_HEAD, write_copc
from support.street_clouds import UTM, in_utm, write_las

from geocorrect.demo.world.drives import FRAME
from geocorrect.depth.pointcloud import read
from geocorrect.depth.pointcloud.index import CloudPlaces, write_index
from geocorrect.depth.pointcloud.read import open_cloud, read_cloud
from geocorrect.depth.pointcloud.store import CloudStore
from geocorrect.errors import InputError

LIMIT, CAPACITY = 1500, 200


def street(n: int = 12_000) -> np.ndarray:
    """(n, 3) map coordinates of 240 m × 60 m of ground and walls, to the millimetre."""
    rng = np.random.default_rng(3)
    enu = np.column_stack([rng.uniform(-120, 120, n), rng.uniform(-30, 30, n), rng.uniform(0, 9, n)])
    return in_utm(enu).round(3)


@pytest.fixture
def copc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(read, "CHUNK", LIMIT)
    return write_copc(tmp_path / "a.copc.laz", street(), UTM, CAPACITY)


def in_rows(xyz: np.ndarray) -> np.ndarray:
    return xyz.round(3)[np.lexsort(xyz.round(3).T)]


def test_each_point_comes_once_in_tiles_of_bounded_size(copc: Path) -> None:
    cloud = open_cloud(copc)
    assert (cloud.n_points, cloud.crs) == (12_000, UTM)
    tiles = [points.xyz for points in read_cloud(cloud)]
    np.testing.assert_array_equal(in_rows(np.concatenate(tiles)), in_rows(street()))
    assert len(tiles) > 8
    assert max(map(len, tiles)) <= LIMIT
    assert max(np.ptp(tile[:, :2], axis=0).max() for tile in tiles) < 65, "a tile is one place, in all levels"
    assert {points.classes.max() for points in read_cloud(cloud)} == {1}


def test_what_is_not_wanted_is_not_decompressed(copc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from laspy.copc import CopcReader

    decompressed = []
    fetch = CopcReader._fetch_and_decompress_points_of_nodes

    def counted(self: CopcReader, nodes: list[object]) -> object:
        decompressed.append(sum(node.point_count for node in nodes))  # type: ignore[attr-defined]
        return fetch(self, nodes)

    monkeypatch.setattr(CopcReader, "_fetch_and_decompress_points_of_nodes", counted)
    corner = street().min(axis=0)[:2]
    tiles = list(read_cloud(open_cloud(copc), lambda corners: bool((corners.min(axis=0) < corner + 20).all())))
    assert sum(len(tile.xyz) for tile in tiles) < 2000
    assert sum(decompressed) < 4000
    assert all((tile.xyz[:, :2].min(axis=0) < corner + 60).all() for tile in tiles)


@pytest.mark.parametrize("kind", ["copc", "las"])
def test_an_index_around_anchors_holds_what_is_near_them(kind: str, copc: Path, tmp_path: Path) -> None:
    cloud = copc if kind == "copc" else write_las(tmp_path / "a.las", street())
    around = np.array([[-100.0, 5.0, 2.0], [-80.0, 5.0, 2.0]])
    places = CloudPlaces(FRAME, height_reference="ellipsoid", around_m=around, radius_m=30.0)
    summary = write_index(tmp_path / "index", [cloud], places)
    store = CloudStore(tmp_path / "index", 2**20)
    cells = [store.cell(place) for place in store.places_within(np.zeros(3), 1000.0)]
    found = np.concatenate([cell.points_m + cell.corner_m for cell in cells])
    enu = np.random.default_rng(3)
    true = np.column_stack([enu.uniform(-120, 120, 12_000), enu.uniform(-30, 30, 12_000), enu.uniform(0, 9, 12_000)])
    near = np.linalg.norm(true[:, None, :2] - around[None, :, :2], axis=2).min(axis=1) < 30.0
    assert abs(len(found) - near.sum()) <= 2, "to the millimetre that coordinates are rounded to"
    assert summary.n_points == len(found)
    far = CloudPlaces(FRAME, height_reference="ellipsoid", around_m=around + 900.0, radius_m=5.0)
    with pytest.raises(InputError, match="no point is left within 5 m of an anchor"):
        write_index(tmp_path / "none", [cloud], far)


def test_a_damaged_hierarchy_is_named(copc: Path) -> None:
    whole = bytearray(copc.read_bytes())
    place = HEADER + VLR_HEAD + 48  # size of the root page: an entry fewer
    (size,) = struct.unpack_from("<Q", whole, place)
    struct.pack_into("<Q", whole, place, size - 32)
    copc.write_bytes(whole)
    with pytest.raises(InputError, match=r"a.copc.laz: its hierarchy holds \d+ points, its header says 12000"):
        list(read_cloud(open_cloud(copc)))
    copc.write_bytes(whole[:5000])
    with pytest.raises(InputError, match=r"a.copc.laz: (damaged|not a readable|its hierarchy)"):
        list(read_cloud(open_cloud(copc)))
