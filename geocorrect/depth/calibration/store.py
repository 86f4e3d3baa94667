"""What neighbours say about an anchor's depth, on disk: one file per anchor, named by everything it depends on.

So a killed calibration resumes, and a changed alignment, network, option or neighbour means calibrating again.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.depth.calibration.calibrate import CalibrateOptions, DepthCalibration
from geocorrect.errors import InputError, OutputError
from geocorrect.io.arrays import read_arrays
from geocorrect.io.atomic_file import replacement
from geocorrect.records import Anchor, DepthMap

ALGORITHM = "3"
"""Raise it whenever the same anchors and options would give another calibration."""
UNFINISHED, UNFINISHED_S = ".part", 600.0
"""A file is written in a moment; an unfinished one that is older belongs to a process that was killed."""
ARRAYS = ("coefficients", "basis_sigma", "points", "basis", "factor", "alpha")
NUMBERS = (
    *("amplitude", "scale_before", "scale_after", "spread_before", "spread_after"),
    *("n_tracks", "good_share", "common_log_sigma"),
)


@dataclass(frozen=True)
class StoredKey:
    """What a stored depth depends on."""

    anchor: Anchor
    neighbours: tuple[Anchor, ...]
    fingerprint: str
    """Of the depth source, matcher and options included."""

    @property
    def from_anchors(self) -> frozenset[str]:
        """Ids of the neighbours, whose poses on record give the depth its scale."""
        return frozenset(anchor.id for anchor in self.neighbours)

    @property
    def digest(self) -> str:
        """Hex name; changes with poses, cameras, pictures, alignment and fingerprint, not with where files lie."""
        parts = [ALGORITHM, self.fingerprint, *(_identity(anchor) for anchor in (self.anchor, *self.neighbours))]
        return hashlib.sha256("\n\n".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class StoredCalibration:
    """A finished calibration."""

    calibration: DepthCalibration | None
    """None: the anchor's neighbours do not suffice, its depth stays as predicted."""


class CalibrationStore:
    """Calibrations and triangulated depth of one folder; a missing file means not computed yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether the folder exists."""
        return self.folder.is_dir()

    def path(self, key: StoredKey) -> Path:
        """File of an anchor under one alignment, set of neighbours, depth source, matcher and set of options."""
        return self.folder / f"{key.digest}.npz"

    def save(self, key: StoredKey, calibration: DepthCalibration | None) -> None:
        """Write atomically; OutputError naming the folder when it cannot be written."""
        if calibration is None:
            self._write(key, {"insufficient": np.array(1)})
            return
        arrays = {name: getattr(calibration, name) for name in ARRAYS}
        arrays["numbers"] = np.array([getattr(calibration, name) for name in NUMBERS], float)
        self._write(key, arrays)

    def load(self, key: StoredKey, options: CalibrateOptions) -> StoredCalibration | None:
        """The stored calibration, or None when there is none yet; InputError naming a damaged file."""
        data = self._read(key)
        if data is None:
            return None
        if "insufficient" in data:
            return StoredCalibration(None)
        try:
            arrays: dict[str, Any] = {name: np.asarray(data[name], np.float64) for name in ARRAYS}
            numbers: dict[str, Any] = dict(zip(NUMBERS, (float(v) for v in data["numbers"]), strict=True))
        except (KeyError, ValueError, TypeError) as error:
            raise self._damaged(key, error) from None
        numbers["n_tracks"] = int(numbers["n_tracks"])
        return StoredCalibration(DepthCalibration(camera=key.anchor.camera, options=options, **arrays, **numbers))

    def save_map(self, key: StoredKey, depth: DepthMap) -> None:
        """Write sparse depth; OutputError naming the folder when it cannot be written."""
        assert depth.samples_z_m is not None
        sigma = np.broadcast_to(np.asarray(depth.log_sigma, np.float32), depth.samples_z_m.shape)
        self._write(key, {"samples_px": depth.samples_px, "samples_z_m": depth.samples_z_m, "log_sigma": sigma})

    def load_map(self, key: StoredKey, name: str) -> DepthMap | None:
        """The stored sparse depth under the given source name, or None; InputError naming a damaged file."""
        data = self._read(key)
        if data is None:
            return None
        try:
            px, z_m, sigma = (data[part] for part in ("samples_px", "samples_z_m", "log_sigma"))
            known = {"samples_px": px, "samples_z_m": z_m, "log_sigma": sigma.astype(np.float32)}
            return DepthMap(name, False, **known, from_anchors=key.from_anchors)
        except (KeyError, ValueError) as error:
            raise self._damaged(key, error) from None

    def remove_unfinished(self) -> None:
        """Delete what killed processes left half-written."""
        for path in self.folder.glob(f"*{UNFINISHED}"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > UNFINISHED_S:
                    path.unlink()

    def _write(self, key: StoredKey, arrays: dict[str, Any]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacement(self.path(key), UNFINISHED) as unfinished, unfinished.open("wb") as stream:
                np.savez(stream, **arrays)
        except OSError as error:
            raise OutputError(f"{self.folder}: calibrations cannot be written ({error.strerror})") from None

    def _read(self, key: StoredKey) -> dict[str, Any] | None:
        path = self.path(key)
        if not path.exists():
            return None
        try:
            return read_arrays(path)
        except (OSError, ValueError) as error:
            raise self._damaged(key, error) from None

    def _damaged(self, key: StoredKey, error: Exception) -> InputError:
        return InputError(f"{self.path(key)}: damaged depth calibration ({error}); delete it and calibrate again")


def _identity(anchor: Anchor) -> str:
    """Everything about an anchor that its depth depends on; its pose to a micrometre, as a catalog gives it back."""
    pose, c = anchor.world_from_cam, anchor.camera
    numbers = np.concatenate([pose.translation_m, pose.rotation.as_matrix().ravel()])
    camera = (c.projection.value, c.width, c.height, c.focal_x_px, c.focal_y_px, c.principal_x_px, c.principal_y_px)
    parts = (anchor.dataset, anchor.id, anchor.alignment_id, anchor.sha256, (np.round(numbers, 6) + 0.0).tolist())
    return repr((parts, camera, c.distortion))
