"""Every address, file and schema that is not what it should be is refused with the way out."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from support import catalog_world as world
from support.catalog_users import read_as_nobody
from support.forked import forked, sent_until_its_end

from geocorrect.catalog import Catalog
from geocorrect.errors import DatabaseError, InputError
from geocorrect.geometry.pose import Pose
from geocorrect.records import Attribution, Image, Position


@pytest.mark.parametrize("form", ["{}", "gpkg://{}"])
def test_a_geopackage_opens_by_path_and_by_url(tmp_path: Path, form: str) -> None:
    url = form.format(tmp_path / "a.gpkg")
    with Catalog.open(url, create=True) as catalog:
        catalog.set_frame(world.ROME)
    with Catalog.open(url) as catalog:
        assert catalog.frame() == world.ROME


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "does not exist; create the catalog with `geocorrect init`"),
        (lambda p: p.touch(), "is empty; create the catalog"),
        (lambda p: p.write_text("x" * 200), "is not a GeoPackage"),
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: _foreign_geopackage(p), "is not a geocorrect catalog"),
        (
            lambda p: _with_version(p, "0000"),
            "has schema 0000, this geocorrect needs 0008; run `geocorrect db upgrade`",
        ),
        (lambda p: _with_version(p, "9999"), "newer than this geocorrect"),
        (lambda p: _damaged(p), "malformed|not a database"),
    ],
)
def test_a_file_that_is_no_catalog_is_refused(tmp_path: Path, make: Any, message: str) -> None:
    path = tmp_path / "a.gpkg"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(DatabaseError, match=message) as caught:
        Catalog.open(str(path))
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "catalog.shp", "postgres", "sqlite:///a.db"])
def test_other_addresses_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(DatabaseError, match="is not a catalog address") as caught:
        Catalog.open(url)
    assert "secret" not in str(caught.value)


def test_an_unreachable_server_is_named_without_its_password() -> None:
    start = time.monotonic()
    with pytest.raises(DatabaseError, match="check that the database runs") as caught:
        Catalog.open("postgresql://someone:hunter2@127.0.0.1:1/catalog")
    assert "hunter2" not in str(caught.value)
    assert "someone:***@127.0.0.1:1" in str(caught.value)
    assert time.monotonic() - start < 20


@pytest.mark.postgis
def test_a_database_without_catalog_is_refused(bare_postgis_url: str) -> None:
    with pytest.raises(DatabaseError, match="is not a geocorrect catalog; create one with `geocorrect init`"):
        Catalog.open(bare_postgis_url)
    with pytest.raises(DatabaseError, match="does not exist"):
        Catalog.open(bare_postgis_url.replace("geocorrect_test_", "nothing_"))


@pytest.mark.postgis
def test_a_missing_role_is_no_missing_database(bare_postgis_url: str) -> None:
    nobody = make_url(bare_postgis_url).set(username="nobody_here").render_as_string(hide_password=False)
    with pytest.raises(DatabaseError, match=r'role "nobody_here" does not exist.*\(create role') as caught:
        Catalog.open(nobody)
    assert "createdb" not in str(caught.value)


@pytest.mark.long
@pytest.mark.postgis
def test_a_restarting_server_is_waited_for(postgis_url: str, postgis_cluster: Any) -> None:
    if postgis_cluster is None:
        pytest.skip("a given server is not ours to restart")
    with Catalog.open(postgis_url, create=True) as catalog:
        world.fill(catalog, 3)
        postgis_cluster.suspend()
        restart = threading.Timer(2.0, postgis_cluster.resume)
        restart.start()
        catalog.upsert_images([world.image(7)])
        restart.join()
        assert world.without_result(catalog, "run-a") == ["1007"]


@pytest.mark.postgis
@pytest.mark.parametrize("read", [Catalog.results, Catalog.tables])
def test_a_stream_of_results_waits_for_a_restarting_server(
    postgis_url: str, postgis_cluster: Any, read: Callable[[Catalog], Iterator[Any]]
) -> None:
    if postgis_cluster is None:
        pytest.skip("a given server is not ours to restart")
    with Catalog.open(postgis_url, create=True) as catalog:
        world.fill(catalog, 3)
        postgis_cluster.suspend()
        restart = threading.Timer(1.0, postgis_cluster.resume)
        restart.start()
        try:
            assert len(list(read(catalog))) in (1, 3)  # a table has all rows
        finally:
            restart.join()


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that everybody may enter and nobody may write in; not in pytest's own, which others may not enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            yield folder
        finally:
            folder.chmod(0o755)


def said_to_nobody(path: Path) -> list[str]:
    path.chmod(0o444)
    path.parent.chmod(0o555)
    with forked(read_as_nobody, path) as (process, answers):
        said = [str(line) for line in sent_until_its_end(answers)]
        process.join()
        assert process.exitcode == 0
    return said


def test_a_catalog_is_read_where_nothing_can_be_written(read_only_folder: Path) -> None:
    path = read_only_folder / "c.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        world.fill(catalog, 3)
    said = said_to_nobody(path)
    assert said[0] == f"{{'accepted': 3}} 3 {path}"
    assert "the file or its folder is not writable" in said[1]
    assert [entry.name for entry in read_only_folder.iterdir()] == ["c.gpkg"]


def test_changes_that_cannot_be_read_there_are_not_passed_over(read_only_folder: Path) -> None:
    """Without its log a catalog would look as it did before the latest run."""
    path, copy = read_only_folder / "own.gpkg", read_only_folder / "c.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        world.fill(catalog, 3)
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")
    Path(f"{copy}-wal").chmod(0o444)
    (said,) = said_to_nobody(copy)
    assert "its latest changes are in c.gpkg-wal" in said
    assert "copy both files to a folder of your own" in said


def test_a_plain_sqlite_reads_everything_and_rolls_back_a_run(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        world.fill(catalog, 2)
    plain = sqlite3.connect(path)
    assert plain.execute("select count(*) from current_correction").fetchone() == (2,)
    plain.execute("update run set rolled_back_at = '2026-03-02T00:00:00.000Z' where run_key = 'run-a'")
    assert plain.execute("select count(*) from current_correction").fetchone() == (0,)
    plain.close()


def test_a_locked_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geocorrect.catalog.geopackage.database.BUSY_TIMEOUT_MS", 100)
    path = tmp_path / "a.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")
        with pytest.raises(DatabaseError, match="another program has the file open"):
            catalog.set_frame(world.ROME)
        other.execute("rollback")
        other.close()
        catalog.set_frame(world.ROME)


# --- names as users give them ----------------------------------------------------------------------------

NASTY = [
    "'; drop table image; --", '"quoted"', "back\\slash", "per%cent %s %(x)s", "colon :name", "emoji 🙂👩‍👩‍👧",
    "عربي 日本語",
    "line\nbreak\ttab", "e\u0301 combining", "${jndi}", "x" * 10_000_000,
]  # fmt: skip


@pytest.mark.long
def test_any_text_is_stored_as_it_is(catalog: Catalog) -> None:
    def image(number: int, name: str) -> Image:
        made_by = Attribution(name, "", "CC0")
        key = name[:200]
        provider = {"note": name, key: 1}
        return replace(
            world.image(number), id=key, sequence_id=key, device_model=key, attribution=made_by, provider=provider
        )

    catalog.upsert_images([image(i, name) for i, name in enumerate(NASTY)])
    back = catalog.images()
    assert len(back) == len(NASTY)
    for name in NASTY:
        key = name[:200]
        found = catalog.images([key])[key]
        assert (found.id, found.sequence_id, found.device_model) == (key, key, key)
        assert found.attribution.creator == name
        assert found.provider == {"note": name, key: 1}
        assert world.without_result(catalog, name[:100]) == sorted(n[:200] for n in NASTY)


@pytest.mark.parametrize("bad", ["nul\0byte", "lone \ud800 surrogate"])
def test_text_that_no_database_keeps_is_refused(catalog: Catalog, bad: str) -> None:
    with pytest.raises(InputError, match="image 1001: device_model"):
        catalog.upsert_images([replace(world.image(1), device_model=bad)])
    with pytest.raises(InputError, match="image 1001: provider"):
        catalog.upsert_images([replace(world.image(1), provider={"deep": [{"note": bad}]})])
    assert catalog.images() == {}


def test_positions_at_the_edges_of_the_map_are_kept(catalog: Catalog) -> None:
    edges = [(0.0, 90.0), (180.0, -90.0), (-180.0, 0.0), (180.0, 84.1), (0.0, 0.0), (-0.0, -0.0)]
    catalog.upsert_images(replace(world.image(i), reported=Position(*edge)) for i, edge in enumerate(edges))
    back = catalog.images()
    for i, edge in enumerate(edges):
        reported = back[f"{1000 + i}"].reported
        assert reported is not None
        assert (reported.lon_deg, reported.lat_deg) == edge


def test_swapped_or_unknown_coordinates_never_reach_the_catalog() -> None:
    for lon, lat in ((41.9, 120.5), (float("nan"), 1.0), (1.0, float("inf"))):
        with pytest.raises(ValueError, match="swapped"):
            Position(lon, lat)


@pytest.mark.parametrize("where_m", [[1e300, 0.0, 0.0], [288_776.3, 4_639_000.0, 50.0]])
def test_what_is_nowhere_near_the_frame_is_refused(catalog: Catalog, where_m: list[float]) -> None:
    """The second are UTM coordinates of the place where the frame is."""
    world.fill(catalog, 2)
    far = Pose(world.correction(1).world_from_cam.rotation, np.array(where_m), np.eye(6))
    catalog.begin_run(world.manifest("run-b"))
    with pytest.raises(
        InputError, match=r"result of image 1001: .* more than 1000 km from the origin of the frame 'rome'"
    ):
        catalog.record("run-b", [world.correction(0), replace(world.correction(1), world_from_cam=far)])
    assert catalog.counts("run-b") == {}
    with pytest.raises(InputError, match="anchor anchor-00: "):
        catalog.upsert_anchors([replace(world.anchor(0), world_from_cam=far)])


# --- inner ----------------------------------------------------------------------------------------------


def _foreign_geopackage(path: Path) -> None:
    import geopandas
    from shapely import Point

    geopandas.GeoDataFrame({"a": [1]}, geometry=[Point(1, 2)], crs=4326).to_file(path, driver="GPKG")


def _with_version(path: Path, version: str) -> None:
    with Catalog.open(str(path), create=True) as catalog, catalog.engine.connect() as connection:
        connection.execute(text(f"update geocorrect_version set version_num = '{version}'"))
        connection.commit()


def _damaged(path: Path) -> None:
    Catalog.open(str(path), create=True).close()
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xff" * 3996
    path.write_bytes(data)
