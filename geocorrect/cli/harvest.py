"""`geocorrect harvest`: an area's images from Mapillary into the catalog."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geocorrect.cli.console import (
    CatalogOption,
    JsonOption,
    ProgressLines,
    invocation,
    locked_catalog,
    open_catalog,
    stderr,
    write_json,
)
from geocorrect.cli.export import refuse_swapped
from geocorrect.errors import UsageError

if TYPE_CHECKING:
    from geocorrect.catalog.store import Catalog
    from geocorrect.config import Settings
    from geocorrect.harvest.area import Area
    from geocorrect.harvest.harvest import Progress, ShouldStop
    from geocorrect.harvest.report import HarvestReport
    from geocorrect.records import Image

_EXAMPLES = 20
_NAMES = 5


def harvest(
    context: typer.Context,
    bbox: Annotated[
        str | None, typer.Option(help="WEST,SOUTH,EAST,NORTH in degrees; west > east crosses ±180°.")
    ] = None,
    area: Annotated[Path | None, typer.Option(help="GeoJSON file with the polygon(s) to harvest.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only images taken at or after this date (2024-05-01, UTC).")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after that many images.")] = None,
    catalog: CatalogOption = None,
    clusters: Annotated[
        bool, typer.Option("--clusters", help="Also fetch the provider's relative poses (slow: one call per cluster).")
    ] = False,
    detections: Annotated[
        bool, typer.Option("--detections", help="Also fetch masks of vehicles and people (slow: one call per image).")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count images and expected volume, store nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Harvest the images of an area from Mapillary (token in MAPILLARY_TOKEN), or from Panoramax (no token).

    Run again to continue or update. `[harvest] source = "panoramax"` in geocorrect.toml chooses the service.

    Exit code 9: finished, but the service would not answer for some parts; run again to fill the holes.
    """
    from geocorrect.harvest.harvest import HarvestPlan
    from geocorrect.harvest.sink import MemorySink
    from geocorrect.harvest.sources import harvest_area
    from geocorrect.workers.stop import stop_on_signal

    settings = invocation(context).settings(catalog)
    for name, wanted in (("--clusters", clusters), ("--detections", detections)):
        if wanted and settings.harvest.source != "mapillary":
            raise UsageError(f'{name}: only Mapillary has them ([harvest] source = "mapillary")')
    where = chosen_area(bbox, area, settings)
    plan = HarvestPlan(where, settings.images.folder, moment(since), limit, dry_run)
    with stop_on_signal() as stop, progress_line() as progress:
        if dry_run:
            report = harvest_area(settings.harvest, plan, MemorySink(), progress, lambda: stop.requested)
        else:
            with locked_catalog(settings, create=True) as store:
                if bbox is not None:
                    refuse_swapped(f"--bbox {bbox}", where.geometry.bounds, store)
                report = harvest_area(settings.harvest, plan, store, progress, lambda: stop.requested)
                if clusters and not stop.requested:
                    _fetch_clusters(settings, store, lambda: stop.requested)
                if detections and not stop.requested:
                    _fetch_detections(settings, store, lambda: stop.requested)
    if as_json:
        write_json(report.as_dict())
    else:
        stderr().print(report.sentence(), markup=False)
    raise typer.Exit(stop.exit_code or report.exit_code)


class PhotoSource(StrEnum):
    """Where photos without Mapillary come from."""

    PHOTOS = "photos"
    OPENSFM = "opensfm"
    MAPILLARY_TOOLS = "mapillary-tools"
    TABLE = "table"


