"""Which files of a folder are photos, and why the other pictures are not."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from geocorrect.io.masks import HEIF_ENDINGS, PHOTO_ENDINGS, is_mask
from geocorrect.io.pixels import reads_heif

_NOT_READ = frozenset(
    {
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".gpr", ".srw", ".pef", ".insp", ".jxl"),
        *(".avif", ".bmp", ".gif", ".jp2", ".mpo"),
    }
)
_JUNK = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "recycler", "lost+found", "lost.dir", "thumbs", "thumbnails"}
)
ENDINGS = f"{', '.join(sorted(PHOTO_ENDINGS))}; {', '.join(sorted(HEIF_ENDINGS))} with geocorrect[heif]"


def photo_files(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """(photos, (file, reason) of every other picture) of a folder and what is below it, sorted by path."""
    photos, skipped = [], []
    for path in sorted(_pictures(folder)):
        reason = _reason(path, path.relative_to(folder))
        if reason is None:
            photos.append(path)
        else:
            skipped.append((shown(path), reason))
    return photos, skipped


def photo_id(path: Path, folder: Path) -> str:
    """The id of a photo: its path below the folder in Unicode form C, whichever form the disk keeps (macOS: D)."""
    return unicodedata.normalize("NFC", path.relative_to(folder).as_posix())


def is_storable(path: Path) -> bool:
    """Whether a path can be written into a catalog: it is UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name: Path | str) -> str:
    """A path for messages: bytes that are not UTF-8 and control characters escaped."""
    raw = str(name).encode("utf-8", "surrogateescape" if _is_escaped(str(name)) else "backslashreplace")
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _is_escaped(name: str) -> bool:
    """Whether all that is not Unicode in a name are bytes of the file system, as Python escapes them."""
    return all("\udc80" <= letter <= "\udcff" for letter in name if "\ud800" <= letter <= "\udfff")


def _pictures(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix.lower() in PHOTO_ENDINGS | HEIF_ENDINGS | _NOT_READ and path.is_file():
            yield path


def _reason(path: Path, below: Path) -> str | None:
    """Why a picture is no photo of the collection; None when it is one."""
    ending = path.suffix.lower()
    if any(part.startswith(".") or part.lower() in _JUNK for part in below.parts):
        return "hidden, thumbnail or trash"
    if not is_storable(path):
        return "its name is not UTF-8; rename it"
    if ending in _NOT_READ:
        return f"{ending} is not read; convert it to JPEG"
    if ending in HEIF_ENDINGS and not reads_heif():
        return f"{ending} needs `pip install 'geocorrect[heif]'`"
    return "mask of another photo" if is_mask(path) else None
