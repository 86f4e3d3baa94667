"""`geocorrect anchors calibrate` and `scale`: what neighbours, and laser scans, say about the anchors' depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geocorrect.cli.console import (
    CatalogOption,
    JsonOption,
    invocation,
    open_catalog,
    print_table,
    progress_bar,
    stderr,
    write_json,
)

app = typer.Typer(help="Where the depth of the anchors can come from.", no_args_is_help=True)

LIST_COLUMNS = {
    "source": "source", "range": "metres", "errors": "error", "licence": "licence", "commercial": "business",
    "needs": "needs",
}  # fmt: skip
"""Key of a row and heading of `geocorrect depth list`."""

if TYPE_CHECKING:
    from geocorrect.config import Settings
    from geocorrect.jobs.anchors.calibrate import CalibrationOutcome
    from geocorrect.jobs.anchors.scales import ScaleSurvey


@app.command("list")
def list_sources(context: typer.Context, as_json: JsonOption = False) -> None:
    """All depth sources as configured: what each needs, how far it sees, how wrong it is, under which licence."""
    from geocorrect.depth.registry import depth_rows

    rows = depth_rows(invocation(context).settings().depth)
    if as_json:
        write_json(rows)
    else:
        print_table(rows, LIST_COLUMNS, {"needs": 16, "licence": None})


@app.command("pointcloud")
def index_pointcloud(
    context: typer.Context,
    clouds: Annotated[list[Path], typer.Argument(help="Files or folders of .las, .laz, .copc.laz, .ply, .e57.")],
    crs: Annotated[str | None, typer.Option(help="CRS of files that do not say it, e.g. EPSG:25833.")] = None,
    height_reference: Annotated[str, typer.Option(help="ellipsoid, orthometric or a vertical CRS.")] = "unknown",
    geoid_undulation: Annotated[
        float | None, typer.Option(help="Metres from the ellipsoid up to the geoid (48 in Rome).")
    ] = None,
    left_out: Annotated[
        list[int] | None, typer.Option("--leave-out", help="LAS class that moves (vehicles, people); may be repeated.")
    ] = None,
    around_anchors_m: Annotated[
        float | None,
        typer.Option(help="Only points so near (metres, in plan) an anchor; of COPC, only such tiles are read."),
    ] = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index point clouds once for [depth] source = "pointcloud", in the frame of the catalog's anchors.

    Noise (classes 7, 18) and temporal exclusion (22) are always left out. Written to [depth.pointcloud] folder.
    """
    from geocorrect.api.scene import AnchorSource
    from geocorrect.depth.pointcloud.index import NOT_SURFACE, CloudPlaces, write_index
    from geocorrect.depth.pointcloud.read import cloud_files

    settings = invocation(context).settings(catalog)
    files = cloud_files(clouds)
    undulation_m = float("nan") if geoid_undulation is None else geoid_undulation
    with open_catalog(settings) as store, progress_bar("index") as progress:
        anchors, classes = AnchorSource.of_catalog(store), frozenset({*NOT_SURFACE, *(left_out or ())})
        near = () if around_anchors_m is None else (anchors.index.enu_m, around_anchors_m)
        places = CloudPlaces(anchors.frame, crs, height_reference, undulation_m, classes, *near)
        summary = write_index(settings.depth.pointcloud.folder, files, places, progress)
    if as_json:
        write_json(summary.as_json())
        return
    stderr().print(f"{summary.n_points} points of {summary.n_files} files in {summary.folder}", markup=False)
    for number, count in summary.left_out.items():
        stderr().print(f"left out: {count} points of class {number}")


