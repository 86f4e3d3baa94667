"""Discovery: sampled searches, tiles that fail in every way, duplicates (rows 9, 11, 13)."""

from __future__ import annotations

import gzip
from typing import Any

import mercantile
import pytest
from support.harvest_support import SOUTH, WEST, SiteFactory, first, graph_error, street_image, town

from geocorrect.demo.mapillary_server.server import FakeReply, FakeRequest, json_reply
from geocorrect.errors import ExitCode
from geocorrect.harvest.area import Area
from geocorrect.harvest.journal import Journal
from geocorrect.harvest.mapillary.discover import Discovery
from geocorrect.harvest.mapillary.responses import RequestError
from geocorrect.harvest.mapillary.tiles import LAYERS, read_tile

NO_TILES = FakeReply(500, b"down")


def without_tiles(request: FakeRequest) -> FakeReply | None:
    return NO_TILES if request.role == "tiles" else None


@pytest.mark.long
def test_a_sampled_search_still_finds_every_image(site: SiteFactory) -> None:
    here = site(town(4, 40), rule=without_tiles, bbox_share=0.2)
    report = here.harvest(max_tries=1)
    assert set(here.sink.by_id) == here.ids
    assert report.exit_code is ExitCode.OK
    assert report.requests["bbox"] > 0


def test_search_that_is_full_is_subdivided(site: SiteFactory) -> None:
    # 21 sequences of 110 images within one box: the first 2000 answers do not show the last sequences.
    images = [
        street_image(
            index, sequence, geometry={"type": "Point", "coordinates": [12.5 + 1e-5 * index, 41.9 + 1e-5 * sequence]}
        )
        for sequence in range(21)
        for index in range(110)
    ]
    here = site(images, rule=without_tiles)
    here.area = Area.from_box(12.4999, 41.8999, 12.5012, 41.9005)
    with here.client(max_tries=1) as client:
        discovery = Discovery(client, here.area, Journal(None))
        coverage = discovery.run()
    assert len(coverage.sequences) == 21
    assert not discovery.holes


def test_empty_search_is_asked_twice_before_it_is_believed(site: SiteFactory) -> None:
    boxes: dict[str, int] = {}

    def rule(request: FakeRequest) -> FakeReply | None:
        if request.role == "tiles":
            return NO_TILES
        if "bbox" in request.query:
            boxes[request.query["bbox"]] = boxes.get(request.query["bbox"], 0) + 1
            return json_reply({"data": []}) if boxes[request.query["bbox"]] == 1 else None
        return None

    here = site(rule=rule)
    here.harvest(max_tries=1)
    assert set(here.sink.by_id) == here.ids
    assert set(boxes.values()) == {2}


# --- row 13: tiles ---


def damage(kind: str) -> FakeReply:
    return {
        "empty": FakeReply(200, b""),
        "204": FakeReply(204),
        "404": FakeReply(404, b"<html>no such tile</html>"),
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "204", "404"])
def test_tiles_without_coverage(site: SiteFactory, kind: str) -> None:
    here = site(rule=lambda r: damage(kind) if r.role == "tiles" else None)
    report = here.harvest()
    assert report.n_sequences == 0
    assert report.exit_code is ExitCode.OK
    assert report.requests["bbox"] == 0


@pytest.mark.long
@pytest.mark.parametrize("body", [b"\x1a\xff\xff\xff\x7f", b"garbage" * 50, b"\x1f\x8b\x08broken", bytes(1000)])
def test_corrupt_tile_is_asked_again_then_replaced_by_searches(site: SiteFactory, body: bytes) -> None:
    here = site(rule=lambda r: FakeReply(200, body) if r.role == "tiles" else None)
    report = here.harvest()
    assert set(here.sink.by_id) == here.ids
    assert report.requests["bbox"] > 0
    paths = [request.path for request in here.script.to("tiles")]
    assert {paths.count(path) for path in paths} == {2}


def test_gzip_tiles_with_and_without_the_header(site: SiteFactory) -> None:
    for headers in ({}, {"Content-Encoding": "gzip"}):
        here = site()
        packed = {
            f"{layer}/{tile.x}/{tile.y}": gzip.compress(here.service.data.tile(layer, tile.x, tile.y))
            for layer in LAYERS
            for tile in here.area.widened(50).tiles(100)
        }

        def rule(r: FakeRequest, packed: Any = packed, headers: Any = headers) -> FakeReply | None:
            if r.role != "tiles":
                return None
            _, _, layer, _, _, x, y = r.path.split("/")
            return FakeReply(200, packed[f"{layer}/{x}/{y}"], headers)

        here.script.rule = rule
        report = here.harvest()
        assert report.n_sequences == 3
        assert report.requests["bbox"] == 0
        here.sink.by_id.clear()


@pytest.mark.long
@pytest.mark.parametrize(
    "reply",
    [
        graph_error(403, 4, "Application request limit reached"),
        FakeReply(429, b"", {"Retry-After": "0"}),
        FakeReply(403, b"Forbidden"),
    ],
)
def test_tile_quota_switches_to_searches_for_the_rest_of_the_run(site: SiteFactory, reply: FakeReply) -> None:
    here = site(rule=lambda r: reply if r.role == "tiles" else None)
    here.area = Area.from_box(WEST - 0.02, SOUTH - 0.02, WEST + 0.06, SOUTH + 0.03)
    report = here.harvest(max_tries=2, graph_workers=1)
    assert set(here.sink.by_id) == here.ids
    assert len(here.script.to("tiles")) <= 2
    assert not report.holes


