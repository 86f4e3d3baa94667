"""Memory and processor time of point clouds as depth: a long street in tiles, indexed, then seen by anchors along it.

`python benchmarks/pointcloud.py --points 10e6 --tiles 20 --anchors 50` writes tiles under a temporary folder and prints
points, seconds and resident memory; beside it, the projection of a scan of as many points as are in the range.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import laspy
import numpy as np

from geocorrect.anchors.scan import KITTI_BIN
from geocorrect.depth.lidar import LidarDepth
from geocorrect.depth.pointcloud.index import CloudPlaces, write_index
from geocorrect.depth.pointcloud.options import PointCloudOptions
from geocorrect.depth.pointcloud.source import PointCloudDepth
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.crs import crs_from_wgs84
from geocorrect.geometry.frame import Frame, rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.records import Anchor, LidarScan

FRAME = Frame("benchmark", 12.5, 41.9, 90.0)
CAMERA = Camera.pinhole(1242, 375, 721.5, 721.5, 609.6, 172.9)
WIDTH_M, WALL_M, PER_M2 = 15.0, 12.0, 300.0


def tile(number: int, n: int, length_m: float, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) east, north, up: road and two walls of a street that runs east."""
    east, part, along = rng.uniform(0, length_m, n) + number * length_m, rng.random(n), rng.random(n)
    on_road = part < WIDTH_M / (WIDTH_M + 2 * WALL_M)
    side = np.where(rng.random(n) < 0.5, -WIDTH_M / 2, WIDTH_M / 2)
    north = np.where(on_road, (along - 0.5) * WIDTH_M, side)
    return np.stack([east, north, np.where(on_road, 0.0, along * WALL_M)], axis=1) + rng.normal(0, 0.01, (n, 3))


def write_tiles(folder: Path, points: int, tiles: int) -> tuple[list[Path], float]:
    """The files, and the length of a tile in metres."""
    per_tile, rng, paths = points // tiles, np.random.default_rng(1), []
    length_m = per_tile / (PER_M2 * (WIDTH_M + 2 * WALL_M))
    for number in range(tiles):
        lon, lat, height = FRAME.wgs84_from_enu(tile(number, per_tile, length_m, rng))
        header = laspy.LasHeader(point_format=6, version="1.4")
        x, y = crs_from_wgs84("EPSG:32633", lon, lat)
        header.scales, header.offsets = [0.001] * 3, [np.floor(x.min()), np.floor(y.min()), 0.0]
        cloud = laspy.LasData(header)
        cloud.x, cloud.y, cloud.z = x, y, height
        paths.append(folder / f"{number:04d}.laz")
        cloud.write(str(paths[-1]))
    return paths, length_m * tiles


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=float, default=10e6)
    parser.add_argument("--tiles", type=int, default=20)
    parser.add_argument("--anchors", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="a small cloud; figures mean little")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.points, chosen.tiles, chosen.anchors = 2e5, 2, 4
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths, length_m = write_tiles(folder, int(chosen.points), chosen.tiles)
        print(f"{int(chosen.points):,} points, {chosen.tiles} tiles, {length_m:.0f} m; {peak_mib():.0f} MiB so far")
        start = time.process_time()
        places = CloudPlaces(FRAME, crs="EPSG:32633", height_reference="ellipsoid")
        summary = write_index(folder / "index", paths, places)
        spent = time.process_time() - start
        print(
            f"index: {spent:.1f} CPU s, {1e6 * spent / summary.n_points:.2f} s per million; peak {peak_mib():.0f} MiB"
        )
        measure(PointCloudDepth(PointCloudOptions(folder=folder / "index")), folder, chosen.anchors, length_m)


def measure(source: PointCloudDepth, folder: Path, n: int, length_m: float) -> None:
    """Anchors along the street, every one of a place of its own; then scans of the same number of points."""
    image = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    turn, seconds, samples = rotation_from_heading(90.0), [], []
    positions = np.linspace(0, max(length_m - 70, 1), n)
    for number, east in enumerate(positions):
        anchor = Anchor(str(number), "b", Path("x"), CAMERA, Pose(turn, [east, 1.0, 1.7]), "a")
        start = time.process_time()
        found = source.depth(anchor, image)
        seconds.append(time.process_time() - start)
        samples.append(len(found.samples_z_m))
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    print(f"cloud: {n} anchors, {middle:.3f} CPU s each [quartiles {low:.3f}–{high:.3f}], "
          f"{np.median(samples):.0f} samples; peak {peak_mib():.0f} MiB")  # fmt: skip
    places = source.store.places_within(np.array([positions[n // 2], 1.0, 1.7]), 60.0)
    cells = [source.store.cell(place) for place in places]
    world_from_cam = Pose(turn, [positions[n // 2], 1.0, 1.7])
    points = world_from_cam.inverse().apply(np.concatenate([cell.points_m + cell.corner_m for cell in cells]))
    points = points[np.linalg.norm(points, axis=1) < 60]
    scan = folder / "scan.bin"
    np.column_stack([points, np.zeros(len(points))]).astype("<f4").tofile(scan)
    lidar = LidarScan(scan, KITTI_BIN, Pose.identity())
    anchor = Anchor("scan", "b", Path("x"), CAMERA, world_from_cam, "a", lidar=lidar)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        found = LidarDepth().depth(anchor, image)
        seconds.append(time.process_time() - start)
    print(f"KITTI scan of as many points ({len(points):,}): {np.median(seconds):.3f} CPU s, n = 5, "
          f"{len(found.samples_z_m)} samples")  # fmt: skip


if __name__ == "__main__":
    main()
