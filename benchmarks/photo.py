"""CPU seconds per photo by stage, and the same work by pycolmap in the same run, on KITTI raw or the demo's street.

    OMP_NUM_THREADS=1 python benchmarks/photo.py [KITTI_RAW] [--photos 12] [--quick]
    OMP_NUM_THREADS=1 python benchmarks/photo.py out/demo/world --street    # its truth is exact

Four frames of both colour cameras are the anchors (8); the other photos are matched with all of them. On the street
every second picture of a survey drive is an anchor (8), those between them are the photos. What anchors
need once (features, depth; for pycolmap features, matches among each other, triangulation) is shown apart. pycolmap:
SIFT, its brute-force matcher on the CPU, two-view verification, points triangulated from the anchors' known poses,
absolute pose by LO-RANSAC with refinement and covariance; one thread.

Errors of the truth and of the anchors' poses are in the error of everybody who uses them. What two ways share is their
mean scalar product; what is left of each mean square is its own.
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
from geocorrect.anchors.alignment import Alignment, read_alignment
from geocorrect.anchors.readers.kitti.raw import read_kitti_raw
from geocorrect.anchors.readers.vbr.sequence import VbrOptions, read_vbr
from geocorrect.localize import correct
from geocorrect.localize.joint import consensus, estimate, lens, settle
from geocorrect.match.sift import SiftMatcher
from geocorrect.records import Anchor

ANCHOR_FRAMES = (0, 3, 6, 9)
STREET_FIRST, STREET_ANCHORS = 4, 8
"""First picture of the drive that is used, and how many anchors."""
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
    offsets_m: list[np.ndarray] = field(default_factory=list)
    """(3,) from the truth to the position found; inf where there is no pose."""

    def errors_m(self) -> np.ndarray:
        """(n,) distances from the truth."""
        return np.asarray(np.linalg.norm(self.offsets_m, axis=1))

    def totals_s(self) -> np.ndarray:
        """(n,) all stages of each photo."""
        return np.asarray(np.sum([self.stages_s[stage] for stage in STAGES if stage in self.stages_s], axis=0))


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


@dataclass(frozen=True)
class Work:
    """What is to be done."""

    alignment: Alignment
    anchors: Sequence[Anchor]
    photos: Sequence[Anchor]
    """Of the same camera, or of one with the same lens; their poses are the truth."""
    anchor_noise: dict[str, Any]
    """What is stated of the anchors' poses."""


