"""The thesis' estimators and its preset beside the joint one on KITTI raw: `geocorrect evaluate own`, one table.

    OMP_NUM_THREADS=1 python benchmarks/configurations.py [KITTI_RAW] [--out OUT] [--photos 6] [--quick]

Five configurations by three sources of depth: the scans, triangulation by neighbours, and files (the scans made dense,
so an oracle, too). "thesis" is `geocorrect init --preset thesis` with SIFT instead of MASt3R, whose weights may not be
had everywhere. OUT keeps the configurations, the command's page and its journal: interrupted, it continues.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from geocorrect.anchors.readers.kitti.raw import read_kitti_raw
from geocorrect.cli.app import Preset, write_starter
from geocorrect.depth.lidar import LidarDepth
from geocorrect.io.atomic_file import atomic_path
from geocorrect.io.pixels import read_image
from geocorrect.records import Anchor

REACH_PX = 4.0
"""Pixels farther from every return of the scan have no depth."""
ESTIMATORS = {
    "joint": 'estimator = "joint"',
    "poselib": 'estimator = "poselib"',
    "opencv-default": 'estimator = "opencv"\n[localize.opencv]\nvariant = "opencv-default"',
    "opencv-sqpnp": 'estimator = "opencv"\n[localize.opencv]\nvariant = "opencv-sqpnp"',
}
DEPTHS = ("lidar", "files", "triangulated")
FILES = """
[depth.files]
folder = "dense"
name = "dense-scans"
is_oracle = true
common_log_sigma = 0.0
log_sigma = 0.02
"""


def write_dense_depth(anchor: Anchor, folder: Path) -> None:
    """The scan's inverse depth between its three nearest returns."""
    path = folder / f"{anchor.id}.npy"
    if path.is_file():
        return
    px, z_m = LidarDepth().depth(anchor, read_image(anchor.path)).known()
    columns, rows = np.meshgrid(np.arange(anchor.camera.width), np.arange(anchor.camera.height))
    distance, nearest = cKDTree(px).query(np.column_stack([columns.ravel(), rows.ravel()]), k=3)
    weight = 1.0 / np.maximum(distance, 1e-3)
    dense = weight.sum(axis=1) / (weight / z_m[nearest]).sum(axis=1)
    dense[distance[:, 0] > REACH_PX] = np.nan
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, dense.reshape(rows.shape).astype(np.float32))


def write_configurations(out: Path) -> list[Path]:
    """A file for each estimator and source of depth."""
    write_starter(out / "preset", Preset.THESIS, force=True)
    preset = (
        (out / "preset" / "geocorrect.toml")
        .read_text(encoding="utf-8")
        .replace('matcher = "mast3r"', 'matcher = "sift"')
    )
    written = []
    for source in DEPTHS:
        texts = {name: f'[depth]\nsource = "{source}"\n[localize]\n{text}\n' for name, text in ESTIMATORS.items()}
        texts["thesis"] = preset.replace('source = "mast3r"', f'source = "{source}"')
        for name, text in texts.items():
            written.append(out / f"{name}_{source}.toml")
            written[-1].write_text(text + FILES, encoding="utf-8")
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kitti", nargs="?", type=Path, help="KITTI raw drive 0002; without it nothing is measured")
    parser.add_argument("--out", type=Path, default=Path("out/configurations"))
    parser.add_argument("--photos", type=int, default=6)
    parser.add_argument("--quick", action="store_true", help="one photo")
    arguments = parser.parse_args()
    if arguments.kitti is None:
        print("no folder of KITTI raw is given: nothing measured")
        return
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    first, *others = write_configurations(out)
    program, catalog = [sys.executable, "-m", "geocorrect"], ["--catalog", str(out / "kitti.gpkg")]
    subprocess.run([*program, "anchors", "add", str(arguments.kitti), "--format", "kitti-raw", *catalog], check=True)
    for anchor in read_kitti_raw(arguments.kitti).anchors():
        write_dense_depth(anchor, out / "dense")
    photos = str(1 if arguments.quick else arguments.photos)
    own = ["evaluate", "own", "--out", str(out / "own"), "--photos", photos, "--gaps-m", "1", "--anchors", "1,4"]
    beside = [word for other in others for word in ("--beside", str(other))]
    subprocess.run([*program, "-c", str(first), *own, *beside, *catalog], check=True)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"processor time: {spent.ru_utime + spent.ru_stime:.0f} s")


if __name__ == "__main__":
    main()
