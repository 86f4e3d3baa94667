"""One call: area → images on disk and in the catalog, complete, polite, resumable at any moment.

discover (tiles) → expand (sequences) → metadata (batches) → select what lies in the area → download → store.
What is stored is durable; a killed run continues from the journal, the catalog and the files.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from geocorrect.errors import OutputError, Reason, RemoteError, SceneBusyError
from geocorrect.harvest.area import Area
from geocorrect.harvest.evidence import without_contradicted_models
from geocorrect.harvest.journal import Journal
from geocorrect.harvest.mapillary.client import Json, MapillaryClient
from geocorrect.harvest.mapillary.discover import Discovery
from geocorrect.harvest.mapillary.download import fetch, remove_leftovers, with_stored_picture
from geocorrect.harvest.mapillary.groups import LOOSE, Group, GroupSource, Sequences
from geocorrect.harvest.mapillary.metadata import (
    read_image_record,
    stored_record,
    with_camera,
    without_false_norths,
)
from geocorrect.harvest.mapillary.responses import RequestError, printable
from geocorrect.harvest.mapillary.tiles import Coverage
from geocorrect.harvest.options import HarvestOptions
from geocorrect.harvest.report import TYPICAL_MB, HarvestReport, Hole
from geocorrect.harvest.sink import ImageSink, store
from geocorrect.io.file_lock import FileLockedError, locked_file
from geocorrect.records import Image

_STORE_EVERY = 50
_STOP_POLL_INTERVAL_S = 0.2
Progress = Callable[[HarvestReport], None]
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class HarvestPlan:
    """What one run is to harvest; ValueError when it makes no sense."""

    area: Area
    """Where: images whose reported or computed position lies inside."""
    images_dir: Path
    """Where the pictures go."""
    since: datetime | None = None
    """Only images taken at or after this moment (aware)."""
    limit: int | None = None
    """Most images to store."""
    dry_run: bool = False
    """Count what there is, and store nothing."""

    def __post_init__(self) -> None:
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError("since must carry a time zone")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")

    @property
    def lock_path(self) -> Path:
        """The file that is locked while a harvest writes into the folder."""
        return self.images_dir / ".harvest" / "lock"

    @property
    def journal_path(self) -> Path:
        """The journal of this area and date."""
        text = f"{self.area.geometry.normalize().wkt}|{self.since}"
        return self.lock_path.with_name(f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsonl")


def run_harvest(
    options: HarvestOptions,
    plan: HarvestPlan,
    sink: ImageSink,
    progress: Progress | None = None,
    should_stop: ShouldStop = lambda: False,
    token: str | None = None,
) -> HarvestReport:
    """Harvest an area into `sink` and `plan.images_dir`; the report says what is there and what is missing.

    Args:
        options: how to ask.
        plan: what to harvest.
        sink: where images are stored.
        progress: called with the report so far, whenever images were stored.
        should_stop: polled by another thread; once true, what has arrived is stored and the run ends.
        token: of the service; that of MAPILLARY_TOKEN when None.

    Raises:
        ConfigError: there is no token.
        RemoteError: the token is refused or the service is down; what was stored stays, run again to continue.
        OutputError: files cannot be written.
        SceneBusyError: another harvest writes into the same folder.
    """
    with MapillaryClient(options, token) as client, watch_for_stop(client, should_stop), ExitStack() as stack:
        if not plan.dry_run:
            lock_folder(plan, stack)
        journal = stack.enter_context(Journal(None if plan.dry_run else plan.journal_path))
        return _Harvest(plan, client, sink, journal, progress).run(should_stop)


@contextmanager
def watch_for_stop(client: MapillaryClient, should_stop: ShouldStop) -> Iterator[None]:
    """Poll for a request to stop while the block runs: a signal handler may not take the client's locks itself."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_STOP_POLL_INTERVAL_S):
            if should_stop():
                client.limiter.stop("the harvest was stopped on request")
                return

    watcher = threading.Thread(target=watch, name="stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def lock_folder(plan: HarvestPlan, stack: ExitStack) -> None:
    """One harvest per image folder at a time; the lock dies with its process."""
    path = plan.lock_path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked_file(path, str(os.getpid())))
    except FileLockedError as error:
        text = f"{plan.images_dir}: another harvest is at work (process {error.content or 'unknown'})"
        raise SceneBusyError(text) from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another image folder") from None


