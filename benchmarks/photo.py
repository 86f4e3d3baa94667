"""CPU seconds per photo by stage, and the same work by pycolmap in the same run, on KITTI raw.

    OMP_NUM_THREADS=1 python benchmarks/photo.py [KITTI_RAW] [--photos 12] [--quick]

Four frames of both colour cameras are the anchors (8); the other photos are matched with all of them. What anchors
need once (features, depth; for pycolmap features, matches among each other, triangulation) is shown apart. pycolmap:
SIFT, its brute-force matcher on the CPU, two-view verification, points triangulated from the anchors' known poses,
absolute pose by LO-RANSAC with refinement and covariance; one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

from geocorrect import Catalog, Localizer, Settings
from geocorrect.anchors.add import add_anchors_to
from geocorrect.anchors.readers.kitti.raw import KittiDrive, KittiImage, read_kitti_raw
from geocorrect.localize import correct
from geocorrect.localize.joint import consensus, estimate, lens, settle
from geocorrect.match.sift import SiftMatcher

ANCHOR_FRAMES = (0, 3, 6, 9)
STAGES = ("detect", "match", "verify", "solve", "covariance")
REPORTED_OFF_M = np.array([3.0, 0.0, 0.0])
ANCHOR_POSITION_M = 0.005
"""As in `evaluate kitti-raw`: inertial, over a second of driving."""


@dataclass
class Measured:
    """Of one way to do it."""

    once_s: float = 0.0
    """For the anchors, before the first photo."""
    stages_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Per photo."""
    errors_m: list[float] = field(default_factory=list)
    """Distance from the truth; inf where there is no pose."""

    def totals_s(self) -> np.ndarray:
        """(n,) all stages of each photo."""
        return np.sum([self.stages_s[stage] for stage in STAGES if stage in self.stages_s], axis=0)


@contextmanager
def clocks() -> Iterator[dict[str, float]]:
    """Adds up the processor time of the stages of our method while it runs as it always does."""
    spent: dict[str, float] = defaultdict(float)
    running: list[str] = []

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            running.append(stage)
            try:
                return function(*arguments, **named)
            finally:
                running.pop()
                taken = time.process_time() - start
                spent[stage] += taken
                if running:
                    spent[running[-1]] -= taken

        return call

    places = [
        ("detect", SiftMatcher, "_detect"), ("match", SiftMatcher, "_match_pair"), ("verify", correct, "observe"),
        ("solve", estimate, "solve_joint"), ("covariance", estimate, "georeference_covariance"),
        *(("covariance", module, "refine") for module in (settle, lens, consensus)),
    ]  # fmt: skip
    with ExitStack() as stack:
        for stage, owner, name in places:
            stack.enter_context(patch.object(owner, name, timed(stage, getattr(owner, name))))
        yield spent


def ours(drive: KittiDrive, anchors: Sequence[KittiImage], photos: Sequence[KittiImage], depth: str) -> Measured:
    """Through the front door, with the usual settings."""
    found = Measured()
    settings = Settings()
    joint = replace(settings.localize.joint, anchor_position_m=ANCHOR_POSITION_M)
    settings = settings.model_copy(update={"localize": replace(settings.localize, joint=joint)})
    with tempfile.TemporaryDirectory() as folder, Catalog.open(f"{folder}/c.gpkg", create=True) as catalog:
        add_anchors_to(catalog, drive.alignment, anchors)
        localizer = Localizer(catalog, depth=depth, settings=settings)

        def localize(image: KittiImage) -> Any:
            lon_deg, lat_deg, _ = drive.frame.wgs84_from_enu(image.world_from_cam.translation_m + REPORTED_OFF_M)
            heading_deg = drive.frame.heading_deg(image.world_from_cam)
            here = (float(lon_deg), float(lat_deg))
            return localizer.localize(image.path, reported=here, heading_deg=heading_deg, camera=image.camera)

        start = time.process_time()
        localize(anchors[0])  # reads every anchor, its features and its depth
        found.once_s = time.process_time() - start
        for photo in photos:
            with clocks() as spent:
                result = localize(photo)
            for stage in STAGES:
                found.stages_s[stage].append(spent[stage])
            pose, truth_m = result.pose, photo.world_from_cam.translation_m
            off_m = float("inf") if pose is None else float(np.linalg.norm(pose.translation_m - truth_m))
            found.errors_m.append(off_m)
    return found


