"""Depth that was predicted elsewhere (a network on another machine), one .npy file per anchor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geocorrect.depth.base import DepthDeclaration
from geocorrect.errors import ConfigError, InputError
from geocorrect.networks.cards import Licence
from geocorrect.records import Anchor, DepthMap, ImageArray


@dataclass(frozen=True)
class DepthFilesOptions:
    """Where the files are and how good they are."""

    folder: Path | None = None
    """Contains `<anchor id>.npy`, (H, W) z-depth in metres as floats, nan or 0 = unknown. A map, or sparse samples."""
    name: str = "files"
    """Of what made them, version included: names the depth in results, and a change makes everything due again."""
    common_log_sigma: float = 0.2
    """Relative error shared by a whole picture."""
    log_sigma: float = 0.1
    """Relative error of single pixels."""
    is_oracle: bool = False
    """Whether they were measured instead of predicted."""
    licence: str = "not stated"
    """Of the weights that made them, for the report; it counts as non-commercial, because only you know it."""

    def __post_init__(self) -> None:
        if not self.name or self.common_log_sigma < 0 or not self.log_sigma > 0:
            raise ValueError("depth files: a name, common_log_sigma ≥ 0 and log_sigma > 0 are needed")


class FilesDepth:
    """DepthSource that reads prepared maps."""

    def __init__(self, options: DepthFilesOptions) -> None:
        if options.folder is None:
            raise ConfigError('[depth] source = "files" needs [depth.files] folder = "…" with <anchor id>.npy files')
        self.folder, self.options, self.declaration = options.folder, options, declare_files(options)
        # What the options say; the folder may move.
        self.fingerprint = f"{options.name}/{options.common_log_sigma:g}/{options.log_sigma:g}"

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        path = self.folder / f"{anchor.id}.npy"
        try:
            # Mapped: a header that claims more than the file has is refused before anything is allocated for it.
            stored = np.load(path, allow_pickle=False, mmap_mode="r")
            shape = np.shape(stored)
            z_m = np.asarray(stored, np.float32) if shape == image.shape[:2] else None
        except FileNotFoundError:
            raise InputError(f"{path}: no such depth file for anchor {anchor.id}") from None
        except MemoryError:
            raise
        except Exception as error:
            # A header is parsed as Python: what a damaged one raises has no common class.
            raise InputError(f"{path}: not a readable .npy array of numbers ({error})") from None
        if z_m is None:
            raise InputError(f"{path}: depth has shape {shape}, the anchor's image {image.shape[:2]}")
        known, o = np.isfinite(z_m) & (z_m > 0), self.options
        if _is_sparse(known):
            row, column = np.nonzero(known)
            return DepthMap(
                o.name, o.is_oracle, samples_px=np.column_stack([column, row]), samples_z_m=z_m[known].astype(float),
                log_sigma=o.log_sigma, common_log_sigma=o.common_log_sigma,
            )  # fmt: skip
        z_m = np.where(known, z_m, np.float32(np.nan))
        return DepthMap(o.name, o.is_oracle, z_m=z_m, log_sigma=o.log_sigma, common_log_sigma=o.common_log_sigma)


def _is_sparse(known: NDArray[np.bool_]) -> bool:
    """Whether the known pixels are samples (a projected scan) and no surface: a map is read between its pixels."""
    inner = known[:-1, :-1]
    surrounded = inner & known[1:, :-1] & known[:-1, 1:] & known[1:, 1:]
    return bool(surrounded.sum() < 0.5 * inner.sum())


def declare_files(options: DepthFilesOptions) -> DepthDeclaration:
    """What maps that were made elsewhere are, as far as their options say."""
    return DepthDeclaration(
        needs=("`<anchor id>.npy` of each anchor",),
        valid_range_m=(0.0, float("inf")),
        log_sigma=options.log_sigma,
        common_log_sigma=options.common_log_sigma,
        licence=Licence(options.licence, "", commercial=False),
        weights=options.name,
        is_oracle=options.is_oracle,
    )
