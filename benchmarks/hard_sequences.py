"""Hard photos as a run answers them: after their sequence, which confirms, places and refutes, beside photo by photo.

The photos of `matchers.py` come as they were uploaded: the frames of one camera in order, all equally hard, with the
reported positions of a phone. Their motion is a reconstruction of these very photos (pycolmap, in place of the
provider's), brought to the reported positions. Photos of the wide baseline have one anchor; the others of their
sequence, which are as they are, have three.

    python benchmarks/matchers.py run data/kitti_raw --store out/matchers.jsonl --matchers sift,aliked_lightglue
    python benchmarks/hard_sequences.py data/kitti_raw --store out/matchers.jsonl                  # docs/accuracy.md
"""

from __future__ import annotations

import argparse
import base64
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matchers import DEPTHS, EASY, WIDE, Photo, hard_table, photos_of, rows_of
from scipy.spatial.transform import Rotation

from geocorrect.anchors.readers.kitti.raw import read_kitti_raw
from geocorrect.geometry.frame import Frame, rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.localize.options import GateOptions
from geocorrect.records import Correction, Result
from geocorrect.sequences.compute import compute_sequence
from geocorrect.sequences.input import SequencePhotos
from geocorrect.sequences.motion import MotionHints
from geocorrect.sequences.options import SequenceOptions

FEATURES = 3000
PEAK_THRESHOLD = 0.0007
"""A tenth of COLMAP's, which finds next to nothing at dusk; OpenSfM lowers its own until it has enough features."""
FIRST_PAIR_DEG, POINT_DEG = 4.0, 0.5
"""Least angles of the rays to points: of the first pair (COLMAP asks for 16°, which no two frames here have; at 1° the
scale of dusk photos drifts by 40 cm), and of the rest."""
Store = Mapping[tuple[str, str, str], dict[str, Any]]
"""Rows with LiDAR by matcher, condition and photo."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Photos of one camera in one condition, in order of capture, with what a provider says of them."""

    condition: str
    photos: Sequence[Photo]
    known: SequencePhotos


def sequences(folder: Path, work: Path) -> Iterator[Recording]:
    """All of them; work: an empty folder."""
    drive = read_kitti_raw(folder)
    groups: dict[tuple[str, str], list[Photo]] = {}
    for photo in photos_of(drive, easy=True, hard=True):
        groups.setdefault((photo.condition, photo.id.rpartition("/")[0]), []).append(photo)
    for number, ((condition, recording), photos) in enumerate(groups.items()):
        whole = groups[EASY, recording] if condition == WIDE else photos
        yield Recording(condition, photos, uploaded(whole, work / str(number)))


def uploaded(photos: Sequence[Photo], work: Path) -> SequencePhotos:
    """What a provider says of the photos: reported positions, and poses of one reconstruction where it has any."""
    work.mkdir()
    near = np.array([photo.near_enu_m for photo in photos])
    found = reconstructed(photos, work)
    hints = []
    if len(found) > 1:
        first, last = min(found), max(found)
        way = (near[last] - near[first])[:2]
        heading_deg = float(np.degrees(np.arctan2(way[0], way[1])))
        scale = np.linalg.norm(way) / np.linalg.norm(found[last].translation_m - found[first].translation_m)
        turn: Rotation = rotation_from_heading(heading_deg) * found[first].rotation.inv()
        found = {n: Pose(turn * p.rotation, scale * turn.as_matrix() @ p.translation_m) for n, p in found.items()}
    for number, place in enumerate(near):
        hints.append(MotionHints(place, cluster=("", found[number]) if number in found else None))
    unknown = np.full(len(photos), np.nan)
    seconds = np.arange(len(photos), dtype=float)
    return SequencePhotos(tuple(p.id for p in photos), tuple(hints), near, unknown, seconds, None, None)


