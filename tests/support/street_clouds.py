"""The demo street as a surveyor's point cloud: points on its surfaces, written by laspy, pye57 and by hand."""

from __future__ import annotations

from pathlib import Path

import laspy
import numpy as np
import pye57
from numpy.typing import NDArray
from pyproj import CRS

from geocorrect.demo.world.drives import ENU_FROM_STREET, FRAME
from geocorrect.demo.world.plan import WorldPlan
from geocorrect.geometry.crs import crs_from_wgs84

Float = NDArray[np.float64]
UTM = "EPSG:32633"


def street_points(plan: WorldPlan, per_m2: float, sigma_m: float = 0.01, seed: int = 1) -> Float:
    """(N, 3) points in the demo's frame, with noise, on every surface whose front a scanner on the road meets.

    Backs do not exist in the demo: its pictures show nothing there. Many surfaces are hidden from any one camera.
    """
    rng = np.random.default_rng(seed)
    road = np.stack([np.linspace(0, plan.size.street_length_m, 12), np.zeros(12), np.full(12, 2.1)], axis=1)
    parts = []
    for quad in plan.street.quads:
        if ((road - quad.corner_m) @ np.cross(quad.down_m, quad.right_m)).max() <= 0:
            continue
        area = float(np.linalg.norm(np.cross(quad.right_m, quad.down_m)))
        u, v = rng.random((2, rng.poisson(per_m2 * area)))
        inside = (u + v <= 1) if quad.shape == "triangle" else np.ones(len(u), bool)
        parts.append(quad.corner_m + u[inside, None] * quad.right_m + v[inside, None] * quad.down_m)
    points = np.concatenate(parts)
    return ENU_FROM_STREET.apply(points + rng.normal(0, sigma_m, points.shape))


def in_utm(enu_m: Float, undulation_m: float = 0.0) -> Float:
    """(N, 3) easting, northing, height above the ellipsoid less an undulation."""
    lon, lat, height = FRAME.wgs84_from_enu(enu_m)
    x, y = crs_from_wgs84(UTM, lon, lat)
    return np.stack([x, y, height - undulation_m], axis=1)


def write_las(path: Path, xyz: Float, classes: NDArray[np.uint8] | int = 1, crs: str | None = UTM) -> Path:
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = [0.001] * 3, np.floor(xyz.min(axis=0))
    if crs is not None:
        header.add_crs(CRS.from_user_input(crs))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = xyz.T
    cloud.classification = np.broadcast_to(np.asarray(classes, np.uint8), len(xyz))
    cloud.write(str(path))
    return path


def write_ply(path: Path, xyz: Float, layout: str = "binary_little_endian", number: str = "double") -> Path:
    header = f"ply\nformat {layout} 1.0\ncomment by hand\nelement vertex {len(xyz)}\n"
    header += "".join(f"property {number} {axis}\n" for axis in "xyz") + "property uchar red\nend_header\n"
    if layout == "ascii":
        body = "".join(f"{x:.4f} {y:.4f} {z:.4f} 9\n" for x, y, z in xyz).encode()
    else:
        order = ">" if "big" in layout else "<"
        record = np.zeros(
            len(xyz), [(axis, f"{order}{'f8' if number == 'double' else 'f4'}") for axis in "xyz"] + [("red", "u1")]
        )
        record["x"], record["y"], record["z"] = xyz.T
        body = record.tobytes()
    path.write_bytes(header.encode() + body)
    return path


def write_e57(path: Path, xyz: Float, scans: int = 1) -> Path:
    """Scans with a pose each: their points, in order, are stored about their own position, turned."""
    file = pye57.E57(str(path), mode="w")
    half = np.sqrt(0.5)
    for part in np.array_split(xyz, scans):
        centre = np.floor(part.mean(axis=0))
        local = part - centre
        turned = np.stack([local[:, 1], -local[:, 0], local[:, 2]], axis=1)  # a quarter turn clockwise about z
        data = {f"cartesian{axis}": np.ascontiguousarray(turned[:, i]) for i, axis in enumerate("XYZ")}
        file.write_scan_raw(data, name="scan", rotation=np.array([half, 0, 0, half]), translation=centre)
    file.close()
    return path
