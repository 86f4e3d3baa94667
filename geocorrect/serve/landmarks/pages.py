"""The routes of the landmark page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from geocorrect.anchors.readers.vbr.sequence import VbrOptions
from geocorrect.errors import InputError, OutdatedError
from geocorrect.geometry.camera import Camera
from geocorrect.georeference.command import Inputs, store
from geocorrect.georeference.footprint import View
from geocorrect.georeference.landmarks.click import Click
from geocorrect.georeference.landmarks.write import clicks_gcp_list, clicks_geojson, clicks_qgis
from geocorrect.serve.landmarks.answer import Solver, describe_check, describe_clicks, describe_view
from geocorrect.serve.landmarks.drive import NAN, Photo
from geocorrect.serve.landmarks.session import ClickSession, Version
from geocorrect.serve.landmarks.undistorted import raw_px, undistorted_camera, undistorted_jpeg, undistorted_px
from geocorrect.serve.photos import KEPT, picture
from geocorrect.serve.requests import RequestBody, count_in, json_answer, number, number_in, read_body
from geocorrect.serve.state import ServeSettings

PAGE = Path(__file__).parents[1] / "static" / "landmarks.html"
MAX_PIXELS = 500


class _Change(RequestBody):
    version: int
    action: Literal["add", "replace", "remove"]
    drive: int = 0
    photo: int = 0
    index: int = 0
    """Of the click among those of its drive, to replace or remove it."""
    u_px: float = Field(0.0, allow_inf_nan=False)
    v_px: float = Field(0.0, allow_inf_nan=False)
    lon_deg: float = Field(0.0, allow_inf_nan=False)
    lat_deg: float = Field(0.0, allow_inf_nan=False)
    landmark: str = Field("", max_length=200)


class _Version(RequestBody):
    version: int


def routes(state: ServeSettings) -> list[Route]:
    """Routes of the page; none when no drive is to be placed."""
    if state.landmarks is None:
        return []
    pages = _Pages(state, ClickSession(state.landmarks))
    return [
        Route("/landmarks", pages.page),
        Route("/landmarks/picture/{drive:int}/{photo:int}", pages.picture),
        Route("/api/landmarks/state", pages.whole_state),
        Route("/api/landmarks/check", pages.check),
        Route("/api/landmarks/view", pages.view),
        Route("/api/landmarks/ground", pages.ground),
        Route("/api/landmarks/pixels", pages.pixels),
        Route("/api/landmarks/export", pages.export),
        Route("/api/landmarks/click", pages.click, methods=["POST"]),
        Route("/api/landmarks/undo", pages.undo, methods=["POST"]),
        Route("/api/landmarks/store", pages.store, methods=["POST"]),
    ]


def _size(camera: Camera | None) -> dict[str, int] | None:
    return None if camera is None else {"width": camera.width, "height": camera.height}


class _Pages:
    """The answers of the page."""

    def __init__(self, state: ServeSettings, session: ClickSession) -> None:
        self._state, self._session, self._solver = state, session, Solver(session)

    def page(self, _request: Request) -> Response:
        return FileResponse(PAGE)

    def picture(self, request: Request) -> Response:
        photo = self._photo(request.path_params["drive"], request.path_params["photo"])
        if photo.path is None or "undistorted" not in request.query_params:
            return picture(photo.path)
        content = undistorted_jpeg(photo.path, photo.image.camera)
        return Response(content, media_type="image/jpeg", headers={"cache-control": KEPT})

    def whole_state(self, _request: Request) -> Response:
        drives = [
            {
                "name": drive.name,
                "width": drive.base.rig.camera.width,
                "height": drive.base.rig.camera.height,
                "undistorted": _size(undistorted_camera(drive.base.rig.camera)),
                "photos": [
                    {"name": p.name, "along_m": round(p.along_m, 1), "has_picture": p.path is not None}
                    for p in drive.photos
                ],
            }
            for drive in self._session.drives
        ]
        return json_answer({"drives": drives, **self._described(self._session.now)})

    async def click(self, request: Request) -> Response:
        asked = await read_body(request, _Change)
        return await run_in_threadpool(lambda: json_answer(self._described(self._changed(asked))))

    async def undo(self, request: Request) -> Response:
        asked = await read_body(request, _Version)
        return await run_in_threadpool(lambda: json_answer(self._described(self._session.undo(asked.version))))

    def check(self, request: Request) -> Response:
        try:
            version = self._current(count_in(request.query_params, "version"))
            return json_answer({"version": version.number, **describe_check(self._solver.whole(version))})
        except OutdatedError:  # as happens whenever clicks follow each other
            return json_answer({"outdated": True})

    def view(self, request: Request) -> Response:
        photo = self._asked_photo(request)
        version = self._session.now
        marks: dict[str, dict[str, Any]] = {}
        for own in version.clicks:
            for click in own:
                marks.setdefault(
                    click.landmark, {"landmark": click.landmark, "lon_deg": click.lon_deg, "lat_deg": click.lat_deg}
                )
        here = {click.landmark for own in version.clicks for click in own if click.image == photo.name}
        others = [mark for name, mark in marks.items() if name not in here]
        return json_answer(describe_view(photo, self._solver.first(version), others))

    def ground(self, request: Request) -> Response:
        photo, found = self._asked_photo(request), self._solver.first(self._session.now)
        if isinstance(found, str):
            return json_answer({"place": None})
        px = [number_in(request.query_params, name) or 0.0 for name in ("u_px", "v_px")]
        place = View(found, photo.image).ground_lon_lat(np.array([px]))[0]
        return json_answer({"place": place.tolist() if np.isfinite(place).all() else None})

    def pixels(self, request: Request) -> Response:
        """Raw pixels in the undistorted picture, or the other way round; null where there is none."""
        query, camera = request.query_params, self._asked_photo(request).image.camera
        numbers = [number("px", part) for part in query.get("px", "").split(",")]
        if len(numbers) % 2 or len(numbers) > 2 * MAX_PIXELS:
            raise InputError(f"px: pairs of numbers, at most {MAX_PIXELS}")
        convert = {"raw": raw_px, "undistorted": undistorted_px}.get(query.get("to", ""))
        if convert is None:
            raise InputError("to: raw or undistorted")
        found = convert(camera, np.array(numbers, dtype=float).reshape(-1, 2)).round(2)
        return json_answer({"px": [pair if np.isfinite(pair).all() else None for pair in found]})

    def export(self, request: Request) -> Response:
        query = request.query_params
        drive = count_in(query, "drive")
        if not 0 <= drive < len(self._session.drives):
            raise InputError(f"drive {drive}: there are {len(self._session.drives)}")
        clicks = self._session.now.clicks[drive]
        kind = query.get("format", "")
        if kind == "gcp":
            name, text = "gcp_list.txt", clicks_gcp_list(clicks)
        elif kind == "points":
            photo = self._asked_photo(request)
            name, text = f"{Path(photo.name).stem}.points", clicks_qgis(clicks, photo.name)
        elif kind == "geojson":
            name, text = self._session.drives[drive].clicks_file.name, clicks_geojson(clicks)
        else:
            raise InputError(f"format {kind[:20]!r}: gcp, points or geojson")
        plain = "".join(
            letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_" for letter in name
        )
        headers = {"content-disposition": f'attachment; filename="{plain}"'}
        return Response(text, media_type="text/plain; charset=utf-8", headers=headers)

    async def store(self, request: Request) -> Response:
        asked = await read_body(request, _Version)
        return await run_in_threadpool(self._stored, asked.version)

    def _stored(self, number: int) -> Response:
        version = self._current(number)
        found = self._solver.whole(version)
        if isinstance(found, str):
            raise InputError(found)
        inputs = Inputs(self._session.files.trajectories, self._session.files.calibration)
        with self._state.writing() as catalog:
            store(catalog, found, inputs, (), VbrOptions())
        return json_answer({"alignment_id": found.alignment.id, "catalog": self._state.catalog.address})

    def _described(self, version: Version) -> dict[str, Any]:
        return describe_clicks(self._session, version, self._solver.first(version))

    def _changed(self, asked: _Change) -> Version:
        if asked.action == "remove":
            return self._session.remove(asked.version, asked.drive, asked.index)
        photo = self._photo(asked.drive, asked.photo)
        click = Click(
            photo.name, asked.u_px, asked.v_px, asked.lon_deg, asked.lat_deg, NAN, asked.landmark.strip(), "click"
        )
        if not click.landmark:
            raise InputError("landmark: name the mark; the same name in several photos means the same mark")
        if asked.action == "add":
            return self._session.add(asked.version, asked.drive, click)
        return self._session.replace(asked.version, asked.drive, asked.index, click)

    def _current(self, number: int) -> Version:
        version = self._session.now
        if version.number != number:
            raise OutdatedError("somebody has clicked since you looked; look again")
        return version

    def _asked_photo(self, request: Request) -> Photo:
        drive, photo = (count_in(request.query_params, name) for name in ("drive", "photo"))
        return self._photo(drive, photo)

    def _photo(self, drive: int, photo: int) -> Photo:
        if not (0 <= drive < len(self._session.drives) and 0 <= photo < len(self._session.drives[drive].photos)):
            raise InputError(f"drive {drive}, photo {photo}: there is none")
        return self._session.drives[drive].photos[photo]
