from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from geocorrect.anchors.scan import read_scan
from geocorrect.errors import InputError

FULL = np.dtype(
    {
        "names": ["x", "y", "z", "intensity", "t", "reflectivity", "ring", "ambient", "range"],
        "formats": ["<f4", "<f4", "<f4", "<f4", "<u4", "<u2", "<u1", "<u2", "<u4"],
        "offsets": [0, 4, 8, 16, 20, 24, 26, 28, 32],
        "itemsize": 48,
    }
)
ROS_TYPE = {"<f4": 7, "<u4": 6, "<u2": 4, "<u1": 2}


def cloud(n: int = 16 * 512, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    points = random.uniform(-40, 40, (n, 3)).astype(np.float32)
    points[::7] = 0.0
    return points


def folder(tmp_path: Path) -> Path:
    data = tmp_path / "ouster_points" / "data"
    data.mkdir(parents=True)
    fields = [
        {"name": name, "offset": int(FULL.fields[name][1]), "datatype": ROS_TYPE[FULL.fields[name][0].str], "count": 1}
        if FULL.fields[name][0].str in ROS_TYPE
        else {"name": name, "offset": int(FULL.fields[name][1]), "datatype": 2, "count": 1}
        for name in FULL.names or ()
    ]
    (data.parent / ".metadata.json").write_text(json.dumps({"topic": "/ouster/points", "fields": fields}))
    return data


def write_reduced(path: Path, points: NDArray[np.float32]) -> None:
    np.column_stack([points, np.full(len(points), 17.0, np.float32)]).astype("<f4").tofile(path)


def write_full(path: Path, points: NDArray[np.float32]) -> None:
    record = np.zeros(len(points), FULL)
    record["x"], record["y"], record["z"] = points.T
    record["t"] = np.arange(len(points)) * 100
    record["range"] = (np.linalg.norm(points, axis=1) * 1000).astype(np.uint32)
    record.tofile(path)


@pytest.mark.parametrize("write", [write_reduced, write_full])
@pytest.mark.parametrize("n", [16 * 512, 64 * 1024, 128 * 1024])
def test_reduced_and_full_records_are_told_apart_by_size(tmp_path: Path, write, n: int) -> None:  # type: ignore[no-untyped-def]
    data = folder(tmp_path)
    points = cloud(n)
    write(data / "0000000000.bin", points)
    found = read_scan(data / "0000000000.bin", "vbr_bin").points_lidar_m
    assert np.array_equal(found, points[np.abs(points).max(axis=1) > 0])


def test_a_size_that_fits_both_is_decided_by_the_values(tmp_path: Path) -> None:
    """64 bytes a point × 16×512 points is also 16 bytes × 64×512 points."""
    data = folder(tmp_path)
    wide = np.dtype(
        {"names": ["x", "y", "z", "t"], "formats": ["<f4"] * 3 + ["<u4"], "offsets": [0, 4, 8, 20], "itemsize": 64}
    )
    points = cloud()
    record = np.zeros(len(points), wide)
    record["x"], record["y"], record["z"] = points.T
    record["t"] = np.arange(len(points)) * 100 + 1
    record.tofile(data / "0000000000.bin")
    found = read_scan(data / "0000000000.bin", "vbr_bin").points_lidar_m
    assert np.array_equal(found, points[np.abs(points).max(axis=1) > 0])
    reduced = cloud(64 * 512, seed=1)
    write_reduced(data / "0000000001.bin", reduced)
    assert len(read_scan(data / "0000000001.bin", "vbr_bin").points_lidar_m) == int(
        (np.abs(reduced).max(axis=1) > 0).sum()
    )


def test_kitti_needs_no_metadata_and_drops_invalid_returns(tmp_path: Path) -> None:
    points = cloud(1001)
    write_reduced(tmp_path / "a.bin", points)
    assert len(read_scan(tmp_path / "a.bin", "kitti_bin").points_lidar_m) == int((np.abs(points).max(axis=1) > 0).sum())


@pytest.mark.parametrize("value", [1e38, np.nan, np.inf, -1001.0])
@pytest.mark.parametrize("layout", ["kitti_bin", "vbr_bin"])
def test_a_return_that_makes_no_sense_is_left_out_and_many_are_refused(
    tmp_path: Path, value: float, layout: str
) -> None:
    """A single one of them used to end a whole drive; none of them may reach a pose."""
    data = folder(tmp_path)
    points = cloud()
    points[5, 1] = value
    write_reduced(data / "0000000007.bin", points)
    scan = read_scan(data / "0000000007.bin", layout)
    good = np.delete(points, 5, axis=0)
    assert np.array_equal(scan.points_lidar_m, good[np.abs(good).max(axis=1) > 0])
    assert scan.n_left_out == (0 if np.isnan(value) else 1)
    points[1:2000, 1] = value
    write_reduced(data / "0000000008.bin", points)
    if np.isnan(value):
        assert len(read_scan(data / "0000000008.bin", "kitti_bin").points_lidar_m) > 0
    else:
        with pytest.raises(InputError, match=r"0000000008.bin: (1999|1713) of \d+ returns|no organised Ouster cloud"):
            read_scan(data / "0000000008.bin", layout)


def test_a_far_sighted_scanner_is_healthy(tmp_path: Path) -> None:
    """201…900 m: a whole drive was "damaged"; the limit is that of the sensor, where the scan is used."""
    points = cloud(1000)
    points[1:700, 0] = np.linspace(201, 900, 699)
    write_reduced(tmp_path / "a.bin", points)
    assert (read_scan(tmp_path / "a.bin", "kitti_bin").points_lidar_m[:, 0] > 200).sum() == 699


def spinning(columns: int, n: int = 8000) -> NDArray[np.float32]:
    """A scanner's own order: one beam round the street, then the next; intensity, ring."""
    turn = np.linspace(0, 8 * 2 * np.pi, n)
    ring = (turn // (2 * np.pi)).clip(0, 7)
    range_m = 12 + 5 * np.sin(3 * turn)
    rows = [range_m * np.cos(turn), range_m * np.sin(turn), -1.5 + 0.3 * ring, 20 + turn % 7, ring, ring]
    return np.column_stack(rows[:columns]).astype(np.float32)


@pytest.mark.parametrize(("columns", "right"), [(5, "float32x5"), (3, "float32x3"), (6, "float32x6"), (4, "kitti_bin")])
@pytest.mark.parametrize("declared", ["kitti_bin", "float32x5"])
def test_rows_of_another_width_are_never_read_as_declared(
    tmp_path: Path, columns: int, right: str, declared: str
) -> None:
    """8000 × 20 bytes are also 10000 × 16."""
    rows = spinning(columns)
    rows.tofile(tmp_path / "a.bin")
    assert np.array_equal(read_scan(tmp_path / "a.bin", right).points_lidar_m, rows[:, :3])
    if declared != right:
        with pytest.raises(InputError, match=rf"a.bin: declared as {declared}, but its rows are those of {right}"):
            read_scan(tmp_path / "a.bin", declared)


@pytest.mark.parametrize("layout", ["kitti_bin", "vbr_bin"])
def test_a_truncated_cloud_is_refused(tmp_path: Path, layout: str) -> None:
    path = folder(tmp_path) / "0000000000.bin"
    write_reduced(path, cloud())
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"0000000000.bin: 131064 bytes"):
        read_scan(path, layout)


def test_an_organised_cloud_with_missing_rows_is_refused_although_it_divides_by_16(tmp_path: Path) -> None:
    path = folder(tmp_path) / "0000000000.bin"
    write_reduced(path, cloud()[:-16])
    with pytest.raises(InputError, match="no organised Ouster cloud"):
        read_scan(path, "vbr_bin")


def test_the_pickle_beside_the_data_is_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return (Path.touch, (tmp_path / "exploded",))

    data = folder(tmp_path)
    (data / ".dtype.pkl").write_bytes(pickle.dumps(Bomb()))
    write_full(data / "0000000000.bin", cloud())
    assert len(read_scan(data / "0000000000.bin", "vbr_bin")) > 0
    assert not (tmp_path / "exploded").exists()


def test_other_damage_is_named(tmp_path: Path) -> None:
    data = folder(tmp_path)
    write_reduced(data / "a.bin", np.zeros((16 * 512, 3), np.float32))
    with pytest.raises(InputError, match="no valid return"):
        read_scan(data / "a.bin", "vbr_bin")
    with pytest.raises(InputError, match="unknown scan layout 'pcd'"):
        read_scan(data / "a.bin", "pcd")
    with pytest.raises(InputError, match=r"b.bin: no such file"):
        read_scan(data / "b.bin", "kitti_bin")
    (data.parent / ".metadata.json").write_text("{}")
    with pytest.raises(InputError, match=r".metadata.json: no usable list `fields`"):
        read_scan(data / "a.bin", "vbr_bin")
