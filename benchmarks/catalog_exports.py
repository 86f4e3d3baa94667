"""Exports of the catalog, each in a process of its own; part of `benchmarks/catalog.py`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import text

from geocorrect.catalog import Catalog, schema
from geocorrect.catalog.literal_sql import driver_cursor

PEAK = """
def peak_mb():
    # VmHWM begins anew with this program; getrusage would remember the parent's.
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) / 1024
"""
EXPORT = """
import sys, time
from pathlib import Path
from typing import Any
from geocorrect.catalog import Catalog, schema
from geocorrect.export.export import export_catalog
with Catalog.open(sys.argv[1]) as catalog:
    start = time.perf_counter()
    count = export_catalog(catalog, Path(sys.argv[2]))
    print(count, time.perf_counter() - start, peak_mb())
"""
GEOPANDAS = """
import sys, time
import geopandas
from sqlalchemy import create_engine
start = time.perf_counter()
engine = create_engine(sys.argv[1].replace("postgresql://", "postgresql+psycopg://"))
table = geopandas.read_postgis("select * from geocorrect.current_correction", engine, geom_col="geom")
table.to_file(sys.argv[2], driver="GeoJSON")
print(len(table), time.perf_counter() - start, peak_mb())
"""
OGR2OGR = """
import os, subprocess, sys, time
from sqlalchemy import make_url
url = make_url(sys.argv[1])
port = url.port or url.query.get("port")
parts = {"dbname": url.database, "host": url.host or url.query.get("host"), "port": port, "user": url.username}
source = "PG:" + " ".join(f"{name}={value}" for name, value in parts.items() if value) + " schemas=geocorrect"
start = time.perf_counter()
command = ["ogr2ogr", "-f", "GeoJSON", "-lco", "RFC7946=YES", sys.argv[2], source, "current_correction"]
child = subprocess.Popen(command, env=os.environ | {"PGPASSWORD": url.password or ""})
_, status, usage = os.wait4(child.pid, 0)
assert status == 0
print(-1, time.perf_counter() - start, usage.ru_maxrss / 1024)
"""


def bench_exports(catalog: Catalog, url: str, given: argparse.Namespace, folder: Path) -> None:
    """A filled catalog of given.results corrections into every format, then given.features into GeoJSON."""
    ours = measured("geocorrect", EXPORT, url, folder / "ours.geojson", "")
    measured("geopandas", GEOPANDAS, url, folder / "geopandas.geojson", f"{ours:.2f} s is {{}}x of it")
    if shutil.which("ogr2ogr"):
        measured("ogr2ogr", OGR2OGR, url, folder / "ogr2ogr.geojson", f"{ours:.2f} s is {{}}x of it")
    else:
        print("GeoJSON by ogr2ogr: not installed (Debian package gdal-bin)")
    for name in ("ours.gpkg", "ours.fgb", "ours.parquet", "ours.csv"):
        measured("geocorrect", EXPORT, url, folder / name, "")
    if given.features > given.results:
        multiply(catalog, given.features // given.results - 1)
        start = time.perf_counter()
        size = copied_bytes(catalog)
        floor = time.perf_counter() - start
        what = f"PostGIS: {given.features} active corrections by COPY, thrown away (floor)"
        print(f"{what}: {floor:.2f} s, {size / 1e6:.0f} MB")
        seconds = measured("geocorrect", EXPORT, url, folder / "ours.geojson", "")
        print(f"  target 3 s: {'met' if seconds <= 3 else 'MISSED'}; {seconds / floor:.2f}x of the floor")


def measured(name: str, script: str, url: str, target: Path, compared: str) -> float:
    """Seconds of an export in a process of its own."""
    command = [sys.executable, "-c", PEAK + script, url, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, seconds, peak = (float(value) for value in done.stdout.split())
    size = target.stat().st_size / 1e6
    ratio = compared.format(f"{float(compared.split()[0]) / seconds:.2f}") if compared else ""
    what = f"{count:.0f} corrections" if count >= 0 else "the same"
    line = f"{target.suffix[1:]:8s} {what:20s} by {name:10s} {seconds:7.2f} s, peak {peak:5.0f} MB, {size:6.1f} MB file"
    print(f"{line}  {ratio}", flush=True)
    return seconds


def multiply(catalog: Catalog, times: int) -> None:
    """So many copies of every photo and result, under new ids."""
    with catalog.engine.begin() as connection:
        for table in (schema.image, schema.correction):
            names = ", ".join(c.name for c in table.columns if c.name not in ("fid", "image_id"))
            connection.exec_driver_sql(
                f"insert into {table.name} (image_id, {names}) "
                f"select image_id || '-' || k, {names} from {table.name}, generate_series(1, {times}) as k"
            )
    with catalog.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("vacuum analyze"))


def copied_bytes(catalog: Catalog) -> int:
    """Size of what the server sends for the plain columns of the active corrections."""
    query = "copy (select * from current_correction order by image_id) to stdout (format binary)"
    with catalog.engine.connect() as connection, driver_cursor(connection) as cursor, cursor.copy(query) as copy:
        return sum(len(piece) for piece in copy)
