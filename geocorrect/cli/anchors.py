"""`geocorrect anchors`: reference imagery into the catalog, what is known of its depth, and whether its poses agree."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geocorrect.anchors.choice import AUTO, AnchorOptions
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
from geocorrect.errors import UsageError

if TYPE_CHECKING:
    from geocorrect.anchors.add import AddedAnchors, AnchorFiles, CheckedAnchors
    from geocorrect.anchors.readers.registry import ChosenFiles
    from geocorrect.config import Settings
    from geocorrect.jobs.anchors.check import CheckOutcome
    from geocorrect.records import Anchor, AnchorView, DepthMap

app = typer.Typer(help="Georeferenced reference imagery.", no_args_is_help=True)
app.command("calibrate")(calibrate)
app.command("scale")(scale)


@app.command("add")
def add(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="The folder or file, as `anchors formats` says.")],
    layout: Annotated[str, typer.Option("--format", help="auto, or a name of `anchors formats`.")] = AUTO,
    calibration: Annotated[
        Path | None,
        typer.Option(help="vbr: vbr_calib.yaml; positions: camera.yaml. Default for vbr: beside or in the folder."),
    ] = None,
    ground_truth: Annotated[
        Path | None, typer.Option(help="vbr: SEQ_gt.txt (TUM order); kitti-odometry: NN.txt.")
    ] = None,
    alignment: Annotated[
        Path | None,
        typer.Option(
            help="vbr, kitti-odometry, waymo, zod, reconstructions: JSON that places the frame (`georeference --json`)."
        ),
    ] = None,
    spacing_m: Annotated[
        float, typer.Option(min=0.0, help="vbr, positions: metres between anchors; 0 takes all.")
    ] = 1.0,
    scans: Annotated[
        str, typer.Option(help="vbr, kitti-odometry, kitti360, waymo, zod: required, if_present or none.")
    ] = "required",
    uncovered: Annotated[
        str, typer.Option(help="vbr, positions: images that cannot be placed: refuse or skip.")
    ] = "refuse",
    crs: Annotated[str | None, typer.Option(help="CRS of the coordinates in a table, e.g. EPSG:4326.")] = None,
    height_reference: Annotated[
        str, typer.Option(help="Of its heights: ellipsoid, orthometric or a vertical CRS.")
    ] = "unknown",
    geoid_undulation: Annotated[
        float | None, typer.Option(help="Metres from the ellipsoid up to the geoid (48 in Rome).")
    ] = None,
    heading_reference: Annotated[
        str, typer.Option(help="table: headings and quaternions are from true or from grid north (true, grid).")
    ] = "true",
    images: Annotated[
        Path | None, typer.Option(help="reconstructions: folder of the pictures; waymo, zod: where to unpack.")
    ] = None,
    control_points: Annotated[
        Path | None, typer.Option(help="reconstructions: CSV with image, u_px, v_px, landmark and place.")
    ] = None,
    positions: Annotated[
        Path | None,
        typer.Option(
            help="reconstructions: CSV with file, place, sigma_position_m; positions: .gpx, .nmea, .pos; or exif."
        ),
    ] = None,
    position_sigma: Annotated[float | None, typer.Option(min=0.0, help="Metres, of positions that state none.")] = None,
    level_cameras: Annotated[
        bool,
        typer.Option("--level-cameras", help="reconstructions, positions: the cameras stand upright, as on a vehicle."),
    ] = False,
    drive: Annotated[
        str | None, typer.Option(help="kitti-raw, kitti360, nuscenes, waymo: which drive, scene or segment of several.")
    ] = None,
    cameras: Annotated[
        str,
        typer.Option(
            help="kitti-…, nuscenes, argoverse2, waymo, zod: cameras, such as 02,03 (odometry: 2,3) or CAM_FRONT."
        ),
    ] = "",
    frames: Annotated[str | None, typer.Option(help="kitti-…: frame numbers START:STOP:STEP, such as 0:200:5.")] = None,
    clock_offset: Annotated[
        float | None, typer.Option(help="positions: seconds to add to the camera's clock; default: estimated.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset; default: the format's.")] = None,
    catalog: CatalogOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, store nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add the images of a dataset with their poses (and scans) as anchors."""
    from geocorrect.anchors.add import add_anchors, checked_anchors
    from geocorrect.anchors.readers.registry import anchor_files

    options = AnchorOptions(
        calibration, ground_truth, alignment, spacing_m, scans, uncovered, crs, height_reference, geoid_undulation,
        heading_reference, images, control_points, positions, position_sigma, level_cameras, drive,
        tuple(filter(None, cameras.split(","))), frames, clock_offset, dataset,
    )  # fmt: skip
    chosen = _with_poses(context, anchor_files(source, layout, options))
    if dry_run:
        checked = checked_anchors(chosen)
        stderr().print(f"{len(checked.anchors)} anchors could be added{_left_out(checked)}")
        return
    settings = invocation(context).settings(catalog)
    with locked_catalog(settings, create=True) as store:
        added = add_anchors(store, chosen, settings.depth.reconstruction.folder)
    if as_json:
        write_json(added.as_json())
    else:
        stderr().print(
            f"{len(added.ids)} anchors of {added.dataset} added under alignment {added.alignment_id}{_left_out(added)}"
        )


