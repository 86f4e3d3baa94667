"""`geocorrect georeference`: put a local trajectory on the map."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from geocorrect.cli.console import JsonOption, invocation, locked_catalog, stderr, write_json

if TYPE_CHECKING:
    from geocorrect.georeference.command import Inputs
    from geocorrect.georeference.result import Georeference
    from geocorrect.georeference.run import ClickMethod, GeoreferenceOptions


class GeoreferenceMethod(StrEnum):
    """How the alignment is found."""

    JOINT = "joint"
    UMEYAMA = "umeyama"
    UMEYAMA_3D = "umeyama-3d"
    GNSS = "gnss"


def georeference(
    context: typer.Context,
    trajectory: Annotated[list[Path], typer.Option(help="SEQ_gt.txt (TUM order); repeat for several drives.")],
    calibration: Annotated[Path | None, typer.Option(help="vbr_calib.yaml.")] = None,
    landmarks: Annotated[
        list[Path] | None,
        typer.Option(help="Clicks: CSV, GeoJSON, OpenSfM GCP; one file per trajectory; QGIS: all .points of it."),
    ] = None,
    method: Annotated[GeoreferenceMethod, typer.Option(help="joint: clicks and known relative poses.")] = (
        GeoreferenceMethod.JOINT
    ),
    gnss: Annotated[
        list[Path] | None,
        typer.Option(
            help="For gnss, one per trajectory, or to check clicks: CSV with time_s, lon_deg, lat_deg, height_m; "
            ".gpx, .nmea, .pos."
        ),
    ] = None,
    image_timestamps: Annotated[
        list[Path] | None, typer.Option(help="timestamps.txt of the clicked camera; else image i is row i.")
    ] = None,
    image_row_offset: Annotated[
        float, typer.Option(help="Without timestamps: image i was taken at trajectory row i + this.")
    ] = 0.0,
    link: Annotated[list[Path] | None, typer.Option(help="JSON 4×4: first drive's frame from this drive's.")] = None,
    camera: Annotated[str, typer.Option(help="Clicked camera: left or right.")] = "left",
    crs: Annotated[str | None, typer.Option(help="CRS of the clicks where the file does not say it.")] = None,
    height_reference: Annotated[str, typer.Option(help="Of heights: ellipsoid, orthometric, EPSG:….")] = "unknown",
    geoid_undulation: Annotated[float | None, typer.Option(help="Metres from the ellipsoid up to the geoid.")] = None,
    dem: Annotated[Path | None, typer.Option(help="Raster of ground heights for the clicks.")] = None,
    dem_height_reference: Annotated[str, typer.Option(help="As --height-reference, of the DEM.")] = "unknown",
    ground_height: Annotated[
        float | None, typer.Option(help="Ellipsoidal height of the ground in m when no click has one.")
    ] = None,
    base_height: Annotated[str, typer.Option(help="LiDAR above ground in m: MEAN,SIGMA; 2.08,0 fixes it.")] = "1.9,0.6",
    scale_sigma: Annotated[
        float, typer.Option(help="Prior of the scale around 1; 0.1 leaves it to the clicks.")
    ] = 0.002,
    sigma_px: Annotated[float, typer.Option(min=0.1, help="Error of a click in the image.")] = 5.0,
    sigma_map: Annotated[float, typer.Option(min=0.01, help="Error of a click on the map in m.")] = 0.25,
    max_sigma: Annotated[float, typer.Option(help="Refuse a larger predicted error, m.")] = 3.0,
    images: Annotated[
        list[Path] | None, typer.Option(help="Exported sequence whose images become anchors; one per trajectory.")
    ] = None,
    spacing_m: Annotated[float, typer.Option(min=0.0, help="Metres between anchors; 0 takes every image.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Folder for alignment.json, residuals.png, clicks.*.")] = None,
    catalog: Annotated[str | None, typer.Option("--catalog", help="Store here: PATH.gpkg or postgresql://…")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Solve and print, write nothing.")] = False,
    seed: Annotated[int, typer.Option(help="Of the sampling of click pairs.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Place a trajectory on the map by clicked ground marks (or its GNSS) and say how good that is."""
    from geocorrect.anchors.readers.vbr.sequence import VbrOptions
    from geocorrect.georeference.build import ClickNoise
    from geocorrect.georeference.command import Inputs, solve, solve_gnss, store, write_files
    from geocorrect.georeference.gnss import GnssOptions
    from geocorrect.georeference.landmarks.click import LandmarkOptions
    from geocorrect.georeference.problem import Priors, ground_height_sigma_m
    from geocorrect.georeference.run import GeoreferenceOptions

    undulation_m = float("nan") if geoid_undulation is None else geoid_undulation
    inputs = Inputs(
        tuple(trajectory), calibration, tuple(landmarks or ()), tuple(image_timestamps or ()), tuple(link or ()),
        camera, image_row_offset, LandmarkOptions(crs, None, height_reference, undulation_m), dem,
        dem_height_reference, tuple(gnss or ()),
    )  # fmt: skip
    height_m, height_sigma_m = _mean_and_sigma(base_height)
    priors = Priors(
        base_height_m=height_m,
        base_height_sigma_m=height_sigma_m,
        scale_sigma=scale_sigma,
        ground_height_sigma_m=ground_height_sigma_m(ground_height),
    )
    other: Georeference | str | None = None
    if method is GeoreferenceMethod.GNSS:
        result = solve_gnss(inputs, GnssOptions(height_reference, undulation_m, scale_sigma=scale_sigma))
    else:
        options = GeoreferenceOptions(
            cast("ClickMethod", method.value),
            ClickNoise(sigma_px, sigma_map),
            priors,
            ground_height,
            max_sigma_m=max_sigma,
            seed=seed,
        )
        result = solve(inputs, options)
        other = None if as_json else _other_method(inputs, options)
    if out is not None and not dry_run:
        write_files(result, out)
    if catalog is not None and not dry_run:
        with locked_catalog(invocation(context).settings(catalog), create=True) as sink:
            store(sink, result, inputs, tuple(images or ()), VbrOptions(spacing_m=spacing_m, side=camera))  # type: ignore[arg-type]
    if as_json:
        write_json(result.as_json())
    else:
        _print_tables(result, other)