def of_kitti(folder: Path, n_photos: int) -> Work:
    """Real photos, whose truth is inertial."""
    drive = read_kitti_raw(folder)
    anchors = [image for image in drive.images if image.frame_number in ANCHOR_FRAMES]
    photos = [image for image in drive.images if image.frame_number not in ANCHOR_FRAMES]
    photos = photos[:: max(1, len(photos) // n_photos)]
    return Work(drive.alignment, anchors, photos, {"anchor_position_m": ANCHOR_POSITION_M})


def of_street(world: Path, n_photos: int) -> Work:
    """Pictures of the demo's first drive, whose truth is exact: anchors and photos in turn."""
    drive = next(path for path in sorted((world / "anchors").iterdir()) if path.is_dir())
    alignment = read_alignment(world / "anchors" / "alignment.json")
    taken = read_vbr(drive, drive / "vbr_calib.yaml", drive / f"{drive.name}_gt.txt", alignment, VbrOptions())
    run = taken[STREET_FIRST : STREET_FIRST + 2 * STREET_ANCHORS - 1]
    return Work(alignment, run[::2], run[1::2][:n_photos], {"anchor_position_m": 0.002, "anchor_rotation_deg": 0.01})


def ours(work: Work, depth: str) -> Measured:
    """Through the front door, with the usual settings."""
    found = Measured()
    settings = Settings()
    joint = replace(settings.localize.joint, **work.anchor_noise)
    settings = settings.model_copy(update={"localize": replace(settings.localize, joint=joint)})
    with tempfile.TemporaryDirectory() as folder, Catalog.open(f"{folder}/c.gpkg", create=True) as catalog:
        add_anchors_to(catalog, work.alignment, work.anchors)
        localizer = Localizer(catalog, depth=depth, settings=settings)

        def localize(image: Anchor) -> Any:
            frame = work.alignment.frame
            lon_deg, lat_deg, _ = frame.wgs84_from_enu(image.world_from_cam.translation_m + REPORTED_OFF_M)
            heading_deg = frame.heading_deg(image.world_from_cam)
            here = (float(lon_deg), float(lat_deg))
            return localizer.localize(image.path, reported=here, heading_deg=heading_deg, camera=image.camera)

        start = time.process_time()
        localize(work.anchors[0])  # reads every anchor, its features and its depth
        found.once_s = time.process_time() - start
        for photo in work.photos:
            with clocks() as spent:
                result = localize(photo)
            for stage in STAGES:
                found.stages_s[stage].append(spent[stage])
            found.offsets_m.append(_offset_m(None if result.pose is None else result.pose.translation_m, photo))
    return found


def _offset_m(position_m: np.ndarray | None, photo: Anchor) -> np.ndarray:
    truth_m = photo.world_from_cam.translation_m
    return np.full(3, np.inf) if position_m is None else position_m - truth_m


def theirs(anchors: Sequence[Anchor], photos: Sequence[Anchor]) -> Measured:
    """pycolmap, step by step."""
    import pycolmap

    pycolmap.logging.minloglevel = 2
    found = Measured()
    names = {image.id: f"{number:03d}.png" for number, image in enumerate((*anchors, *photos))}
    extraction, matching = pycolmap.FeatureExtractionOptions(), pycolmap.FeatureMatchingOptions()
    for options in (extraction, matching):
        options.use_gpu, options.num_threads = False, 1
    camera = anchors[0].camera
    reader = pycolmap.ImageReaderOptions()
    matrix, distortion, _ = camera.to_opencv()
    reader.camera_model = "OPENCV"
    centre_px = matrix[0, 2] + 0.5, matrix[1, 2] + 0.5
    reader.camera_params = ",".join(
        map(str, (matrix[0, 0], matrix[1, 1], *centre_px, *np.resize(np.append(distortion, [0] * 4), 4)))
    )
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        database, pictures, pairs = folder / "database.db", folder / "images", folder / "pairs.txt"
        pictures.mkdir()
        for image in (*anchors, *photos):
            (pictures / names[image.id]).symlink_to(image.path.resolve())

        def extract(images: Sequence[Anchor]) -> None:
            pycolmap.extract_features(
                database, pictures, [names[image.id] for image in images], pycolmap.CameraMode.PER_IMAGE, reader,
                extraction, pycolmap.Device.cpu,
            )  # fmt: skip

        def match(one: Sequence[Anchor], other: Sequence[Anchor]) -> None:
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
            found.offsets_m.append(_offset_m(position_m, photo))
    return found


def _known(pycolmap: Any, database: Path, anchors: Sequence[Anchor], names: dict[str, str]) -> Any:
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
    row("position error", lambda one: 100 * one.errors_m(), " cm")
    *own, rival = found
    for name in own:
        speed = found[name].totals_s() / found[rival].totals_s()
        low, middle, high = np.percentile(speed, [25, 50, 75])
        error = np.median(found[name].errors_m()) / np.median(found[rival].errors_m())
        lines.append(
            f"\n{name} over {rival}: CPU {middle:.2f} [{low:.2f}–{high:.2f}], median position error {error:.2f}; "
            + _own(np.array(found[name].offsets_m), np.array(found[rival].offsets_m))
        )
    return "\n".join(lines)


def _own(one_m: np.ndarray, other_m: np.ndarray) -> str:
    """Root mean squares of the errors (n, 3) of two ways, of what they share, and of what is each one's own."""

    def squares(a_m: np.ndarray, b_m: np.ndarray) -> tuple[float, float, float]:
        """Of the first, of the second, shared; m²."""
        one, other, shared = (float((x * y).sum(axis=1).mean()) for x, y in ((a_m, a_m), (b_m, b_m), (a_m, b_m)))
        return one, other, max(shared, 0.0)

    def ratio(a_m: np.ndarray, b_m: np.ndarray) -> float:
        one, other, shared = squares(a_m, b_m)
        return float(np.sqrt(max(one - shared, 0.0) / max(other - shared, 1e-12)))

    rng = np.random.default_rng(0)
    again = [rng.integers(len(one_m), size=len(one_m)) for _ in range(2000)]
    low, high = np.percentile([ratio(one_m[rows], other_m[rows]) for rows in again], [2.5, 97.5])
    one, other, shared = (100 * np.sqrt(value) for value in squares(one_m, other_m))
    return (
        f"root mean square {one:.2f} and {other:.2f} cm, of it shared {shared:.2f} cm; "
        f"own error {ratio(one_m, other_m):.2f} [95 %: {low:.2f}–{high:.2f}] of the other's"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="KITTI raw drive 0002; without it nothing is measured")
    parser.add_argument("--street", action="store_true", help="the folder is the world of `geocorrect demo`")
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="two photos")
    arguments = parser.parse_args()
    if arguments.folder is None:
        print("no folder of KITTI raw is given: nothing measured")
        return
    cv2.setNumThreads(1)
    work = (of_street if arguments.street else of_kitti)(arguments.folder, 2 if arguments.quick else arguments.photos)
    found = {
        "ours, triangulated": ours(work, "triangulated"),
        "ours, LiDAR": ours(work, "lidar"),
        "pycolmap": theirs(work.anchors, work.photos),
    }
    print(table(found, len(work.photos)))


if __name__ == "__main__":
    main()