def theirs(anchors: Sequence[KittiImage], photos: Sequence[KittiImage]) -> Measured:
    """pycolmap, step by step."""
    import pycolmap

    pycolmap.logging.minloglevel = 2
    found = Measured()
    names = {image.id: f"{image.camera_name}_{image.frame_number:03d}.png" for image in (*anchors, *photos)}
    extraction, matching = pycolmap.FeatureExtractionOptions(), pycolmap.FeatureMatchingOptions()
    for options in (extraction, matching):
        options.use_gpu, options.num_threads = False, 1
    camera = anchors[0].camera
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = "PINHOLE"
    reader.camera_params = ",".join(
        map(str, (*_focal_px(camera), camera.principal_x_px + 0.5, camera.principal_y_px + 0.5))
    )
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        database, pictures, pairs = folder / "database.db", folder / "images", folder / "pairs.txt"
        pictures.mkdir()
        for image in (*anchors, *photos):
            (pictures / names[image.id]).symlink_to(image.path.resolve())

        def extract(images: Sequence[KittiImage]) -> None:
            pycolmap.extract_features(
                database, pictures, [names[image.id] for image in images], pycolmap.CameraMode.PER_IMAGE, reader,
                extraction, pycolmap.Device.cpu,
            )  # fmt: skip

        def match(one: Sequence[KittiImage], other: Sequence[KittiImage]) -> None:
            lines = [f"{names[a.id]} {names[b.id]}" for a in one for b in other if a is not b]
            pairs.write_text("\n".join(lines) + "\n")
            pairing = pycolmap.ImportedPairingOptions()
            pairing.match_list_path = pairs
            pycolmap.match_image_pairs(database, matching, pairing, device=pycolmap.Device.cpu)

        start = time.process_time()
        extract(anchors)
        for number, anchor in enumerate(anchors):
            match([anchor], anchors[number + 1 :])
        model = pycolmap.triangulate_points(_known(pycolmap, database, anchors, names), database, pictures, folder)
        found.once_s = time.process_time() - start
        points = {image.name: image for image in model.images.values()}
        for photo in photos:
            start = time.process_time()
            extract([photo])
            extracted = time.process_time()
            match([photo], anchors)
            matched = time.process_time()
            position_m = _solve(pycolmap, database, model, points, names[photo.id], [names[a.id] for a in anchors])
            solved = time.process_time()
            found.stages_s["detect"].append(extracted - start)
            found.stages_s["match"].append(matched - extracted)
            found.stages_s["solve"].append(solved - matched)
            truth_m = photo.world_from_cam.translation_m
            off_m = float("inf") if position_m is None else float(np.linalg.norm(position_m - truth_m))
            found.errors_m.append(off_m)
    return found


def _focal_px(camera: Any) -> tuple[float, float]:
    matrix, _, _ = camera.to_opencv()
    return float(matrix[0, 0]), float(matrix[1, 1])


def _known(pycolmap: Any, database: Path, anchors: Sequence[KittiImage], names: dict[str, str]) -> Any:
    """A model of the anchors at their true poses."""
    model = pycolmap.Reconstruction()
    with pycolmap.Database.open(database) as stored:
        for anchor in anchors:
            image = stored.read_image_with_name(names[anchor.id])
            model.add_camera_with_trivial_rig(stored.read_camera(image.camera_id))
            cam_from_world = anchor.world_from_cam.inverse()
            rotation = pycolmap.Rotation3d(cam_from_world.rotation.as_quat())
            model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(rotation, cam_from_world.translation_m))
    return model


def _solve(
    pycolmap: Any, database: Path, model: Any, points: dict[str, Any], photo: str, anchors: Sequence[str]
) -> np.ndarray | None:
    """Position of the photo from the triangulated points that its verified matches lead to; with covariance."""
    pixels, places = [], []
    with pycolmap.Database.open(database) as stored:
        image = stored.read_image_with_name(photo)
        keypoints = stored.read_keypoints(image.image_id)[:, :2]
        for name in anchors:
            anchor = points[name]
            for mine, other in stored.read_two_view_geometry(image.image_id, anchor.image_id).inlier_matches:
                point = anchor.points2D[int(other)]
                if point.has_point3D():
                    pixels.append(keypoints[mine])
                    places.append(model.points3D[point.point3D_id].xyz)
        camera = stored.read_camera(image.camera_id)
    if len(pixels) < 4:
        return None
    answer = pycolmap.estimate_and_refine_absolute_pose(
        np.array(pixels, float), np.array(places), camera, return_covariance=True
    )
    return None if answer is None else np.array(answer["cam_from_world"].inverse().translation)


def table(found: dict[str, Measured], n: int) -> str:
    """Medians with quartiles over the photos, and the ratios of the totals and errors, photo by photo."""
    lines = [f"| CPU seconds, median [quartiles], n = {n} | {' | '.join(found)} |", "|---|" + "---|" * len(found)]

    def row(name: str, values: Callable[[Measured], Sequence[float] | np.ndarray | None], unit: str = "") -> None:
        cells = []
        for one in found.values():
            sample = values(one)
            low, middle, high = np.percentile(sample, [25, 50, 75]) if sample is not None else (0, 0, 0)
            cells.append("in the row above" if sample is None else f"{middle:.3g} [{low:.3g}–{high:.3g}]{unit}")
        lines.append(f"| {name} | {' | '.join(cells)} |")

    for stage in STAGES:
        row(stage, lambda one, stage=stage: one.stages_s.get(stage))  # type: ignore[misc]
    row("**all of a photo**", Measured.totals_s)
    row("once for the anchors", lambda one: [one.once_s])
    row("position error", lambda one: 100 * np.array(one.errors_m), " cm")
    *own, rival = found
    for name in own:
        speed = found[name].totals_s() / found[rival].totals_s()
        low, middle, high = np.percentile(speed, [25, 50, 75])
        error = np.median(found[name].errors_m) / np.median(found[rival].errors_m)
        lines.append(
            f"\n{name} over {rival}: CPU {middle:.2f} [{low:.2f}–{high:.2f}], median position error {error:.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="KITTI raw drive 0002; without it nothing is measured")
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="two photos")
    arguments = parser.parse_args()
    if arguments.folder is None:
        print("no folder of KITTI raw is given: nothing measured")
        return
    cv2.setNumThreads(1)
    drive = read_kitti_raw(arguments.folder)
    anchors = [image for image in drive.images if image.frame_number in ANCHOR_FRAMES]
    photos = [image for image in drive.images if image.frame_number not in ANCHOR_FRAMES]
    photos = photos[:: max(1, len(photos) // (2 if arguments.quick else arguments.photos))]
    found = {
        "ours, triangulated": ours(drive, anchors, photos, "triangulated"),
        "ours, LiDAR": ours(drive, anchors, photos, "lidar"),
        "pycolmap": theirs(anchors, photos),
    }
    print(table(found, len(photos)))


if __name__ == "__main__":
    main()
