"""Pictures and scans that a data set keeps inside larger files, written out once, where anchors can name them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geocorrect.errors import OutputError
from geocorrect.geometry.pose import Float
from geocorrect.io.atomic_file import write_atomically
from geocorrect.records import Float32


def write_once(path: Path, content: bytes) -> Path:
    """A file with this content, written unless it is there; OutputError when it cannot be."""
    try:
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}; unpack to another folder") from None
    return path.resolve()


def write_scan(path: Path, points_m: Float | Float32) -> Path:
    """Points (N, 3) as `kitti_bin`, without intensity."""
    return write_once(path, np.column_stack([points_m, np.zeros(len(points_m))]).astype("<f4").tobytes())