def import_photos(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(help="photos, opensfm: the folder. mapillary-tools: the JSON file. table: CSV or GeoJSON.")
    ],
    layout: Annotated[PhotoSource, typer.Option("--format", help="What lies there.")] = PhotoSource.PHOTOS,
    catalog: CatalogOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read everything, store nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring photos into the catalog without Mapillary; the files stay where they are."""
    from geocorrect.api.photo_table import import_table
    from geocorrect.harvest.local.folder import import_description, import_folder, import_opensfm
    from geocorrect.harvest.local.identity import Known, with_own_ids

    readers = {
        PhotoSource.PHOTOS: import_folder,
        PhotoSource.OPENSFM: import_opensfm,
        PhotoSource.MAPILLARY_TOOLS: import_description,
        PhotoSource.TABLE: import_table,
    }
    imported = readers[layout](source)
    with ExitStack() as stack:
        stored: Known = lambda _ids: {}  # noqa: E731
        if not dry_run:
            store = stack.enter_context(locked_catalog(invocation(context).settings(catalog), create=True))
            stored = store.images
        images, renamed = with_own_ids(imported.images, stored)
        if not dry_run:
            store.upsert_images(images)
    problems = Counter(str(image.problem) for image in images if image.problem is not None)
    notes = [*(f"{name}: {note}" for name, note in imported.notes), *renamed]
    if as_json:
        skipped = [f"{name}: {why}" for name, why in imported.skipped]
        write_json({"n_images": len(images), "problems": dict(problems), "notes": notes, "skipped": skipped})
        return
    _print_import(images, problems, notes, imported.skipped)


def _print_import(
    images: Sequence[Image], problems: Counter[str], notes: list[str], skipped: list[tuple[str, str]]
) -> None:
    """Counts first, then what a person should look at: a few examples of each kind."""
    out = stderr()

    def say(line: str) -> None:
        out.print(line, markup=False, soft_wrap=True)

    say(f"{len(images)} photos; problems: {_counted(problems) or 'none'}")
    for image in [image for image in images if "error" in image.provider][:_EXAMPLES]:
        say(f"  {image.problem}: {image.provider['error']}")
    for problem in sorted(problems):
        names = [image.id for image in images if str(image.problem) == problem and "error" not in image.provider]
        if names:
            say(f"  {problem}: {_named(names)}")
    if notes:
        say(f"{len(notes)} {'note' if len(notes) == 1 else 'notes'} (all with --json)")
    for note in notes[:_EXAMPLES]:
        say(f"  {note}")
    if skipped:
        say(f"{len(skipped)} skipped (all with --json)")
    reasons = Counter(why for _, why in skipped)
    for why, count in reasons.most_common(_EXAMPLES):
        say(f"  {count} × {why}: {_named([name for name, its in skipped if its == why])}")


def _named(names: list[str]) -> str:
    """The first names of many."""
    return ", ".join(names[:_NAMES]) + (", …" if len(names) > _NAMES else "")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _fetch_clusters(settings: Settings, store: Catalog, should_stop: ShouldStop) -> None:
    """Relative geometry beside the images, in `clusters/`; what the service does not give is reported and left."""
    from geocorrect.harvest.harvest import watch_for_stop
    from geocorrect.harvest.mapillary.client import MapillaryClient
    from geocorrect.harvest.mapillary.clusters import harvest_clusters

    with MapillaryClient(settings.harvest) as client, watch_for_stop(client, should_stop):
        found = harvest_clusters(client, store.images().values(), settings.images.folder / "clusters")
    stderr().print(f"{found.n_clusters} new clusters with {found.n_images} images")
    for failure in found.failures:
        stderr().print(f"no cluster: {failure}", markup=False)


def _fetch_detections(settings: Settings, store: Catalog, should_stop: ShouldStop) -> None:
    """Masks of what moves, beside the pictures; what the service does not give is reported and left."""
    from geocorrect.harvest.harvest import watch_for_stop
    from geocorrect.harvest.mapillary.client import MapillaryClient
    from geocorrect.harvest.mapillary.detections import MASKS, harvest_detections

    with MapillaryClient(settings.harvest) as client, watch_for_stop(client, should_stop):
        found = harvest_detections(client, store.images().values())
    stderr().print(found.sentence(), markup=False)
    for failure in found.failures[:_EXAMPLES]:
        stderr().print(f"no mask: {failure}", markup=False)
    if settings.localize.verify.masks != MASKS:
        stderr().print(f'masks are not used until [localize.verify] masks = "{MASKS}" is set', markup=False)


def chosen_area(bbox: str | None, file: Path | None, settings: Settings) -> Area:
    """The area of the command line, else of the configuration; UsageError when there is none or two."""
    from geocorrect.harvest.area import Area

    if bbox is not None and file is not None:
        raise UsageError("give either --bbox or --area, not both")
    if bbox is not None:
        try:
            west, south, east, north = (float(part) for part in bbox.split(","))
        except ValueError:
            raise UsageError(f"--bbox {bbox!r}: four numbers WEST,SOUTH,EAST,NORTH are needed") from None
        return Area.from_box(west, south, east, north)
    if file is not None:
        return Area.from_file(file)
    configured = Area.configured(settings.area.bbox, settings.area.file)
    if configured is not None:
        return configured
    if settings.area.around_anchors_m is not None:
        from geocorrect.harvest.near_anchors import area_around_anchors

        with open_catalog(settings) as store:
            return area_around_anchors(store, settings.area.around_anchors_m)
    raise UsageError("say where: --bbox WEST,SOUTH,EAST,NORTH, or --area FILE.geojson, or [area] in geocorrect.toml")


def moment(text: str | None) -> datetime | None:
    """A date or date-time as aware UTC; without an offset it is taken as UTC."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--since {text!r}: write a date as 2024-05-01 or 2024-05-01T12:00:00Z") from None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


@contextmanager
def progress_line() -> Iterator[Progress]:
    """Images, rate, remaining time and holes on stderr; off a terminal, a line a minute."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        *(TextColumn("harvest"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()),
        TextColumn("{task.fields[rate]:.1f} images/s, {task.fields[holes]} holes"),
    )
    is_terminal, lines = sys.stderr.isatty(), ProgressLines("harvest")
    with Progress(*columns, console=stderr(), disable=not is_terminal) as bar:
        task = bar.add_task("harvest", total=None, rate=0.0, holes=0)

        def update(report: HarvestReport) -> None:
            done = report.n_stored + report.n_unchanged
            # The coverage counts the margin around the area too; the bar ends where the images end.
            total = max(report.n_coverage_points, done) or None
            rate = report.n_stored / max(report.wall_s, 1e-3)
            if not is_terminal:
                lines(done, total, f", {rate:.1f} images/s, {len(report.holes)} holes")
            bar.update(task, completed=done, total=total, rate=rate, holes=len(report.holes))

        yield update
