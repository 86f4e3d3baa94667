"""What a killed run may leave behind, and what it must not: rows as plain values, files that are whole."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from PIL import Image as Picture
from sqlalchemy import select
from sqlalchemy.engine import make_url

from geocorrect.catalog import Catalog, schema

TIMES = {"recorded_at", "harvested_at", "created_at"}
"""When something was done differs from run to run, as do integer keys; everything else must not."""
TABLES = {"anchor": "anchor_id", "image": "image_id", "correction": "image_id", "pair": "image_id", "run": "run_key"}
RUN_COLUMNS = ("run_key", "code_version", "matcher", "depth", "alignment_version", "config_key", "generation")

Row = tuple[str, ...]


def snapshot(url: str, folder: Path) -> dict[str, list[Row]]:
    """Every row of the tables that matter, as text, its own key first; sorted. Paths are taken from the folder."""
    with Catalog.open(url) as catalog, catalog.engine.connect() as connection:
        image_of = {row.fid: row.image_id for row in connection.execute(select(schema.correction))}
        found: dict[str, list[Row]] = {}
        for name, key in TABLES.items():
            table = next(t for t in schema.TABLES if t.name == name)
            rows = []
            for row in connection.execute(select(table)).mappings():
                plain = {column: str(value).replace(str(folder), "") for column, value in row.items()}
                plain["image_id"] = plain.get("image_id") or image_of.get(row.get("correction_id"), "")
                kept = RUN_COLUMNS if name == "run" else sorted(set(plain) - TIMES - {"fid", "run_id", "correction_id"})
                own_key = plain[key] + ("/" + plain["anchor_id"] if name == "pair" else "")
                rows.append((own_key, *(plain[column] for column in kept)))
            found[name] = sorted(rows)
    found["exported"] = sorted(_exported(folder))
    return found


def _exported(folder: Path) -> Iterator[Row]:
    """What the exported files say, without the time of writing."""
    if not (folder / "corrections.geojson").is_file():
        return
    for feature in json.loads((folder / "corrections.geojson").read_text())["features"]:
        properties = {k: v for k, v in feature["properties"].items() if k not in TIMES | {"fid"}}
        yield (f"geojson/{properties['image_id']}", json.dumps([feature["geometry"], properties], sort_keys=True))
    with (folder / "corrections.csv").open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            yield (f"csv/{line['image_id']}", repr({k: v for k, v in line.items() if k not in TIMES | {"fid"}}))
    with sqlite3.connect(f"file:{folder / 'corrections_export.gpkg'}?mode=ro", uri=True) as connection:
        (layer,) = connection.execute("select table_name from gpkg_contents where data_type = 'features'").fetchone()
        for (image_id,) in connection.execute(f'select image_id from "{layer}"'):
            yield (f"gpkg/{image_id}", str(image_id))
    connection.close()


def half_written(folder: Path) -> list[str]:
    """Files under their final name that are not whole."""
    bad = []
    checks: dict[str, Callable[[Path], Any]] = {
        "corrections.geojson": lambda path: json.loads(path.read_text()),
        "corrections.csv": _check_csv,
        "*.gpkg": _check_geopackage,
        "images/*/*.jpg": lambda path: Picture.open(path).load(),
        "images/**/*.json": lambda path: json.loads(path.read_text()),
        "*.prom": lambda path: path.read_text().index("run_active"),
    }
    for pattern, check in checks.items():
        for path in folder.glob(pattern):
            try:
                check(path)
            except Exception as error:
                bad.append(f"{path.name}: {type(error).__name__}: {error}")
    return bad


def leftovers(folder: Path) -> list[str]:
    """Unfinished files that nobody will finish."""
    marks = (".part", ".tmp", "-journal")
    found = [p for p in folder.rglob("*") if p.is_file() and (p.name.endswith(marks) or p.name.startswith("."))]
    return [str(path.relative_to(folder)) for path in found]


def _check_csv(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        widths = {len(row) for row in csv.reader(file)}
    if len(widths) != 1:
        raise ValueError(f"lines of {widths} fields")


def _check_geopackage(path: Path) -> None:
    connection = sqlite3.connect(path, timeout=30)
    try:
        answer = connection.execute("pragma integrity_check").fetchone()[0]
    finally:
        connection.close()
    if answer != "ok":
        raise ValueError(answer)


@contextmanager
def working_statements(url: str) -> Iterator[Callable[[], bool]]:
    """A question that is answered yes while somebody writes to the catalog."""
    if "://" not in url:
        yield _file_changes(Path(url))
        return
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:

        def writing() -> bool:
            query = (
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
                "and backend_xid is not null"
            )
            row = connection.execute(query).fetchone()
            return bool(row and row[0])

        yield writing


def _file_changes(path: Path) -> Callable[[], bool]:
    """Yes whenever the database or its journal has changed since the last time of asking."""
    names = [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-journal")]

    def state() -> list[tuple[int, int]]:
        found = []
        for name in names:
            try:
                status = name.stat()
                found.append((status.st_size, status.st_mtime_ns))
            except OSError:
                found.append((-1, 0))
        return found

    last = state()

    def changed() -> bool:
        nonlocal last
        now = state()
        different, last = now != last, now
        return different

    return changed
