"""Tiles decoded by mapbox-vector-tile: everything is where it was stored, filtered, thinned, as it was after a run."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import mapbox_vector_tile
import mercantile
import psycopg
import pytest
from support import catalog_world as world
from support.lent_databases import OTHERS, CatalogDatabases
from support.served import TOKEN, Served, served

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.run import StoredResult
from geocorrect.catalog.served import tiles as served_tiles
from geocorrect.errors import Reason, Status
from geocorrect.serve.state import ServeSettings

UNIT_DEG = 360 / 2**17 / 4096
ZOOM = 17


def features(server: Served, layer: str, zoom: int = ZOOM, **query: Any) -> dict[int, dict[str, Any]]:
    """Features of all tiles around the scene by id, their corners in degrees."""
    found: dict[int, dict[str, Any]] = {}
    asked = f"?{urlencode(query)}" if query else ""
    for tile in mercantile.tiles(12.495, 41.901, 12.4995, 41.9045, zoom):
        answer = server.ask("GET", f"/tiles/{layer}/{tile.z}/{tile.x}/{tile.y}.mvt{asked}")
        if answer.status == 204:
            continue
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"] == "application/vnd.mapbox-vector-tile"
        decoded = mapbox_vector_tile.decode(answer.body, default_options={"y_coord_down": True})
        assert list(decoded) == [layer]
        for feature in decoded[layer]["features"]:
            corners = feature["geometry"]["coordinates"]
            line = [corners] if feature["geometry"]["type"] == "Point" else corners
            if feature["geometry"]["type"] != "Polygon":
                feature["places"] = [lonlat(tile, *corner) for corner in line]
            found[feature["id"] if layer != "coverage" else len(found)] = feature
    return found


def lonlat(tile: mercantile.Tile, x: float, y: float) -> tuple[float, float]:
    west, south, east, north = mercantile.xy_bounds(*tile)
    place = mercantile.lnglat(west + x / 4096 * (east - west), north + y / 4096 * (south - north))
    return place.lng, place.lat


def stored(catalog: Catalog, *status: Status) -> dict[str, StoredResult]:
    return {found.image_id: found for found in catalog.results(ResultFilter(status=status))}


def ids(found: dict[int, dict[str, Any]]) -> set[str]:
    return {feature["properties"]["image_id"] for feature in found.values()}


def near(place: tuple[float, float]) -> Any:
    return pytest.approx(place, abs=1.5 * UNIT_DEG)


def test_every_photo_is_at_its_place(kept: Served, kept_catalog: Catalog) -> None:
    truth = stored(kept_catalog, Status.ACCEPTED, Status.REVIEW)
    found = features(kept, "corrected")
    assert ids(found) == truth.keys()
    for fid, feature in found.items():
        values = feature["properties"]
        result = truth[values["image_id"]]
        assert fid == result.fid
        assert feature["places"][0] == near((result.lon_deg, result.lat_deg))
        assert values["status"] == result.status.value
        assert values["expected_error_m"] == pytest.approx(result.expected_error_m, rel=1e-6)
        assert values["heading_deg"] == 90
        assert values["stands_for"] == 1


def test_rejections_are_where_they_were_reported_with_their_reason(kept: Served, kept_catalog: Catalog) -> None:
    truth = stored(kept_catalog, Status.REJECTED)
    found = features(kept, "rejected")
    assert ids(found) == truth.keys()
    for feature in found.values():
        result = truth[feature["properties"]["image_id"]]
        assert feature["properties"]["reason"] == "too_few_matches"
        assert feature["places"][0] == near((result.reported_lon_deg, result.reported_lat_deg))


def test_displacements_lead_from_reported_to_corrected(kept: Served, kept_catalog: Catalog) -> None:
    truth = stored(kept_catalog, Status.ACCEPTED, Status.REVIEW)
    found = features(kept, "displacement", zoom=15)
    assert ids(found) == truth.keys()
    for feature in found.values():
        result = truth[feature["properties"]["image_id"]]
        assert feature["properties"]["displacement_m"] == pytest.approx(5.0, abs=1e-3)
        ends = [(result.reported_lon_deg, result.reported_lat_deg), (result.lon_deg, result.lat_deg)]
        for place, end in zip(feature["places"], ends, strict=True):
            assert place == pytest.approx(end, abs=6 * UNIT_DEG)


def test_anchors(kept: Served, kept_catalog: Catalog) -> None:
    frame = kept_catalog.frame()
    assert frame is not None
    found = {f["properties"]["anchor_id"]: f["places"][0] for f in features(kept, "anchors").values()}
    assert found.keys() == kept_catalog.anchors().keys()
    for name, anchor in kept_catalog.anchors().items():
        lon, lat, _ = frame.wgs84_from_enu(anchor.world_from_cam.translation_m)
        assert found[name] == near((float(lon), float(lat)))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "review"}, lambda r: r.status is Status.REVIEW),
        ({"sequence_id": "seq-1"}, lambda r: r.sequence_id == "seq-1"),
        ({"device": "Acme Cam 2"}, lambda r: r.sequence_id == "seq-2"),
        ({"max_expected_error_m": 0.305}, lambda r: r.expected_error_m <= 0.305),
        ({"datetime": "2026-03-01T10:00:03Z/2026-03-01T10:00:11Z"}, lambda r: 1003 <= int(r.image_id) <= 1011),
        ({"datetime": "../2026-02-28"}, lambda r: False),
        ({"datetime": "2026-03-01", "sequence_id": "seq-0"}, lambda r: r.sequence_id == "seq-0"),
        ({"reason": "too_few_matches"}, lambda r: False),
        ({"sequence_id": "' or 1=1 --"}, lambda r: False),
    ],
)
def test_filters(kept: Served, kept_catalog: Catalog, query: dict[str, Any], expected: Any) -> None:
    truth = stored(kept_catalog, Status.ACCEPTED, Status.REVIEW)
    assert ids(features(kept, "corrected", 15, **query)) == {name for name, r in truth.items() if expected(r)}


def test_reasons_are_told_apart(kept: Served, kept_catalog: Catalog) -> None:
    assert len(features(kept, "rejected", 15, reason="too_few_matches")) == 6
    assert features(kept, "rejected", 15, reason="uncertain") == {}


def test_the_map_as_it_was_after_a_run(server: Served, filled: Catalog) -> None:
    """A later run moves one photo, rejects another and corrects a rejected one; a third run is rolled back."""
    filled.begin_run(world.manifest("run-b"))
    moved = world.correction(0, enu_m=[0.0, 20.0, 1.8])
    filled.record("run-b", [moved, world.rejection(1, Reason.UNCERTAIN), world.correction(4)])
    filled.begin_run(world.manifest("run-c"))
    filled.record("run-c", [world.rejection(2)])
    filled.rollback("run-c")
    stops = server.get("/api/city/start").value["runs"]
    assert [stop["run_key"] for stop in stops] == ["run-a", "run-b"]
    first, second = (stop["fid"] for stop in stops)

    def state(**query: Any) -> tuple[set[str], set[str], float]:
        corrected = features(server, "corrected", 15, **query)
        place = next(f["places"][0][1] for f in corrected.values() if f["properties"]["image_id"] == "1000")
        return ids(corrected), ids(features(server, "rejected", 15, **query)), place

    after_first, after_second, now = state(run=first), state(run=second), state()
    assert after_second == now
    assert now[0] - after_first[0] == {"1004"}
    assert after_first[0] - now[0] == {"1001"}
    assert now[1] - after_first[1] == {"1001"}
    assert "1002" in now[0]
    assert now[2] - after_first[2] == pytest.approx(22 / 111_000, rel=0.1)

    def counted(query: str) -> dict[str, int]:
        rows = server.get(f"/api/city/counts{query}").value["counts"]
        return {row["reason"] or row["status"]: row["count"] for row in rows}

    assert counted(f"?run={first}") == {"accepted": 20, "review": 4, "too_few_matches": 6}
    assert counted("") == {"accepted": 20, "review": 4, "too_few_matches": 5, "uncertain": 1}
    assert server.get(f"/api/city/photo?id=1001&run={first}").value["status"] == "accepted"
    assert server.get("/api/city/photo?id=1001").value["reason"] == "uncertain"


@pytest.mark.parametrize("zoom", [12, served_tiles.WHOLE_FROM])
def test_more_than_a_tile_shows_is_thinned_and_says_so(
    kept: Served, kept_catalog: Catalog, monkeypatch: pytest.MonkeyPatch, zoom: int
) -> None:
    everything = ids(features(kept, "corrected", zoom))
    assert len(everything) == 24
    monkeypatch.setattr(served_tiles, "PHOTOS_PER_TILE", 8)
    thinned = features(kept, "corrected", zoom)
    assert max(f["properties"]["stands_for"] for f in thinned.values()) == 4
    assert len(thinned) <= 8 or zoom > 12, "of several tiles, some may hold few"
    assert ids(thinned) < everything
    # What a filter lets through is found among more.
    assert ids(features(kept, "corrected", zoom, sequence_id="seq-0")) == {
        name for name in everything if int(name) < 1010
    }


@pytest.mark.postgis
def test_tiles_come_again_after_the_database_has_ended_its_sessions(postgis_catalogs: CatalogDatabases) -> None:
    """As a restart of the server does; the connection that tiles are read by is not the engine's."""
    with postgis_catalogs.lent() as url, Catalog.open(url) as catalog:
        world.fill(catalog, 3)
        with served(ServeSettings(catalog, TOKEN)) as server:
            before = features(server, "corrected")
            with psycopg.connect(url, autocommit=True) as other:
                other.execute(OTHERS, [other.info.backend_pid])
            assert features(server, "corrected") == before
            assert len(before) == 3


