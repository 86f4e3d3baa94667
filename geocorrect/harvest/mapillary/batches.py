"""Metadata in batches of 50, halved around what the service chokes on, down to the one image to blame.

An error about one object is never a change of the service: that image becomes a hole, its neighbours arrive.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from geocorrect.harvest.mapillary.client import Json, MapillaryClient
from geocorrect.harvest.mapillary.metadata import ALL_FIELDS
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError

_BLAME_ONE = frozenset(
    {
        *(ErrorKind.NOT_FOUND, ErrorKind.TOO_MUCH_DATA, ErrorKind.QUERY_TIMEOUT, ErrorKind.FORBIDDEN),
        *(ErrorKind.TEMPORARY, ErrorKind.MALFORMED, ErrorKind.UNKNOWN_FIELD),
    }
)
_MOST_FAILED_IDS = 40
"""Images in a row that fail one by one, nothing between them answered: the metadata service itself is ill."""

_WITNESSES = 3
_MOST_ASKED_WITNESSES = 12
"""How many images must say that they lack a field before it counts as gone, and how many are asked for it."""

_IMAGE_ONLY = ("compass_angle", "exif_orientation")
"""Fields that nothing but an image has: who answers one of them is an image."""


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
        self._existing_fields: set[str] = set()
        self._failed_in_a_row = 0

    def ask_for(self, image_ids: Sequence[str], witnesses: Sequence[str]) -> Answers:
        """Metadata of up to one batch of images; `witnesses` are images to ask whether a field is gone."""
        if len(image_ids) == 1 or self._batches_refused:
            return self._singly(image_ids, witnesses)
        not_asked = self._client.dropped_fields
        try:
            entries = self._client.images_by_id(image_ids, ALL_FIELDS)
        except RequestError as failure:
            if self._has_dropped(failure, not_asked, witnesses):
                return self.ask_for(image_ids, witnesses)
            if failure.kind in _BLAME_ONE:
                middle = len(image_ids) // 2
                answers = self.ask_for(image_ids[:middle], witnesses)
                answers.add(self.ask_for(image_ids[middle:], witnesses))
                return answers
            if failure.kind is not ErrorKind.REFUSED:
                return Answers(failed=dict.fromkeys(image_ids, str(failure)))
            self._batches_refused = True
            return self._singly(image_ids, witnesses)
        self._failed_in_a_row = 0
        wanted = set(image_ids)
        answers = Answers({str(entry["id"]): entry for entry in entries if str(entry.get("id")) in wanted})
        # The service may leave images out without a word; each is asked for by name before it is believed gone.
        left_out = [image_id for image_id in image_ids if image_id not in answers.records]
        answers.add(self._singly(left_out, witnesses))
        return answers

    def _singly(self, image_ids: Sequence[str], witnesses: Sequence[str]) -> Answers:
        answers = Answers()
        for image_id in image_ids:
            try:
                answers.records[image_id] = self._one(image_id, witnesses)
                self._failed_in_a_row = 0
            except RequestError as failure:
                if failure.kind is ErrorKind.NOT_FOUND:
                    answers.gone.append(image_id)
                else:
                    answers.failed[image_id] = str(failure)
                    self._count_failure(failure)
        return answers

    def _one(self, image_id: str, witnesses: Sequence[str]) -> Json:
        while True:
            not_asked = self._client.dropped_fields
            try:
                return self._client.entity(image_id, ALL_FIELDS)
            except RequestError as failure:
                if not self._has_dropped(failure, not_asked, witnesses):
                    raise

    def _count_failure(self, failure: RequestError) -> None:
        self._failed_in_a_row += failure.kind is ErrorKind.TEMPORARY
        if self._failed_in_a_row >= _MOST_FAILED_IDS:
            self._client.limiter.stop(
                f"the service answers, but not for images: {_MOST_FAILED_IDS} in a row failed ({failure.detail}); "
                "what was harvested is kept, run the same command later to continue"
            )

    def _has_dropped(self, failure: RequestError, not_asked: Collection[str], witnesses: Sequence[str]) -> bool:
        """Whether the failure says that a field is gone, and several images confirm it: then it is dropped."""
        name = failure.field_name
        if name is None or name in self._existing_fields or name in not_asked:
            return False
        if name not in self._client.dropped_fields and not self._is_gone(name, witnesses):
            return False
        self._client.drop_field(name)
        return True

    def _is_gone(self, name: str, witnesses: Sequence[str]) -> bool:
        proof = next(field for field in _IMAGE_ONLY if field != name)
        votes = 0
        for image_id in witnesses[:_MOST_ASKED_WITNESSES]:
            try:
                self._client.entity(image_id, (name,))
            except RequestError as failure:
                votes += failure.field_name == name and self._answers(image_id, proof)
            else:
                self._existing_fields.add(name)
                return False
            if votes == _WITNESSES:
                return True
        return False

    def _answers(self, image_id: str, name: str) -> bool:
        try:
            self._client.entity(image_id, (name,))
        except RequestError:
            return False
        return True
