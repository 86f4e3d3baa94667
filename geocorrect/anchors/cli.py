"""`geocorrect anchors add`: reference imagery into the catalog."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geocorrect.console import invocation, open_catalog, stderr, write_json

if TYPE_CHECKING:
    from geocorrect.anchors.add import AnchorSource

app = typer.Typer(help="Georeferenced reference imagery.", no_args_is_help=True)


class AnchorFormat(StrEnum):
    """On-disk formats that `anchors add` reads."""

    VBR = "vbr"
    KITTI_RAW = "kitti-raw"
    TABLE = "table"


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
    catalog: Annotated[str | None, typer.Option("--catalog", help="PATH.gpkg or postgresql://…")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, store nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Add the images of a dataset with their poses (and scans) as anchors."""
    from geocorrect.anchors.add import KittiSource, TableSource, add_anchors
    from geocorrect.anchors.kitti import KittiOptions
    from geocorrect.anchors.table import TableOptions

    chosen: AnchorSource
    if layout is AnchorFormat.VBR:
        chosen = _vbr_source(source, calibration, ground_truth, alignment, (spacing_m, scans, uncovered))
    elif layout is AnchorFormat.KITTI_RAW:
        chosen = KittiSource(source, KittiOptions(geoid_undulation_m=geoid_undulation or 0.0))
    else:
        undulation_m = float("nan") if geoid_undulation is None else geoid_undulation
        chosen = TableSource(source, TableOptions(crs, height_reference, undulation_m, dataset=dataset))
    if dry_run:
        stderr().print(f"{len(chosen.read()[1])} anchors could be added")
        return
    with open_catalog(invocation(context).settings(catalog), create=True) as store:
        added = add_anchors(store, chosen)
    if as_json:
        write_json(added.as_json())
    else:
        stderr().print(f"{len(added.ids)} anchors of {added.dataset} added under alignment {added.alignment_id}")


def _vbr_source(
    folder: Path,
    calibration: Path | None,
    ground_truth: Path | None,
    alignment: Path | None,
    choices: tuple[float, str, str],
) -> AnchorSource:
    from geocorrect.anchors.add import VbrSource
    from geocorrect.anchors.alignment import read_alignment
    from geocorrect.anchors.vbr import VbrOptions
    from geocorrect.errors import UsageError

    if ground_truth is None or alignment is None:
        raise UsageError("--format vbr needs --ground-truth SEQ_gt.txt and --alignment FILE.json")
    spacing_m, scans, uncovered = choices
    for name, value, known in (
        ("--scans", scans, ("required", "if_present", "none")),
        ("--uncovered", uncovered, ("refuse", "skip")),
    ):
        if value not in known:
            raise UsageError(f"{name} {value!r}: use {', '.join(known)}")
    if calibration is None:
        beside = [folder / "vbr_calib.yaml", folder.parent / "vbr_calib.yaml"]
        calibration = next((path for path in beside if path.exists()), beside[0])
    options = VbrOptions(spacing_m=spacing_m, scans=scans, uncovered=uncovered)  # type: ignore[arg-type]
    return VbrSource(folder, calibration, ground_truth, read_alignment(alignment), options)
