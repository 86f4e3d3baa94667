"""What a harvest needs from the catalog, and a stand-in in memory for dry runs and tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from geocorrect.errors import InputError
from geocorrect.harvest.mapillary.responses import printable
from geocorrect.harvest.report import HarvestReport, Hole
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


def store(sink: ImageSink, images: Sequence[Image], report: HarvestReport) -> list[Hole]:
    """Into the catalog, durably, and counted; those that it cannot take are holes, and cost no others."""
    if not images:
        return []
    known = set(sink.images([image.id for image in images]))
    try:
        sink.upsert_images(images)
    except InputError as error:
        if len(images) == 1:
            return [Hole("image", images[0].id, printable(str(error)))]
        middle = len(images) // 2
        return store(sink, images[:middle], report) + store(sink, images[middle:], report)
    report.count(images, known)
    return []