def test_coverage_says_where_no_anchor_is_near(server: Served, filled: Catalog) -> None:
    lonely = world.image(0, offset_m=(-30.0, 200.0))
    filled.upsert_images([replace(lonely, id="lonely")])
    found = features(server, "coverage")
    assert sum(f["properties"]["n_photos"] for f in found.values()) == 31
    assert sorted(f["properties"]["n_photos"] for f in found.values() if not f["properties"]["has_anchor"]) == [1]
    for feature in found.values():
        (ring,) = feature["geometry"]["coordinates"]
        assert {abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in pairwise(ring)} == {256}


def test_tilejson_leads_to_the_tiles(kept: Served) -> None:
    description = kept.ask("GET", "/tiles/corrected.json?status=review").value
    assert description["tilejson"] == "3.0.0"
    assert description["vector_layers"][0]["id"] == "corrected"
    assert set(description["vector_layers"][0]["fields"]) == {
        "image_id", "status", "expected_error_m", "heading_deg", "stands_for",
    }  # fmt: skip
    west, south, east, north = description["bounds"]
    tile = mercantile.tile((west + east) / 2, (south + north) / 2, 13)
    path = description["tiles"][0].removeprefix(kept.origin).format(z=tile.z, x=tile.x, y=tile.y)
    content = mapbox_vector_tile.decode(kept.ask("GET", path).body)
    assert len(content["corrected"]["features"]) == 4


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/tiles/secrets/1/0/0.mvt", 404, "no layer"),
        ("/tiles/corrected/1/2/0.mvt", 400, "no tile 1/2/0"),
        ("/tiles/corrected/23/0/0.mvt", 400, "zooms are 0 to 22"),
        ("/tiles/corrected/0/0/0.mvt?statsu=review", 400, "unknown parameter"),
        ("/tiles/corrected/0/0/0.mvt?status=good", 400, "accepted, review, rejected"),
        ("/tiles/corrected/0/0/0.mvt?run=0", 400, "not a whole number"),
        ("/tiles/corrected/0/0/0.mvt?max_expected_error_m=nan", 400, "not a number"),
        ("/tiles/corrected/0/0/0.mvt?sequence_id=a&sequence_id=b", 400, "give it once"),
        ("/tiles/corrected/0/0/0.mvt?sequence_id=%00", 400, "give it once"),
        ("/tiles/corrected/0/0/0.mvt?datetime=yesterday", 400, "no moment"),
    ],
)
def test_what_is_wrong_is_refused_in_words(kept: Served, path: str, status: int, words: str) -> None:
    answer = kept.ask("GET", path)
    assert (answer.status, words in answer.value["description"]) == (status, True), answer.body
