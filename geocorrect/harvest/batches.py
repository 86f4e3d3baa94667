"""Metadata of many images: batches of 50, halved around what the service chokes on, down to the one image to blame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from geocorrect.harvest.client import Json, MapillaryClient
from geocorrect.harvest.faults import RequestError, Trouble
from geocorrect.harvest.metadata import FIELDS, THUMB_FIELDS

_BLAME_ONE = frozenset(
    {Trouble.NOT_FOUND, Trouble.TOO_MUCH_DATA, Trouble.QUERY_TIMEOUT, Trouble.FORBIDDEN, Trouble.REFUSED}
)


@dataclass
class Answers:
    """What the service said: records by image id, ids that do not exist, and ids that it would not answer for."""

    records: dict[str, Json] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, other: Answers) -> None:
        """Take over another batch."""
        self.records.update(other.records)
        self.gone += other.gone
        self.failed.update(other.failed)


def fields_to_ask() -> tuple[str, ...]:
    """All metadata fields and every picture URL (a missing size falls back to a smaller one)."""
    return (*FIELDS, *THUMB_FIELDS.values())


def ask_for(client: MapillaryClient, image_ids: Sequence[str]) -> Answers:
    """Metadata of up to one batch of images. Each id ends up in exactly one of the three parts of the answer."""
    fields = fields_to_ask()
    if len(image_ids) == 1:
        return _ask_single(client, image_ids[0], fields)
    try:
        entries = client.images_by_id(image_ids, fields)
    except RequestError as failure:
        if failure.trouble not in _BLAME_ONE:
            return Answers(failed={image_id: str(failure) for image_id in image_ids})
        return _halves(client, image_ids, ask_for)
    wanted = set(image_ids)
    answers = Answers(records={str(entry["id"]): entry for entry in entries if str(entry.get("id")) in wanted})
    # The service may leave images out without a word; each of them is asked for by name before it is believed gone.
    for image_id in image_ids:
        if image_id not in answers.records:
            answers.add(_ask_single(client, image_id, fields))
    return answers


def _ask_single(client: MapillaryClient, image_id: str, fields: Sequence[str]) -> Answers:
    try:
        return Answers(records={image_id: client.entity(image_id, fields)})
    except RequestError as failure:
        if failure.trouble is Trouble.NOT_FOUND:
            return Answers(gone=[image_id])
        return Answers(failed={image_id: str(failure)})


def _halves(
    client: MapillaryClient,
    image_ids: Sequence[str],
    ask: Callable[[MapillaryClient, Sequence[str]], Answers],
) -> Answers:
    middle = len(image_ids) // 2
    answers = ask(client, image_ids[:middle])
    answers.add(ask(client, image_ids[middle:]))
    return answers
