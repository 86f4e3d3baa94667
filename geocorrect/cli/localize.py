"""`geocorrect localize IMAGE` and `geocorrect match A B`: try the method on single photos. Nothing is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from geocorrect.anchors.choice import AnchorOptions
from geocorrect.cli.console import JsonOption, invocation, open_catalog, stderr, write_json
from geocorrect.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from geocorrect.anchors.add import AnchorFiles
    from geocorrect.api.scene import AnchorSource
    from geocorrect.catalog.store import Catalog
    from geocorrect.config import Settings
    from geocorrect.match.options import StageName
    from geocorrect.records import Position


def localize(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(help="The photo.")],
    anchors: Annotated[
        str | None,
        typer.Option(help="PATH.gpkg or postgresql://…, or with --format a folder or table; default: the catalog."),
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--format", help="Of a folder or table: auto, or a name of `anchors formats`.")
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="vbr: vbr_calib.yaml.")] = None,
    ground_truth: Annotated[Path | None, typer.Option(help="vbr: SEQ_gt.txt.")] = None,
    alignment: Annotated[Path | None, typer.Option(help="vbr: JSON that places the local frame.")] = None,
    spacing_m: Annotated[float, typer.Option(min=0.0, help="vbr: metres between anchors; 0 takes all.")] = 1.0,
    crs: Annotated[str | None, typer.Option(help="table: CRS of the coordinates.")] = None,
    height_reference: Annotated[str, typer.Option(help="table: ellipsoid, orthometric or a vertical CRS.")] = "unknown",
    geoid_undulation: Annotated[float | None, typer.Option(help="Metres from ellipsoid up to geoid.")] = None,
    camera: Annotated[Path | None, typer.Option(help="The photo's camera: OpenSfM JSON. Default: its EXIF.")] = None,
    focal: Annotated[float | None, typer.Option(min=1.0, help="Or its focal length in pixels.")] = None,
    position: Annotated[str | None, typer.Option(help="Roughly where: LON,LAT in degrees. Default: EXIF.")] = None,
    heading: Annotated[float | None, typer.Option(help="Roughly which way: degrees from true north.")] = None,
    depth: Annotated[str | None, typer.Option(help="Depth source instead of the configured one.")] = None,
    picture: Annotated[Path | None, typer.Option(help="PNG to write: matches, residuals, map with ellipse.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Localise one photo against anchors: WGS84 position, heading, expected error, status and reason.

    Exit code 7: the photo was rejected, so there is no pose.
    """
    from geocorrect.anchors.readers.registry import anchor_files
    from geocorrect.api.localizer import Localizer
    from geocorrect.errors import Status

    settings = invocation(context).settings()
    if camera is not None and focal is not None:
        raise UsageError("give either --camera or --focal, not both")
    if picture is not None and picture.suffix.lower() != ".png":
        raise UsageError(f"--picture {picture}: name a .png file")
    choice = None
    if layout is not None:
        if anchors is None:
            raise UsageError("--format needs --anchors with the folder or table")
        options = AnchorOptions(
            calibration, ground_truth, alignment, spacing_m, "if_present", "skip", crs, height_reference,
            geoid_undulation,
        )  # fmt: skip
        choice = anchor_files(Path(anchors), layout, options, ("scans", "uncovered"))
    elif anchors is not None:
        settings = _with_catalog(settings, anchors)
    place = None if position is None else _position(position)
    with _anchors(settings, choice) as source, Localizer(source, depth=depth, settings=settings) as localizer:
        result = localizer.localize(
            image, reported=place, heading_deg=heading, camera=focal if camera is None else camera
        )
        if picture is not None:
            result.plot(picture)
    if as_json:
        write_json(result.as_json() | {"picture": None if picture is None else str(picture)})
    else:
        stderr().print("\n".join(result.lines()), markup=False, soft_wrap=True)
    if result.status == Status.REJECTED:
        raise typer.Exit(ExitCode.TOO_MANY_REJECTED)


@contextmanager
def _anchors(settings: Settings, choice: AnchorFiles | None) -> Iterator[AnchorSource | Catalog]:
    """The anchors in files, or the catalog that holds them."""
    from geocorrect.api.scene import AnchorSource

    if choice is not None:
        yield AnchorSource.of_files(choice)
    else:
        with open_catalog(settings) as catalog:
            yield catalog


def _with_catalog(settings: Settings, anchors: str) -> Settings:
    from geocorrect.config import CatalogSection

    if "://" not in anchors and not anchors.endswith(".gpkg"):
        raise UsageError(f"--anchors {anchors}: no catalog (.gpkg, postgresql://…); for files say --format")
    return settings.model_copy(update={"catalog": CatalogSection(anchors)})


def _position(text: str) -> Position:
    from geocorrect.records import Position

    try:
        lon_deg, lat_deg = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--position {text!r}: write LON,LAT in degrees, such as 12.4922,41.8902") from None
    try:
        return Position(lon_deg, lat_deg)
    except ValueError as error:
        raise UsageError(f"--position: {error}") from None


Photo = Annotated[Path, typer.Argument(help="A photo.")]


def match(
    context: typer.Context,
    query: Photo,
    anchor: Photo,
    matcher: Annotated[str, typer.Option(help="sift, cascade, aliked_lightglue, mast3r or another of [match].")] = "",
    depth: Annotated[
        str, typer.Option(help="Also show the anchor's depth as predicted: depth_anything_v2, depth_pro, …")
    ] = "",
    out: Annotated[Path, typer.Option(help="Picture to write, .png or .jpg.")] = Path("matches.png"),
    focal: Annotated[
        float, typer.Option(min=0.0, help="Focal length over the long side of both photos; 0: 0.85.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON on stdout.")] = False,
) -> None:
    """Match two photos, draw the matches with the inliers, and the depth of the second photo beside them."""
    from geocorrect.api.backends import build_depth, build_matcher
    from geocorrect.config import with_depth
    from geocorrect.report.pictures.match_picture import draw, match_pair, write_picture

    settings = invocation(context).settings()
    if matcher:
        match_section = replace(settings.match, matcher=_matcher_name(matcher))
        settings = settings.model_copy(update={"match": match_section})
    if depth:
        settings = with_depth(settings, depth)
        # A photo out of nowhere has no neighbours that could calibrate its depth.
        settings = settings.model_copy(update={"depth": settings.depth.alone()})
    pair = match_pair(query, anchor, build_matcher(settings), build_depth(settings) if depth else None, focal)
    write_picture(draw(pair), out)
    summary = pair.summary() | {"picture": str(out)}
    if as_json:
        write_json(summary)
    else:
        stderr().print(f"{summary['n_inliers']} of {summary['n_matches']} matches agree; picture: {out}")


def _matcher_name(name: str) -> StageName:
    """The name, if there is such a matcher; UsageError listing them when not."""
    from geocorrect.errors import UsageError
    from geocorrect.match.options import StageName

    if name not in get_args(StageName):
        raise UsageError(f"--matcher {name!r}: use one of {', '.join(get_args(StageName))}")
    return name  # type: ignore[return-value]