def _mean_and_sigma(text: str) -> tuple[float, float]:
    from geocorrect.errors import UsageError

    try:
        mean, sigma = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--base-height {text!r}: expected MEAN,SIGMA such as 2.08,0.02") from None
    if not (mean > 0 and sigma >= 0):
        raise UsageError(f"--base-height {text!r}: the height must be positive, the sigma not negative")
    return mean, sigma


def _other_method(inputs: Inputs, options: GeoreferenceOptions) -> Georeference | str:
    """The other click method on the same clicks, or why it cannot be had."""
    from dataclasses import replace

    from geocorrect.errors import InputError
    from geocorrect.georeference.command import solve

    try:
        return solve(inputs, replace(options, method="umeyama" if options.method == "joint" else "joint"))
    except InputError as error:
        return str(error)


def _print_tables(result: Georeference, other: Georeference | str | None) -> None:
    from rich.table import Table

    from geocorrect.georeference.result import Georeference as Result

    both = [result, other] if isinstance(other, Result) else [result]
    clicks = Table("image", "click", title="Residuals of the clicks")
    clicks.add_column("pixel", no_wrap=True)
    for one in both:
        for head in (f"{one.method} px", f"{one.method} m", ""):
            clicks.add_column(head, justify="right")
    for rows in zip(*(one.table() for one in both), strict=True):
        clicks.add_row(*rows[0][:3], *(cell for row in rows for cell in row[3:]))
    facts = Table("", *(one.method for one in both), title="Alignment")
    for name in result.summary():
        facts.add_row(name, *(one.summary()[name] for one in both))
    out = stderr()
    if result.clicks:
        out.print(clicks)
    out.print(facts)
    for finding in result.findings:
        out.print(f"note: {finding.text}")
    if isinstance(other, str):
        out.print(f"for comparison: {other}")
    out.print(f"alignment {result.alignment.id}")