class _Harvest:
    """One run. `later`: the sequences (key → ids, None = not listed yet) that the second pass tries again."""

    def __init__(
        self, plan: HarvestPlan, client: MapillaryClient, sink: ImageSink, journal: Journal, progress: Progress | None
    ) -> None:
        self.plan, self.client, self.sink, self.journal, self.progress = plan, client, sink, journal, progress
        self.report = HarvestReport(dry_run=plan.dry_run)
        self.now = datetime.now(UTC)
        self.started_s = time.monotonic()
        self.source = GroupSource(client, sink, journal, self.report, self.now)
        self.later: dict[str, list[str] | None] = {}
        self.last_pass = False

    def run(self, should_stop: ShouldStop) -> HarvestReport:
        """The whole harvest, or what was done until it had to stop."""
        try:
            self._discover_and_store()
        except RemoteError:
            # Whatever waits for the service is interrupted by this exception when the request to stop comes.
            if not should_stop():
                raise
            self.report.stopped = True
        self._report_progress()
        return self.report

    def _discover_and_store(self) -> None:
        discovery = Discovery(self.client, self.plan.area, self.journal)
        self.report.n_tiles = len(discovery.tiles())
        self.client.check_token()
        coverage = discovery.run()
        self.report.holes += discovery.holes
        self.report.n_sequences = len(coverage.sequences)
        self.report.n_coverage_points = coverage.n_points
        self.report.expected_mb = round(coverage.n_points * TYPICAL_MB[self.client.options.image_size], 1)
        if not self.plan.dry_run:
            remove_leftovers(self.plan.images_dir)
            self._store_all(coverage)
            if not self._limit_reached():
                self.journal.finish()

    def _store_all(self, coverage: Coverage) -> None:
        """Download and store what the coverage shows, group by group."""
        options = self.client.options
        with (
            ThreadPoolExecutor(options.graph_workers, "metadata") as asking,
            ThreadPoolExecutor(options.download_workers, "pictures") as downloading,
            ThreadPoolExecutor(1, "ahead") as ahead,
        ):
            try:
                for sequences in self._passes(coverage):
                    groups = self.source.groups(sequences, asking)
                    upcoming = ahead.submit(next, groups, None)
                    while not self._limit_reached() and (group := upcoming.result()) is not None:
                        # The next group's metadata is asked for while this group's pictures arrive.
                        upcoming = ahead.submit(next, groups, None)
                        self._store_group(group, downloading)
            except BaseException:
                self.client.limiter.stop("the harvest was interrupted")
                raise
            finally:
                for pool in (asking, downloading, ahead):
                    pool.shutdown(wait=False, cancel_futures=True)

    def _passes(self, coverage: Coverage) -> Iterator[Sequences]:
        """Everything, then once more what failed in the first pass."""
        loose = {LOOSE: sorted(coverage.loose_ids)} if coverage.loose_ids else {}
        yield {**dict.fromkeys(sorted(coverage.sequences)), **loose}
        self.last_pass = True
        yield dict(self.later)

    def _store_group(self, group: Group, downloading: ThreadPoolExecutor) -> None:
        """Download and store a group's images, and note what is now complete."""
        for image_id in group.answers.gone:
            self.journal.image_gone(image_id, self.now)
        self.report.n_gone += len(group.answers.gone)
        failures = [Hole("image", image_id, why) for image_id, why in group.answers.failed.items()]
        records = group.answers.records
        pending = [
            downloading.submit(self._with_picture, records[image.id], image, group.known.get(image.id))
            for image in self._selected(group, failures)
        ]
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
                    failures += self._store(chunk)
                    chunk = []
        except RemoteError:
            # The service is down, or we are to stop: what has arrived is stored.
            self._store(chunk)
            raise
        failures += self._store(chunk)
        if not self._limit_reached():
            self._close(group, failures)

    def _selected(self, group: Group, failures: list[Hole]) -> list[Image]:
        """The images to store: fresh answers inside the area and the period, sequence by sequence.

        A record that cannot be read is added to the failures.
        """
        records, fresh, read = group.answers.records, dict[str, Image](), dict[str, Image]()
        for key in records.keys() & group.known.keys():
            # What is no longer asked for stays as it is stored.
            stored = stored_record(group.known[key]) if self.client.dropped_fields else {}
            records[key].update((name, stored[name]) for name in self.client.dropped_fields & stored.keys())
        for key, record in records.items():
            try:
                read[key] = read_image_record({**record, "id": key}, self.now)
            except Exception as error:
                # Whatever the service has written there: one record must not end the harvest of an area.
                failures.append(Hole("image", key, printable(f"unusable record ({type(error).__name__}: {error})")))
        images = group.known | read
        for key, ids in group.sequences.items():
            believed = without_false_norths([images[image_id] for image_id in ids if image_id in images])
            if key != LOOSE:  # which is no recording: its photos were not taken one after the other
                believed = without_contradicted_models(believed)
            fresh.update((image.id, image) for image in believed)
        answered = [image for image_id, image in fresh.items() if image_id in read]
        inside = [image for image in answered if self._belongs(image)]
        self.report.n_outside += len(answered) - len(inside)
        return inside if self.plan.limit is None else inside[: max(self.plan.limit - self.report.n_stored, 0)]

    def _belongs(self, image: Image) -> bool:
        """Inside the area by reported or computed position, and in time; images without a position are stored too."""
        if self.plan.since is not None and (image.captured_at is None or image.captured_at < self.plan.since):
            return False
        positions = [position for position in (image.reported, image.computed) if position is not None]
        return not positions or any(self.plan.area.contains(there.lon_deg, there.lat_deg) for there in positions)

    def _with_picture(self, record: Json, image: Image, known: Image | None) -> tuple[Image, Hole | None]:
        """The image with its picture, or with the one it had, or without one; and with the hole that this leaves."""
        image = replace(image, provider={**image.provider, "picture_size": self.client.options.image_size})
        try:
            return fetch(self.client, record, image, self.plan.images_dir), None
        except RequestError as failure:
            hole = Hole("picture", image.id, str(failure))
            earlier = None if known is None or known.path is None else with_stored_picture(image, known.path)
            if known is not None and earlier is not None:
                size = known.provider.get("picture_size")
                return replace(earlier, provider={**earlier.provider, "picture_size": size}), hole
            missing = with_camera(replace(image, problem=image.problem or Reason.IMAGE_MISSING), None)
            return missing, hole

    def _store(self, images: list[Image]) -> list[Hole]:
        """Into the catalog, before anything else is recorded about these images."""
        holes = store(self.sink, images, self.report)
        self._report_progress()
        return holes

    def _close(self, group: Group, failures: list[Hole]) -> None:
        """Journal the complete sequences with their ids inside the area; leave the others for the second pass.

        Images that no longer exist stay listed: some day they are asked for again.
        """
        failed = {failure.name for failure in failures}
        answered = group.answers.records.keys()
        outside = answered - self.sink.images(list(answered)).keys()
        for key, ids in group.sequences.items():
            if failed.intersection(ids):
                self.later[key] = self.later.get(key) or ids
            elif key != LOOSE:
                self.journal.sequence_done(key, [image_id for image_id in ids if image_id not in outside])
        self.later.update(dict.fromkeys(group.unanswered))
        if self.last_pass:
            self.report.holes += failures
            self.report.holes += [Hole("sequence", key, why) for key, why in group.unanswered.items()]
        else:
            self.source.forget(failed)

    def _limit_reached(self) -> bool:
        return self.plan.limit is not None and self.report.n_stored >= self.plan.limit

    def _report_progress(self) -> None:
        self.report.requests = self.client.n_requests.copy()
        self.report.bytes_downloaded = self.client.n_picture_bytes
        self.report.wall_s = time.monotonic() - self.started_s
        if self.progress is not None:
            self.progress(self.report)
