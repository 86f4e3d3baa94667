"""A harvest of the fake Panoramax instance over real HTTP: complete, polite, resumable, with everyone's licence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.harvest_support import QUICK, jpeg
from support.panoramax_server import SOUTH, STEP_DEG, VIA, WEST, FakePanoramax, item, picture_id

from geocorrect.catalog import Catalog
from geocorrect.demo.mapillary_server.server import FakeReply, FakeRequest
from geocorrect.errors import ConfigError, ExitCode, Reason, RemoteError
from geocorrect.geometry.camera import Projection
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan
from geocorrect.harvest.mapillary.responses import RequestError
from geocorrect.harvest.options import HarvestOptions
from geocorrect.harvest.panoramax import client as client_module
from geocorrect.harvest.panoramax.client import PanoramaxClient
from geocorrect.harvest.panoramax.item import picture_url, read_item, with_camera
from geocorrect.harvest.report import HarvestReport
from geocorrect.harvest.sink import ImageSink, MemorySink
from geocorrect.harvest.sources import harvest_area

PATIENT = QUICK | {"idle_timeout_s": 20.0, "metadata_deadline_s": 20.0, "download_deadline_s": 20.0}
"""No test here waits for a deadline, and machines may be slow."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)
N = 120
# The street crosses two tiles of zoom 14 behind its thirteenth picture; the last twenty lie east of the area.
AREA = Area.from_box(WEST - 0.001, SOUTH - 0.001, WEST + STEP_DEG * (N - 20.5), SOUTH + 0.001)
Service = Callable[..., FakePanoramax]


@pytest.fixture
def service() -> Iterator[Service]:
    with ExitStack() as stack:

        def start(**more: Any) -> FakePanoramax:
            picture = more.pop("picture", jpeg(64, 48))
            items = more.pop("items", [item(index) for index in range(N)])
            return stack.enter_context(FakePanoramax(items, picture, **more))

        yield start


def harvest(server: FakePanoramax, folder: Path, sink: ImageSink, **changes: Any) -> HarvestReport:
    plan = HarvestPlan(
        AREA, folder, **{name: changes.pop(name) for name in ("since", "limit", "dry_run") if name in changes}
    )
    options = HarvestOptions(source="panoramax", panoramax_url=server.url, **{**PATIENT, **changes})
    return harvest_area(options, plan, sink)


@pytest.mark.long
@pytest.mark.parametrize("pages", [True, False])
def test_everything_in_the_area_however_answers_are_cut(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: bool
) -> None:
    """Seven pictures an answer: by pages where the service has them, by smaller boxes where it has none."""
    monkeypatch.setattr(client_module, "SEARCH_LIMIT", 7)
    server, sink = service(pages=pages), MemorySink()
    report = harvest(server, tmp_path / "images", sink)
    assert set(sink.by_id) == {picture_id(index) for index in range(100)}
    assert (report.n_new, report.n_with_picture, report.exit_code, report.n_sequences) == (100, 100, ExitCode.OK, 10)
    assert server.count("store") == server.count("pictures") == 100  # each picture once, behind its redirect
    image = sink.by_id[picture_id(3)]
    assert image.path == tmp_path / "images" / "03" / f"{picture_id(3)}_2048.jpg"
    assert image.path.read_bytes() == server.picture
    assert image.reported is not None
    assert (image.reported.lon_deg, image.reported.lat_deg) == pytest.approx((WEST + 3 * STEP_DEG, SOUTH))
    assert (image.heading_deg, image.provider["accuracy_m"], image.device_make) == (90.0, 2.5, "Acme")
    assert image.captured_at == datetime(2024, 5, 1, 10, 3, tzinfo=UTC)
    assert image.camera is not None
    assert (image.camera.focal_x_px, image.camera.focal_sigma) == (pytest.approx(32.0), 0.05)  # 90° across 64 pixels
    licences = {sink.by_id[picture_id(index)].attribution.licence for index in (2, 3)}
    assert licences == {"CC-BY-SA-4.0", "etalab-2.0"}
    assert image.attribution.creator == "user 0"
    assert image.attribution.page_url == f"{VIA}/#focus=pic&pic={picture_id(3)}"
    assert not any("Authorization" in request.headers for request in server.asked)
    assert not any("token" in str(request.query) for request in server.asked)


