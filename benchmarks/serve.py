"""How fast `geocorrect serve` shows a city: first map, tiles, memory; tiles beside ST_AsMVT alone in the same run.

    python benchmarks/serve.py [--photos 100000] [--geopackage 100000] [--tiles 30] [--zooms 8 18]
                               [--catalog postgresql://…] [--tipg PATH/TO/uvicorn]

A server in a process of its own is asked over HTTP, as a browser does. Photos stand 0.0001° apart, 600 to a street;
`tests/support/large_catalog.sql` makes them in PostGIS. --catalog names one that is filled already. "Alone" is a
connection that asks the view placed_photo for the same tile with ST_AsMVT, everything in it and nothing else; the two
take turns, and its median is the floor; its processor time is that of the database and of our end of the connection.
--tipg names the program uvicorn of an environment of its own (`python -m venv tipg && tipg/bin/pip install tipg
uvicorn`): tipg then serves the same view. First map: what the page asks for before it is ready, six requests at a time.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import mercantile
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import psycopg
from catalog import postgis, process_seconds, server_seconds
from sqlalchemy import make_url
from support import catalog_world as world
from support.large_catalog import fill_large

from geocorrect.catalog import Catalog
from geocorrect.geometry.pose import Pose
from geocorrect.records import Position

ALONE = """
select st_asmvt(tile.*, 'corrected', 4096, 'geom', 'fid') from (
  select fid, image_id, status, expected_error_m::real, round(heading_deg)::int as heading_deg, st_asmvtgeom(
    st_transform(st_force2d(geom), 3857), st_tileenvelope(%(z)s, %(x)s, %(y)s), 4096, 0, false) as geom
  from placed_photo where geom && st_transform(st_tileenvelope(%(z)s, %(x)s, %(y)s), 4326)) tile
"""
FIRST = ("corrected", "rejected", "anchors")
"""Layers of the first map."""
FIRST_COMPARED = 14
"""Least zoom; at smaller ones ST_AsMVT alone takes seconds for every tile."""
SCREEN_PX = (1000, 700)
MEMORY_MB, FIRST_S, TILE_MS, RATIO = 300, 2.0, 100, 1.5


class Server:
    """A running `geocorrect serve`."""

    def __init__(self, catalog: str) -> None:
        """Start it, and take its cookie."""
        command = [sys.executable, "-m", "geocorrect", "serve", "--catalog", catalog]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        words = next(line for line in self.process.stderr if "http://" in line).split()
        self.address = urlsplit(next(word for word in words if word.startswith("http://")))
        connection = HTTPConnection(self.address.netloc, timeout=120)
        connection.request("GET", f"/?{self.address.query}")
        self.cookie = (connection.getresponse().getheader("set-cookie") or "").split(";")[0]

    def get(self, path: str) -> bytes:
        """The content at a path, over a connection that is kept, as browsers do."""
        return fetched(self.address.netloc, path, {"Cookie": self.cookie})

    def processor_s(self) -> float:
        """Seconds that it has worked."""
        return process_seconds(self.process.pid)

    def peak_mb(self) -> float:
        """The most memory that it has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1000


_connections = threading.local()


def fetched(netloc: str, path: str, headers: dict[str, str]) -> bytes:
    """What a server answers, over this thread's connection to it."""
    kept: dict[str, HTTPConnection] = vars(_connections).setdefault("kept", {})
    connection = kept.setdefault(netloc, HTTPConnection(netloc, timeout=300))
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
    except (ConnectionResetError, BrokenPipeError, HTTPException):  # it was closed meanwhile
        connection.close()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
    content = answer.read()
    assert answer.status in (200, 204), (path, answer.status, content[:300])
    return content


