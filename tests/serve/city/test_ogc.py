"""OGC API – Features, core and GeoJSON classes: the abstract tests of the standard (17-069r4, annex A), and our own.

The API document is judged by openapi-spec-validator, every answer by the schema that the document gives for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate
from support import catalog_world as world
from support.served import TOKEN, Answer, Served, served

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.errors import Reason, Status
from geocorrect.serve.state import ServeSettings

COUNTS = {"corrections": 20, "review": 4, "rejected": 6, "anchors": 31}
ITEMS = "/ogc/collections/{}/items"


def get(server: Served, path: str) -> Any:
    """The value at a path or address, read without any secret."""
    parts = urlsplit(path)
    answer = server.ask("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
    assert answer.status == 200, answer.body
    return answer.value


def raw(server: Served, path: str) -> Answer:
    return server.ask("GET", path)


def link(document: dict[str, Any], rel: str) -> str | None:
    found = [entry for entry in document["links"] if entry["rel"] == rel]
    assert len(found) <= 1
    return found[0]["href"] if found else None


def pages(server: Served, path: str) -> list[list[dict[str, Any]]]:
    """The features of every page, by its links."""
    found = []
    while path:
        page = get(server, path)
        assert page["numberReturned"] == len(page["features"])
        found.append(page["features"])
        path = link(page, "next") or ""
    return found


def all_ids(server: Served, path: str) -> list[Any]:
    return [feature["properties"].get("image_id") for page in pages(server, path) for feature in page]


def test_landing_page_leads_everywhere(kept: Served) -> None:
    landing = get(kept, "/ogc")
    for rel, media_type in (
        ("self", "application/json"),
        ("conformance", "application/json"),
        ("data", "application/json"),
        ("service-desc", "application/vnd.oai.openapi+json;version=3.0"),
    ):
        address = link(landing, rel)
        assert address is not None
        assert address.startswith(f"{kept.origin}/ogc")
        assert raw(kept, urlsplit(address).path).headers["content-type"] == media_type


def test_it_declares_the_classes_that_are_tested_here(kept: Served) -> None:
    declared = get(kept, "/ogc/conformance")["conformsTo"]
    features = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/"
    assert {features + name for name in ("core", "oas30", "geojson")} < set(declared)


def test_the_api_document_is_valid_and_true(kept: Served) -> None:
    document = get(kept, "/ogc/api")
    validate(document)
    for path, operations in document["paths"].items():
        assert operations.keys() == {"get"}
        concrete = path.replace("{featureId}", "1") if "rejected" not in path else path.replace("{featureId}", "5")
        concrete = concrete.replace("review/items/1", "review/items/7")
        answer = raw(kept, "/ogc" + concrete.rstrip("/"))
        assert answer.status == 200, (concrete, answer.body)
        ((media_type, content),) = operations["get"]["responses"]["200"]["content"].items()
        assert answer.headers["content-type"] == media_type
        schema = {**content["schema"], "components": document["components"]}
        OAS30Validator(schema).validate(answer.value)


def test_collections(kept: Served, kept_catalog: Catalog) -> None:
    listed = get(kept, "/ogc/collections")
    assert [entry["id"] for entry in listed["collections"]] == list(COUNTS)
    truth = kept_catalog.extent()
    assert truth is not None
    for entry in listed["collections"]:
        assert get(kept, f"/ogc/collections/{entry['id']}") == entry
        assert entry["title"]
        assert entry["description"]
        assert entry["itemType"] == "feature"
        assert link(entry, "items") == f"{kept.origin}{ITEMS.format(entry['id'])}"
        ((west, south, east, north),) = entry["extent"]["spatial"]["bbox"]
        assert (west, south, east, north) == pytest.approx(truth, abs=1e-5)
        assert west <= truth[0]
        assert east >= truth[2]


@pytest.mark.parametrize("name", COUNTS)
def test_pages_give_every_feature_once(kept: Served, name: str) -> None:
    whole = pages(kept, ITEMS.format(name))
    assert [len(page) for page in whole] == [COUNTS[name]]
    parts = pages(kept, ITEMS.format(name) + "?limit=7")
    assert {len(page) for page in parts[:-1]} <= {7}
    assert [feature for page in parts for feature in page] == whole[0]
    for feature in whole[0][:2]:
        alone = get(kept, f"{ITEMS.format(name)}/{feature['id']}")
        assert link(alone, "self") == f"{kept.origin}{ITEMS.format(name)}/{feature['id']}"
        assert alone == {**feature, "links": alone["links"]}


def test_features_are_what_was_stored(kept: Served, kept_catalog: Catalog) -> None:
    truth = {r.image_id: r for r in kept_catalog.results(ResultFilter(status=(Status.ACCEPTED,)))}
    (features,) = pages(kept, ITEMS.format("corrections"))
    assert {f["properties"]["image_id"] for f in features} == truth.keys()
    for feature in features:
        values = feature["properties"]
        result = truth[values["image_id"]]
        assert feature["type"] == "Feature"
        assert feature["id"] == result.fid
        place = feature["geometry"]["coordinates"]
        assert place == pytest.approx([result.lon_deg, result.lat_deg, result.height_m], abs=1e-3)
        assert place[:2] == pytest.approx([result.lon_deg, result.lat_deg], abs=1e-7)
        assert values["expected_error_m"] == pytest.approx(result.expected_error_m, abs=1e-3)
        assert values["captured_at"].startswith("2026-03-01T10:00:")
        assert values["captured_at"].endswith("Z")
        assert values["depth_is_oracle"] is True
        assert values["creator"] == "ana"
        assert values["licence"] == "CC-BY-SA-4.0"
        # Where files lie, is nobody's business.
        assert "path" not in values
        assert "img/" not in str(feature)


def test_only_what_is_accepted_is_a_correction(kept: Served) -> None:
    corrections, review, rejected = (set(all_ids(kept, ITEMS.format(name))) for name in list(COUNTS)[:3])
    assert not corrections & review
    assert not corrections & rejected
    assert review == {"1006", "1013", "1020", "1027"}
    (first, *_), *_ = pages(kept, ITEMS.format("rejected"))
    assert first["properties"]["reason"] == "too_few_matches"
    assert first["properties"]["meaning"].startswith("Too few verified matches")
    assert len(first["geometry"]["coordinates"]) == 2


def test_where_files_lie_is_not_published_with_a_rejection(server: Served, filled: Catalog) -> None:
    filled.begin_run(world.manifest("run-b"))
    filled.record("run-b", [replace(world.rejection(4, Reason.IMAGE_MISSING), detail="/home/ana/rome/img/4.jpg")])
    assert all_ids(server, ITEMS.format("rejected") + "?reason=image_missing") == ["1004"]
    assert b"/home/ana" not in raw(server, ITEMS.format("rejected")).body


def test_bbox(kept: Served, kept_catalog: Catalog) -> None:
    for name, status in (("corrections", Status.ACCEPTED), ("rejected", Status.REJECTED)):
        results = [*kept_catalog.results(ResultFilter(status=(status,)))]
        lons = sorted(r.lon_deg if name == "corrections" else r.reported_lon_deg for r in results)
        west, east = lons[1], lons[-2]
        found = all_ids(kept, f"{ITEMS.format(name)}?bbox={west - 1e-9},41,{east + 1e-9},42&limit=3")
        assert len(found) == len(lons) - 2
    assert all_ids(kept, ITEMS.format("corrections") + "?bbox=13,41,14,42") == []
    assert len(all_ids(kept, ITEMS.format("corrections") + "?bbox=12,41,48,13,42,60")) == 20
    assert all_ids(kept, ITEMS.format("corrections") + "?bbox=12,41,60,13,42,70") == []
    # From 170° east across the antimeridian to 13° east.
    assert len(all_ids(kept, ITEMS.format("corrections") + "?bbox=170,41,13,42")) == 20
    assert all_ids(kept, ITEMS.format("corrections") + "?bbox=170,41,-170,42") == []


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-03-01T10:00:03Z", 3, 3),
        ("2026-03-01T11:00:03%2B01:00", 3, 3),
        ("2026-03-01T10:00:03Z/2026-03-01T10:00:08.500Z", 3, 8),
        ("../2026-03-01T10:00:08Z", 0, 8),
        ("/2026-03-01T10:00:08Z", 0, 8),
        ("2026-03-01T10:00:08Z/..", 8, 29),
        ("2026-03-01", 0, 29),
        ("../..", 0, 29),
        ("2026-02-28", 1, 0),
    ],
)
def test_datetime(kept: Served, text: str, first: int, last: int) -> None:
    everything = all_ids(kept, ITEMS.format("corrections"))
    expected = [name for name in everything if first <= int(name) - 1000 <= last]
    assert all_ids(kept, f"{ITEMS.format('corrections')}?limit=4&datetime={text}") == expected


def test_by_property(kept: Served) -> None:
    assert len(all_ids(kept, ITEMS.format("corrections") + "?sequence_id=seq-1&limit=2")) == 7
    assert len(all_ids(kept, ITEMS.format("rejected") + "?reason=too_few_matches")) == 6
    assert all_ids(kept, ITEMS.format("rejected") + "?reason=%27%20or%201=1%20--") == []


@pytest.mark.parametrize(
    "query",
    [
        "bbox=1,2,3", "bbox=a,b,c,d", "bbox=1,3,2,2", "bbox=nan,0,1,1", "bbox=0,0,1,inf", "bbox=0,0,5,1,1,4",
        "bbox=0,0,200,1", "datetime=yesterday", "datetime=2026-03-01T10:00:00", "datetime=a/b/c", "datetime=..",
        "datetime=2026-03-02/2026-03-01", "limit=0", "limit=-1", "limit=ten", "limit=1.5", "after=x", "unknown=1",
        "limit=1&limit=2", "bbox-crs=http://www.opengis.net/def/crs/EPSG/0/3857", "reason=uncertain",
    ],
)  # fmt: skip
def test_wrong_parameters_are_400_with_words(kept: Served, query: str) -> None:
    answer = raw(kept, f"{ITEMS.format('corrections')}?{query}")
    assert answer.status == 400
    assert answer.value["code"] == "400"
    assert query.split("=")[0] in answer.value["description"]


@pytest.mark.parametrize(
    "path",
    [
        "/ogc/collections/secrets", "/ogc/collections/secrets/items", "/ogc/collections/image/items",
        "/ogc/collections/corrections/items/999999", "/ogc/collections/corrections/items/abc",
        "/ogc/collections/corrections/items/99999999999999999999", "/ogc/collections/corrections/items/5",
        "/ogc/collections/..%2f..%2fetc/items",
    ],
)  # fmt: skip
def test_what_is_not_there_is_404(kept: Served, path: str) -> None:
    assert raw(kept, path).status == 404


def test_a_large_limit_is_lowered_and_nothing_can_be_written(kept: Served) -> None:
    assert len(get(kept, ITEMS.format("anchors") + "?limit=1000000")["features"]) == 31
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert kept.ask(method, ITEMS.format("corrections"), b"{}", kept.own_headers()).status == 405


def test_a_result_that_comes_between_two_pages_hides_and_repeats_nothing(server: Served, filled: Catalog) -> None:
    first = get(server, ITEMS.format("corrections") + "?limit=10")
    filled.begin_run(world.manifest("run-b"))
    filled.record("run-b", [replace(world.correction(0)), world.correction(4)])
    rest = pages(server, link(first, "next") or "")
    found = [f["properties"]["image_id"] for page in [first["features"], *rest] for f in page]
    # Its newer version has a larger key, so a photo that was replaced meanwhile comes once more, as what it is now.
    assert sorted(found) == sorted([*all_ids(server, ITEMS.format("corrections")), "1000"])


def test_pages_of_other_sites_read_only_where_they_are_named(kept_catalog: Catalog) -> None:
    site = "https://map.example.org"
    with served(ServeSettings(kept_catalog, TOKEN, web_origins=(site,))) as running:
        for path in ("/ogc/collections", "/tiles/corrected/10/547/380.mvt"):
            named = running.ask("GET", path, headers={"Origin": site})
            assert named.headers["access-control-allow-origin"] == site
            other = running.ask("GET", path, headers={"Origin": "https://evil.example.org"})
            assert "access-control-allow-origin" not in other.headers
        private = running.ask("GET", "/api/city/start", headers={**running.own_headers(), "Origin": site})
        assert private.status == 200
        assert "access-control-allow-origin" not in private.headers
        assert running.ask("GET", "/api/city/start", headers={"Origin": site}).status == 401


def test_an_empty_catalog_is_served_too(catalog: Catalog) -> None:
    with served(ServeSettings(catalog, TOKEN)) as running:
        assert "extent" not in get(running, "/ogc/collections/corrections")
        assert get(running, ITEMS.format("corrections"))["features"] == []
        assert raw(running, "/tiles/corrected/0/0/0.mvt").status == 204
        assert running.get("/api/city/start").value["extent"] is None
