"""The one list of formats of anchors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AUTO, AnchorOptions
from geocorrect.anchors.readers import table
from geocorrect.anchors.readers.driving import argoverse, nuscenes, waymo, zod
from geocorrect.anchors.readers.format import AnchorFormat
from geocorrect.anchors.readers.kitti import kitti360, odometry, raw
from geocorrect.anchors.readers.mobile import drive
from geocorrect.anchors.readers.positions import photos
from geocorrect.anchors.readers.reconstruction import colmap, metashape, odm_shots, opensfm, realitycapture
from geocorrect.anchors.readers.vbr import sequence
from geocorrect.errors import InputError, UsageError
from geocorrect.records import Anchor

FORMATS: Mapping[str, AnchorFormat] = {
    one.name: one
    for one in (
        table.FORMAT,
        sequence.FORMAT,
        raw.FORMAT,
        odometry.FORMAT,
        kitti360.FORMAT,
        drive.FORMAT,
        nuscenes.FORMAT,
        argoverse.FORMAT,
        waymo.FORMAT,
        zod.FORMAT,
        colmap.FORMAT,
        opensfm.FORMAT,
        odm_shots.FORMAT,
        metashape.FORMAT,
        realitycapture.FORMAT,
        photos.FORMAT,
    )
}
"""In the order in which `geocorrect anchors formats` lists them."""


FLAGS = {"geoid_undulation_m": "geoid_undulation", "position_sigma_m": "position_sigma",
         "clock_offset_s": "clock_offset"}  # fmt: skip
"""Options of the command line whose names are not those of the fields."""


@dataclass(frozen=True)
class ChosenFiles:
    """A path, its format, and the options."""

    path: Path
    format: AnchorFormat
    options: AnchorOptions

    def read(self) -> tuple[Alignment, list[Anchor]]:
        """The alignment and the anchors in its frame; see `AnchorFormat.read`."""
        return self.format.read(self.path, self.options)


def anchor_files(
    path: Path, layout: str = AUTO, options: AnchorOptions | None = None, unasked: Collection[str] = ()
) -> ChosenFiles:
    """The anchors in files, not read yet.

    Args:
        path: A folder or file, as the format wants it.
        layout: Name of a format, or "auto".
        options: What the files do not say themselves.
        unasked: Fields of options that the caller set for all formats: ignored where a format does not take them.

    Raises:
        InputError: layout is "auto" and no format, or more than one, knows the files.
        UsageError: there is no such format, or it does not take an option that is given.
    """
    chosen, options = find_format(path) if layout == AUTO else format_named(layout), options or AnchorOptions()
    given = {one.name for one in fields(options) if getattr(options, one.name) != one.default}
    if foreign := sorted(given - {"dataset", *chosen.takes, *unasked}):
        raise UsageError(f"--format {chosen.name} does not take {_flags(foreign)}; it takes {_flags(chosen.takes)}")
    return ChosenFiles(path, chosen, options)


def _flags(names: Iterable[str]) -> str:
    """Fields of AnchorOptions as a command line spells them."""
    return ", ".join("--" + FLAGS.get(name, name).replace("_", "-") for name in names)


def format_named(name: str) -> AnchorFormat:
    """A format by its name; UsageError listing them when there is none of that name."""
    if name not in FORMATS:
        raise UsageError(f"--format {name!r}: use auto, {', '.join(FORMATS)} (see `geocorrect anchors formats`)")
    return FORMATS[name]


def find_format(path: Path) -> AnchorFormat:
    """The only format that knows a path; InputError when none does, or several do."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    found = [one for one in FORMATS.values() if one.detect(path)]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(f"--format {one.name}" for one in found)
        raise InputError(f"{path}: may be more than one format; say {names}")
    raise InputError(
        f"{path}: no known format of anchors; `geocorrect anchors formats` lists what there is, --format names it"
    )


def format_rows() -> list[dict[str, Any]]:
    """One row per format, as plain JSON values: the rows of `geocorrect anchors formats`."""
    return [{"format": one.name, "files": one.files, "needs": one.needs or "–"} for one in FORMATS.values()]