def test_a_ten_megabyte_tile_and_the_cap(site: SiteFactory) -> None:
    images = town(1, 3)
    here = site(images, rule=lambda r: FakeReply(200, bytes(10_000_000)) if r.role == "tiles" else None)
    report = here.harvest(max_answer_mb=5.0)
    assert set(here.sink.by_id) == here.ids
    assert not report.holes


@pytest.mark.data
def test_recorded_tiles_decode(shared_data: Any) -> None:
    found = {}
    for y in (6257, 6258):
        tile = mercantile.Tile(3252, y, 14)
        data = (shared_data / "mapillary/api/tiles/14/3252" / f"{y}.mvt").read_bytes()
        coverage = read_tile(data, tile, Area.from_box(*mercantile.bounds(tile)))
        found[y] = (len(coverage.sequences), coverage.n_points)
        with pytest.raises(RequestError):
            read_tile(data[: len(data) // 2], tile, Area.from_box(*mercantile.bounds(tile)))
    # 8,695 and 4,888 image points; 89 and 70 sequence lines, and two more sequences of the second tile show in its
    # image layer only: both layers are needed.
    assert found == {6257: (89, 8695), 6258: (72, 4888)}


def test_tile_coordinates_agree_with_positions(site: SiteFactory) -> None:
    here = site([street_image(index) for index in range(0, 100, 2)])
    with here.client() as client:
        for east in (12.5025, 12.5051):
            inside = Discovery(client, Area.from_box(12.4999, 41.8999, east, 41.9001), Journal(None))
            inside._area = Area.from_box(12.4999, 41.8999, east, 41.9001)
            expected = sum(12.5 + 0.0001 * index <= east for index in range(0, 100, 2))
            assert abs(inside.run().n_points - expected) <= 1


# --- row 11: duplicates ---


def test_same_image_in_two_sequences_and_ids_as_numbers(site: SiteFactory) -> None:
    def rule(request: FakeRequest) -> FakeReply | None:
        if request.role == "graph" and request.path == "image_ids":
            listed = here.service.data.sequence(request.query["sequence_id"])
            return json_reply({"data": [{"id": int(entry["id"])} for entry in listed]})
        return None

    here = site(rule=rule)
    here.service.data.sequences["sequence-001"] += here.service.data.sequences["sequence-000"][:5]
    report = here.harvest()
    assert set(here.sink.by_id) == here.ids
    assert report.n_ids == report.n_new == report.requests["picture"] == len(here.ids)


def test_images_without_a_sequence_are_found(site: SiteFactory) -> None:
    alone = street_image(1)
    del alone["sequence"]
    here = site([street_image(0), alone])
    here.harvest()
    assert set(here.sink.by_id) == here.ids


def test_sequence_that_nobody_lists_is_a_hole_and_filled_later(site: SiteFactory) -> None:
    here = site(rule=lambda r: FakeReply(500) if r.query.get("sequence_id") == "sequence-001" else None)
    report = here.harvest(max_tries=2)
    assert [(hole.kind, hole.name) for hole in report.holes] == [("sequence", "sequence-001")]
    assert len(here.sink.by_id) == 40
    here.script.rule = None
    assert here.harvest().n_new == 20


def test_sequence_that_fails_once_is_listed_in_the_second_pass(site: SiteFactory) -> None:
    failing = first(2, FakeReply(500), lambda r: r.query.get("sequence_id") == "sequence-001")
    here = site(rule=failing)
    report = here.harvest(max_tries=2)
    assert not report.holes
    assert set(here.sink.by_id) == here.ids


def test_box_that_is_full_at_the_smallest_size_is_a_hole(site: SiteFactory) -> None:
    here = site(town(1, 2), rule=lambda r: full_box(r) or without_tiles(r))
    report = here.harvest(max_tries=1, max_cell_depth=0)
    assert {hole.why for hole in report.holes} == {"full at the smallest size"}
    assert report.exit_code is ExitCode.INCOMPLETE_HARVEST


def full_box(request: FakeRequest) -> FakeReply | None:
    if "bbox" not in request.query:
        return None
    alone = {"id": "1000000000000001"}
    return json_reply({"data": [{"id": "1000000000000000", "sequence": "sequence-000"}] * 1999 + [alone, {"id": "x"}]})


def test_images_that_fail_once_keep_their_sequence_together(site: SiteFactory) -> None:
    """A compass without data writes zeros; the run is seen even when one of its images comes in the second pass."""
    images = [street_image(index, compass_angle=0) for index in range(4)]
    failing = first(2, FakeReply(500), lambda r: r.role == "cdn" and r.path.startswith(images[2]["id"]))
    here = site(images, rule=failing)
    report = here.harvest(max_tries=2)
    assert not report.holes
    assert all(image.heading_deg != image.heading_deg for image in here.sink.by_id.values())
    assert report.n_ids == report.n_new == 4