def _with_poses(context: typer.Context, files: ChosenFiles) -> AnchorFiles:
    """Files of anchors; photos of which only the positions are known with the poses that their matches give."""
    from geocorrect.anchors.readers.positions.photos import NAME

    if files.format.name != NAME:
        return files
    from geocorrect.api.backends import build_matcher
    from geocorrect.jobs.anchors.photo_poses import PhotosAsAnchors

    return PhotosAsAnchors(files, build_matcher(invocation(context).settings()))


def _left_out(found: AddedAnchors | CheckedAnchors) -> str:
    if not found.n_returns_left_out:
        return ""
    count, total = found.n_returns_left_out, found.n_returns
    return f"; {count} of {total} laser returns are beyond their sensor's range or damaged and not used"


@app.command("formats")
def formats(as_json: JsonOption = False) -> None:
    """List the formats of anchors that can be read, and what each needs."""
    from geocorrect.anchors.readers.registry import format_rows

    rows = format_rows()
    if as_json:
        write_json(rows)
    else:
        print_table(rows, {"format": "format", "files": "files", "needs": "needs"}, {"files": None, "needs": None})


@app.command("inspect")
def inspect(
    context: typer.Context,
    page: Annotated[Path, typer.Option(help="The page to write.")] = Path("anchors.html"),
    pairs: Annotated[int, typer.Option(min=3, help="Pairs of neighbouring pictures to compare.")] = 40,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at the anchors of a catalog: whether poses, axes, clocks, heights and scans fit what the pictures show.

    Writes one page with a verdict, a map and depth drawn into sample pictures. Where neighbours disagree, the usual
    other readings of the same numbers are tried, and the one that makes them agree is named. Exit code 3: something is
    wrong.
    """
    from geocorrect.api.anchor_cache import read_anchor
    from geocorrect.api.scene import AnchorSource
    from geocorrect.jobs.anchors.inspect.inspect import inspect_anchors
    from geocorrect.jobs.anchors.inspect.page import write_page

    settings = invocation(context).settings(catalog)
    with open_catalog(settings) as store, progress_bar("inspect") as progress:
        source = AnchorSource.of_catalog(store)
        found = inspect_anchors(settings, source, pairs, progress)
        write_page(page, found, source.frame, read_anchor, lambda anchor, view: _depth(settings, anchor, view))
    if as_json:
        write_json(found.as_json())
    else:
        lines = [f"{finding.severity:8} {finding.check}: {finding.text}" for finding in found.findings]
        stderr().print("\n".join([*lines, found.verdict, f"page: {page}"]), markup=False, soft_wrap=True)
    raise typer.Exit(found.exit_code)


def _depth(settings: Settings, anchor: Anchor, view: AnchorView) -> DepthMap | None:
    """From the anchor's own scan, else from the configured point clouds."""
    from geocorrect.api.backends import build_depth
    from geocorrect.config import with_depth

    if anchor.lidar is not None:
        return build_depth(with_depth(settings, "lidar")).depth(anchor, view.pixels)
    if (settings.depth.pointcloud.folder / "index.json").is_file():
        return build_depth(with_depth(settings, "pointcloud")).depth(anchor, view.pixels)
    return None


CHECK_COLUMNS = {
    "anchor_id": "anchor", "verdict": "verdict", "sigmas": "sigmas", "east_m": "east m", "north_m": "north m",
    "up_m": "up m", "rotation_deg": "rotation °",
}  # fmt: skip
"""Key of a row and heading."""


DRIVE_COLUMNS = {
    "drive": "drive", "position_m": "position m", "rotation_deg": "rotation °", "used_position_m": "used m",
    "used_rotation_deg": "used °", "clock": "clock", "cameras": "cameras",
}  # fmt: skip


@app.command("check")
def check(
    context: typer.Context,
    catalog: CatalogOption = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write a PNG here: a plan with the corrections enlarged, and the headings.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Store nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare every anchor's recorded pose with the one that its neighbours see, and estimate the drives' noise.

    An anchor is localised from its neighbours as if it were a photo. Anchors that contradict their neighbours are
    listed with the difference, the drives with their noise, the offset of their clock and the mounting of their
    cameras. What is found is stored with the anchors and used from then on, unless [localize.joint] states
    anchor_position_m or anchor_rotation_deg; poses are not changed. Exit code 3: a picture or scan could not be read.
    """
    from geocorrect.api.scene import AnchorSource
    from geocorrect.jobs.anchors.check import check_catalog
    from geocorrect.report.pictures.anchor_check_picture import draw_anchor_check

    if picture is not None and picture.suffix.lower() != ".png":
        raise UsageError(f"--picture {picture}: name a .png file")
    settings = invocation(context).settings(catalog)
    with (open_catalog if dry_run else locked_catalog)(settings) as store:
        source = AnchorSource.of_catalog(store)
        with progress_bar("check") as progress:
            outcome = check_catalog(settings, source, progress)
        if picture is not None:
            draw_anchor_check(outcome.check, source.index, source.frame, picture)
        if not dry_run:
            store.set_anchor_noise(outcome.found_noise())
    if as_json:
        write_json(outcome.as_json() | {"picture": None if picture is None else str(picture)})
    else:
        rows = [row for row in outcome.rows() if row["anchor_id"] in outcome.check.named]
        if rows:
            print_table([{**row, **_rounded(row)} for row in rows], CHECK_COLUMNS, {"anchor_id": None})
        drives = [{**row, **_rounded(row), **_drive_texts(row)} for row in outcome.drive_rows()]
        if drives:
            print_table(drives, DRIVE_COLUMNS, {"drive": None, "cameras": None})
        stderr().print("\n".join(_check_lines(outcome, dry_run)), markup=False, soft_wrap=True)
    raise typer.Exit(outcome.exit_code)


def _drive_texts(row: dict[str, Any]) -> dict[str, str]:
    """Clock and cameras of a drive in words; what is not distinct from nothing with what would have been."""
    sigma_ms = row["clock_sigma_ms"]
    clock = f"{row['clock_ms']:+.0f} ± {sigma_ms:.0f} ms" if row["clock_ms"] else f"± {sigma_ms:.0f} ms"
    cameras = []
    for camera in row["cameras"]:
        turn, off = camera["rotation_deg"], camera["lever_m"]
        size, least = math.hypot(*turn), max(camera["rotation_sigma_deg"])
        text = f"{size:.3f} ± {least:.3f}°" if size else f"± {least:.3f}°"
        text += f", {100 * math.hypot(*off):.1f} cm" if any(off) else ""
        cameras.append(f"{'/'.join(Path(camera['camera']).parts[-2:])}: {text}")
    return {"clock": clock, "cameras": "\n".join(cameras) or "one"}


def _rounded(row: dict[str, object]) -> dict[str, str]:
    return {key: f"{value:.3f}" for key, value in row.items() if isinstance(value, float)}


def _check_lines(outcome: CheckOutcome, dry_run: bool) -> list[str]:
    judged, named, noise = len(outcome.check.views), len(outcome.check.named), outcome.found_noise()
    lines = [f"{judged} of {outcome.n_anchors} anchors judged, {named} contradict their neighbours"]
    if noise:
        used = "would be stored" if dry_run else "is stored and used unless [localize.joint] states another"
        stated = f"(assumed so far: {outcome.stated[0]:g} m and {outcome.stated[1]:g}°)"
        lines.append(f"the noise of {len(noise)} anchors {used} {stated}")
    if len(noise) < outcome.n_anchors:
        left = outcome.n_anchors - len(noise)
        lines.append(f"of the drives of {left} anchors fewer than ten tell: their noise is not estimated")
    if judged < outcome.n_anchors:
        lines.append(f"{outcome.n_anchors - judged} anchors have fewer than two neighbours that they match")
    return [*lines, *(f"unusable {message}" for message in outcome.unusable)]