def test_the_next_run_asks_for_what_changed(service: Service, tmp_path: Path) -> None:
    server, sink = service(), MemorySink()
    harvest(server, tmp_path / "images", sink)
    server.asked.clear()
    assert harvest(server, tmp_path / "images", sink).n_unchanged == 100
    assert server.count("store") == 0
    server.items[5]["properties"]["updated"] = "2026-01-01T00:00:00+00:00"
    server.items[5]["properties"]["view:azimuth"] = 45
    image = sink.by_id[picture_id(6)]
    assert image.path is not None
    image.path.unlink()
    report = harvest(server, tmp_path / "images", sink)
    assert (report.n_updated, report.n_unchanged, server.count("store")) == (2, 98, 2)
    assert sink.by_id[picture_id(5)].heading_deg == 45.0


def test_period_limit_and_dry_run(service: Service, tmp_path: Path) -> None:
    server = service()
    since = datetime(2024, 5, 2, 10, 10, tzinfo=UTC)  # the picture number 70
    counted = harvest(server, tmp_path / "images", MemorySink(), since=since, dry_run=True)
    assert (counted.n_coverage_points, counted.n_new, counted.expected_mb) == (30, 0, 18.0)
    assert not (tmp_path / "images").exists()
    sink = MemorySink()
    harvest(server, tmp_path / "images", sink, since=since)
    assert set(sink.by_id) == {picture_id(index) for index in range(70, 100)}
    few = MemorySink()
    assert harvest(server, tmp_path / "few", few, limit=8).n_new == len(few.by_id) == 8


def failing(times: int, role: str, reply: FakeReply, text: str = "") -> Callable[[FakeRequest], FakeReply | None]:
    left = [times]

    def fault(request: FakeRequest) -> FakeReply | None:
        if request.role != role or text not in request.path or left[0] == 0:
            return None
        left[0] -= 1
        return reply

    return fault


@pytest.mark.long
@pytest.mark.parametrize(
    "reply",
    [FakeReply(503), FakeReply(200, b"<html>"), FakeReply(200, b'{"features": 1}'), FakeReply(200, b"{", cut_after=0)],
)
def test_a_service_that_stumbles_is_asked_again(service: Service, tmp_path: Path, reply: FakeReply) -> None:
    server, sink = service(fault=failing(1, "api", reply)), MemorySink()
    assert harvest(server, tmp_path / "images", sink).exit_code is ExitCode.OK
    assert len(sink.by_id) == 100


@pytest.mark.long
def test_a_rate_limit_pauses_everybody(service: Service, tmp_path: Path) -> None:
    limited = FakeReply(429, b"slow down", {"Retry-After": "1"})
    server, sink = service(fault=failing(1, "pictures", limited)), MemorySink()
    start = time.monotonic()
    harvest(server, tmp_path / "images", sink, backoff_cap_s=5.0)
    assert time.monotonic() - start > 0.9
    assert len(sink.by_id) == 100


def test_a_picture_that_nobody_has_is_a_hole_that_the_next_run_fills(service: Service, tmp_path: Path) -> None:
    server, sink = service(), MemorySink()
    server.panoramax_fault = failing(-1, "store", FakeReply(404), picture_id(7))
    report = harvest(server, tmp_path / "images", sink)
    assert [(hole.kind, hole.name) for hole in report.holes] == [("picture", picture_id(7))]
    assert (report.exit_code, sink.by_id[picture_id(7)].problem) == (ExitCode.INCOMPLETE_HARVEST, Reason.IMAGE_MISSING)
    server.panoramax_fault = None
    assert harvest(server, tmp_path / "images", sink).n_updated == 1
    before = sink.by_id[picture_id(7)]
    assert before.problem is None
    # A newer version that cannot be had does not take the older one away.
    server.items[7]["properties"]["updated"] = "2026-01-01T00:00:00+00:00"
    server.panoramax_fault = failing(-1, "store", FakeReply(404), picture_id(7))
    assert len(harvest(server, tmp_path / "images", sink).holes) == 1
    assert sink.by_id[picture_id(7)] == before


