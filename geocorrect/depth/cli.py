"""`geocorrect anchors calibrate`: what neighbours say about the anchors' depth, once and offline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geocorrect.console import invocation, open_catalog, progress_bar, stderr, write_json

if TYPE_CHECKING:
    from geocorrect.batch.calibrate_catalog import CalibrationOutcome
    from geocorrect.config import Settings


def calibrate(
    context: typer.Context,
    depth: Annotated[str | None, typer.Option(help="Depth source to calibrate; default: the configured one.")] = None,
    catalog: Annotated[str | None, typer.Option("--catalog", help="PATH.gpkg or postgresql://…")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Table of all anchors, .html or .csv; default: report.html in the folder.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is to be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Correct the anchors' predicted depth against their neighbours of known pose, or triangulate it from them alone.

    Each anchor is stored as soon as it is done ([calibrations] folder); killed and run again, the rest is done. A new
    alignment, network or neighbour makes its anchors due again. Exit code 3: some files could not be read.
    """
    from geocorrect.batch.anchor_shelf import AnchorShelf
    from geocorrect.batch.calibrate_catalog import CatalogCalibration
    from geocorrect.batch.stop import stop_on_signal
    from geocorrect.errors import UsageError
    from geocorrect.report.calibration_table import write_calibration_table

    if report is not None and report.suffix.lower() not in (".html", ".csv"):
        raise UsageError(f"--report {report}: name a .csv or .html file")
    settings = _calibrating(invocation(context).settings(catalog), depth)
    with open_catalog(settings) as store, stop_on_signal() as stop, progress_bar("calibrate") as progress:
        work = CatalogCalibration(settings, AnchorShelf.of_catalog(store))
        outcome = work.count() if dry_run else work.run(stop, progress)
    where = report or settings.calibrations.folder / "report.html"
    if not dry_run and outcome.rows:
        write_calibration_table(outcome.rows, outcome.depth, where)
    if as_json:
        write_json(outcome.as_json())
    else:
        stderr().print("\n".join(_lines(outcome, where)), markup=False, soft_wrap=True)
    raise typer.Exit(outcome.exit_code)


def _calibrating(settings: Settings, name: str | None) -> Settings:
    """The settings under which a run would use what is prepared now."""
    from geocorrect.config import with_depth

    if name is not None:
        settings = with_depth(settings, name)
    if settings.depth.source in ("lidar", "triangulated"):
        return settings
    return settings.model_copy(update={"depth": replace(settings.depth, calibrate=True)})


def _lines(outcome: CalibrationOutcome, where: Path) -> list[str]:
    from geocorrect.report.calibration_table import calibration_sentences

    reused = sum(row.reused for row in outcome.rows)
    if outcome.dry_run:
        alone = len(outcome.without_neighbours)
        return [
            f"{outcome.n_anchors - reused} of {outcome.n_anchors} anchors are to be done; {alone} have no neighbour"
        ]
    lines = [f"{len(outcome.rows)} of {outcome.n_anchors} anchors done, {reused} of them earlier"]
    if outcome.rows:
        lines += [*calibration_sentences(outcome.rows), f"table: {where}"]
    lines += [f"unusable {message}" for message in outcome.unusable]
    if outcome.stopped is not None:
        lines.append("stopped on request; run the same command again to go on")
    return lines