def calibrate(
    context: typer.Context,
    depth: Annotated[str | None, typer.Option(help="Depth source to calibrate; default: the configured one.")] = None,
    catalog: CatalogOption = None,
    report: Annotated[
        Path | None, typer.Option(help="Table of all anchors, .html or .csv; default: report.html in the folder.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is to be done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Correct the anchors' predicted depth against their neighbours of known pose, or triangulate it from them alone.

    Each anchor is stored as soon as it is done ([calibrations] folder); killed and run again, the rest is done. A new
    alignment, network or neighbour makes its anchors due again. Exit code 3: some files could not be read.
    """
    from geocorrect.api.scene import AnchorSource
    from geocorrect.errors import UsageError
    from geocorrect.jobs.anchors.calibrate import CatalogCalibration
    from geocorrect.report.calibration_table import write_calibration_table
    from geocorrect.workers.stop import stop_on_signal

    if report is not None and report.suffix.lower() not in (".html", ".csv"):
        raise UsageError(f"--report {report}: name a .csv or .html file")
    settings = _calibrating(invocation(context).settings(catalog), depth)
    with open_catalog(settings) as store, stop_on_signal() as stop, progress_bar("calibrate") as progress:
        work = CatalogCalibration(settings, AnchorSource.of_catalog(store))
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
    if not settings.depth.is_predicted:
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


def scale(
    context: typer.Context,
    depth: Annotated[str | None, typer.Option(help="Predicted depth to compare; default: the configured one.")] = None,
    catalog: CatalogOption = None,
    drive: Annotated[list[str] | None, typer.Option(help="Only anchors of this drive; may be repeated.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What predicted depth must be multiplied by to meet the anchors' laser scans: four heuristics, and their medians.

    One CSV row per anchor on stdout; the medians (the training set) on stderr, with the settings that apply one.
    Exit code 3: a scan, picture or map could not be used, or no anchor has a scan.
    """
    from geocorrect.api.scene import AnchorSource
    from geocorrect.config import with_depth
    from geocorrect.jobs.anchors.scales import measure_scales

    settings = invocation(context).settings(catalog)
    if depth is not None:
        settings = with_depth(settings, depth)
    with open_catalog(settings) as store, progress_bar("scale") as progress:
        survey = measure_scales(settings, AnchorSource.of_catalog(store), progress, tuple(drive or ()))
    if as_json:
        write_json(survey.as_json())
    else:
        typer.echo("\n".join(_scale_table(survey)))
        stderr().print("\n".join(_scale_lines(survey)), markup=False, soft_wrap=True)
    raise typer.Exit(survey.exit_code)


def _scale_table(survey: ScaleSurvey) -> list[str]:
    """CSV: a factor per heuristic and axis; heuristics with one factor for all axes have one column."""
    from geocorrect.depth.scale import ISOTROPIC, ScaleHeuristic

    columns = [
        (f"{heuristic}" if heuristic in ISOTROPIC else f"{heuristic}_{axis}", heuristic, index)
        for heuristic in ScaleHeuristic
        for index, axis in enumerate("xyz")
        if index == 2 or heuristic not in ISOTROPIC
    ]
    lines = [",".join(["anchor_id", "n_points", *(name for name, _, _ in columns)])]
    for anchor_id, row in survey.rows.items():
        factors = [f"{row[heuristic].factors[index]:.4f}" for _, heuristic, index in columns]
        lines.append(",".join([anchor_id, str(next(iter(row.values())).n), *factors]))
    return lines


def _scale_lines(survey: ScaleSurvey) -> list[str]:
    from math import isnan

    from geocorrect.depth.scale import ScaleHeuristic

    lines = []
    for heuristic, median in survey.medians.items():
        x, y, z = median.factors
        low, high = survey.quartiles(heuristic)
        lines.append(f"{heuristic}: x {x:.3f}, y {y:.3f}, z {z:.3f} [quartiles {low:.3f}–{high:.3f}], n = {median.n}")
    if survey.medians:
        chosen = survey.medians[ScaleHeuristic.PER_AXIS_L1]
        sigma = "" if isnan(chosen.common_log_sigma) else f", common_log_sigma = {chosen.common_log_sigma:.3f}"
        lines.append(f"to apply it: [depth] scale = {{ factor = {chosen.factors[2]:.3f}{sigma} }}")
    else:
        lines.append("no anchor of these has a laser scan that could be used")
    if survey.without_scan:
        lines.append(f"{len(survey.without_scan)} anchors have no laser scan")
    return [*lines, *(f"unusable {message}" for message in survey.unusable)]
