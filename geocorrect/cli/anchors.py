"""`geocorrect anchors`: reference imagery into the catalog, what is known of its depth, and whether its poses agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geocorrect.anchors.choice import AnchorChoice, AnchorFormat
from geocorrect.cli.console import (
    CatalogOption,
    JsonOption,
    invocation,
    locked_catalog,
    open_catalog,
    print_table,
    progress_bar,
    stderr,
    write_json,
)
from geocorrect.cli.depth import calibrate, scale

if TYPE_CHECKING:
    from geocorrect.jobs.anchors.check import CheckOutcome

app = typer.Typer(help="Georeferenced reference imagery.", no_args_is_help=True)
app.command("calibrate")(calibrate)
app.command("scale")(scale)


@app.command("add")
def add(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="vbr, kitti-raw: the folder. table: the CSV or GeoJSON file.")],
    layout: Annotated[AnchorFormat, typer.Option("--format", help="On-disk format.")],
    calibration: Annotated[
        Path | None, typer.Option(help="vbr: vbr_calib.yaml; default: beside or in the folder.")
    ] = None,
    ground_truth: Annotated[Path | None, typer.Option(help="vbr: SEQ_gt.txt (TUM order).")] = None,
    alignment: Annotated[
        Path | None, typer.Option(help="vbr: JSON that places the local frame (`georeference --json` writes it).")
    ] = None,
    spacing_m: Annotated[float, typer.Option(min=0.0, help="vbr: metres between anchors; 0 takes all.")] = 1.0,
    scans: Annotated[str, typer.Option(help="vbr: required, if_present or none.")] = "required",
    uncovered: Annotated[
        str, typer.Option(help="vbr: images outside the trajectory's time: refuse or skip.")
    ] = "refuse",
    crs: Annotated[str | None, typer.Option(help="table: CRS of the coordinates, e.g. EPSG:4326.")] = None,
    height_reference: Annotated[str, typer.Option(help="table: ellipsoid, orthometric or a vertical CRS.")] = "unknown",
    geoid_undulation: Annotated[
        float | None, typer.Option(help="Metres from the ellipsoid up to the geoid (48 in Rome).")
    ] = None,
    dataset: Annotated[str, typer.Option(help="table: name of the dataset.")] = "table",
    catalog: CatalogOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, store nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add the images of a dataset with their poses (and scans) as anchors."""
    from geocorrect.anchors.add import add_anchors

    chosen = AnchorChoice(
        source, layout, calibration, ground_truth, alignment, spacing_m, scans, uncovered, crs, height_reference,
        geoid_undulation, dataset,
    ).source()  # fmt: skip
    if dry_run:
        stderr().print(f"{len(chosen.read()[1])} anchors could be added")
        return
    with locked_catalog(invocation(context).settings(catalog), create=True) as store:
        added = add_anchors(store, chosen)
    if as_json:
        write_json(added.as_json())
    else:
        stderr().print(f"{len(added.ids)} anchors of {added.dataset} added under alignment {added.alignment_id}")


CHECK_COLUMNS = {
    "anchor_id": "anchor", "verdict": "verdict", "sigmas": "sigmas", "east_m": "east m", "north_m": "north m",
    "up_m": "up m", "rotation_deg": "rotation °",
}  # fmt: skip
"""Key of a row and heading."""


@app.command("check")
def check(context: typer.Context, catalog: CatalogOption = None, as_json: JsonOption = False) -> None:
    """Compare every anchor's recorded pose with the one that its neighbours see, and estimate the drives' noise.

    An anchor is localised from its neighbours as if it were a photo; nothing is changed. Anchors that contradict their
    neighbours are listed with the difference; the last lines say which noise to state in [localize.joint].
    Exit code 3: a picture or scan could not be read.
    """
    from geocorrect.api.scene import AnchorSource
    from geocorrect.jobs.anchors.check import CatalogCheck

    settings = invocation(context).settings(catalog)
    with open_catalog(settings) as store, progress_bar("check") as progress:
        outcome = CatalogCheck(settings, AnchorSource.of_catalog(store)).run(progress)
    if as_json:
        write_json(outcome.as_json())
    else:
        rows = [row for row in outcome.rows() if row["anchor_id"] in outcome.check.named]
        if rows:
            print_table([{**row, **_rounded(row)} for row in rows], CHECK_COLUMNS, {"anchor_id": None})
        stderr().print("\n".join(_check_lines(outcome)), markup=False, soft_wrap=True)
    raise typer.Exit(outcome.exit_code)


def _rounded(row: dict[str, object]) -> dict[str, str]:
    return {key: f"{value:.3f}" for key, value in row.items() if isinstance(value, float)}


def _check_lines(outcome: CheckOutcome) -> list[str]:
    judged, named = len(outcome.check.views), len(outcome.check.named)
    lines = [f"{judged} of {outcome.n_anchors} anchors judged, {named} contradict their neighbours"]
    position_m, rotation_deg = outcome.noise
    if position_m == position_m:
        lines.append(
            f"noise of the others: {position_m:.3f} m and {rotation_deg:.3f}° (stated: {outcome.stated[0]:g} m and "
            f"{outcome.stated[1]:g}°); to state it: [localize.joint] anchor_position_m = {position_m:.3f}, "
            f"anchor_rotation_deg = {rotation_deg:.3f}"
        )
    else:
        lines.append("fewer than ten anchors tell: the drive's noise is not estimated")
    if judged < outcome.n_anchors:
        lines.append(f"{outcome.n_anchors - judged} anchors have fewer than two neighbours that they match")
    return [*lines, *(f"unusable {message}" for message in outcome.unusable)]
