"""Depth samples that came with an anchor (points of a reconstruction): kept beside the catalog, a file per anchor."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import InputError
from geocorrect.geometry.pose import Float
from geocorrect.io.arrays import read_arrays
from geocorrect.io.atomic_file import write_atomically
from geocorrect.records import Anchor


class DepthSamples(NamedTuple):
    """Depth at single pixels of an anchor."""

    px: Float
    """(N, 2) in pixels of the anchor."""
    z_m: Float
    """(N,) along the optical axis."""
    log_sigma: Float
    """(N,) standard deviation of log depth, each point's own."""
    common_log_sigma: float
    """The part that all share: the scale of the georeference."""
    from_anchors: tuple[str, ...] = ()
    """Ids of the other anchors that see the points: where they stand decides where the points are."""
    point: NDArray[np.int64] = np.zeros(0, np.int64)
    """(N,) number of the reconstruction's point: equal numbers of two anchors are one track; empty where unknown."""
    reconstruction: str = ""
    """Hash of all its points."""

    def shared_px(self, other: DepthSamples) -> tuple[Float, Float] | None:
        """(N, 2) pixels here and there of the points that both see; None where they are not of one reconstruction."""
        if not self.reconstruction or self.reconstruction != other.reconstruction:
            return None
        _, here, there = np.intersect1d(self.point, other.point, return_indices=True)
        return self.px[here], other.px[there]


@dataclass(frozen=True)
class ReconstructedAnchor(Anchor):
    """An anchor out of a reconstruction."""

    samples: DepthSamples | None = field(default=None, compare=False)
    """Its points; None where the reconstruction keeps none."""


def write_samples(folder: Path, anchor: ReconstructedAnchor) -> None:
    """Keep an anchor's samples in `<folder>/<anchor id>.npz`."""
    if anchor.samples is None:
        return
    path = samples_path(folder, anchor)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = BytesIO()
    samples = anchor.samples
    texts = {
        "alignment_id": anchor.alignment_id,
        "reconstruction": samples.reconstruction,
        "from_anchors": "\n".join(samples.from_anchors),
    }
    as_bytes = {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}
    np.savez(content, **{**samples._asdict(), **as_bytes})
    write_atomically(path, content.getvalue())


def read_samples(folder: Path, anchor: Anchor, *, placed: bool = True) -> DepthSamples:
    """What `write_samples` kept; InputError naming the file when it is missing, damaged or of another alignment.

    placed: depths are asked for; those of another alignment are wrong then, but not their pixels.
    """
    path = samples_path(folder, anchor)
    if not path.is_file():
        raise InputError(
            f"{path}: no points of anchor {anchor.id}; add it again with `geocorrect anchors add` from its "
            'reconstruction, or use [depth] source = "triangulated"'
        )
    try:
        arrays = read_arrays(path)
        alignment_id = bytes(arrays["alignment_id"]).decode()
        from_anchors, reconstruction = (bytes(arrays[name]).decode() for name in ("from_anchors", "reconstruction"))
        samples = DepthSamples(
            arrays["px"], arrays["z_m"], arrays["log_sigma"], float(arrays["common_log_sigma"]),
            tuple(from_anchors.splitlines()), arrays["point"], reconstruction,
        )  # fmt: skip
        fits = samples.px.shape == (len(samples.z_m), 2) and samples.log_sigma.shape == samples.z_m.shape
        fits &= samples.point.shape == samples.z_m.shape
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); add the anchors again") from None
    if not fits:
        raise InputError(f"{path}: damaged; add the anchors again")
    if placed and alignment_id != anchor.alignment_id:
        raise InputError(
            f"{path}: its points are those of alignment {alignment_id}, the anchor has {anchor.alignment_id}; "
            "add the anchors again"
        )
    return samples


def samples_path(folder: Path, anchor: Anchor) -> Path:
    """Where the samples of an anchor are kept."""
    return folder / f"{anchor.id}.npz"