def test_a_killed_run_continues_behind_the_tiles_it_has_stored(service: Service, tmp_path: Path) -> None:
    server, sink = service(), MemorySink()
    dead: list[FakeRequest] = []

    def dies(request: FakeRequest) -> FakeReply | None:
        """From the fortieth picture on nothing answers any more, the API included."""
        if request.role != "api" and _number(request) >= 40:
            dead.append(request)
        return FakeReply(500) if dead and (request.role == "api" or request is dead[-1]) else None

    server.panoramax_fault = dies
    with pytest.raises(RemoteError, match="does not answer"):
        harvest(server, tmp_path / "images", sink, max_consecutive_failures=3, max_tries=1)
    stored = sum(image.path is not None for image in sink.by_id.values())
    assert 13 <= stored <= 40
    server.panoramax_fault = None
    server.asked.clear()
    harvest(server, tmp_path / "images", sink)
    assert len(sink.by_id) == 100
    searches = [r for r in server.asked if r.role == "api" and r.query["limit"] != "1"]
    assert len(searches) == 1  # one of two tiles; the first one is in the journal


def test_pictures_that_fail_now_and_then_end_nothing(service: Service, tmp_path: Path) -> None:
    """Every second picture: the API still answers, and no forty fail in a row; one that wants a login is one hole."""
    server, sink = service(), MemorySink()
    server.panoramax_fault = lambda r: (
        FakeReply(401 if _number(r) == 7 else 500) if r.role != "api" and _number(r) % 2 else None
    )
    report = harvest(server, tmp_path / "images", sink, max_consecutive_failures=3, max_tries=1)
    assert (len(report.holes), len(sink.by_id), report.exit_code) == (50, 100, ExitCode.INCOMPLETE_HARVEST)


ODD: list[dict[str, Any]] = [
    {"links": [{"rel": "via", "href": "http://[x/"}]},
    {"providers": [{"name": "a", "roles": 5}]},
    {"properties": {"datetime": "0001-01-01T00:00:00+14:00"}},
    {"properties": {"datetime": "2099-01-01T00:00:00Z"}},
    {"properties": {"license": "a\0b", "pers:yaw": 10**30}},
]


@pytest.mark.long
@pytest.mark.parametrize("odd", ODD)
def test_one_odd_item_costs_no_other(odd: dict[str, Any], service: Service, tmp_path: Path) -> None:
    items = [item(index) for index in range(N)]
    items[3] = {**items[3], **odd, "properties": {**items[3]["properties"], **odd.get("properties", {})}}
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        report = harvest(service(items=items), tmp_path / "images", catalog)
        assert (len(catalog.images()), report.holes) == (100, [])
        assert "datetime" not in odd.get("properties", {}) or catalog.images()[picture_id(3)].captured_at is None


