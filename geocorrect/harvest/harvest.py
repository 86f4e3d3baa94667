"""One call: area → images on disk and in the catalog, completely, politely, resumable at any moment.

discover (tiles) → expand (sequences) → metadata (batches) → keep what lies in the area → download → store.
What is stored is durable; a killed run is taken up from the journal, the catalog and the files.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from geocorrect.errors import Reason
from geocorrect.harvest.area import Area
from geocorrect.harvest.batches import Answers, ask_for
from geocorrect.harvest.client import Json, MapillaryClient
from geocorrect.harvest.discover import Discovery
from geocorrect.harvest.download import fetch, remove_leftovers
from geocorrect.harvest.faults import RequestError
from geocorrect.harvest.journal import Journal
from geocorrect.harvest.metadata import read_image_record, with_camera, without_false_norths
from geocorrect.harvest.options import HarvestOptions
from geocorrect.harvest.report import HarvestReport, Hole
from geocorrect.harvest.sink import ImageSink
from geocorrect.harvest.tiles import IMAGE_ID
from geocorrect.records import Image, MetadataQuality

STATE_FOLDER = ".harvest"
_GROUP = 1000
_STORE_EVERY = 50
Progress = Callable[[HarvestReport], None]


@dataclass(frozen=True)
class HarvestPlan:
    """What to harvest: images of `area` taken at or after `since`, at most `limit` of them, into images_dir."""

    area: Area
    images_dir: Path
    since: datetime | None = None
    limit: int | None = None
    dry_run: bool = False

    def journal_path(self, image_size: str) -> Path:
        """Each area, date and picture size has its own cursor."""
        text = f"{self.area.geometry.normalize().wkt}|{self.since}|{image_size}"
        return self.images_dir / STATE_FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsonl"


@dataclass
class Group:
    """Some whole sequences on their way: ids in capture order, what is known of them, what the service says now."""

    sequences: dict[str, list[str]] = field(default_factory=dict)
    known: dict[str, Image] = field(default_factory=dict)
    answers: Answers = field(default_factory=Answers)
    failed_sequences: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """All image ids, each once."""
        return list(dict.fromkeys(image_id for ids in self.sequences.values() for image_id in ids))


def harvest_area(
    plan: HarvestPlan, client: MapillaryClient, sink: ImageSink, progress: Progress | None = None
) -> HarvestReport:
    """Harvest an area into `sink` and `plan.images_dir`; the report says what is there and what is missing.

    Raises RemoteError when the token is refused or the service is down (what was stored stays; run again to continue),
    OutputError when files cannot be written.
    """
    journal_path = None if plan.dry_run else plan.journal_path(client.options.image_size)
    with Journal(journal_path) as journal:
        return _Harvest(plan, client, sink, journal, progress or (lambda report: None)).run()


def run_harvest(
    options: HarvestOptions, plan: HarvestPlan, sink: ImageSink, progress: Progress | None = None
) -> HarvestReport:
    """`harvest_area` with a client of its own; the token comes from MAPILLARY_TOKEN (ConfigError when it is missing)."""
    with MapillaryClient(options) as client:
        return harvest_area(plan, client, sink, progress)


class _Harvest:
    def __init__(
        self, plan: HarvestPlan, client: MapillaryClient, sink: ImageSink, journal: Journal, progress: Progress
    ) -> None:
        self.plan, self.client, self.sink, self.journal, self.progress = plan, client, sink, journal, progress
        self.report = HarvestReport(dry_run=plan.dry_run)
        self.now = datetime.now(UTC)
        self.started_s = time.monotonic()
        self.seen: set[str] = set()

    def run(self) -> HarvestReport:
        """The whole harvest."""
        self.client.check_token()
        discovery = Discovery(self.client, self.plan.area, self.journal)
        self.report.n_tiles = len(discovery.tiles())
        coverage = discovery.run()
        self.report.holes += discovery.holes
        self.report.n_sequences = len(coverage.sequences)
        self.report.n_coverage_points = coverage.n_points
        if not self.plan.dry_run:
            remove_leftovers(self.plan.images_dir)
            complete = self._store_all(coverage.sequences, coverage.loose_ids)
            if complete:
                self.journal.finish()
        self._tell()
        return self.report

    def _store_all(self, sequences: Iterable[str], loose_ids: Iterable[str]) -> bool:
        """Store every image of the sequences; False when the limit ended it early."""
        options = self.client.options
        with (
            ThreadPoolExecutor(options.graph_workers, "metadata") as asking,
            ThreadPoolExecutor(options.download_workers, "pictures") as downloading,
            ThreadPoolExecutor(1, "ahead") as ahead,
        ):
            try:
                groups = self._groups(sorted(sequences), sorted(loose_ids), asking)
                upcoming = ahead.submit(next, groups, None)
                while (group := upcoming.result()) is not None:
                    # The next group's metadata is asked for while this group's pictures arrive.
                    upcoming = ahead.submit(next, groups, None)
                    self._store_group(group, downloading)
                    if self._limit_reached():
                        return False
            except BaseException:
                self.client.pace.stop("the harvest was interrupted")
                raise
            finally:
                for pool in (ahead, asking, downloading):
                    pool.shutdown(wait=False, cancel_futures=True)
        return True

    # --- ahead: which images, and what the service says about them ---

    def _groups(self, sequences: Sequence[str], loose: Sequence[str], asking: ThreadPoolExecutor) -> Iterator[Group]:
        group = Group()
        for key, ids in self._expanded(sequences, group, asking):
            group.sequences[key] = ids
            if len(group.ids) >= _GROUP:
                yield self._answered(group, asking)
                group = Group()
        if loose:
            group.sequences[""] = list(loose)
        if group.sequences:
            yield self._answered(group, asking)

    def _expanded(
        self, sequences: Sequence[str], group: Group, asking: ThreadPoolExecutor
    ) -> Iterator[tuple[str, list[str]]]:
        """(sequence, ids); those stored by an earlier run come from the journal, without a request."""
        for start in range(0, len(sequences), _STORE_EVERY):
            block = sequences[start : start + _STORE_EVERY]
            futures = {
                key: asking.submit(self.client.image_ids, key) for key in block if key not in self.journal.sequence_ids
            }
            for key in block:
                if key not in futures:
                    self.report.n_sequences_known += 1
                    yield key, self.journal.sequence_ids[key]
                    continue
                try:
                    yield key, [image_id for image_id in futures[key].result() if IMAGE_ID.match(image_id)]
                except RequestError as failure:
                    self.report.holes.append(Hole("sequence", key, str(failure)))

    def _answered(self, group: Group, asking: ThreadPoolExecutor) -> Group:
        ids = [image_id for image_id in group.ids if image_id not in self.seen]
        self.seen.update(ids)
        self.report.n_ids += len(ids)
        group.known = {image.id: image for image in self.sink.images(ids)}
        todo = [image_id for image_id in ids if self._is_due(image_id, group.known.get(image_id))]
        size = self.client.options.batch_size
        batches = [todo[start : start + size] for start in range(0, len(todo), size)]
        for answers in asking.map(lambda batch: ask_for(self.client, batch), batches):
            group.answers.add(answers)
        return group

    def _is_due(self, image_id: str, known: Image | None) -> bool:
        """Whether the service must be asked: unknown, without picture, or raw long enough to have been processed."""
        if image_id in self.journal.gone:
            age = self.now - self.journal.gone[image_id]
            return age > timedelta(days=self.client.options.retry_gone_after_days)
        if known is None or known.path is None or not known.path.is_file():
            return True
        if known.provider.get("picture_size") != self.client.options.image_size:
            return True
        old = known.harvested_at is None or self.now - known.harvested_at > timedelta(
            hours=self.client.options.refresh_after_h
        )
        return known.quality is MetadataQuality.RAW_ONLY and old

    # --- here: pictures and the catalog ---

    def _store_group(self, group: Group, downloading: ThreadPoolExecutor) -> None:
        for image_id in group.answers.gone:
            self.journal.image_gone(image_id, self.now)
        self.report.n_gone += len(group.answers.gone)
        for image_id, why in group.answers.failed.items():
            self.report.holes.append(Hole("image", image_id, why))
        images = self._wanted(group)
        failed = set(group.answers.failed)
        pending = [downloading.submit(self._with_picture, group.answers.records[image.id], image) for image in images]
        chunk: list[Image] = []
        for future in as_completed(pending):
            image, failure = future.result()
            if failure is not None:
                failed.add(image.id)
                self.report.holes.append(failure)
            chunk.append(self._with_history(image, group.known.get(image.id)))
            if len(chunk) >= _STORE_EVERY:
                self._store(chunk)
                chunk = []
        self._store(chunk)
        if not self._limit_reached():
            self._close_sequences(group, failed)

    def _wanted(self, group: Group) -> list[Image]:
        """The images to store: fresh answers inside the area and the period, sequence by sequence."""
        fresh: dict[str, Image] = {}
        for ids in group.sequences.values():
            members = [image for image_id in ids if (image := self._read(image_id, group)) is not None]
            fresh.update((image.id, image) for image in without_false_norths(members))
        wanted = [image for image_id, image in fresh.items() if image_id in group.answers.records]
        kept = [image for image in wanted if self._belongs(image)]
        self.report.n_outside += len(wanted) - len(kept)
        self.report.n_unchanged += len(group.known) - sum(image.id in group.known for image in wanted)
        if self.plan.limit is not None:
            kept = kept[: max(self.plan.limit - self.report.n_new - self.report.n_updated, 0)]
        return kept

    def _read(self, image_id: str, group: Group) -> Image | None:
        record = group.answers.records.get(image_id)
        if record is None:
            return group.known.get(image_id)
        return read_image_record({**record, "id": image_id}, self.now)

    def _belongs(self, image: Image) -> bool:
        """Inside by reported or by computed position; an image without any position is kept, with its problem."""
        if self.plan.since is not None and (image.captured_at is None or image.captured_at < self.plan.since):
            return False
        positions = [position for position in (image.reported, image.computed) if position is not None]
        inside = (self.plan.area.contains(position.lon_deg, position.lat_deg) for position in positions)
        return not positions or any(inside)

    def _with_picture(self, record: Json, image: Image) -> tuple[Image, Hole | None]:
        provider: Mapping[str, object] = {**image.provider, "picture_size": self.client.options.image_size}
        image = replace(image, provider=provider)
        try:
            return fetch(self.client, record, image, self.plan.images_dir), None
        except RequestError as failure:
            missing = with_camera(replace(image, problem=image.problem or Reason.IMAGE_MISSING), None)
            return missing, Hole("picture", image.id, str(failure))

    def _with_history(self, image: Image, known: Image | None) -> Image:
        """The image with what the provider said earlier, where that has changed."""
        if known is None:
            return image
        history = list(known.provider.get("history", ()))
        if known.computed != image.computed or known.quality != image.quality:
            history.append(_computed_then(known))
        return replace(image, provider={**image.provider, "history": history}) if history else image

    def _store(self, images: list[Image]) -> None:
        if images:
            known = {image.id for image in self.sink.images([image.id for image in images])}
            self.sink.upsert_images(images)
            self.report.n_updated += len(known)
            self.report.n_new += len(images) - len(known)
        for image in images:
            self.report.n_with_picture += image.path is not None
            self.report.quality[str(image.quality)] += 1
            if image.problem is not None:
                self.report.problems[str(image.problem)] += 1
        self._tell()

    def _close_sequences(self, group: Group, failed: set[str]) -> None:
        """Note the sequences of which nothing is missing, with the ids that lie in the area."""
        outside = {image_id for image_id in group.answers.records}
        outside -= {image.id for image in self.sink.images(list(outside))}
        gone = set(group.answers.gone)
        for key, ids in group.sequences.items():
            if key and not failed.intersection(ids):
                self.journal.sequence_done(key, [entry for entry in ids if entry not in outside and entry not in gone])

    def _limit_reached(self) -> bool:
        return self.plan.limit is not None and self.report.n_new + self.report.n_updated >= self.plan.limit

    def _tell(self) -> None:
        self.report.requests = self.client.n_requests.copy()
        self.report.bytes_downloaded = self.client.n_picture_bytes
        self.report.wall_s = time.monotonic() - self.started_s
        self.progress(self.report)


def _computed_then(image: Image) -> dict[str, object]:
    """What the provider said about an image at an earlier harvest."""
    where = image.computed
    return {
        "harvested_at": image.harvested_at.isoformat() if image.harvested_at else None,
        "quality": str(image.quality),
        "computed_lon_lat": None if where is None else [where.lon_deg, where.lat_deg],
        "computed_rotation": image.provider.get("computed_rotation"),
    }
