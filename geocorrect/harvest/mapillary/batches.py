"""Metadata of many images: batches of 50, halved around what the service chokes on, down to the one image to blame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from geocorrect.harvest.mapillary.client import Json, MapillaryClient
from geocorrect.harvest.mapillary.metadata import FIELDS, THUMB_FIELDS
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError

ALL_FIELDS = (*FIELDS, *THUMB_FIELDS.values())
"""All metadata and every picture URL: a missing size falls back to a smaller one."""

_BLAME_ONE = frozenset({ErrorKind.NOT_FOUND, ErrorKind.TOO_MUCH_DATA, ErrorKind.QUERY_TIMEOUT, ErrorKind.FORBIDDEN})


@dataclass
class Answers:
    """What the service said about some images; each id is in exactly one of the three."""

    records: dict[str, Json] = field(default_factory=dict)
    """Metadata by image id."""
    gone: list[str] = field(default_factory=list)
    """Ids that do not exist."""
    failed: dict[str, str] = field(default_factory=dict)
    """Ids that it would not answer for, with the reason."""

    def add(self, other: Answers) -> None:
        """Include another batch."""
        self.records.update(other.records)
        self.gone += other.gone
        self.failed.update(other.failed)


class BatchReader:
    """Asks for metadata. Batches by id are undocumented: when they are refused as such, images are asked for singly."""

    def __init__(self, client: MapillaryClient) -> None:
        self._client = client
        self._batches_refused = False

    def ask_for(self, image_ids: Sequence[str]) -> Answers:
        """Metadata of up to one batch of images."""
        if len(image_ids) == 1 or self._batches_refused:
            return self._singly(image_ids)
        try:
            entries = self._client.images_by_id(image_ids, ALL_FIELDS)
        except RequestError as failure:
            if failure.kind in _BLAME_ONE:
                middle = len(image_ids) // 2
                answers = self.ask_for(image_ids[:middle])
                answers.add(self.ask_for(image_ids[middle:]))
                return answers
            if failure.kind is not ErrorKind.REFUSED:
                return Answers(failed=dict.fromkeys(image_ids, str(failure)))
            self._batches_refused = True
            return self._singly(image_ids)
        wanted = set(image_ids)
        answers = Answers({str(entry["id"]): entry for entry in entries if str(entry.get("id")) in wanted})
        # The service may leave images out without a word; each is asked for by name before it is believed gone.
        answers.add(self._singly([image_id for image_id in image_ids if image_id not in answers.records]))
        return answers

    def _singly(self, image_ids: Sequence[str]) -> Answers:
        answers = Answers()
        for image_id in image_ids:
            try:
                answers.records[image_id] = self._client.entity(image_id, ALL_FIELDS)
            except RequestError as failure:
                if failure.kind is ErrorKind.NOT_FOUND:
                    answers.gone.append(image_id)
                else:
                    answers.failed[image_id] = str(failure)
        return answers
