"""Common parts of bundles of poses: results with their photos, and a notice of their creators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from geocorrect.catalog import Catalog, StoredResult
from geocorrect.catalog.rows.result_table import table_of
from geocorrect.export.features import ATTRIBUTION, property_rows
from geocorrect.io.atomic_folder import NOTICE
from geocorrect.records import Correction, Image


@dataclass(frozen=True)
class Posed:
    """A correction with its photo."""

    stored: StoredResult
    correction: Correction
    image: Image
    file_name: str
    """Of the photo, unique in the bundle; the id with .jpg before the photo is downloaded."""
    properties: Mapping[str, Any]
    """The named values of the result, as in other exports."""


def posed_images(catalog: Catalog, stored: Iterable[StoredResult], batch: int = 1000) -> Iterator[Posed]:
    """Corrections (no rejections) with their photos, in the order given; one batch in memory at a time."""
    iterator = iter(stored)
    names: set[int] = set()  # hashes: a million names would fill more memory than everything else
    while some := list(islice(iterator, batch)):
        images = catalog.images([s.image_id for s in some])
        for s, properties in zip(some, property_rows(table_of(some)), strict=True):
            if isinstance(s.result, Correction):
                image = images[s.image_id]
                name = image.path.name if image.path else f"{image.id}.jpg"
                name = f"{image.id}_{name}" if hash(name) in names else name
                names.add(hash(name))
                yield Posed(s, s.result, image, name, properties)


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with the keys in the order given."""
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")


@contextmanager
def notice(folder: Path, more: str = "") -> Iterator[Callable[[Posed], None]]:
    """ATTRIBUTION.txt: creator, address and licence of each photo; yields the function that adds a photo."""
    with (folder / NOTICE).open("w", encoding="utf-8") as file:
        head = [ATTRIBUTION, *([more] if more else []), "", "image_id\tcreator\tlicence\tpage_url"]
        file.write("\n".join(head) + "\n")

        def add(one: Posed) -> None:
            a = one.stored.attribution
            values = (one.image.id, a.creator, a.licence, a.page_url)
            file.write("\t".join(" ".join(value.split()) for value in values) + "\n")

        yield add
