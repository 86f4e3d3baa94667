"""`geocorrect serve`: pages to work in, in the browser of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geocorrect.cli.console import CatalogOption, invocation, locked_catalog, open_catalog, stderr

if TYPE_CHECKING:
    from geocorrect.serve.landmarks.drive import LandmarkFiles


def serve(
    context: typer.Context,
    catalog: CatalogOption = None,
    scene: Annotated[Path | None, typer.Option(help="Folder that relative paths of pictures count from.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; others than this machine can reach 0.0.0.0.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Name by which this server is reached; repeat for more.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", help="Site, https://…, whose pages may read tiles and features; or several."),
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who decides; default: the user of this machine.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every change.")] = False,
    orthophoto: Annotated[Path | None, typer.Option(help="Map: a GeoTIFF of the ground.")] = None,
    pmtiles: Annotated[Path | None, typer.Option(help="Map: a PMTiles file of pictures.")] = None,
    tiles: Annotated[
        str | None,
        typer.Option(help="Map: address with {z} {x} {y}, or {bbox-epsg-3857} for WMS; needs --attribution."),
    ] = None,
    attribution: Annotated[str, typer.Option(help="Whom the map's licence asks you to name.")] = "",
    trajectory: Annotated[
        list[Path] | None, typer.Option(help="Landmarks: SEQ_gt.txt (TUM order); repeat for several drives.")
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="Landmarks: vbr_calib.yaml.")] = None,
    clicks: Annotated[
        list[Path] | None, typer.Option(help="Landmarks: .geojson that clicks are kept in; one per trajectory.")
    ] = None,
    photos: Annotated[
        list[Path] | None, typer.Option(help="Landmarks: folder of pictures; one per trajectory.")
    ] = None,
    image_timestamps: Annotated[
        list[Path] | None, typer.Option(help="timestamps.txt of the clicked camera; else image i is row i.")
    ] = None,
    image_row_offset: Annotated[
        float, typer.Option(help="Without timestamps: image i was taken at trajectory row i + this.")
    ] = 0.0,
    camera: Annotated[str, typer.Option(help="Clicked camera: left or right.")] = "left",
    ground_height: Annotated[float | None, typer.Option(help="Ellipsoidal height of the ground in m.")] = None,
) -> None:
    """Open pages to work in: review poses in doubt, pick landmarks, look at the city. Stop with Ctrl-C.

    The address that is printed holds a secret: who has it may decide and click. Tiles and features (/tiles, /ogc) are
    read without it by whoever reaches the server. The landmark page is there with --trajectory, --calibration and
    --clicks.
    """
    import secrets
    from getpass import getuser

    from geocorrect.errors import UsageError

    try:
        from geocorrect.serve.basemap import open_basemap
        from geocorrect.serve.server import host_in_url
        from geocorrect.serve.server import serve as run_server
        from geocorrect.serve.state import ServeSettings
    except ModuleNotFoundError as error:
        if error.name in {"starlette", "uvicorn", "httptools"}:
            raise UsageError(f"{error.name} is not installed: pip install 'geocorrect[serve]'") from None
        raise
    basemap = open_basemap(orthophoto, pmtiles, tiles, attribution)
    landmarks = None
    if trajectory or calibration or clicks or photos or image_timestamps:
        if not (trajectory and calibration and clicks):
            raise UsageError("landmarks need --trajectory, --calibration and --clicks")
        landmarks = _landmarks(trajectory, calibration, clicks, photos, image_timestamps)
        landmarks = landmarks.with_options(camera, image_row_offset, ground_height)
    configured = invocation(context).settings(catalog)
    if landmarks is not None and not read_only:
        with locked_catalog(configured, create=True):
            pass  # a drive is often placed before there is a catalog
    with open_catalog(configured) as store:
        settings = ServeSettings(
            catalog=store,
            token=secrets.token_urlsafe(32),
            scene=scene,
            read_only=read_only,
            hosts=(*ServeSettings.hosts, host_in_url(host), *(allow_host or ())),
            reviewer=by if by is not None else getuser(),
            settings=configured,
            landmarks=landmarks,
            basemap=basemap,
            web_origins=tuple(allow_origin or ()),
        )
        run_server(
            settings, host, port, lambda address: stderr().print(f"open {address}", markup=False, soft_wrap=True)
        )


def _landmarks(
    trajectories: list[Path], calibration: Path, clicks: list[Path], photos: list[Path] | None,
    image_timestamps: list[Path] | None,
) -> LandmarkFiles:  # fmt: skip
    from geocorrect.serve.landmarks.drive import LandmarkFiles

    return LandmarkFiles(
        tuple(trajectories), calibration, tuple(clicks), tuple(photos or ()), tuple(image_timestamps or ())
    )
