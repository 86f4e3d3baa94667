"""What a harvest needs from the catalog, and a stand-in that keeps everything in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from geocorrect.records import Image


class ImageSink(Protocol):
    """Where harvested images go. `catalog.Catalog` is one.

    `images` returns the stored images among the ids asked for, by id. `upsert_images` is idempotent and durable when it
    returns: the harvest then forgets about these images. Keeping what was said before is the sink's business.
    """

    def images(self, ids: Sequence[str]) -> Mapping[str, Image]:
        """The stored images among `ids`."""
        ...

    def upsert_images(self, images: Iterable[Image]) -> object:
        """Insert new images, replace known ones."""
        ...


class MemorySink:
    """A sink for dry runs and tests: a dict by id."""

    def __init__(self) -> None:
        self.by_id: dict[str, Image] = {}

    def images(self, ids: Sequence[str]) -> Mapping[str, Image]:
        """The stored images among `ids`."""
        return {image_id: self.by_id[image_id] for image_id in ids if image_id in self.by_id}

    def upsert_images(self, images: Iterable[Image]) -> None:
        """Insert or replace."""
        self.by_id.update((image.id, image) for image in images)
