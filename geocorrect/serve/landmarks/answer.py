"""What the solver says to the present clicks: at once while somebody clicks, in full a moment later."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from geocorrect.errors import InputError, OutdatedError
from geocorrect.georeference.build import MIN_CLICKS
from geocorrect.georeference.footprint import View
from geocorrect.georeference.result import Georeference
from geocorrect.georeference.run import first_answer, georeference
from geocorrect.serve.landmarks.drive import Photo
from geocorrect.serve.landmarks.session import Clicks, ClickSession, Version

FOOTPRINT_GRID = (5, 6)
"""Columns and rows of pixels whose ground outlines what a photo sees."""


class Solver:
    """Solves each version of the clicks once."""

    def __init__(self, session: ClickSession) -> None:
        self._session = session
        self._first = lru_cache(8)(self._solved)
        self._whole = lru_cache(8)(self._checked)

    def first(self, version: Version) -> Georeference | str:
        """The joint solution, or in words why there is none."""
        return self._first(version.clicks)

    def whole(self, version: Version) -> Georeference | str:
        """As `geocorrect georeference` answers: checked by leaving each photo out, or refused.

        OutdatedError as soon as there are other clicks: the answer to them must not wait for this one.
        """
        return self._whole(version.clicks)

    def _solved(self, clicks: Clicks) -> Georeference | str:
        n_clicks = sum(map(len, clicks))
        if n_clicks < MIN_CLICKS:
            return f"{n_clicks} clicks: {MIN_CLICKS} are needed at least, better 4 in each of 3 photos"
        try:
            return first_answer(self._session.clicked_drives(clicks), self._session.files.options)
        except InputError as error:
            return str(error)

    def _checked(self, clicks: Clicks) -> Georeference | str:
        if not any(clicks):
            return "no clicks yet"

        def stop_if_outdated() -> None:
            if self._session.now.clicks is not clicks:
                raise OutdatedError("there are other clicks by now")

        drives, options = self._session.clicked_drives(clicks), self._session.files.options
        try:
            return georeference(drives, options, before_each=stop_if_outdated)
        except InputError as error:
            return str(error)


def describe_clicks(session: ClickSession, version: Version, found: Georeference | str) -> dict[str, Any]:
    """The clicks with their residuals, and what is known about the placement."""
    solved = found if isinstance(found, Georeference) else None
    residuals = iter(solved.clicks if solved else ())
    clicks = []
    for k, own in enumerate(version.clicks):
        for index, click in enumerate(own):
            residual = next(residuals, None)
            values = {} if residual is None else {
                "residual_px": residual.residual_px, "residual_m": residual.residual_m,
                "mahalanobis": residual.mahalanobis, "outlier": residual.outlier,
            }  # fmt: skip
            clicks.append(
                {
                    "drive": k, "index": index, "image": click.image, "u_px": click.u_px, "v_px": click.v_px,
                    "lon_deg": click.lon_deg, "lat_deg": click.lat_deg, "landmark": click.landmark, **values,
                }
            )  # fmt: skip
    answer: dict[str, Any] = {"version": version.number, "can_undo": session.can_undo, "clicks": clicks}
    answer["refused"] = found if isinstance(found, str) else None
    answer["solution"] = None if solved is None else _summary(solved)
    answer["suggestion"] = suggestion(session, version, solved)
    return answer


def describe_check(found: Georeference | str) -> dict[str, Any]:
    """The checked alignment, as `geocorrect georeference` prints it."""
    if isinstance(found, str):
        return {"refused": found, "solution": None}
    alignment = found.alignment.as_json()
    return {
        "refused": None,
        "solution": _summary(found),
        "leave_one_out_m": found.leave_one_out_m,
        "alignment": alignment,
        "alignment_id": found.alignment.id,
    }


def _summary(found: Georeference) -> dict[str, Any]:
    return {
        "scale": found.alignment.world_from_local.scale,
        "yaw_deg": found.yaw_deg,
        "median_residual_m": found.median_residual_m,
        "n_outliers": found.n_outliers,
        "track_sigma_m": found.track_sigma_m,
        "base_height_m": found.base_height_m,
        "findings": [{"code": f.code, "text": f.text, "fatal": f.fatal} for f in found.findings],
    }


def suggestion(session: ClickSession, version: Version, found: Georeference | None) -> dict[str, Any] | None:
    """The photo without clicks that would help most: where the drive is least certain, else farthest from clicks."""
    places: list[tuple[int, int]] = []
    local: list[Any] = []
    clicked: list[Any] = []
    for k, (drive, clicks) in enumerate(zip(session.drives, version.clicks, strict=True)):
        with_clicks = {click.image for click in clicks}
        for n, photo in enumerate(drive.photos):
            at = photo.image.local_from_cam.translation_m
            if photo.name in with_clicks:
                clicked.append(at)
            else:
                places.append((k, n))
                local.append(at)
    if not places:
        return None
    if found is not None:
        sigma_m = found.alignment.plan_sigma_m(np.array(local))
        best = int(np.argmax(sigma_m))
        why = f"the drive is least certain there: {sigma_m[best]:.2f} m (1 sigma)"
    elif clicked:
        away_m = np.linalg.norm(np.array(local)[:, None] - np.array(clicked)[None], axis=2).min(axis=1)
        best = int(np.argmax(away_m))
        why = f"{away_m[best]:.0f} m from the nearest photo with clicks"
    else:
        best, why = len(places) // 8, "a beginning: click four marks on the ground"
    return {"drive": places[best][0], "photo": places[best][1], "why": why}


def describe_view(photo: Photo, found: Georeference | str, landmarks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Where a photo looks on the map, and where the marks of other photos should appear in it."""
    if isinstance(found, str):
        return {"camera": None, "ground": [], "marks": []}
    view, camera = View(found, photo.image), photo.image.camera
    columns, rows = FOOTPRINT_GRID
    u, v = np.meshgrid(
        np.linspace(0, camera.width - 1, columns), np.linspace(camera.height * 0.52, camera.height - 1, rows)
    )
    ground = view.ground_lon_lat(np.stack([u.ravel(), v.ravel()], axis=1))
    marks = []
    if landmarks:
        places = np.array([[mark["lon_deg"], mark["lat_deg"]] for mark in landmarks])
        for mark, px in zip(landmarks, view.pixels_of(places), strict=True):
            if np.isfinite(px).all():
                marks.append({"landmark": mark["landmark"], "u_px": float(px[0]), "v_px": float(px[1])})
    return {
        "camera": list(view.camera_lon_lat()),
        "ground": [place for place in ground.tolist() if math.isfinite(place[0])],
        "marks": marks,
    }
