"""Ten thousand photos of a town in a real Chromium: every street keeps its colour although photos cover each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from support.chromium import Browser, open_browser

from geocorrect.catalog.run import StoredResult
from geocorrect.catalog.views.palette import ERROR_CLASSES
from geocorrect.errors import Reason, Status
from geocorrect.geometry.frame import Frame
from geocorrect.records import Attribution
from geocorrect.report.contents import Contents, Photo
from geocorrect.report.page import render_page

pytestmark = [pytest.mark.browser, pytest.mark.long]
FRAME = Frame("town", 12.4964, 41.9028, 48.0)
STREETS, PHOTOS_A_STREET = 20, 500
LENGTH_M, APART_M = 1000.0, 24.0
START = datetime(2026, 3, 1, tzinfo=UTC)
ERRORS_M = (0.05, 0.2, 0.4, 0.8, 2.0)
"""One in every class; a street has one of them."""
DOT_PX = 2 * 3.8


def street_photos(street: int) -> list[Photo]:
    """Every tenth is rejected, every fiftieth waits for a review; all are reported 5 m off."""
    index = np.arange(PHOTOS_A_STREET)
    true_m = np.stack([LENGTH_M * index / PHOTOS_A_STREET, np.full(len(index), APART_M * street), 0.0 * index], axis=1)
    true, reported = FRAME.wgs84_from_enu(true_m), FRAME.wgs84_from_enu(true_m - [4.0, 3.0, 0.0])
    return [photo(street, k, (true[0][k], true[1][k]), (reported[0][k], reported[1][k])) for k in index.tolist()]


def photo(street: int, index: int, place: tuple[float, float], reported: tuple[float, float]) -> Photo:
    status = Status.REJECTED if index % 10 == 4 else Status.REVIEW if index % 50 == 7 else Status.ACCEPTED
    placed = {} if status is Status.REJECTED else {
        "lon_deg": float(place[0]), "lat_deg": float(place[1]), "height_m": 48.0, "heading_deg": 90.0,
        "expected_error_m": ERRORS_M[street % 5], "semi_major_m": 0.3, "semi_minor_m": 0.1, "ellipse_azimuth_deg": 30.0,
        "displacement_m": 5.0,
    }  # fmt: skip
    stored = StoredResult(
        index, "run-a", START, f"{street:02d}-{index:03d}", status, Reason.UNCERTAIN if not placed else None, "",
        f"street-{street:02d}", START + timedelta(seconds=index), Attribution("ana", "", "CC-BY-SA-4.0"),
        make_result=lambda: pytest.fail("a report reads plain values"),
        reported_lon_deg=float(reported[0]), reported_lat_deg=float(reported[1]), **placed,
    )  # fmt: skip
    return Photo(stored, "Acme Cam")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("crowd")
    photos = tuple(photo for street in range(STREETS) for photo in street_photos(street))
    contents = Contents(FRAME, photos, (), (), (), (), (), {}, 0, has_truth=False)
    (folder / "report.html").write_text(render_page(contents), encoding="utf-8")
    with open_browser(folder) as browser:
        browser.resize(1300, 1000)
        browser.open(folder / "report.html")
        browser.wait("document.documentElement.dataset.ready === 'yes'")
        yield browser


def test_accepted_photos_stay_visible_in_a_crowd(town: Browser, tmp_path: Path) -> None:
    pixels_per_metre = float(town.run("return 2 ** photoMap.map.getZoom() * window.devicePixelRatio"))
    assert LENGTH_M * pixels_per_metre / PHOTOS_A_STREET < DOT_PX / 3, "they must cover each other"
    colours = [colour for _, colour in ERROR_CLASSES]
    painted_px = town.run(
        # Edges of dots upon dots of the same colour are a step of rounding off it.
        "const c = document.querySelector('#map canvas');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        f"const colours = {colours}.map((text) => [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16)));"
        "return colours.map((rgb) => { let n = 0;"
        "  for (let i = 0; i < d.length; i += 4)"
        "    n += d[i + 3] > 250 && rgb.every((v, k) => Math.abs(d[i + k] - v) < 8);"
        "  return n; });"
    )
    town.screenshot(Path(os.environ.get("GEOCORRECT_REPORT_PICTURES") or tmp_path) / "crowd.png")
    band_px = STREETS / len(ERRORS_M) * LENGTH_M * pixels_per_metre * DOT_PX
    shares = dict(zip(colours, (n / band_px for n in painted_px), strict=True))
    assert min(shares.values()) > 0.6, shares
