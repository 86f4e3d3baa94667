"""What a harvest needs from the catalog, and a stand-in in memory for dry runs and tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from geocorrect.records import Image


class ImageSink(Protocol):
    """Where harvested images go, for example a `catalog.Catalog`, which also keeps earlier versions of an image."""

    def images(self, ids: Sequence[str]) -> Mapping[str, Image]:
        """The stored images among `ids`, by id."""
        ...

    def upsert_images(self, images: Iterable[Image]) -> object:
        """Insert new images, replace known ones; idempotent, and durable when it returns."""
        ...


class MemorySink:
    """A sink in memory: `by_id` maps ids to images."""

    def __init__(self) -> None:
        self.by_id: dict[str, Image] = {}

    def images(self, ids: Sequence[str]) -> Mapping[str, Image]:
        """The stored images among `ids`, by id."""
        return {image_id: self.by_id[image_id] for image_id in ids if image_id in self.by_id}

    def upsert_images(self, images: Iterable[Image]) -> None:
        """Insert or replace."""
        self.by_id.update((image.id, image) for image in images)
