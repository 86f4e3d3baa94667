"""A map window costs what it shows: on a server with its default settings, however large the catalog is."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from typing import Any

import mercantile
import pytest
from sqlalchemy import text
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
    steps, waiting = [], [found["Plan"]]
    while waiting:
        steps.append(step := waiting.pop())
        waiting += step.get("Plans", [])
    return steps


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
