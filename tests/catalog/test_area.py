"""Results of an area come through the spatial index, on both back-ends."""

from __future__ import annotations

from typing import Any

import pytest
from shapely import box
from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite
from support import catalog_world as world

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.results import result_query


def plan_of(catalog: Catalog, wanted: ResultFilter) -> str:
    """What the back-end says about how it would answer."""
    name = catalog.engine.dialect.name
    kind: Any = postgresql if name == "postgresql" else sqlite
    dialect = kind.dialect(paramstyle="named")
    query = str(result_query(wanted, name).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    with catalog.engine.connect() as connection:
        if name == "postgresql":
            # With twenty rows any plan is a good one: forbid reading the whole table.
            connection.execute(text("set local enable_seqscan = off"))
            return "\n".join(connection.exec_driver_sql(f"explain {query}").scalars())
        return "\n".join(row[3] for row in connection.exec_driver_sql(f"explain query plan {query}"))


def ids(catalog: Catalog, wanted: ResultFilter) -> list[str]:
    return [stored.image_id for stored in catalog.results(wanted)]


def area_around(first: int, last: int) -> tuple[float, float, float, float]:
    """The box that holds the true and the reported places of photos first … last."""
    lon, lat, _ = world.ROME.wgs84_from_enu([[5.0 * first - 0.5, -6.0, 0.0], [5.0 * last + 0.5, 0.0, 0.0]])
    return float(lon[0]), float(lat[0]), float(lon[1]), float(lat[1])


@pytest.mark.long
@pytest.mark.parametrize("active", [True, False])
def test_the_spatial_index_answers(catalog: Catalog, active: bool) -> None:
    world.fill(catalog)
    plan = plan_of(catalog, ResultFilter(area=area_around(3, 5), active=active))
    if catalog.engine.dialect.name == "postgresql":
        assert "ix_correction_geom" in plan
        assert "ix_image_geom" in plan
    else:
        assert "VIRTUAL TABLE INDEX" in plan
        assert "SCAN c " not in plan
    without = plan_of(catalog, ResultFilter(active=active))
    assert "_geom" not in without
    assert "VIRTUAL TABLE INDEX" not in without


def test_corrections_by_their_place_rejections_by_the_reported_one(catalog: Catalog) -> None:
    world.fill(catalog)
    # 1004 is rejected; it reported its place 4 m further west, still between 1003 and 1005.
    assert ids(catalog, ResultFilter(area=area_around(3, 5))) == ["1003", "1004", "1005"]
    assert ids(catalog, ResultFilter(area=box(*area_around(3, 5)))) == ["1003", "1004", "1005"]
    assert ids(catalog, ResultFilter(area=(10.0, 40.0, 11.0, 41.0))) == []
    west, south, east, north = area_around(3, 5)
    around_the_world = (east, south, west, north)
    rest = set(ids(catalog, ResultFilter())) - {"1003", "1004", "1005"}
    assert set(ids(catalog, ResultFilter(area=around_the_world))) == rest


def test_a_border_is_exact(catalog: Catalog) -> None:
    """The index of a GeoPackage has single precision, about half a metre here; the answer must not."""
    world.fill(catalog)
    lon = next(stored.lon_deg for stored in catalog.results(ResultFilter(image_ids=["1003"])))
    # Half a millimetre beside the photo.
    assert ids(catalog, ResultFilter(area=(lon - 1e-4, 41.9, lon - 5e-9, 41.91), image_ids=["1003"])) == []
    assert ids(catalog, ResultFilter(area=(lon - 1e-4, 41.9, lon + 5e-9, 41.91), image_ids=["1003"])) == ["1003"]


@pytest.mark.long
@pytest.mark.postgis
def test_a_map_window_of_drawn_shapes_costs_what_it_shows(postgis_url: str) -> None:
    """A GeoPackage's views have no index of their own; GDAL reads them whole, which is quick: nothing is computed."""
    window = "ST_MakeEnvelope({}, {}, {}, {}, 4326)".format(*area_around(3, 5))
    with Catalog.open(postgis_url) as catalog:
        world.fill(catalog, 500)
        with catalog.engine.connect() as connection:
            connection.exec_driver_sql("analyze")
            for view in ("displacement", "error_ellipse", "coverage"):
                query = f"select image_id from {view} where geom && {window} order by image_id"
                plan = "\n".join(connection.exec_driver_sql(f"explain (costs off) {query}").scalars())
                found = connection.exec_driver_sql(query).scalars().all()
                assert "ix_correction_shape_outlines" in plan, view
                assert "1003" in found, view
                assert "1019" not in found, view