def test_an_item_that_no_reader_foresaw_is_a_hole(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reads(found: Any, now: datetime) -> Any:
        if found["id"] == picture_id(3):
            raise KeyError("odd")
        return read_item(found, now)

    monkeypatch.setattr("geocorrect.harvest.panoramax.harvest.read_item", reads)
    sink = MemorySink()
    report = harvest(service(), tmp_path / "images", sink)
    assert [(hole.kind, hole.name) for hole in report.holes] == [("image", picture_id(3))]
    assert len(sink.by_id) == 99


@pytest.mark.parametrize("degrees", [150.0, 190.0, 359.0])
def test_a_fisheye_is_not_guessed(degrees: float) -> None:
    image = with_camera(read(**{"pers:interior_orientation": {"field_of_view": degrees}}), 640, 480)
    assert (image.camera, image.problem) == (None, Reason.CAMERA_UNSUPPORTED)


def _number(request: FakeRequest) -> int:
    return int(request.path.split("/")[0][-12:], 16)


def test_redirects_end_and_stay_on_the_web(service: Service, tmp_path: Path) -> None:
    server = service()
    with PanoramaxClient(HarvestOptions(panoramax_url=server.url, **PATIENT)) as client:
        for target in ("file:///etc/passwd", "/pictures/a/sd.jpg"):
            server.panoramax_fault = lambda r, t=target: FakeReply(302, b"", {"Location": t})  # type: ignore[misc]
            with pytest.raises(RequestError, match="redirect"):
                client.picture(f"{server.root_url}/pictures/a/sd.jpg")
    with pytest.raises(ConfigError, match=r"panoramax_url.*not an http"):
        PanoramaxClient(HarvestOptions(panoramax_url="panoramax"))
    server.panoramax_fault = lambda _: FakeReply(404)
    with pytest.raises(RemoteError, match="does not answer like a Panoramax API"):
        harvest(server, tmp_path / "images", MemorySink())


def read(**changes: Any) -> Any:
    image = read_item(item(1, **changes), NOW)
    assert image is not None
    return image


def test_panoramas_parts_of_them_and_unknown_lenses() -> None:
    sphere = {"field_of_view": 360}
    whole = with_camera(read(**{"pers:interior_orientation": sphere}), 5760, 2880)
    assert whole.camera.projection is Projection.SPHERICAL
    for image, size in (
        (read(**{"pers:interior_orientation": sphere}), (5760, 1440)),
        (read(**{"pers:interior_orientation": sphere | {"visible_area": [0, 0, 0, 400]}}), (5760, 2880)),
    ):
        assert (with_camera(image, *size).camera, with_camera(image, *size).problem) == (
            None,
            Reason.CAMERA_UNSUPPORTED,
        )
    portrait = with_camera(read(), 48, 64)
    assert portrait.camera.focal_x_px == pytest.approx(32.0)
    assumed = with_camera(read(**{"pers:interior_orientation": ...}), 100, 50)
    assert (assumed.camera.focal_x_px, assumed.camera.focal_sigma) == (85.0, 0.25)
    assert assumed.provider["camera_origin"] == "assumed"


@pytest.mark.parametrize(
    ("changes", "attribute", "expected"),
    [
        ({"datetime": "yesterday"}, "captured_at", None),
        ({"datetime": "2024-05-01T10:00:00"}, "captured_at", None),
        ({"datetime": "1970-01-01T00:00:00Z"}, "captured_at", None),
        ({"view:azimuth": "north"}, "heading_deg", "nan"),
        ({"view:azimuth": -1}, "heading_deg", "nan"),
        ({"pers:interior_orientation": [1]}, "device_make", None),
    ],
)
def test_what_makes_no_sense_is_unknown(changes: dict[str, Any], attribute: str, expected: Any) -> None:
    value = getattr(read(**changes), attribute)
    assert (str(value) if expected == "nan" else value) == expected


def test_items_without_position_id_providers_or_pictures() -> None:
    assert read_item({**item(1), "id": "../../etc/passwd"}, NOW) is None
    assert read_item({}, NOW) is None
    bare = read_item(
        {"id": picture_id(1).upper(), "properties": None, "links": 5, "providers": "me", "assets": []}, NOW
    )
    assert bare is not None
    assert (bare.id, bare.problem, bare.reported) == (picture_id(1), Reason.POSITION_MISSING, None)
    assert (bare.attribution.creator, bare.attribution.licence) == ("unknown", "unknown")
    assert picture_url({"assets": {"hd": {"href": "javascript:alert(1)"}}}, "2048") is None
    linked = {**item(1, license=...), "links": [{"rel": "license", "href": "https://x.org/l", "title": "Open Licence"}]}
    image = read_item(linked, NOW)
    assert image is not None
    assert image.attribution.licence == "Open Licence"
