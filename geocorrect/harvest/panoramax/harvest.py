"""Area → pictures of Panoramax on disk and in the catalog: box by box, resumable, what is unchanged is not asked again.

The tiles of the area are search boxes; one that holds more than an answer is quartered. A tile whose pictures are
stored is journaled, so that a killed run continues behind it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import mercantile
import shapely

from geocorrect.errors import Reason, RemoteError
from geocorrect.harvest.area import Box
from geocorrect.harvest.harvest import HarvestPlan, Progress, ShouldStop, lock_folder, watch_for_stop
from geocorrect.harvest.journal import Journal
from geocorrect.harvest.mapillary.client import Json
from geocorrect.harvest.mapillary.download import remove_leftovers, verified, write_file
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError, printable
from geocorrect.harvest.mapillary.tiles import Coverage
from geocorrect.harvest.options import HarvestOptions
from geocorrect.harvest.panoramax.client import PanoramaxClient
from geocorrect.harvest.panoramax.item import picture_url, read_item, with_camera
from geocorrect.harvest.report import TYPICAL_MB, HarvestReport, Hole
from geocorrect.harvest.sink import ImageSink, store
from geocorrect.records import Image

_STORE_EVERY = 50
_ASK_FOR_LESS = frozenset({ErrorKind.TOO_MUCH_DATA, ErrorKind.QUERY_TIMEOUT, ErrorKind.TEMPORARY})
Items = dict[str, tuple[Image, Json]]
"""Pictures with their items, by id."""


def harvest_panoramax(
    options: HarvestOptions,
    plan: HarvestPlan,
    sink: ImageSink,
    progress: Progress | None = None,
    should_stop: ShouldStop = lambda: False,
) -> HarvestReport:
    """As `harvest.run_harvest`, from the instance (or federation) of `options.panoramax_url`; no token is needed."""
    with PanoramaxClient(options) as client, watch_for_stop(client, should_stop), ExitStack() as stack:
        if not plan.dry_run:
            lock_folder(plan, stack)
        journal = stack.enter_context(Journal(None if plan.dry_run else journal_path(options, plan)))
        return _Harvest(plan, client, sink, journal, progress).run(should_stop)


def journal_path(options: HarvestOptions, plan: HarvestPlan) -> Path:
    """The journal of this area, date and service."""
    service = hashlib.sha256(options.panoramax_url.encode()).hexdigest()[:8]
    return plan.journal_path.with_name(f"panoramax-{service}-{plan.journal_path.name}")


class _Harvest:
    """One run."""

    def __init__(
        self, plan: HarvestPlan, client: PanoramaxClient, sink: ImageSink, journal: Journal, progress: Progress | None
    ) -> None:
        self.plan, self.client, self.sink, self.journal, self.progress = plan, client, sink, journal, progress
        self.report = HarvestReport(dry_run=plan.dry_run)
        self.now = datetime.now(UTC)
        self.started_s = time.monotonic()
        self.seen: set[str] = set()
        self.sequences: set[str] = set()

    def run(self, should_stop: ShouldStop) -> HarvestReport:
        """The whole harvest, or what was done until it had to stop."""
        try:
            tiles = self.plan.area.tiles(self.client.options.max_tiles)
            self.report.n_tiles = len(tiles)
            self.client.check_service()
            if not self.plan.dry_run:
                remove_leftovers(self.plan.images_dir)
            self._all(tiles)
        except RemoteError:
            # Whatever waits for the service is interrupted by this exception when the request to stop comes.
            if not should_stop():
                raise
            self.report.stopped = True
        self._report_progress()
        return self.report

    def _all(self, tiles: list[mercantile.Tile]) -> None:
        options = self.client.options
        left = [tile for tile in tiles if _name(tile) not in self.journal.coverage]
        with (
            ThreadPoolExecutor(1, "ahead") as ahead,
            ThreadPoolExecutor(options.download_workers, "pictures") as downloading,
        ):
            try:
                upcoming = ahead.submit(self._search, left[0]) if left else None
                for tile, following in zip(left, [*left[1:], None], strict=True):
                    assert upcoming is not None
                    items, holes = upcoming.result()
                    # The next tile is searched while this tile's pictures arrive.
                    upcoming = ahead.submit(self._search, following) if following is not None else None
                    self._tile(tile, items, holes, downloading)
                    if self._limit_reached():
                        return
                self.journal.finish()
            except BaseException:
                self.client.limiter.stop("the harvest was interrupted")
                raise
            finally:
                for pool in (ahead, downloading):
                    pool.shutdown(wait=False, cancel_futures=True)

    def _search(self, tile: mercantile.Tile) -> tuple[list[Json], list[Hole]]:
        """All items of the part of the area in a tile."""
        part = shapely.clip_by_rect(self.plan.area.geometry, *mercantile.bounds(tile))
        if part.is_empty:
            return [], []
        west, south, east, north = part.bounds
        # A border that touches has no width; the service wants a box.
        return self._box((west, south, max(east, west + 1e-6), max(north, south + 1e-6)), 0)

    def _box(self, box: Box, depth: int) -> tuple[list[Json], list[Hole]]:
        """What a box holds; quartered when it holds more than an answer, or takes the service too long."""
        since = None if self.plan.since is None else self.plan.since.astimezone(UTC).isoformat()
        try:
            found = self.client.search(box, since)
        except RequestError as failure:
            missing, divisible, items = str(failure), failure.kind in _ASK_FOR_LESS, []
        else:
            if found.is_complete:
                return found.items, []
            missing, divisible, items = "full at the smallest size", True, found.items
        if divisible and depth < self.client.options.max_cell_depth:
            parts = [self._box(quarter, depth + 1) for quarter in _quarters(box)]
            return [item for some, _ in parts for item in some], [hole for _, holes in parts for hole in holes]
        return items, [Hole("cell", ",".join(f"{value:.6f}" for value in box), missing)]

    def _tile(
        self, tile: mercantile.Tile, items: list[Json], holes: list[Hole], downloading: ThreadPoolExecutor
    ) -> None:
        """Download and store a tile's pictures; journal it when nothing is missing."""
        here = self._inside(items, holes)
        self.report.n_coverage_points += len(here)
        self.sequences.update(image.sequence_id for image, _ in here.values() if image.sequence_id is not None)
        self.report.n_sequences = len(self.sequences)
        per_image_mb = TYPICAL_MB[self.client.options.image_size]
        self.report.expected_mb = round(self.report.n_coverage_points * per_image_mb, 1)
        if self.plan.dry_run:
            self.report.holes += holes
            return
        holes = [*holes, *self._store_all(self._due(here), downloading)]
        self.report.holes += holes
        if not holes and not self._limit_reached():
            self.journal.tile_read(_name(tile), Coverage(n_points=len(here)))

    def _inside(self, items: list[Json], holes: list[Hole]) -> Items:
        """The pictures of the area, each once; boxes of neighbouring tiles share their border.

        An item that cannot be read is added to the holes.
        """
        new: Items = {}
        for item in items:
            try:
                image = read_item(item, self.now)
            except Exception as error:
                # Whatever the service has written there: one item must not end the harvest of an area.
                why = printable(f"unusable item ({type(error).__name__}: {error})")
                holes.append(Hole("image", printable(str(item.get("id"))), why))
                continue
            if image is not None and image.id not in self.seen:
                new[image.id] = (image, item)
        self.seen.update(new)
        self.report.n_ids += len(new)
        here = {key: pair for key, pair in new.items() if self._belongs(pair[0])}
        self.report.n_outside += len(new) - len(here)
        return here

    def _belongs(self, image: Image) -> bool:
        if self.plan.since is not None and (image.captured_at is None or image.captured_at < self.plan.since):
            return False
        there = image.reported
        return there is None or self.plan.area.contains(there.lon_deg, there.lat_deg)

    def _due(self, here: Items) -> list[tuple[Image, Json, Image | None]]:
        """New or changed ones, and those whose picture is missing or of another size; with what is stored of them."""
        known = self.sink.images(list(here))
        size = self.client.options.image_size
        due = []
        for key, (image, item) in here.items():
            old = known.get(key)
            there = old is not None and old.path is not None and old.path.is_file()
            same = old is not None and old.provider.get("updated") == image.provider.get("updated")
            if not (same and there and old is not None and old.provider.get("picture_size") == size):
                due.append((image, item, old if there else None))
        self.report.n_unchanged += len(here) - len(due)
        return due if self.plan.limit is None else due[: max(self.plan.limit - self.report.n_stored, 0)]

    def _store_all(self, due: list[tuple[Image, Json, Image | None]], downloading: ThreadPoolExecutor) -> list[Hole]:
        """Store in chunks as pictures arrive; the holes of those that did not."""
        pending = [downloading.submit(self._with_picture, *one) for one in due]
        chunk: list[Image] = []
        holes = []
        try:
            for future in as_completed(pending):
                image, hole = future.result()
                chunk.append(image)
                holes += [] if hole is None else [hole]
                if len(chunk) >= _STORE_EVERY:
                    holes += self._store(chunk)
                    chunk = []
        finally:
            # Also when the service is down, or we are to stop: what has arrived is stored.
            holes += self._store(chunk)
        return holes

    def _with_picture(self, image: Image, item: Json, old: Image | None) -> tuple[Image, Hole | None]:
        """The image with its picture, or as it was stored, or without one; and the hole that this leaves."""
        size = self.client.options.image_size
        image = replace(image, provider={**image.provider, "picture_size": size})
        path = self.plan.images_dir / image.id[-2:] / f"{image.id}_{size}.jpg"
        try:
            url = picture_url(item, size)
            if url is None:
                raise RequestError(ErrorKind.NOT_FOUND, "the service names no picture of this image now")
            picture = verified(self.client.picture(url))
        except RequestError as failure:
            if failure.kind is ErrorKind.EXPIRED_URL:
                self.client.picture_missed()
            missing = replace(image, problem=image.problem or Reason.IMAGE_MISSING)
            return old or missing, Hole("picture", image.id, str(failure))
        self.client.picture_arrived()
        write_file(path, picture.data)
        digest = hashlib.sha256(picture.data).hexdigest()
        provider = {**image.provider, "file_orientation": picture.own_orientation}
        return with_camera(replace(image, path=path, sha256=digest, provider=provider), *picture.size), None

    def _store(self, images: list[Image]) -> list[Hole]:
        """Into the catalog, before the tile is journaled."""
        holes = store(self.sink, images, self.report)
        self._report_progress()
        return holes

    def _limit_reached(self) -> bool:
        return self.plan.limit is not None and self.report.n_stored >= self.plan.limit

    def _report_progress(self) -> None:
        self.report.requests = self.client.n_requests.copy()
        self.report.bytes_downloaded = self.client.n_picture_bytes
        self.report.wall_s = time.monotonic() - self.started_s
        if self.progress is not None:
            self.progress(self.report)


def _name(tile: mercantile.Tile) -> str:
    return f"{tile.z}/{tile.x}/{tile.y}"


def _quarters(box: Box) -> Iterator[Box]:
    west, south, east, north = box
    lon, lat = (west + east) / 2, (south + north) / 2
    yield from ((west, south, lon, lat), (lon, south, east, lat), (west, lat, lon, north), (lon, lat, east, north))