@contextmanager
def tipg(program: str | None, catalog: Catalog) -> Iterator[tuple[Callable[[mercantile.Tile], bytes], int] | None]:
    """Tiles of the view placed_photo by tipg on the same database, and its process; None where it is not given."""
    if program is None or catalog.engine.dialect.name != "postgresql":
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = catalog.engine.url.set(drivername="postgresql")
    if str(url.query.get("host", "")).startswith("/"):  # a socket, which its settings cannot name
        url = url.set(host="127.0.0.1", port=int(str(url.query["port"])), query={})
    address = url.render_as_string(hide_password=False)
    # Without the last three it reads every view of the catalog before it answers.
    environment = {
        **os.environ,
        "PYTHONPATH": "",
        "DATABASE_URL": address,
        "TIPG_DB_SCHEMAS": '["geocorrect"]',
        "TIPG_DB_TABLES": '["geocorrect.placed_photo"]',
        "TIPG_DB_SPATIAL_EXTENT": "false",
        "TIPG_DB_DATETIME_EXTENT": "false",
    }
    command = [program, "tipg.main:app", "--port", str(port), "--log-level", "error"]
    process = subprocess.Popen(command, env=environment)
    netloc = f"127.0.0.1:{port}"
    properties = "image_id,status,expected_error_m,heading_deg"

    def tile(t: mercantile.Tile) -> bytes:
        path = f"/collections/geocorrect.placed_photo/tiles/WebMercatorQuad/{t.z}/{t.x}/{t.y}?properties={properties}"
        return fetched(netloc, path, {})

    try:
        end = time.monotonic() + 600
        while True:
            try:
                fetched(netloc, "/healthz", {})
                break
            except OSError:
                if time.monotonic() > end or process.poll() is not None:
                    raise
                time.sleep(0.2)
        yield tile, process.pid
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def running(catalog: str) -> Iterator[Server]:
    server = Server(catalog)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(10)


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def first_map(server: Server, catalog: Catalog) -> None:
    """Seconds from the page's first request to its last tile, 512 px a tile as MapLibre draws them."""
    box = catalog.extent()
    assert box is not None
    west, south, east, north = box
    span = max((east - west) / 360 / SCREEN_PX[0], (north - south) / 360 / SCREEN_PX[1] * 1.35) * 512
    zoom = max(0, int(-np.log2(span)))
    paths = [f"/tiles/{layer}/{t.z}/{t.x}/{t.y}.mvt" for layer in FIRST for t in mercantile.tiles(*box, zoom)]

    def show() -> None:
        for path in ("/city", "/static/vendor/maplibre-gl-csp.js", "/static/city.js", "/api/city/start"):
            server.get(path)
        with ThreadPoolExecutor(6) as browser:
            list(browser.map(server.get, paths))

    database_s = server_seconds(catalog)
    before = server.processor_s() + database_s()
    seconds = timed(show)
    used = server.processor_s() + database_s() - before
    times = f"{seconds:.2f} s, processor {used:.2f} s"
    print(f"  first map: zoom {zoom}, {len(paths)} tiles, {times}  {verdict(seconds, FIRST_S, 's')}")


def alone_tile(connection: psycopg.Connection, tile: mercantile.Tile) -> object:
    return connection.execute(ALONE, tile._asdict()).fetchone()


def spent(seconds: np.ndarray) -> str:
    database_ms, other_ms = 1000 * seconds
    return f"{database_ms + other_ms:.1f} ms ({database_ms:.1f} of them the database)"


def verdict(found: float, limit: float, unit: str = "") -> str:
    return f"target {limit:g} {unit}: {'met' if found <= limit else 'MISSED'}"


def tile_times(
    server: Server,
    catalog: Catalog,
    n_tiles: int,
    zooms: range,
    other: tuple[Callable[[mercantile.Tile], bytes], int] | None,
) -> None:
    """Medians of tiles around photos chosen by chance, of ST_AsMVT alone for the same, and of tipg."""
    rng = np.random.default_rng(0)
    chosen = catalog.stored_images(rng.integers(1, catalog.sizes()[1], size=200).tolist()).values()
    places = [photo.image.reported for photo in chosen if photo.image.reported is not None]
    alone = None
    if catalog.engine.dialect.name == "postgresql":
        url = catalog.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        alone = psycopg.connect(url, autocommit=True, options="-c search_path=geocorrect,public")
    asked: dict[str, tuple[Callable[[mercantile.Tile], object], Callable[[], float]]] = {
        "ours": (lambda t: server.get(f"/tiles/corrected/{t.z}/{t.x}/{t.y}.mvt"), server.processor_s)
    }
    if alone is not None:
        asked["ST_AsMVT alone"] = (partial(alone_tile, alone), time.thread_time)
    if other is not None:
        asked["tipg"] = (other[0], partial(process_seconds, other[1]))
    everything: list[float] = []
    database_s = server_seconds(catalog)
    for zoom in zooms:
        compared = [name for name in asked if name == "ours" or zoom >= FIRST_COMPARED]
        times: dict[str, list[float]] = {name: [] for name in compared}
        spent_s = {name: np.zeros(2) for name in compared}  # of the database, and of who asks it
        sizes = []
        for place in [places[k] for k in rng.integers(len(places), size=n_tiles)]:
            tile = mercantile.tile(place.lon_deg, place.lat_deg, zoom)
            sizes.append(len(server.get(f"/tiles/corrected/{tile.z}/{tile.x}/{tile.y}.mvt")))
            for name in compared:
                ask, process_s = asked[name]
                ask(tile)  # the pages of the database, and a plan
                before = np.array([database_s(), process_s()])
                times[name].append(timed(partial(ask, tile)))
                spent_s[name] += np.array([process_s(), database_s()])[::-1] - before  # what itself takes is outside
        everything += times["ours"]
        ours_ms = [1000 * value for value in np.percentile(times["ours"], (50, 10, 90))]
        line = f"  zoom {zoom:2d}: {ours_ms[0]:6.1f} ms ({ours_ms[1]:.1f}–{ours_ms[2]:.1f}, n = {n_tiles}), processor "
        line += f"{spent(spent_s['ours'] / n_tiles)}, {np.mean(sizes) / 1000:.0f} kB"
        for name in compared[1:]:
            their_ms = 1000 * statistics.median(times[name])
            ratio = spent_s["ours"].sum() / spent_s[name].sum()
            line += f"\n    {ours_ms[0] / their_ms:5.2f} × {name} ({their_ms:.0f} ms); of its processor time "
            line += f"{ratio:.2f} × ({spent(spent_s[name] / n_tiles)})"
        print(line, flush=True)
    median = 1000 * statistics.median(everything)
    print(f"  a tile, median of all zooms: {median:.1f} ms  {verdict(median, TILE_MS, 'ms')}")


