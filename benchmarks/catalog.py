"""How fast the catalog is: bulk writes, candidate search, exports; each beside its floor or a named baseline.

    python benchmarks/catalog.py [--results 100000] [--anchors 1000000] [--queries 10000] [--features 1000000]
                                 [--repeats 3] [--only writes,candidates,exports] [--quick]

PostGIS: GEOCORRECT_TEST_DATABASE_URL, or a throw-away cluster; skipped with a line where there is none. Times are the
best and the median of the repeats; memory is the peak resident size of a process that does nothing else. Floors: what
the database itself needs for the same rows, by COPY of the same bytes (PostGIS) or executemany of the same values
(GeoPackage), with the same indices and constraints. Baselines that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from catalog_exports import bench_exports
from scipy.spatial import cKDTree
from sqlalchemy import text
from support import catalog_world as world
from support import postgis_fixture

from geocorrect.catalog import Catalog
from geocorrect.catalog.bulk import insert_rows, reserve_fids
from geocorrect.catalog.geopackage.database import rtree_statements
from geocorrect.catalog.literal_sql import driver_cursor
from geocorrect.catalog.schema import anchor as anchor_table
from geocorrect.records import Correction, Evidence, Image


@dataclass(frozen=True)
class Timing:
    """Seconds of the repeats: elapsed (best, median), and processor time of the best in this process and the server."""

    best: float
    median: float
    client: float
    server: float


def timed(
    work: Callable[[], object],
    repeats: int,
    before: Callable[[], object] = lambda: None,
    server: Callable[[], float] = lambda: 0.0,
) -> Timing:
    """Time the work; server: processor seconds that the database server has used so far."""
    found = []
    for _ in range(repeats):
        before()
        start, client, beyond = time.perf_counter(), time.process_time(), server()
        work()
        found.append((time.perf_counter() - start, time.process_time() - client, server() - beyond))
    best = min(found)
    return Timing(best[0], statistics.median(seconds for seconds, _, _ in found), best[1], best[2])


def say(what: str, found: Timing, target_s: float | None = None, ratio: str = "") -> None:
    verdict = "" if target_s is None else f"  target {target_s:g} s: {'met' if found.best <= target_s else 'MISSED'}"
    processors = f"processor {found.client:6.3f} + {found.server:6.3f} s"
    print(
        f"{what:64s} best {found.best:7.3f} s  median {found.median:7.3f} s  {processors}{verdict}  {ratio}", flush=True
    )


def server_seconds(catalog: Catalog) -> Callable[[], float]:
    """Processor time of a server on this machine, its ended processes included; 0 where there is none to see."""
    if catalog.engine.dialect.name != "postgresql":
        return lambda: 0.0
    with catalog.engine.connect() as connection:
        backend = connection.execute(text("select pg_backend_pid()")).scalar_one()
    if not Path(f"/proc/{backend}/stat").exists():
        return lambda: 0.0
    postmaster = _process(backend)[1]

    def seconds() -> float:
        running = [_process(int(folder.name)) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
        ended = _process(postmaster)[2] / os.sysconf("SC_CLK_TCK")
        return ended + sum(process_seconds(pid) for pid, parent, _ in running if postmaster in (pid, parent))

    return seconds


def process_seconds(pid: int) -> float:
    """Processor time of a process so far, to the nanosecond; 0 when it has ended."""
    try:
        return time.clock_gettime(~pid << 3 | 2)  # the clock of another process, as clock_getcpuclockid names it
    except OSError:
        return 0.0


def _process(pid: int) -> tuple[int, int, int]:
    """pid, parent, ticks of its ended children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return pid, 0, 0
    return pid, int(fields[1]), int(fields[13]) + int(fields[14])


@contextmanager
def postgis() -> Iterator[str | None]:
    """Address of an empty database with PostGIS, None where there is none."""
    given = os.environ.get("GEOCORRECT_TEST_DATABASE_URL")
    if given:
        yield given
        return
    programs = postgis_fixture.installed_programs()
    if programs is None:
        print(f"no PostGIS: {postgis_fixture.INSTALL}")
        yield None
        return
    cluster = postgis_fixture.Cluster(programs)
    try:
        cluster.start()
        postgis_fixture.execute(cluster.url("postgres"), "create database bench")
        yield cluster.url("bench")
    finally:
        cluster.remove()


