"""Depth of an anchor at the points of the reconstruction that it came with (source name `reconstruction`).

Measured by triangulation, as `triangulated` is, but by the program that made the reconstruction, from all its images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geocorrect.anchors.samples import ReconstructedAnchor, read_samples, samples_path
from geocorrect.depth.base import DepthDeclaration
from geocorrect.records import Anchor, DepthMap, Float, Float32, ImageArray


@dataclass(frozen=True)
class ReconstructionDepthOptions:
    """Where the points are."""

    folder: Path = Path("reconstruction")
    """`geocorrect anchors add` keeps the points of reconstructions here, a file per anchor."""


class ReconstructionDepth:
    """DepthSource that reads points of reconstructions."""

    fingerprint = "reconstruction-2"

    def __init__(self, options: ReconstructionDepthOptions) -> None:
        self.folder, self.declaration = options.folder, declare_reconstruction(options)

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        samples = anchor.samples if isinstance(anchor, ReconstructedAnchor) else None
        samples = samples or read_samples(self.folder, anchor)
        log_sigma: Float32 = samples.log_sigma.astype("float32")
        return DepthMap(
            "reconstruction", is_oracle=False, samples_px=samples.px, samples_z_m=samples.z_m, log_sigma=log_sigma,
            common_log_sigma=samples.common_log_sigma, from_anchors=frozenset(samples.from_anchors),
        )  # fmt: skip


@dataclass(frozen=True)
class GivenTracks:
    """What a reconstruction matched already: neighbours need not be matched again."""

    folder: Path
    """As `ReconstructionDepthOptions.folder`."""

    @property
    def fingerprint(self) -> str:
        """Empty where no anchor came from a reconstruction."""
        return "+tracks" if self.folder.is_dir() else ""

    def __call__(self, anchor: Anchor, neighbour: Anchor) -> tuple[Float, Float] | None:
        """(N, 2) pixels in both of the points that one reconstruction saw in both; None where there is none.

        Raises:
            InputError: what was kept of an anchor is damaged.
        """
        if not all(samples_path(self.folder, one).is_file() for one in (anchor, neighbour)):
            return None
        here, there = (read_samples(self.folder, one, placed=False) for one in (anchor, neighbour))
        return here.shared_px(there)


def declare_reconstruction(options: ReconstructionDepthOptions) -> DepthDeclaration:
    """What such depth is; every point states its own error."""
    return DepthDeclaration(needs=("anchors out of a reconstruction",), valid_range_m=(0.0, float("inf")))
