"""The first half of a harvest: sequences → image ids → what the service says about those that are due.

Metadata comes in batches of 50, halved around what the service chokes on, down to the one image to blame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from geocorrect.harvest.journal import Journal
from geocorrect.harvest.mapillary.client import Json, MapillaryClient
from geocorrect.harvest.mapillary.metadata import ALL_FIELDS
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError
from geocorrect.harvest.mapillary.tiles import IMAGE_ID
from geocorrect.harvest.report import HarvestReport
from geocorrect.harvest.sink import ImageSink
from geocorrect.records import Image, MetadataQuality

LOOSE = ""
"""The key under which images without a sequence travel."""

_GROUP_SIZE = 1000
_BLOCK = 50
_BLAME_ONE = frozenset(
    {
        *(ErrorKind.NOT_FOUND, ErrorKind.TOO_MUCH_DATA, ErrorKind.QUERY_TIMEOUT, ErrorKind.FORBIDDEN),
        ErrorKind.MALFORMED,  # one record that no parser takes must not hide the 49 others night after night
    }
)

Sequences = Mapping[str, list[str] | None]
"""Sequence key → image ids in capture order, or None when they have to be asked for."""


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


@dataclass
class Group:
    """Some whole sequences on their way."""

    sequences: dict[str, list[str]] = field(default_factory=dict)
    """Image ids in capture order by sequence key."""
    known: dict[str, Image] = field(default_factory=dict)
    """What the catalog has of them."""
    answers: Answers = field(default_factory=Answers)
    """What the service says now about those that are due."""
    unanswered: dict[str, str] = field(default_factory=dict)
    """Sequences whose ids the service would not list, with the reason."""

    @property
    def n_ids(self) -> int:
        """Ids, repeated ones counted again."""
        return sum(map(len, self.sequences.values()))

    def split_off_full(self) -> Group:
        """Remove the first sequences that make a full group, and return that group."""
        full, self.unanswered = Group(unanswered=self.unanswered), {}
        while self.sequences and full.n_ids < _GROUP_SIZE:
            key = next(iter(self.sequences))
            full.sequences[key] = self.sequences.pop(key)
        return full


class GroupSource:
    """Prepares groups of about 1000 images, so that memory does not grow with the area."""

    def __init__(
        self, client: MapillaryClient, sink: ImageSink, journal: Journal, report: HarvestReport, now: datetime
    ) -> None:
        self._client, self._sink, self._journal, self._report, self._now = client, sink, journal, report, now
        self._batches = BatchReader(client)
        self._seen: set[str] = set()

    def groups(self, sequences: Sequences, asking: ThreadPoolExecutor) -> Iterator[Group]:
        """Every sequence in exactly one group."""
        group = Group()
        keys = list(sequences)
        for start in range(0, len(keys), _BLOCK):
            self._expand({key: sequences[key] for key in keys[start : start + _BLOCK]}, group, asking)
            while group.n_ids >= _GROUP_SIZE:
                yield self._answered(group.split_off_full(), asking)
        if group.sequences or group.unanswered:
            yield self._answered(group, asking)

    def forget(self, image_ids: Iterable[str]) -> None:
        """These ids will be asked for again."""
        self._report.n_ids -= len(self._seen.intersection(image_ids))
        self._seen.difference_update(image_ids)

    def _expand(self, block: Sequences, group: Group, asking: ThreadPoolExecutor) -> None:
        """Fill in the ids of a block of sequences; those stored by an earlier run cost no request."""
        futures = {}
        for key, ids in block.items():
            if ids is not None:
                group.sequences[key] = ids
            elif key in self._journal.sequence_ids:
                group.sequences[key] = self._journal.sequence_ids[key]
                self._report.n_sequences_known += 1
            else:
                futures[key] = asking.submit(self._client.image_ids, key)
        for key, future in futures.items():
            try:
                group.sequences[key] = [image_id for image_id in future.result() if IMAGE_ID.fullmatch(image_id)]
            except RequestError as failure:
                group.unanswered[key] = str(failure)

    def _answered(self, group: Group, asking: ThreadPoolExecutor) -> Group:
        """Ask for the metadata of the images that are due."""
        unique = list(dict.fromkeys(image_id for ids in group.sequences.values() for image_id in ids))
        ids = [image_id for image_id in unique if image_id not in self._seen]
        self._seen.update(ids)
        # Known are all members, those of the first pass too: some rules look at a sequence as a whole.
        group.known = dict(self._sink.images(unique))
        due = [image_id for image_id in ids if self._is_due(image_id, group.known.get(image_id))]
        self._report.n_ids += len(ids)
        self._report.n_unchanged += len(group.known.keys() & ids) - len(group.known.keys() & due)
        size = self._client.options.batch_size
        batches = [due[start : start + size] for start in range(0, len(due), size)]
        for answers in asking.map(self._batches.ask_for, batches):
            group.answers.add(answers)
        return group

    def _is_due(self, image_id: str, known: Image | None) -> bool:
        """Whether the service must be asked: unknown, without picture, or raw long enough to have been processed."""
        options = self._client.options
        if image_id in self._journal.gone:
            return self._is_older(self._journal.gone[image_id], timedelta(days=options.retry_gone_after_days))
        if known is None or known.path is None or not known.path.is_file():
            return True
        if known.provider.get("picture_size") != options.image_size:
            return True
        if known.quality is not MetadataQuality.RAW_ONLY:
            return False
        age = timedelta(hours=options.refresh_after_h)
        return known.harvested_at is None or self._is_older(known.harvested_at, age)

    def _is_older(self, moment: datetime, age: timedelta) -> bool:
        """Older than `age`; a moment in the future (a clock was wrong) counts as old."""
        return not timedelta(0) <= self._now - moment <= age


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
