"""Adding anchors of every kind to a catalog: read, bring into the scene's frame, store with their alignment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.readers.vbr.sequence import VbrOptions, read_vbr
from geocorrect.anchors.samples import ReconstructedAnchor, write_samples
from geocorrect.anchors.scan import read_scan
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.similarity import Similarity
from geocorrect.io.pixels import whole_image_sha256
from geocorrect.records import AlignmentRecord, Anchor


class AnchorSink(Protocol):
    """What adding anchors needs of a catalog."""

    def frame(self) -> Frame | None:
        """The scene's frame, None while the catalog is empty."""

    def set_frame(self, frame: Frame) -> None:
        """Fix the scene's frame."""

    def add_alignment(self, alignment: AlignmentRecord) -> object:
        """Store a version of a georeference; storing the same id again changes nothing."""

    def upsert_anchors(self, anchors: Iterable[Anchor]) -> object:
        """Insert anchors, replacing those of the same id."""


class AnchorFiles(Protocol):
    """Files of anchors of any format; see `anchors.readers.registry.anchor_files`."""

    def read(self) -> tuple[Alignment, list[Anchor]]:
        """The alignment and the anchors in its frame; InputError naming file and record."""
        ...


@dataclass(frozen=True)
class VbrSource:
    """A VBR sequence in the vbr-devkit KITTI layout, placed by a known or computed alignment."""

    folder: Path
    calibration: Path
    ground_truth: Path
    alignment: Alignment
    options: VbrOptions = field(default_factory=VbrOptions)

    def read(self) -> tuple[Alignment, list[Anchor]]:
        """The alignment and the anchors in its frame."""
        anchors = read_vbr(self.folder, self.calibration, self.ground_truth, self.alignment, self.options)
        return self.alignment, anchors


@dataclass(frozen=True)
class AddedAnchors:
    """What was stored."""

    alignment_id: str
    dataset: str
    frame: Frame
    ids: tuple[str, ...]
    """In the order of reading."""
    n_returns: int = 0
    n_returns_left_out: int = 0
    """See `CheckedAnchors`."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for --json."""
        ids = {"alignment_id": self.alignment_id, "dataset": self.dataset}
        returns = {"n_returns": self.n_returns, "n_returns_left_out": self.n_returns_left_out}
        return {**ids, "frame": self.frame.name, "n_anchors": len(self.ids), **returns}


class CheckedAnchors(NamedTuple):
    """Anchors whose files were read."""

    alignment: Alignment
    anchors: list[Anchor]
    """In the alignment's frame, with the checksum of their image."""
    n_returns: int
    n_returns_left_out: int
    """Laser returns of all scans, and those beyond their sensor's range or damaged, which are not used."""


def add_anchors(sink: AnchorSink, source: AnchorFiles, samples_folder: Path | None = None) -> AddedAnchors:
    """Read a source whole, then store it: a damaged row or file stores nothing. InputError names file and row.

    The points of a reconstruction go to `samples_folder`, where depth source "reconstruction" finds them.
    """
    checked = checked_anchors(source)
    for anchor in checked.anchors:
        if isinstance(anchor, ReconstructedAnchor) and samples_folder is not None:
            write_samples(samples_folder, anchor)
    added = add_anchors_to(sink, checked.alignment, checked.anchors)
    return replace(added, n_returns=checked.n_returns, n_returns_left_out=checked.n_returns_left_out)


def checked_anchors(source: AnchorFiles) -> CheckedAnchors:
    """What `add_anchors` stores: every image and scan read once, so that a rehearsal finds what adding would find.

    A damaged file concerns the person who adds it, not the nightly run.
    """
    alignment, anchors = source.read()
    counts = np.zeros(2, np.int64)
    for anchor in anchors:
        if anchor.lidar is not None:
            scan = read_scan(anchor.lidar.path, anchor.lidar.format)
            far = np.linalg.norm(scan.points_lidar_m, axis=1) > anchor.lidar.max_range_m
            counts += len(far) + scan.n_left_out, far.sum() + scan.n_left_out
    anchors = [replace(anchor, sha256=whole_image_sha256(anchor.path)) for anchor in anchors]
    return CheckedAnchors(alignment, anchors, *counts.tolist())


def add_anchors_to(
    sink: AnchorSink, alignment: Alignment, anchors: Sequence[Anchor], details: Mapping[str, Any] | None = None
) -> AddedAnchors:
    """Store anchors given in the alignment's frame, and the alignment with its details (clicks, residuals).

    The first anchors of a catalog fix its frame; later ones are brought into it, with the rotation that the curvature
    of the earth makes.
    """
    if not anchors:
        raise InputError("no anchors to add")
    scene_from_world = add_alignment(sink, alignment, anchors[0].dataset, details)
    # a list: the catalog may go through it again when it must retry
    moved = [replace(a, path=a.path.resolve(), world_from_cam=scene_from_world @ a.world_from_cam) for a in anchors]
    sink.upsert_anchors(moved)
    frame = sink.frame() or alignment.frame
    return AddedAnchors(alignment.id, anchors[0].dataset, frame, tuple(anchor.id for anchor in anchors))


def add_alignment(
    sink: AnchorSink, alignment: Alignment, dataset: str, details: Mapping[str, Any] | None = None
) -> Pose:
    """Store an alignment in the scene's frame, its covariance rotated along; returns scene_from_world.

    The scene's frame becomes that of the alignment when the catalog has none yet.
    """
    frame = sink.frame()
    if frame is None:
        frame = alignment.frame
        sink.set_frame(frame)
    scene_from_world = frame.this_from(alignment.frame)
    covariance = alignment.covariance
    if covariance is not None:
        turn = np.eye(len(covariance))
        turn[:3, :3] = turn[3:6, 3:6] = scene_from_world.rotation.as_matrix()
        covariance = turn @ covariance @ turn.T
    record = AlignmentRecord(
        id=alignment.id,
        dataset=dataset,
        method=alignment.method,
        created_at=datetime.now(UTC),
        world_from_local=Similarity.from_pose(scene_from_world) @ alignment.world_from_local,
        covariance=covariance,
        details={"frame": alignment.frame.name, **(details or {})},
    )
    sink.add_alignment(record)
    return scene_from_world
