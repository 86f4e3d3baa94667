"""One call: area → images on disk and in the catalog, completely, politely, resumable at any moment.

discover (tiles) → expand (sequences) → metadata (batches) → keep what lies in the area → download → store.
What is stored is durable; a killed run is taken up from the journal, the catalog and the files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from geocorrect.errors import Reason, RemoteError
from geocorrect.harvest.exclusive import exclusive
from geocorrect.harvest.journal import Journal
from geocorrect.harvest.mapillary.client import Json, MapillaryClient
from geocorrect.harvest.mapillary.discover import Discovery
from geocorrect.harvest.mapillary.download import fetch, remove_leftovers
from geocorrect.harvest.mapillary.groups import LOOSE, Group, GroupSource, Sequences
from geocorrect.harvest.mapillary.metadata import read_image_record, with_camera, without_false_norths
from geocorrect.harvest.mapillary.responses import RequestError
from geocorrect.harvest.mapillary.tiles import Coverage
from geocorrect.harvest.options import HarvestOptions
from geocorrect.harvest.plan import HarvestPlan
from geocorrect.harvest.report import HarvestReport, Hole
from geocorrect.harvest.sink import ImageSink
from geocorrect.records import Image

__all__ = ["HarvestPlan", "HarvestReport", "Progress", "harvest_area", "run_harvest"]

_STORE_EVERY = 50
_LOOK_S = 0.2
"""How often it is asked whether to stop: whatever the harvest waits for then, an answer, a picture or its turn."""
Progress = Callable[[HarvestReport], None]
ShouldStop = Callable[[], bool]


def _never() -> bool:
    return False


def harvest_area(
    plan: HarvestPlan,
    client: MapillaryClient,
    sink: ImageSink,
    progress: Progress | None = None,
    should_stop: ShouldStop = _never,
) -> HarvestReport:
    """Harvest an area into `sink` and `plan.images_dir`; the report says what is there and what is missing.

    should_stop: asked all the time, by another thread; once it says yes, what has arrived is stored and that is all.
    Raises RemoteError when the token is refused or the service is down (what was stored stays; run again to continue),
    OutputError when files cannot be written, SceneBusyError when another harvest writes into the same folder.
    """
    report_to = progress or (lambda report: None)
    with _stopping(client, should_stop):
        if plan.dry_run:
            return _Harvest(plan, client, sink, Journal(None), report_to).run(should_stop)
        with exclusive(plan.state_folder), Journal(plan.journal_path) as journal:
            return _Harvest(plan, client, sink, journal, report_to).run(should_stop)


def run_harvest(
    options: HarvestOptions,
    plan: HarvestPlan,
    sink: ImageSink,
    progress: Progress | None = None,
    should_stop: ShouldStop = _never,
) -> HarvestReport:
    """`harvest_area` with a client of its own; ConfigError when MAPILLARY_TOKEN is missing."""
    with MapillaryClient(options) as client:
        return harvest_area(plan, client, sink, progress, should_stop)


@contextmanager
def _stopping(client: MapillaryClient, should_stop: ShouldStop) -> Iterator[None]:
    """Look after the request to stop while the block runs: a signal handler may not take the client's locks itself."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_S):
            if should_stop():
                client.limiter.stop("the harvest was stopped on request")
                return

    looking = threading.Thread(target=look, name="stop", daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()


class _Harvest:
    """One run. `later` holds the sequences (key → ids, None = not listed yet) that a second pass tries again."""

    def __init__(
        self, plan: HarvestPlan, client: MapillaryClient, sink: ImageSink, journal: Journal, progress: Progress
    ) -> None:
        self.plan, self.client, self.sink, self.journal, self.progress = plan, client, sink, journal, progress
        self.report = HarvestReport(dry_run=plan.dry_run)
        self.now = datetime.now(UTC)
        self.started_s = time.monotonic()
        self.source = GroupSource(client, sink, journal, self.report, self.now)
        self.later: dict[str, list[str] | None] = {}
        self.last_pass = False

    def run(self, should_stop: ShouldStop) -> HarvestReport:
        """The whole harvest, or what came of it until it was to stop."""
        try:
            self._all()
        except RemoteError:
            # Whatever waited for the service was told so when the request came.
            if not should_stop():
                raise
            self.report.stopped = True
        self._tell()
        return self.report

    def _all(self) -> None:
        discovery = Discovery(self.client, self.plan.area, self.journal)
        self.report.n_tiles = len(discovery.tiles())
        self.client.check_token()
        coverage = discovery.run()
        self.report.holes += discovery.holes
        self.report.n_sequences = len(coverage.sequences)
        self.report.expect(coverage.n_points, self.client.options)
        if not self.plan.dry_run:
            remove_leftovers(self.plan.images_dir)
            self._store_all(coverage)
            if not self._limit_reached():
                self.journal.finish()

    def _store_all(self, coverage: Coverage) -> None:
        """Two passes: everything, then once more what failed in the first."""
        options = self.client.options
        with (
            ThreadPoolExecutor(options.graph_workers, "metadata") as asking,
            ThreadPoolExecutor(options.download_workers, "pictures") as downloading,
            ThreadPoolExecutor(1, "ahead") as ahead,
        ):
            pools = (asking, downloading, ahead)
            first: dict[str, list[str] | None] = dict.fromkeys(sorted(coverage.sequences))
            if coverage.loose_ids:
                first[LOOSE] = sorted(coverage.loose_ids)
            try:
                self._one_pass(first, pools)
                self.last_pass = True
                self._one_pass(dict(self.later), pools)
            except BaseException:
                self.client.limiter.stop("the harvest was interrupted")
                raise
            finally:
                for pool in pools:
                    pool.shutdown(wait=False, cancel_futures=True)

    def _one_pass(
        self, sequences: Sequences, pools: tuple[ThreadPoolExecutor, ThreadPoolExecutor, ThreadPoolExecutor]
    ) -> None:
        asking, downloading, ahead = pools
        groups = self.source.groups(sequences, asking)
        upcoming = ahead.submit(next, groups, None)
        while not self._limit_reached() and (group := upcoming.result()) is not None:
            # The next group's metadata is asked for while this group's pictures arrive.
            upcoming = ahead.submit(next, groups, None)
            self._store_group(group, downloading)

    def _store_group(self, group: Group, downloading: ThreadPoolExecutor) -> None:
        """Download and store a group's images, and note what is now complete."""
        for image_id in group.answers.gone:
            self.journal.image_gone(image_id, self.now)
        self.report.n_gone += len(group.answers.gone)
        failures = [Hole("image", image_id, why) for image_id, why in group.answers.failed.items()]
        images = self._wanted(group)
        pending = [downloading.submit(self._with_picture, group.answers.records[image.id], image) for image in images]
        chunk: list[Image] = []
        try:
            for future in as_completed(pending):
                image, failure = future.result()
                if failure is not None:
                    failures.append(failure)
                    if not self.last_pass:
                        continue
                chunk.append(image)
                if len(chunk) >= _STORE_EVERY:
                    self._store(chunk)
                    chunk = []
        except RemoteError:
            # The service is down, or we are to stop: what has arrived is kept.
            self._store(chunk)
            raise
        self._store(chunk)
        if not self._limit_reached():
            self._close(group, failures)

    def _wanted(self, group: Group) -> list[Image]:
        """The images to store: fresh answers inside the area and the period, sequence by sequence."""
        fresh: dict[str, Image] = {}
        for ids in group.sequences.values():
            members = [image for image_id in ids if (image := self._read(image_id, group)) is not None]
            fresh.update((image.id, image) for image in without_false_norths(members))
        answered = [image for image_id, image in fresh.items() if image_id in group.answers.records]
        kept = [image for image in answered if self._belongs(image)]
        self.report.n_outside += len(answered) - len(kept)
        if self.plan.limit is not None:
            kept = kept[: max(self.plan.limit - self.report.n_stored, 0)]
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
        """The image with its picture, or without one and with the hole that this leaves."""
        provider: Mapping[str, Any] = {**image.provider, "picture_size": self.client.options.image_size}
        image = replace(image, provider=provider)
        try:
            return fetch(self.client, record, image, self.plan.images_dir), None
        except RequestError as failure:
            missing = with_camera(replace(image, problem=image.problem or Reason.IMAGE_MISSING), None)
            return missing, Hole("picture", image.id, str(failure))

    def _store(self, images: list[Image]) -> None:
        """Into the catalog, durably, before anything else is said about these images."""
        if not images:
            return
        known = set(self.sink.images([image.id for image in images]))
        self.sink.upsert_images(images)
        self.report.count(images, known)
        self._tell()

    def _close(self, group: Group, failures: list[Hole]) -> None:
        """Journal the complete sequences with their ids inside the area; keep the others for the second pass."""
        failed = {failure.name for failure in failures}
        absent = set(group.answers.gone) | group.answers.records.keys()
        absent -= self.sink.images(list(group.answers.records)).keys()
        for key, ids in group.sequences.items():
            if failed.intersection(ids):
                self.later[key] = self.later.get(key) or ids
            elif key != LOOSE:
                self.journal.sequence_done(key, [image_id for image_id in ids if image_id not in absent])
        self.later.update(dict.fromkeys(group.unanswered))
        if self.last_pass:
            self.report.holes += failures
            self.report.holes += [Hole("sequence", key, why) for key, why in group.unanswered.items()]
        else:
            self.source.forget(list(failed))

    def _limit_reached(self) -> bool:
        return self.plan.limit is not None and self.report.n_stored >= self.plan.limit

    def _tell(self) -> None:
        self.report.requests = self.client.n_requests.copy()
        self.report.bytes_downloaded = self.client.n_picture_bytes
        self.report.wall_s = time.monotonic() - self.started_s
        self.progress(self.report)
