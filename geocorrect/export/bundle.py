"""Folders that appear complete or not at all, and what every bundle of poses needs: results with their photos."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from geocorrect.catalog import Catalog, StoredResult
from geocorrect.errors import OutputError
from geocorrect.export.features import ATTRIBUTION
from geocorrect.records import Correction, Image

NOTICE = "ATTRIBUTION.txt"


@dataclass(frozen=True)
class Posed:
    """A correction with its photo.

    file_name: of the photo, unique in the bundle; the id with .jpg before the photo is downloaded.
    """

    stored: StoredResult
    correction: Correction
    image: Image
    file_name: str


def posed_images(catalog: Catalog, stored: Iterable[StoredResult], batch: int = 1000) -> Iterator[Posed]:
    """Corrections (no rejections) with their photos, in the order given."""
    iterator = iter(stored)
    names: set[str] = set()
    while some := list(islice(iterator, batch)):
        images = catalog.images([s.image_id for s in some])
        for s in some:
            if isinstance(s.result, Correction):
                image = images[s.image_id]
                name = image.path.name if image.path else f"{image.id}.jpg"
                name = f"{image.id}_{name}" if name in names else name
                names.add(name)
                yield Posed(s, s.result, image, name)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends well.

    An older bundle of ours (it holds ATTRIBUTION.txt) is replaced; any other existing file or folder is an OutputError.
    """
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or (path / NOTICE).is_file())):
        raise OutputError(f"{path} exists and is not a bundle of ours; name another folder or remove it")
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", dir=path.parent))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with the keys in the order given."""
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")


def write_notice(folder: Path, posed: Iterable[Posed], more: str = "") -> None:
    """ATTRIBUTION.txt: who made each photo, where it is published, under which licence."""
    lines = [ATTRIBUTION, *([more] if more else []), "", "image_id\tcreator\tlicence\tpage_url"]
    for one in posed:
        a = one.stored.attribution
        lines.append("\t".join(" ".join(value.split()) for value in (one.image.id, a.creator, a.licence, a.page_url)))
    (folder / NOTICE).write_text("\n".join(lines) + "\n", encoding="utf-8")
