"""What every format of anchors is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.errors import UsageError
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


def choice_of(name: str, value: str, known: tuple[str, ...]) -> str:
    """The value of an option, if it is one of those known; UsageError otherwise."""
    if value not in known:
        raise UsageError(f"{name} {value!r}: use {', '.join(known)}")
    return value


def head_of(path: Path) -> str:
    """The beginning of a file as text, for `AnchorFormat.detect`; empty when it is none or cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""
