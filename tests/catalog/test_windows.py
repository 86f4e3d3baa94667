"""On a server with its default settings, however large the catalog is: a map window costs what it shows, and no
question of the cookbook reads a table for every row of another."""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mercantile
import pytest
from sqlalchemy import text
from support.cookbook import Recipe, recipes, statements
from support.large_catalog import fill_large

from geocorrect.catalog import Catalog
from geocorrect.catalog.served.filter import MapFilter
from geocorrect.catalog.served.tiles import LAYERS, TileAddress, tile_query
from geocorrect.catalog.views.views import views_of

VIEWS = ("current_result", "current_correction", "placed_photo", "review_queue", "provider_comparison", "rejected",
         "displacement", "error_ellipse", "coverage")  # fmt: skip
LARGE = ("correction", "image", "correction_shape")
WINDOW = "geom && st_makeenvelope(12.42, 41.8002, 12.4206, 41.801, 4326)"
"""Some sixty photos."""


@pytest.fixture(scope="module", params=[20_000, pytest.param(300_000, marks=pytest.mark.slow)])
def large(request: pytest.FixtureRequest, postgis_server_url: str, empty_postgis: str) -> Iterator[Catalog]:
    from support.postgis_fixture import database_from

    with database_from(postgis_server_url.split("#")[0], empty_postgis) as url, Catalog.open(url) as catalog:
        fill_large(catalog, request.param)
        yield catalog


def plan(catalog: Catalog, query: str) -> list[dict[str, Any]]:
    """The steps of a query's plan."""
    with catalog.engine.connect() as connection:
        (found,) = connection.execute(text(f"explain (format json) {query}")).scalar_one()
    return below(found["Plan"])


def below(step: dict[str, Any]) -> list[dict[str, Any]]:
    """A step of a plan and all that it asks."""
    return [step, *(further for part in step.get("Plans", []) for further in below(part))]


@pytest.mark.postgis
def test_a_window_reads_no_whole_table(large: Catalog) -> None:
    for view in VIEWS:
        scans = [(s["Node Type"], s["Relation Name"]) for s in plan(large, f"select * from {view} where {WINDOW}")
                 if s.get("Relation Name") in LARGE]  # fmt: skip
        assert scans, view
        assert not [scan for scan in scans if scan[0] == "Seq Scan"], (view, scans)


@pytest.mark.postgis
@pytest.mark.parametrize("layer", sorted(LAYERS.keys() - {"anchors"}))
def test_a_map_tile_reads_no_whole_table(large: Catalog, layer: str) -> None:
    """Neither a small one, nor one of the whole city, which an index of a share of the rows answers."""
    for zoom, share in ((20, 1), (10, 256), (10, 1024)):
        place = mercantile.tile(12.43, 41.801, zoom)
        tile = TileAddress(place.z, place.x, place.y)
        sql, parameters = tile_query("postgresql", layer, tile, MapFilter(), share, 16)
        for name, value in parameters.items():
            sql = re.sub(rf":{name}\b", str(value), sql)
        steps = plan(large, sql)
        scans = [(s["Node Type"], s["Relation Name"]) for s in steps if s.get("Relation Name") in LARGE]
        assert scans, (layer, zoom)
        assert not [scan for scan in scans if scan[0] == "Seq Scan"], (layer, zoom, scans)
        if share > 1:
            table = LAYERS[layer].table
            assert f"ix_{table}_geom_1_of_{share}" in {step.get("Index Name") for step in steps}


@pytest.mark.postgis
def test_what_is_new_is_found_by_its_index(large: Catalog) -> None:
    steps = plan(large, "select image_id from current_result where recorded_at >= '2026-02-10'")
    assert "ix_correction_recorded_at" in {step.get("Index Name") for step in steps}


def asked(recipe: Recipe) -> list[str]:
    """The question, about a place and a time of the large catalog."""
    moved = (("12.49", "12.43"), ("41.90", "41.80"), ("2026-03-02", "2026-02-03"))
    found = statements(recipe)
    for here, there in moved:
        found = [statement.replace(here, there) for statement in found]
    return found


def read_again(steps: list[dict[str, Any]]) -> list[str]:
    """Large tables that are read whole once for every row of something else."""
    again = [
        part
        for step in steps
        for part in step.get("Plans", [])
        if part["Parent Relationship"] == "SubPlan"
        or (step["Node Type"] == "Nested Loop" and part["Parent Relationship"] == "Inner")
    ]
    tables = (*LARGE, "anchor")
    scans = [step for part in again for step in below(part) if step["Node Type"] == "Seq Scan"]
    return [scan["Relation Name"] for scan in scans if scan["Relation Name"] in tables]


@pytest.mark.postgis
def test_no_question_of_the_cookbook_reads_a_table_for_every_row(large: Catalog) -> None:
    neighbours = "select count(*) from image a join anchor b on abs(a.lon_deg - b.lon_deg) < 0.0001"
    assert read_again(plan(large, neighbours)), "what it looks for is found where it is"
    found = {
        recipe.number: tables
        for recipe in recipes()
        for statement in asked(recipe)
        if (tables := read_again(plan(large, statement)))
    }
    assert not found


@pytest.mark.postgis
@pytest.mark.slow
def test_every_question_of_the_cookbook_is_answered_in_ten_seconds(large: Catalog) -> None:
    """Of the server's processor, in one process: other work on the machine does not count."""
    taken_s = {}
    for recipe in recipes():
        with large.engine.connect() as connection:
            connection.execute(text("set max_parallel_workers_per_gather = 0"))
            process = Path(f"/proc/{connection.execute(text('select pg_backend_pid()')).scalar_one()}/stat")
            if not process.exists():
                pytest.skip("the server runs on another machine")
            before_s = processor_s(process)
            for statement in asked(recipe):
                connection.execute(text(statement))
            taken_s[recipe.number] = processor_s(process) - before_s
            connection.rollback()
    print({number: round(seconds, 2) for number, seconds in taken_s.items()})
    assert max(taken_s.values()) <= 10.0, taken_s


def processor_s(process: Path) -> float:
    """Seconds that a process has computed, from its line in /proc."""
    user, system = process.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.postgis
def test_every_spatial_view_of_photos_is_tried() -> None:
    """Sums over recordings and pairs of runs are not asked by windows."""
    spatial = {view.name for view in views_of("postgresql") if view.spatial is not None}
    assert spatial - set(VIEWS) == {"sequence_bias", "run_diff"}


@pytest.mark.postgis
@pytest.mark.slow
def test_a_window_takes_as_long_as_the_points(large: Catalog) -> None:
    def median_s(view: str) -> float:
        times = []
        with large.engine.connect() as connection:
            for _ in range(9):
                begun = time.perf_counter()
                assert connection.execute(text(f"select * from {view} where {WINDOW}")).all() or view == "review_queue"
                times.append(time.perf_counter() - begun)
        return statistics.median(times)

    points = median_s("current_correction")
    slow = {view: seconds / points for view in VIEWS if (seconds := median_s(view)) > 3 * points}
    assert not slow, (points, slow)