def measure(address: str, options: argparse.Namespace) -> None:
    zooms = range(options.zooms[0], options.zooms[1] + 1)
    with Catalog.open(address) as catalog, running(address) as server, tipg(options.tipg, catalog) as other:
        n_anchors, n_photos = catalog.sizes()
        back_end = "PostGIS" if catalog.engine.dialect.name == "postgresql" else "GeoPackage"
        load = os.getloadavg()[0]
        print(f"{n_photos} photos, {n_anchors} anchors, {back_end}; load {load:.0f}", flush=True)
        first_map(server, catalog)
        tile_times(server, catalog, options.tiles, zooms, other)
        for path in (
            "/api/city/counts",
            "/api/city/counts?exact=1",
            "/api/city/counts",
            "/api/city/devices",
            "/ogc/collections/corrections/items?limit=1000",
        ):
            print(f"  {path}: {timed(partial(server.get, path)):6.2f} s")
        peak = server.peak_mb()
        print(f"  memory of the server: {peak:.0f} MB  {verdict(peak, MEMORY_MB, 'MB')}")


def fill_geopackage(path: Path, count: int) -> None:
    """The same grid through the interface that the pipeline uses."""
    first, template = world.image(0), world.correction(0)
    pose = template.world_from_cam
    with Catalog.open(str(path), create=True) as catalog:
        catalog.set_frame(world.ROME)
        catalog.add_alignment(world.alignment())
        catalog.upsert_anchors(world.anchor(i) for i in range(50))
        catalog.begin_run(world.manifest())
        for start in range(0, count, 10_000):
            images, found = [], []
            for i in range(start, min(count, start + 10_000)):
                centre = np.array([i % 600 * 8.3, i // 600 * 11.1, 1.8])
                lon, lat, _ = world.ROME.wgs84_from_enu(centre - [4, 3, 0])
                name = f"{i:09d}"
                place = Position(float(lon), float(lat), 48.0, "ellipsoid")
                images.append(replace(first, id=name, reported=place, sequence_id=f"seq-{i // 50}"))
                result = replace(template, image_id=name, world_from_cam=Pose(pose.rotation, centre, pose.covariance))
                found.append(replace(world.rejection(0), image_id=name) if i % 9 == 4 else result)
            catalog.upsert_images(images)
            catalog.record("run-a", found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--geopackage", type=int, default=100_000)
    parser.add_argument("--tiles", type=int, default=30)
    parser.add_argument("--catalog")
    parser.add_argument("--tipg", metavar="UVICORN", help="program uvicorn of an environment that has tipg")
    parser.add_argument("--zooms", type=int, nargs=2, default=(8, 18), metavar=("FIRST", "LAST"))
    parser.add_argument("--quick", action="store_true", help="small catalogs; figures mean little")
    options = parser.parse_args()
    if options.quick:
        options.photos, options.geopackage, options.tiles = 2_000, 2_000, 5
    if options.catalog:
        measure(options.catalog, options)
        return
    if options.geopackage:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "catalog.gpkg"
            fill_geopackage(path, options.geopackage)
            measure(str(path), options)
    if options.photos:
        with postgis() as url:
            if url is not None:
                with Catalog.open(url, create=True) as catalog:
                    fill_large(catalog, options.photos)
                measure(make_url(url).render_as_string(hide_password=False), options)


if __name__ == "__main__":
    main()
