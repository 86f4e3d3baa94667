"""`geocorrect export` and `geocorrect report`: results to files for GIS, and to a page that a person looks at."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geocorrect.cli.console import CatalogOption, JsonOption, invocation, open_catalog, stderr, write_json
from geocorrect.errors import Status, UsageError
from geocorrect.export.formats import Format, format_of

if TYPE_CHECKING:
    from geocorrect.catalog.run import Box
    from geocorrect.catalog.store import Catalog

NEAR_DEG = 1.0
"""A box within that of the catalog's photos and anchors is meant."""


def export(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="File, or folder for opensfm, colmap, sidecar, exif, stac.")],
    kind: Annotated[Format | None, typer.Option("--format", "-f", help="Default: from the file name.")] = None,
    area: Annotated[
        str | None, typer.Option(help="WEST,SOUTH,EAST,NORTH in degrees, or a GeoJSON file of a polygon.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Results of this run (key or its beginning), newer ones or not.")
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="accepted, review, rejected; with commas, or repeated. Default: accepted.")
    ] = None,
    with_review: Annotated[
        bool, typer.Option("--with-review", help="Also poses that wait for a review; status says which.")
    ] = False,
    since: Annotated[str | None, typer.Option(help="Only results stored since this date or time (UTC).")] = None,
    max_error: Annotated[float | None, typer.Option(help="Only expected errors up to so many metres.")] = None,
    catalog: CatalogOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write results for GIS (GeoJSON, GeoPackage, …), OpenSfM, COLMAP, an uploader, or as a QGIS project.

    exif: copies of the photos with the corrected position and heading in their EXIF and XMP.
    """
    from geocorrect.catalog import ResultFilter
    from geocorrect.export.export import PUBLISHED, export_catalog

    chosen = kind or format_of(path)
    with open_catalog(invocation(context).settings(catalog)) as store:
        wanted = ResultFilter(
            area=None if area is None else read_area(area),
            run_key=None if run is None else store.run_key_of(run),
            status=(*(read_statuses(status) if status else PUBLISHED), *([Status.REVIEW] if with_review else [])),
            since=None if since is None else read_instant(since),
            max_expected_error_m=max_error,
            active=run is None,
            withdrawn=False,
        )
        if isinstance(wanted.area, tuple):
            refuse_swapped(f"--area {area}", wanted.area, store)
        if wanted.run_key is not None:
            store.require_active_run(wanted.run_key)
        count = sum(1 for _ in store.results(wanted)) if dry_run else export_catalog(store, path, chosen, wanted)
    if as_json:
        write_json({"path": str(path), "format": chosen.value, "count": count, "written": not dry_run})
    else:
        what = "layers" if chosen is Format.QGIS_PROJECT else "results"
        stderr().print(f"{count} {what} {'would be ' if dry_run else ''}written to {path}")


def read_statuses(given: list[str]) -> tuple[Status, ...]:
    """Statuses from the command line; UsageError naming those that there are."""
    words = [word.strip() for part in given for word in part.split(",")]
    known = {status.value: status for status in Status}
    for word in words:
        if word not in known:
            raise UsageError(f"--status {word!r}: use {', '.join(known)}")
    return tuple(known[word] for word in words)


def read_area(given: str) -> Any:
    """A box or a polygon from the command line."""
    parts = given.split(",")
    if len(parts) == 4:
        try:
            west, south, east, north = (float(part) for part in parts)
        except ValueError:
            raise UsageError(f"--area {given!r}: four numbers WEST,SOUTH,EAST,NORTH are needed") from None
        if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
            raise UsageError(f"--area {given!r}: not degrees in the order WEST,SOUTH,EAST,NORTH (swapped?)")
        return (west, south, east, north)
    from geocorrect.harvest.area import Area

    return Area.from_file(Path(given)).geometry


def refuse_swapped(option: str, box: Box, store: Catalog) -> None:
    """UsageError for a box that misses everything in the catalog, but not with latitude and longitude exchanged."""
    extent = store.extent()
    west, south, east, north = box
    if extent is None or _near((west, south, east, north), extent) or not _near((south, west, north, east), extent):
        return
    raise UsageError(
        f"{option}: nothing of the catalog is near, but something is with latitude and longitude exchanged: "
        f"write WEST,SOUTH,EAST,NORTH, {south:g},{west:g},{north:g},{east:g}"
    )


def _near(box: Box, extent: Box) -> bool:
    west, south, east, north = box
    return (
        west <= extent[2] + NEAR_DEG and east >= extent[0] - NEAR_DEG
        and south <= extent[3] + NEAR_DEG and north >= extent[1] - NEAR_DEG
    )  # fmt: skip


def read_instant(given: str) -> datetime:
    """A time in UTC from the command line; without a zone it is UTC."""
    try:
        value = datetime.fromisoformat(given)
    except ValueError:
        raise UsageError(f"--since {given!r}: use a date like 2026-03-01 or a time like 2026-03-01T12:00Z") from None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def report(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")] = Path("report.html"),
    catalog: CatalogOption = None,
    truth: Annotated[
        Path | None, typer.Option(help="True places of the photos (JSON, such as the demo's world/truth.json).")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Only this run (key or its beginning); default: the active results.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Also write PNG plots into this folder.")] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page; default: the scene's name.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be shown; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON on stdout.")] = False,
) -> None:
    """Write one self-contained HTML page about the results: map, charts, tables, provenance. It needs no network."""
    from geocorrect.report.page import PageOptions
    from geocorrect.report.truth import read_truth_file
    from geocorrect.report.write import ReportRequest, publish

    known = None if truth is None else read_truth_file(truth)
    page, folder = (None, None) if dry_run else (out, plots)
    with open_catalog(invocation(context).settings(catalog)) as store:
        written = publish(store, ReportRequest(page, folder, known, run, PageOptions(title)))
    if as_json:
        write_json(written.as_json())
    else:
        stderr().print(written.sentence())