def scene(count: int) -> tuple[list[Image], list[Correction]]:
    """Photos and results along a long street; the evidence names no anchors (pairs are counted apart)."""
    first, template = world.image(0), world.correction(0)
    pose = template.world_from_cam
    images, found = [], []
    for i in range(count):
        images.append(replace(first, id=f"{i:09d}", sha256=f"{i:064x}"))
        moved = type(pose)(pose.rotation, pose.translation_m + np.array([i % 2000, i // 2000, 0]) / 2, pose.covariance)
        evidence = replace(Evidence(), n_matches=400, n_inliers=200, matcher="sift", depth="lidar")
        found.append(replace(template, image_id=f"{i:09d}", world_from_cam=moved, evidence=evidence))
    return images, found


def bench_writes(catalog: Catalog, name: str, count: int, target_s: float, repeats: int) -> None:
    images, found = scene(count)
    catalog.set_frame(world.ROME)
    start = time.perf_counter()
    catalog.upsert_images(images)
    print(f"{name}: {count} photos stored in {time.perf_counter() - start:.2f} s")
    keys = iter(f"bench-{i}" for i in range(100))
    key = [""]

    def begin() -> None:
        key[0] = next(keys)
        catalog.begin_run(world.manifest(key[0]))

    floor = copy_floor if catalog.engine.dialect.name == "postgresql" else executemany_floor
    server = server_seconds(catalog)
    ours = timed(lambda: catalog.record(key[0], found), repeats, begin, server)
    lowest = floor(catalog, repeats)
    say(f"{name}: the same {count} rows by the database alone (floor)", lowest)
    ratio = f"{ours.best / lowest.best:.2f}x of the floor"
    say(f"{name}: {count} results through Catalog.record", ours, target_s, ratio)
    small = found[:200]

    def one_by_one() -> None:
        for result in small:
            catalog.record(key[0], [result])

    naive = timed(one_by_one, 1, begin)
    ratio = f"per result {(naive.best / len(small)) / (ours.best / count):.0f}x of bulk"
    say(f"{name}: {len(small)} results, one transaction each (baseline)", naive, None, ratio)


def copy_floor(catalog: Catalog, repeats: int) -> Timing:
    """COPY of the bytes of the first run's results, after the results were taken away."""
    with catalog.engine.connect() as connection:
        connection.execute(text("delete from correction where run_id <> (select min(fid) from run)"))
        with driver_cursor(connection) as cursor:
            with cursor.copy("copy correction to stdout (format binary)") as copy:
                rows = b"".join(bytes(piece) for piece in copy)
            connection.commit()

            def empty() -> None:
                cursor.execute("truncate correction cascade")
                connection.commit()

            def fill() -> None:
                with cursor.copy("copy correction from stdin (format binary)") as copy:
                    for start in range(0, len(rows), 1 << 20):
                        copy.write(rows[start : start + (1 << 20)])
                connection.commit()

            seconds = timed(fill, repeats, empty, server_seconds(catalog))
            empty()
    return seconds


def executemany_floor(catalog: Catalog, repeats: int) -> Timing:
    """Raw executemany of the rows of the first run: results, their spatial index, their shapes."""
    with catalog.engine.connect() as pooled:
        raw: Any = pooled.connection.driver_connection
        raw.execute("delete from correction where run_id <> (select min(fid) from run)")
        tables = ("correction", "rtree_correction_geom", "correction_shape")
        rows = [raw.execute(f"select * from {name}").fetchall() for name in tables]
        trigger = next(s for s in rtree_statements("correction") if "_geom_insert" in s.split("\n")[0])

        def empty() -> None:
            raw.execute("delete from correction")

        def fill() -> None:
            raw.execute("begin immediate")
            raw.execute('drop trigger "rtree_correction_geom_insert"')
            for name, values in zip(tables, rows, strict=True):
                raw.executemany(f"insert into {name} values ({', '.join('?' * len(values[0]))})", values)
            raw.execute(trigger)
            raw.execute("commit")

        seconds = timed(fill, repeats, empty)
        empty()
    return seconds


def scattered(count: int, seed: int) -> np.ndarray:
    """(N, 3) places over 40 x 30 km in the order in which drives pass them."""
    chance = np.random.default_rng(seed)
    enu = np.stack([chance.uniform(0, 40_000, count), chance.uniform(0, 30_000, count), np.full(count, 1.6)], axis=1)
    ordered: np.ndarray = enu[np.lexsort((enu[:, 0], enu[:, 1] // 100))]
    return ordered


def random_anchors(catalog: Catalog, count: int) -> np.ndarray:
    """Anchors scattered over 40 x 30 km; only the columns that a search reads differ.

    They are stored as drives are: neighbours come one after the other.
    """
    enu = scattered(count, 0)
    lon, lat, height = world.ROME.wgs84_from_enu(enu)
    from shapely import points

    from geocorrect.catalog.rows.codec import anchor_rows

    template = anchor_rows([world.anchor(0)], world.ROME)[0]
    catalog.add_alignment(world.alignment())
    with catalog.engine.begin() as connection:
        for start in range(0, count, 100_000):
            stop = min(start + 100_000, count)
            fids = reserve_fids(connection, anchor_table, stop - start)
            geometries = points(np.stack([lon, lat, height], axis=1)[start:stop])
            rows = [
                template | {"fid": fid, "anchor_id": f"{start + k:09d}", "lon_deg": lon[start + k],
                            "lat_deg": lat[start + k],
                            "enu_x_m": enu[start + k, 0], "enu_y_m": enu[start + k, 1], "geom": geometries[k]}
                for k, fid in enumerate(fids)
            ]  # fmt: skip
            insert_rows(connection, anchor_table, rows)
    with catalog.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("analyze anchor"))
    return enu


def bench_candidates(catalog: Catalog, count: int, queries: int, repeats: int) -> None:
    enu = random_anchors(catalog, count)
    asked = scattered(queries, 1)
    lon, lat, _ = world.ROME.wgs84_from_enu(asked)
    tree = cKDTree(enu[:, :2])
    engine = timed(lambda: tree.query_ball_point(asked[:, :2], 50.0), repeats)
    n_engine = sum(len(hit) for hit in tree.query_ball_point(asked[:, :2], 50.0))
    say(f"engine: {queries} radius queries (50 m) on {count} anchors, cKDTree", engine, 0.1)
    with catalog.engine.connect() as connection:
        connection.execute(text("create temp table asked (fid int, geom geometry(Point, 4326))"))
        values = [{"f": i, "x": float(x), "y": float(y)} for i, (x, y) in enumerate(zip(lon, lat, strict=True))]
        connection.execute(text("insert into asked values (:f, ST_SetSRID(ST_MakePoint(:x, :y), 4326))"), values)
        connection.execute(text("analyze asked"))
        join = text(
            "select count(*) from asked q join anchor a on ST_DWithin(a.geom::geography, q.geom::geography, 50.0)"
        )
        found = [0]

        def batch() -> None:
            found[0] = connection.execute(join).scalar_one()

        server = timed(batch, repeats, server=server_seconds(catalog))
        say(f"PostGIS: the same as one join ({found[0]} hits, engine {n_engine})", server, 0.6,
            f"{server.best / engine.best:.1f}x of the engine")  # fmt: skip
        one = text(
            "select count(*) from anchor a where ST_DWithin(a.geom::geography, ST_MakePoint(:x, :y)::geography, 50.0)"
        )
        some = values[: queries // 10]
        single = timed(lambda: [connection.execute(one, {"x": v["x"], "y": v["y"]}).scalar_one() for v in some], 1)
        ratio = (single.best / len(some)) / (server.best / queries)
        say(
            f"PostGIS: {len(some)} queries, one round trip each (baseline)",
            single,
            None,
            f"per query {ratio:.1f}x of the join",
        )


PARTS = ("writes", "candidates", "exports")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = {"results": 100_000, "anchors": 1_000_000, "queries": 10_000, "features": 1_000_000, "repeats": 3}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="few of everything, once; figures mean little")
    given = parser.parse_args()
    if given.quick:
        vars(given).update(results=2000, anchors=5000, queries=200, features=5000, repeats=1)
    wanted = given.only.split(",")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as folder:
        if "writes" in wanted:
            with Catalog.open(f"{folder}/bench.gpkg", create=True) as catalog:
                bench_writes(catalog, "GeoPackage", given.results, 5.0, given.repeats)
        for part in PARTS:
            if part in wanted:
                with postgis() as url:
                    if url is None:
                        return
                    with Catalog.open(url, create=True) as catalog:
                        bench_on_server(part, catalog, url, given, Path(folder))


def bench_on_server(part: str, catalog: Catalog, url: str, given: argparse.Namespace, folder: Path) -> None:
    if part == "writes":
        bench_writes(catalog, "PostGIS", given.results, 2.0, given.repeats)
    elif part == "candidates":
        catalog.set_frame(world.ROME)
        bench_candidates(catalog, given.anchors, given.queries, given.repeats)
    else:
        images, found = scene(given.results)
        catalog.set_frame(world.ROME)
        catalog.upsert_images(images)
        catalog.begin_run(world.manifest("exports"))
        catalog.record("exports", found)
        bench_exports(catalog, url, given, folder)


if __name__ == "__main__":
    main()
