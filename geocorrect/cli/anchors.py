"""`geocorrect anchors`: reference imagery into the catalog, and what is known of its depth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geocorrect.anchors.choice import AnchorChoice, AnchorFormat
from geocorrect.cli.console import CatalogOption, JsonOption, invocation, locked_catalog, stderr, write_json
from geocorrect.cli.depth import calibrate, scale

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
