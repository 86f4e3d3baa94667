"""Which files of a folder are photos, and why the other pictures are not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from geocorrect.errors import InputError
from geocorrect.io.masks import HEIF_ENDINGS, PHOTO_ENDINGS, is_mask
from geocorrect.io.pixels import reads_heif
from geocorrect.io.text_file import read_text
from geocorrect.io.unicode_names import on_disk, plain

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
    return plain(path.relative_to(folder).as_posix())


def listed_photos(image_list: Path) -> tuple[dict[str, Path], list[tuple[str, str]]]:
    """({name: photo}, (entry, reason) of the others) of an OpenSfM project's image_list.txt: one path a line.

    Paths are relative to the list. ODM writes those of its container: what is not there is looked for by its name in
    `images/`, of the project and beside it.
    """
    photos: dict[str, Path] = {}
    project, skipped = image_list.parent, []
    for line in dict.fromkeys(map(str.strip, read_text(image_list).split("\n"))):
        if not line:
            continue
        path = Path(line)
        places = (project / path, project / "images" / path.name, project.parent / "images" / path.name)
        found = next((place for place in map(on_disk, places) if os.path.isfile(place)), None)
        reason = _reason(found, Path(found.name)) if found else f"{image_list.name} names it, but it is not there"
        if found is None or reason is not None:
            skipped.append((shown(line), str(reason)))
        elif photos.setdefault(plain(path.name), found) != found:
            skipped.append((shown(line), "another photo of the list has its name"))
    if not photos:
        raise InputError(f"{image_list}: names no photo that is there{first_reasons(skipped)}")
    return photos, skipped


def first_reasons(skipped: list[tuple[str, str]]) -> str:
    """The first entries that were skipped, for the end of a message."""
    return "".join(f"; skipped {name}: {reason}" for name, reason in skipped[:3])


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
