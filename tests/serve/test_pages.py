"""Every page in a real Chromium: on a tablet and a phone nothing is cut off, and a map service is asked as it wants."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image as Picture
from support import catalog_world as world
from support.campus_drive import campus_clicks, campus_files
from support.chromium import Browser, open_browser
from support.served import TOKEN, served

from geocorrect.catalog import Catalog
from geocorrect.georeference.landmarks.write import write_clicks
from geocorrect.serve.basemap import open_basemap
from geocorrect.serve.state import ServeSettings

pytestmark = [pytest.mark.browser, pytest.mark.long]
READY = "(document.body.dataset.ready ?? document.documentElement.dataset.ready) === 'yes'"
TOO_SMALL = """
  return [...document.querySelectorAll('button, select, .line, input:not(.line input)')]
    .filter((part) => part.checkVisibility() && !part.matches('.pin'))
    .map((part) => [part.id || part.name || part.textContent.trim(), part.getBoundingClientRect()])
    .filter(([, box]) => box.width < 36 || box.height < 36).map(([name, box]) => [name, box.width, box.height])"""
HALF_WORLD_M = 20_037_508.35


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def catalog(empty_geopackage: Path, tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(str(shutil.copy(empty_geopackage, tmp_path / "c.gpkg"))) as opened:
        world.fill(opened, 12)
        yield opened


@pytest.mark.data
def test_a_tablet_and_a_phone_show_everything_large_enough_to_touch(
    browser: Browser, catalog: Catalog, shared_data: Path, tmp_path: Path
) -> None:
    files = campus_files(shared_data, tmp_path / "campus")
    write_clicks(campus_clicks(shared_data)[:3], files.clicks[0])
    with served(ServeSettings(catalog, TOKEN, landmarks=files)) as server:
        for width, height in ((820, 1180), (390, 844)):
            screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
            for command, values in (
                ("Emulation.setDeviceMetricsOverride", screen),
                ("Emulation.setTouchEmulationEnabled", {"enabled": True}),
            ):
                browser.call("POST", "goog/cdp/execute", {"cmd": command, "params": values})
            for page in ("landmarks", "review", "city"):
                browser.go(f"{server.origin}/{page}?token={TOKEN}")
                browser.wait(READY)
                assert browser.run("return document.documentElement.scrollWidth") == width, page
                assert browser.run(TOO_SMALL) == [], (page, width)
    browser.call("POST", "goog/cdp/execute", {"cmd": "Emulation.clearDeviceMetricsOverride", "params": {}})


def test_a_map_service_is_asked_for_tiles_or_boxes(browser: Browser, catalog: Catalog) -> None:
    """XYZ and WMS, of another origin that the policy lets in; boxes are those of tiles in Web Mercator."""
    asked: list[str] = []
    drawn = io.BytesIO()
    Picture.new("RGB", (256, 256), (90, 120, 90)).save(drawn, "PNG")

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(drawn.getvalue())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{service.server_port}"
        for template in (
            f"{address}/{{z}}/{{x}}/{{y}}.png",
            f"{address}/wms?REQUEST=GetMap&CRS=EPSG:3857&BBOX={{bbox-epsg-3857}}",
        ):
            basemap = open_basemap(tiles=template, attribution="© City of Rome")
            with served(ServeSettings(catalog, TOKEN, basemap=basemap)) as server:
                browser.go(f"{server.origin}/city?token={TOKEN}")
                browser.wait(READY)
                attribution = "document.querySelector('.maplibregl-ctrl-attrib').textContent"
                assert "© City of Rome" in browser.run(f"return {attribution}")
        service.shutdown()
    tiles = [path for path in asked if path.endswith(".png")]
    boxes = [parse_qs(urlsplit(path).query)["BBOX"][0].split(",") for path in asked if "GetMap" in path]
    assert tiles
    assert boxes
    for west, south, east, north in ([float(side) for side in box] for box in boxes):
        assert east - west == pytest.approx(north - south)
        assert ((west + HALF_WORLD_M) / (east - west)) == pytest.approx(round((west + HALF_WORLD_M) / (east - west)))