def reconstructed(photos: Sequence[Photo], work: Path) -> dict[int, Pose]:
    """Poses in a frame of their own, of any scale, by number of the photo."""
    import pycolmap

    pycolmap.logging.minloglevel = 3
    pictures, database, models = work / "images", work / "database.db", work / "models"
    pictures.mkdir()
    models.mkdir()
    names = [f"{number:03d}.png" for number in range(len(photos))]
    for name, photo in zip(names, photos, strict=True):
        cv2.imwrite(str(pictures / name), photo.pixels[..., ::-1])
    extraction, matching = pycolmap.FeatureExtractionOptions(), pycolmap.FeatureMatchingOptions()
    for options in (extraction, matching):
        options.use_gpu, options.num_threads = False, 1
    extraction.sift.peak_threshold, extraction.sift.max_num_features = PEAK_THRESHOLD, FEATURES
    matrix = photos[0].camera.to_opencv()[0]
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = "PINHOLE"
    reader.camera_params = ",".join(
        str(v) for v in (matrix[0, 0], matrix[1, 1], matrix[0, 2] + 0.5, matrix[1, 2] + 0.5)
    )
    cpu, one = pycolmap.Device.cpu, pycolmap.CameraMode.SINGLE
    pycolmap.extract_features(database, pictures, names, one, reader, extraction, cpu)
    pycolmap.match_exhaustive(database, matching, device=cpu)
    pipeline = pycolmap.IncrementalPipelineOptions()
    pipeline.num_threads, pipeline.min_model_size, pipeline.multiple_models = 1, 3, False
    pipeline.ba_refine_focal_length = pipeline.ba_refine_principal_point = pipeline.ba_refine_extra_params = False
    mapper, mapper.num_threads = pipeline.mapper, 1
    mapper.init_min_tri_angle, mapper.filter_min_tri_angle, pipeline.triangulation.min_angle = (
        FIRST_PAIR_DEG, POINT_DEG, POINT_DEG,
    )  # fmt: skip
    mapper.init_max_forward_motion = 1.0
    mapper.abs_pose_max_error, mapper.filter_max_reproj_error = 4.0, 2.0
    found = pycolmap.incremental_mapping(database, pictures, models, pipeline)
    best = max(found.values(), key=lambda model: model.num_reg_images(), default=None)
    poses = {}
    for image in best.images.values() if best is not None else ():
        if image.has_pose:
            world_from_cam = image.cam_from_world().inverse()
            rotation = Rotation.from_quat(world_from_cam.rotation.quat)
            poses[names.index(image.name)] = Pose(rotation, np.array(world_from_cam.translation))
    return poses


def after(one: Recording, matcher: str, store: Store, frame: Frame) -> list[dict[str, Any]]:
    """The rows of a sequence's photos as they stand after it."""

    def row(image_id: str) -> dict[str, Any] | None:
        own = store.get((matcher, one.condition, image_id))
        return store.get((matcher, EASY, image_id)) if own is None else own

    rows = {image_id: found for image_id in one.known.ids if (found := row(image_id)) is not None}
    own: dict[str, Result] = {i: pickle.loads(base64.b64decode(found["result"])) for i, found in rows.items()}
    changed = {
        found.result.image_id: found.result
        for found in compute_sequence(one.known, own, frame, SequenceOptions(), GateOptions()).results
    }
    return [_judged(rows[p.id], changed.get(p.id, own[p.id]), p) for p in one.photos if p.id in rows]


def _judged(row: dict[str, Any], result: Result, photo: Photo) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name != "error_m"}
    if not isinstance(result, Correction):
        return kept | {"status": "rejected"}
    error_m = float(np.linalg.norm(result.world_from_cam.translation_m - photo.place_enu_m))
    return kept | {"status": result.status.value, "error_m": error_m}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/kitti_raw"))
    parser.add_argument("--store", type=Path, default=Path("out/matchers.jsonl"), help="of matchers.py")
    parser.add_argument("--quick", action="store_true", help="nothing: it needs all photos of matchers.py")
    arguments = parser.parse_args()
    if arguments.quick or not arguments.folder.is_dir() or not arguments.store.is_file():
        print(f"needs KITTI raw at {arguments.folder} and {arguments.store} of matchers.py: nothing to measure")
        return
    cv2.setNumThreads(1)
    rows = [row for row in rows_of(arguments.store) if row["key"][1] == DEPTHS[0]]
    store = {(name, condition, image_id): row for row in rows for name, _, condition, image_id in [row["key"]]}
    frame = read_kitti_raw(arguments.folder).frame
    before, afterwards = [], []
    with tempfile.TemporaryDirectory() as work:
        for one in sequences(arguments.folder, Path(work)):
            for matcher in dict.fromkeys(name for name, _, _ in store):
                keys = [(matcher, one.condition, photo.id) for photo in one.photos]
                before += [store[key] for key in keys if key in store]
                afterwards += after(one, matcher, store, frame)
    print("Photo by photo", hard_table(before), "After sequences", hard_table(afterwards), sep="\n\n")


if __name__ == "__main__":
    main()
