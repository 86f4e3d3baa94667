"""VBR drives under a folder, and depth that was predicted elsewhere for their images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geocorrect.anchors.add import VbrSource
from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.readers.vbr.sequence import VbrOptions
from geocorrect.api.scene import AnchorSource
from geocorrect.depth.base import DepthDeclaration
from geocorrect.depth.files import DepthFilesOptions, FilesDepth
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.io.checksum import sha256_of
from geocorrect.records import Anchor, DepthMap, ImageArray

ANYWHERE = Alignment.from_pose(Frame("the drive's own frame", 0.0, 0.0, 0.0), Pose.identity())
"""Relative poses do not depend on where a drive lies, so no georeference is needed."""


def find_drives(root: Path) -> dict[str, Path]:
    """Folders with `camera_left` at or below a folder, by name; InputError when there are none."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    folders = sorted(path.parent for path in root.rglob("camera_left") if path.is_dir())
    if not folders:
        raise InputError(f"{root}: no VBR drive (a folder with camera_left/) in it or below it")
    names = [folder.name for folder in folders]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{root}: more than one drive is named {name}; rename one of the folders")
    return dict(zip(names, folders, strict=True))


def read_drive(folder: Path, spacing_m: float) -> AnchorSource:
    """The images of a drive with pose and laser scan.

    Raises:
        InputError: trajectory, calibration or scans are missing; the message names what and where.
    """
    if not (folder / "ouster_points").is_dir():
        raise InputError(
            f"{folder}: no laser scans (ouster_points/): the tables compare depth with them; without scans, judge a "
            "catalog's anchors by `geocorrect evaluate own`"
        )
    truths = sorted([*folder.glob("*_gt.txt"), *folder.parent.glob(f"{folder.name}_gt.txt")])
    if len(truths) != 1:
        raise InputError(f"{folder}: expected one trajectory *_gt.txt in it or beside it, found {len(truths)}")
    inside = folder / "vbr_calib.yaml"
    calibration = inside if inside.is_file() else folder.parent / "vbr_calib.yaml"
    options = VbrOptions(spacing_m=spacing_m, scans="required", uncovered="skip")
    return AnchorSource.of_files(VbrSource(folder, calibration, truths[0], ANYWHERE, options))


@dataclass(frozen=True)
class PredictedFiles:
    """DepthSource of prepared files: z maps (H, W), or points (H, W, 3) in the camera frame, on the rays or not."""

    name: str
    folder: Path

    @property
    def fingerprint(self) -> str:
        """Its name; the files' content is asked for by `content`."""
        return f"files/{self.name}"

    @property
    def declaration(self) -> DepthDeclaration:
        """See `depth.base.DepthSource.declaration`."""
        return self._maps.declaration

    @property
    def _maps(self) -> FilesDepth:
        return FilesDepth(DepthFilesOptions(folder=self.folder, name=self.name))

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        path = self._path(anchor)
        try:
            stored = np.load(path, allow_pickle=False, mmap_mode="r")
        except (OSError, ValueError):
            return self._maps.depth(anchor, image)  # which says what is wrong
        if stored.shape != (*image.shape[:2], 3):
            return self._maps.depth(anchor, image)
        points_m = np.asarray(stored, np.float32)
        known = np.isfinite(points_m).all(axis=2) & (points_m[..., 2] > 0)
        points_m = np.where(known[..., None], points_m, np.float32(np.nan))
        o = self._maps.options
        return DepthMap(
            self.name, False, z_m=points_m[..., 2], points_m=points_m, log_sigma=o.log_sigma,
            common_log_sigma=o.common_log_sigma,
        )  # fmt: skip

    def content(self, anchor: Anchor) -> str:
        """Hash of the anchor's file; InputError when it is missing."""
        path = self._path(anchor)
        if not path.is_file():
            raise InputError(f"{path}: no such depth file for anchor {anchor.id}")
        return sha256_of(path)

    def _path(self, anchor: Anchor) -> Path:
        return self.folder / f"{anchor.id}.npy"


def parse_predictions(texts: list[str]) -> dict[str, PredictedFiles]:
    """Sources from `NAME=FOLDER`; InputError when a folder does not exist or a name is given twice."""
    found: dict[str, PredictedFiles] = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not name or not Path(folder).is_dir() or not folder:
            raise InputError(f"--prediction {text!r}: give NAME=FOLDER, of a folder with <anchor id>.npy files")
        if name in found:
            raise InputError(f"--prediction {text!r}: {name} is given twice")
        found[name] = PredictedFiles(name, Path(folder))
    return found


def digest(parts: object) -> str:
    """Short hash of plain values."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
