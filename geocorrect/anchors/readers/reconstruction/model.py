"""What every program's reconstruction is: posed images in a frame of its own, and the points that they see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.readers.format import require_size
from geocorrect.anchors.samples import DepthSamples, ReconstructedAnchor
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Float, Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.io.unicode_names import on_disk

MIN_ERROR_PX = 0.5
"""A point is not believed to be more precise than this in an image, whatever its residuals."""
MAX_LOG_SIGMA = 0.1
"""Points less certain than this along the ray are no depth."""


@dataclass(frozen=True, eq=False)
class ReconstructedImage:
    """One registered image."""

    name: str
    """Path relative to the folder of the images, as the reconstruction names it."""
    camera: Camera
    local_from_cam: Pose
    px: Float = field(default_factory=lambda: np.zeros((0, 2)))
    """(M, 2) where it sees points, our pixel convention."""
    points: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(M,) rows of `Reconstruction.points`."""
    captured_at: datetime | None = None


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Images and points in the reconstruction's own frame."""

    source: str
    """The file or folder, for messages."""
    images: tuple[ReconstructedImage, ...]
    points: Float = field(default_factory=lambda: np.zeros((0, 3)))
    """(N, 3)."""
    error_px: Float = field(default_factory=lambda: np.zeros(0))
    """(N,) mean reprojection error."""
    frame: Frame | None = None
    """Where the reconstruction says that it lies, if it does."""
    frame_from_local: Similarity = field(default_factory=Similarity.identity)


@dataclass(frozen=True, eq=False)
class Ties:
    """Places of which both the reconstruction and the map know something."""

    source: str
    """The file, for messages."""
    local: Float
    """(N, 3) in the reconstruction."""
    wgs84: Float
    """(N, 3) longitude, latitude in degrees, ellipsoidal height in metres."""
    sigma_m: Float
    """(N,)."""


def anchors_of(
    model: Reconstruction, images: Iterable[Path], alignment: Alignment, dataset: str
) -> list[ReconstructedAnchor]:
    """The images as anchors, with ids `<dataset>/<name without ending>`.

    Args:
        model: The reconstruction.
        images: Folders where the pictures may lie, best first.
        alignment: Places the reconstruction.
        dataset: Name of the dataset.

    Raises:
        InputError: a picture is missing or of another size than its camera.
    """
    if not model.images:
        raise InputError(f"{model.source}: no image is registered")
    damaged = np.flatnonzero(~np.isfinite(model.points).all(axis=1))
    if len(damaged):
        raise InputError(f"{model.source}: {len(damaged)} points are not finite (the first is number {damaged[0]})")
    folder = folder_of(model, images)
    covariances = _point_covariances(model)
    found = hashlib.sha256(model.points.tobytes()).hexdigest()[:16]
    ids = [f"{dataset}/{Path(image.name).with_suffix('').as_posix()}" for image in model.images]
    anchors: dict[str, ReconstructedAnchor] = {}
    for image, name, others in zip(model.images, ids, _seen_with(model), strict=True):
        path, camera = on_disk(folder / image.name), image.camera
        require_size(path, camera.width, camera.height, model.source)
        anchor = ReconstructedAnchor(
            id=name,
            dataset=dataset,
            path=path.resolve(),
            camera=camera,
            world_from_cam=alignment.apply(image.local_from_cam),
            alignment_id=alignment.id,
            captured_at=image.captured_at,
            drive_id=Path(image.name).parent.as_posix() if "/" in image.name else None,
            samples=_samples(model, image, alignment, covariances, found, tuple(ids[k] for k in others)),
        )
        if anchor.id in anchors:
            raise InputError(f"{model.source}: two images are called {anchor.id} without their endings")
        anchors[anchor.id] = anchor
    return list(anchors.values())


def folder_of(model: Reconstruction, folders: Iterable[Path]) -> Path:
    """The first folder that holds the first image; InputError when none does."""
    folders = list(folders)
    for folder in folders:
        if on_disk(folder / model.images[0].name).is_file():
            return folder
    looked = ", ".join(map(str, folders))
    raise InputError(f"{model.source}: no picture {model.images[0].name} in {looked}; say where with --images FOLDER")


def picture_in(folders: Iterable[Path], name: str, where: str) -> Path:
    """The picture in the first folder that holds it; InputError naming file and record when none does."""
    folders = list(folders)
    for folder in folders:
        if (path := on_disk(folder / name)).is_file():
            return path
    raise InputError(f"{where}: no picture {name} in {', '.join(map(str, folders))}; say --images FOLDER")


def _point_covariances(model: Reconstruction) -> Float:
    """(N, 3, 3) of the points in the reconstruction, from the rays that meet in them; inf where fewer than two do.

    A ray of error e px fixes a point across itself to e · distance / focal length, and along itself not at all.
    """
    information = np.zeros((len(model.points), 3, 3))
    rays = np.zeros(len(model.points), np.int64)
    error_px = np.maximum(np.nan_to_num(model.error_px, nan=MIN_ERROR_PX), MIN_ERROR_PX)
    for image in model.images:
        away = model.points[image.points] - image.local_from_cam.translation_m
        distance = np.maximum(np.linalg.norm(away, axis=1), 1e-9)
        direction = away / distance[:, None]
        across = np.eye(3) - direction[:, :, None] * direction[:, None, :]
        sigma = distance * error_px[image.points] / image.camera.scale_px[0]
        np.add.at(information, image.points, across / sigma[:, None, None] ** 2)
        np.add.at(rays, image.points, 1)
    covariances = np.full_like(information, np.inf)
    met = (rays > 1) & (np.linalg.eigvalsh(information)[:, 0] > 1e-12)
    covariances[met] = np.linalg.inv(information[met])
    return covariances


def _seen_with(model: Reconstruction) -> list[list[int]]:
    """Of each image the others that see a point of its."""
    counts = [len(image.points) for image in model.images]
    sees = csr_matrix(
        (
            np.ones(sum(counts), np.float32),
            (np.repeat(np.arange(len(counts)), counts), np.concatenate([image.points for image in model.images])),
        ),
        (len(counts), len(model.points)),
    )
    together = (sees @ sees.T).tocsr()
    rows = zip(together.indptr[:-1], together.indptr[1:], strict=True)
    return [[k for k in together.indices[a:b].tolist() if k != n] for n, (a, b) in enumerate(rows)]


def _samples(
    model: Reconstruction,
    image: ReconstructedImage,
    alignment: Alignment,
    covariances: Float,
    reconstruction: str,
    from_anchors: tuple[str, ...],
) -> DepthSamples | None:
    """Depth of the points that an image sees, metric by the alignment's scale; from_anchors: who sees them, too."""
    if not len(image.points):
        return None
    z = image.local_from_cam.inverse().apply(model.points[image.points])[:, 2]
    axis = image.local_from_cam.rotation.as_matrix()[:, 2]
    with np.errstate(all="ignore"):
        log_sigma = np.sqrt(np.einsum("i,nij,j->n", axis, covariances[image.points], axis)) / z
    good = (z > 0) & (log_sigma <= MAX_LOG_SIGMA) & np.isfinite(image.px).all(axis=1)
    covariance = alignment.covariance
    common = 0.0 if covariance is None or len(covariance) < 7 else float(np.sqrt(covariance[6, 6]))
    scale = alignment.world_from_local.scale
    px, z_m = image.px[good], scale * z[good]
    return DepthSamples(px, z_m, log_sigma[good], common, from_anchors, image.points[good], reconstruction)
