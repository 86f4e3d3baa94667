"""Records and tiles that honest software never writes: one of them is named and left, the area goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mercantile
import pytest
from support.harvest_support import SOUTH, WEST, Site, SiteFactory, town
from support.hostile_service import answer_with_odd_records

from geocorrect.catalog import Catalog
from geocorrect.demo.mapillary_server.hostile import hostile_records
from geocorrect.demo.mapillary_server.server import FakeReply
from geocorrect.errors import ExitCode
from geocorrect.harvest import harvest as harvesting
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import run_harvest
from geocorrect.harvest.mapillary.responses import RequestError
from geocorrect.harvest.mapillary.tiles import read_tile
from geocorrect.harvest.report import HarvestReport

IMAGES = town(1, 12)
POINT = b"\x18\x01\x22\x03\x09\x02\x02"
"""Type and geometry of a point feature."""
UNREADABLE = [b'{"id": "ID", "a": 1, "a": 2}', b'{"id": NaN}', b"[" * 5000, b"[0" + b",0" * 600_000 + b"]"]


def with_odd_records(site: Callable[[], Site], odd: Mapping[str, bytes]) -> None:
    """From now on the service writes these records, by image id, into its answers as they are."""
    here = site()
    here.script.rule = lambda request: answer_with_odd_records(here.service, request, odd)


def harvest_into(here: Site, catalog: Catalog) -> HarvestReport:
    return run_harvest(here.options(), here.plan(), catalog, token=here.service.token)


@pytest.mark.long
def test_odd_values_are_stored_without_what_no_catalog_can_keep(catalog: Catalog, site: SiteFactory) -> None:
    here = site(IMAGES)
    odd = dict(zip([image["id"] for image in IMAGES], hostile_records(IMAGES[0]).values(), strict=False))
    for image_id in odd:
        urls = here.service._with_urls({"id": image_id}, ["thumb_2048_url"])
        odd[image_id] = odd[image_id].replace(IMAGES[0]["id"].encode(), image_id.encode())
        odd[image_id] = odd[image_id][:-1] + f', "thumb_2048_url": "{urls["thumb_2048_url"]}"}}'.encode()
    with_odd_records(lambda: here, odd)
    report = harvest_into(here, catalog)
    assert report.holes == []
    stored = catalog.images()
    assert stored.keys() == here.ids
    kept = [stored[image_id] for image_id in odd]
    assert kept[0].device_make == "ab"
    assert kept[1].device_model is None
    assert kept[2].provider["merge_cc"] is None
    assert kept[2].provider["atomic_scale"] is None
    assert kept[3].provider["camera_parameters"] == [[[[None]]]]
    assert kept[4].provider["quality_score"] == {"?": ""}
    # The next night asks for nothing again.
    assert harvest_into(here, catalog).n_unchanged == len(here.ids)


@pytest.mark.parametrize("odd", UNREADABLE, ids=["repeated key", "NaN", "nesting", "too many values"])
def test_a_record_that_no_parser_takes_hides_no_other(site: SiteFactory, odd: bytes) -> None:
    here = site(IMAGES)
    bad = IMAGES[5]["id"]
    with_odd_records(lambda: here, {bad: odd.replace(b"ID", bad.encode())})
    report = here.harvest(max_tries=2)
    assert set(here.sink.by_id) == here.ids - {bad}
    assert [(hole.kind, hole.name) for hole in report.holes] == [("image", bad)]
    assert report.exit_code is ExitCode.INCOMPLETE_HARVEST


def test_a_record_that_cannot_be_read_or_stored_is_quarantined(
    site: SiteFactory, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever gets past the sanitising: a bug for one image, an illegal text for another."""
    honest, bug, illegal = harvesting.read_image_record, IMAGES[3]["id"], IMAGES[7]["id"]

    def read(record: Mapping[str, Any], *rest: Any) -> Any:
        if record["id"] == bug:
            raise ZeroDivisionError("\x1b[2J" + "x" * 1000)
        image = honest(record, *rest)
        return image if image.id != illegal else harvesting.replace(image, device_make="a\0b")

    monkeypatch.setattr(harvesting, "read_image_record", read)
    here = site(IMAGES)
    report = harvest_into(here, catalog)
    assert catalog.images().keys() == here.ids - {bug, illegal}
    holes = {hole.name: hole.why for hole in report.holes}
    assert holes.keys() == {bug, illegal}
    assert holes[bug].isprintable()
    assert len(holes[bug]) <= 300
    assert "NUL" in holes[illegal]


def test_a_tile_no_decoder_takes_is_replaced_by_search_boxes(site: SiteFactory) -> None:
    here = site(IMAGES)
    odd_tags = _field(2, _field(2, b"\0") + POINT)
    layer = _field(3, _field(1, b"image") + odd_tags + b"\x78\x02")
    for body in (layer, layer[:-3] + b"\xff"):
        here.script.rule = lambda r, body=body: FakeReply(200, body) if r.role == "tiles" else None
        here.sink.by_id.clear()
        report = here.harvest()
        assert set(here.sink.by_id) == here.ids
        assert report.holes == []
        assert here.script.to("graph", "bbox")
        here.script.seen.clear()


def test_a_tile_of_too_many_features_is_not_decoded() -> None:
    layer = _field(3, _field(1, b"image") + _field(2, POINT) * 250_001 + b"\x78\x02")
    tile = mercantile.tile(WEST, SOUTH, 14)
    with pytest.raises(RequestError, match="more than 250000 features"):
        read_tile(layer, tile, Area.from_box(*mercantile.bounds(tile)))


def _field(number: int, content: bytes) -> bytes:
    length, head = len(content), bytearray()
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *head, length]) + content
