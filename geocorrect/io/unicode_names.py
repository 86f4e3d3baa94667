"""Names with accents: macOS writes é as two characters (Unicode form D), everybody else as one (C)."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path


def plain(name: str) -> str:
    """The name in form C, in which ids and names of images are compared and stored."""
    return unicodedata.normalize("NFC", name)


def on_disk(path: Path) -> Path:
    """The path as it is, or in the other form where only that exists: the disk and a table may have different ones."""
    if not os.path.exists(path):
        for form in ("NFC", "NFD"):
            other = Path(unicodedata.normalize(form, str(path)))
            if os.path.exists(other):
                return other
    return path
