"""What every format of anchors is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from geocorrect.anchors.alignment import Alignment, read_alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.errors import InputError, UsageError
from geocorrect.io.pixels import image_size
from geocorrect.records import Anchor

HEAD_BYTES = 65_536


@dataclass(frozen=True)
class AnchorFormat:
    """One format: declared by its reader as `FORMAT`, listed in `registry.FORMATS`."""

    name: str
    """As `--format` names it."""
    files: str
    """What it consists of, in words."""
    needs: str
    """The options that it cannot do without, empty for none."""
    detect: Callable[[Path], bool]
    """Whether a path holds it: looks at names and first bytes, never raises for what else may be there."""
    read: Callable[[Path, AnchorOptions], tuple[Alignment, list[Anchor]]]
    """The anchors, and the alignment whose frame their poses are in.

    Raises InputError naming file and record, UsageError for an option that is missing.
    """
    takes: tuple[str, ...]
    """The fields of AnchorOptions that `read` looks at, besides `dataset`, which all do."""


def choice_of(name: str, value: str, known: tuple[str, ...]) -> str:
    """The value of an option, if it is one of those known; UsageError otherwise."""
    if value not in known:
        raise UsageError(f"{name} {value!r}: use {', '.join(known)}")
    return value


def scans_wanted(options: AnchorOptions) -> str:
    """Whether scans are "required", taken "if_present", or "none"; UsageError for another word."""
    return choice_of("--scans", options.scans, ("required", "if_present", "none"))


def given_alignment(name: str, options: AnchorOptions, why: str) -> Alignment:
    """The alignment that places the frame of a format; UsageError saying why one is needed where none is given."""
    if options.alignment is None:
        raise UsageError(f"--format {name} needs --alignment FILE.json: {why}")
    return read_alignment(options.alignment)


def require_size(path: Path, width: int, height: int, source: str, where: str = "", advice: str = "") -> None:
    """InputError unless a picture has the size, in pixels, that its calibration says.

    Args:
        path: The picture.
        width: As `source` says.
        height: Likewise.
        source: File or record of the calibration, for the message.
        where: Record that names the picture, for the message; default: the picture.
        advice: What to do, for the message.
    """
    found = image_size(path)
    if found != (width, height):
        raise InputError(
            f"{where or path}: the image is {found[0]}×{found[1]} pixels, {source} says {width}×{height}{advice}"
        )


def wanted_frames(paths: Sequence[Path], frames: str | None) -> list[Path]:
    """Of files named by frame numbers those of START:STOP:STEP; InputError when there are none, UsageError for a text.

    Numbers, not places in the listing, count: of a partial copy the same frames are taken.
    """
    if frames is None:
        return list(paths)
    try:
        parts = [int(part) if part else None for part in frames.split(":")]
        numbers = range(10**9)[slice(*parts)] if 2 <= len(parts) <= 3 else None
    except ValueError:
        numbers = None
    if numbers is None or any(part is not None and part < 0 for part in parts):
        raise UsageError(f"--frames {frames!r}: write START:STOP or START:STOP:STEP, such as 0:200:5")
    found = [path for path in paths if int(path.stem) in numbers]
    if not found:
        raise InputError(f"{paths[0].parent}: no frame of --frames {frames} is here")
    return found


def head_of(path: Path) -> str:
    """The beginning of a file as text, for `AnchorFormat.detect`; empty when it is none or cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""
