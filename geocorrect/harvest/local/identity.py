"""One id, one photo: what an import does where a photo of another file has the same id."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from geocorrect.records import Image

Known = Callable[[Sequence[str]], Mapping[str, Image]]
"""Stored images by id, of some ids."""


def with_own_ids(images: Sequence[Image], known: Known) -> tuple[list[Image], list[str]]:
    """The images under ids that no other photo has, and a sentence for each that had to change.

    A file that changed in place, or that moved, keeps its id. Another file of the same id (two memory cards) gets the
    id with its checksum behind it: the same on every import.
    """
    taken = dict(known([image.id for image in images]))
    result, notes = [], []
    for image in images:
        other = taken.get(image.id)
        if other is not None and _is_other(image, other):
            own = replace(image, id=f"{image.id}@{_mark(image)}")
            notes.append(f"{image.path}: {other.path} has the id {image.id} already; imported as {own.id}")
            image = own
        taken[image.id] = image
        result.append(image)
    return result, notes


def _is_other(image: Image, other: Image) -> bool:
    if image.path == other.path or image.path is None:
        return False
    return image.sha256 is None or image.sha256 != other.sha256


def _mark(image: Image) -> str:
    return (image.sha256 or hashlib.sha256(str(image.path).encode()).hexdigest())[:8]
