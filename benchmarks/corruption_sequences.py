"""What becomes of the photos of `corruptions.py` that wait or were refused, once their sequence speaks.

    python benchmarks/corruption_sequences.py data/kitti_raw --store out/corruptions.jsonl     # after three draws

Every such photo is judged by itself, among the eleven others of the drive as two or three right anchors with LiDAR
put them, none of which is an anchor of the photo. The way between the photos is the drive's own, as a reconstruction
would give it: 1 % too long, shifted by 3 m, with 1 cm and 0.05° of noise a photo.
"""

from __future__ import annotations

import argparse
import pickle
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from corruption_cells import CELLS, FRAMES, Cell
from corruptions import PHOTOS, kept, true_pose
from matchers import rows_of

from geocorrect.anchors.readers.kitti.raw import KittiImage, read_kitti_raw
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.localize.gate import waits_only_for_confirmation
from geocorrect.localize.options import GateOptions
from geocorrect.records import Correction, Rejection, Result
from geocorrect.sequences.compute import compute_sequence
from geocorrect.sequences.decide import Change
from geocorrect.sequences.input import SequencePhotos
from geocorrect.sequences.motion import MotionHints
from geocorrect.sequences.options import SequenceOptions

STRETCH, SHIFT_M = 1.01, np.array([2.0, -2.0, 1.0])
NOISE = np.array([0.01] * 3 + [np.radians(0.05)] * 3)
SAID = Change.CONFIRMED, Change.PLACED, Change.FLAGGED
FRAME = Frame("kitti-raw", 8.4, 49.0, 113.0)
REPORT_M = np.array([2.0, -2.0, np.nan])


def drive(images: dict[str, KittiImage]) -> SequencePhotos:
    """The photos in order of capture, with the way between them."""
    ids = sorted(images, key=lambda name: (images[name].frame_number, name))
    random = np.random.default_rng(22)
    poses = [images[name].world_from_cam.with_covariance(None) for name in ids]
    centre_m = np.mean([pose.translation_m for pose in poses], axis=0)
    hints = []
    for pose in poses:
        found = replace(pose, translation_m=centre_m + STRETCH * (pose.translation_m - centre_m) + SHIFT_M)
        place_m = pose.translation_m + REPORT_M
        hints.append(MotionHints(place_m, np.nan, cluster=("drive", found.perturbed(NOISE * random.normal(size=6)))))
    reported_m = np.array([pose.translation_m + REPORT_M for pose in poses])
    time_s = np.array([0.1 * images[name].frame_number for name in ids])
    return SequencePhotos(tuple(ids), tuple(hints), reported_m, np.full(len(ids), np.nan), time_s, None, None)


def others_of(cell: Cell) -> str | None:
    """The clean cell whose anchors are none of this one's; None where there is none."""
    apart = (k for k in (2, 3) if not set(FRAMES[k]) & set(FRAMES[cell.anchors]))
    return next((f"clean, {k} anchors" for k in apart), None)


def results_of(store: Path, cell: str, depth: str) -> dict[str, Result]:
    """The cell's results by photo, of all draws."""
    keys = [(depth, cell, draw, f"{c}/{f}") for draw, photos in enumerate(PHOTOS) for c, f in photos]
    found = {key[3]: kept(store, key) for key in keys}
    return {name: pickle.loads(path.read_bytes()) for name, path in found.items() if path.is_file()}


def judged(
    photos: SequencePhotos, around: dict[str, Result], own: dict[str, Result], truth: dict[str, Pose | None]
) -> dict[str, list[float]]:
    """Errors in metres of the photos that wait or were refused, by what their sequence makes of them."""
    became: dict[str, list[float]] = defaultdict(list)
    for name, result in own.items():
        waits = waits_only_for_confirmation(result, GateOptions())
        if not waits and not isinstance(result, Rejection):
            continue
        found = compute_sequence(photos, {**around, name: result}, FRAME, SequenceOptions(), GateOptions())
        now = {one.result.image_id: one for one in found.results}.get(name)
        change = now.change.value if now is not None and now.change in SAID else "waits" if waits else "refused"
        pose = result if now is None else now.result
        error_m = np.nan
        if isinstance(pose, Correction):
            at = truth[name]
            error_m = np.inf if at is None else float(np.linalg.norm(pose.world_from_cam.minus(at)[:3]))
        became[change].append(error_m)
    return became


def shown(errors_m: list[float]) -> str:
    """How many, and their errors, median / max, in cm."""
    return f"{len(errors_m)}, {100 * np.median(errors_m):.1f} / {100 * max(errors_m):.1f}" if errors_m else "0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/kitti_raw"))
    parser.add_argument("--store", type=Path, default=Path("out/corruptions.jsonl"))
    parser.add_argument("--quick", action="store_true", help="as without it: a few seconds")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir() or not arguments.store.is_file():
        print("nothing to measure: run `benchmarks/corruptions.py run` on a KITTI raw drive first (see data/README.md)")
        return
    named = {(i.camera_name, i.frame_number): i for i in read_kitti_raw(arguments.folder).images}
    images = {f"{c}/{f}": named[c, f] for photos in PHOTOS for c, f in photos}
    photos = drive(images)
    accepted = Counter((r["key"][1], r["key"][0]) for r in rows_of(arguments.store) if r["status"] == "accepted")
    print(
        "| what is wrong | depth | accepted at once | confirmed by the sequence, cm | refused and placed by it, cm "
        "| refuted | wait on | refused |"
    )
    print("|---" * 8 + "|")
    for cell in CELLS:
        others = others_of(cell)
        truth = {name: true_pose(cell, image.world_from_cam) for name, image in images.items()}
        for depth in ("lidar", "triangulated"):
            own = results_of(arguments.store, cell.name, depth)
            if cell.vehicles or cell.spoil == "elsewhere" or others is None or accepted[cell.name, depth] == len(own):
                continue
            became = judged(photos, results_of(arguments.store, others, "lidar"), own, truth)
            print(
                f"| {cell.name} | {depth} | {accepted[cell.name, depth]} of {len(own)} "
                f"| {shown(became['confirmed'])} | {shown(became['placed'])} "
                f"| {len(became['flagged'])} | {len(became['waits'])} | {len(became['refused'])} |"
            )


if __name__ == "__main__":
    main()
