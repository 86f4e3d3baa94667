"""Everything that the API is known to do instead of answering, replayed over real HTTP (rows 1–5b, 18, 19)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from support.harvest_support import SiteFactory, first, graph_error, street_image, town

from geocorrect.demo.mapillary_server.server import FakeReply, FakeRequest, json_reply
from geocorrect.errors import ExitCode, RemoteError
from geocorrect.harvest.mapillary.client import CHECK_IMAGE_ID, MapillaryClient

LIMIT_BODY = (
    b'{"error":{"message":"Application request limit reached","type":"MLYApiException","is_transient":true,"code":4}}'
)
HTML = b"<html><body>Too many requests</body></html>"


def is_batch(request: FakeRequest) -> bool:
    return request.role == "graph" and "image_ids" in request.query


def is_box(request: FakeRequest) -> bool:
    return request.role == "graph" and "bbox" in request.query


def is_graph_data(request: FakeRequest) -> bool:
    return request.role == "graph" and request.path != CHECK_IMAGE_ID


# --- row 1: rate limits ---

NOW_AS_HTTP_DATE = format_datetime(datetime.now(UTC), usegmt=True)


@pytest.mark.parametrize(
    ("status", "body", "retry_after"),
    [
        (429, LIMIT_BODY, None),
        (403, LIMIT_BODY, "0"),
        (429, HTML, "garbage"),
        (429, b"<?xml version='1.0'?><Error/>", "-5"),
        (429, b"", NOW_AS_HTTP_DATE),
    ],
    ids=["no-header", "403", "garbage-in-html", "negative-in-xml", "http-date-without-body"],
)
def test_rate_limit_loses_nothing(site: SiteFactory, status: int, body: bytes, retry_after: str | None) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    here = site(rule=first(9, FakeReply(status, body, headers), is_graph_data))
    report = here.harvest()
    assert set(here.sink.by_id) == here.ids
    assert report.exit_code is ExitCode.OK
    assert report.n_gone == 0


@pytest.mark.long
def test_rate_limit_pauses_every_worker(site: SiteFactory) -> None:
    limited = FakeReply(429, LIMIT_BODY, {"Retry-After": "1"})
    here = site(town(8), rule=first(1, limited, lambda r: r.role == "cdn"))
    here.harvest(backoff_cap_s=60.0)
    arrivals = sorted(when for when, _ in here.script.seen)
    longest = max(later - earlier for earlier, later in itertools.pairwise(arrivals))
    # Requests that were on their way when the limit struck may still arrive; then nobody sends for a second.
    assert longest > 0.8
    assert set(here.sink.by_id) == here.ids


def test_endless_rate_limit_ends_resumable(site: SiteFactory) -> None:
    here = site(rule=lambda r: FakeReply(403, LIMIT_BODY) if is_batch(r) else None)
    with pytest.raises(RemoteError, match="to continue"):
        here.harvest(max_silence_s=0.4)
    here.script.rule = None
    here.harvest()
    assert set(here.sink.by_id) == here.ids


@pytest.mark.long
def test_requests_keep_to_the_rate(site: SiteFactory) -> None:
    here = site(town(6))
    here.harvest(requests_per_s=40.0)
    times = sorted(when for when, request in here.script.seen if request.role != "cdn")
    # Arrival times are smeared by the line; the rate over the whole run is not.
    assert times[-1] - times[0] > (len(times) - 1) / 40.0 - 0.1


# --- row 2: "reduce the amount of data" ---


def test_too_much_data_in_a_batch_is_halved(site: SiteFactory) -> None:
    too_much = graph_error(500, 1, "Please reduce the amount of data you're asking for, then retry your request")
    here = site(rule=lambda r: too_much if is_batch(r) and r.query["image_ids"].count(",") >= 10 else None)
    report = here.harvest()
    assert set(here.sink.by_id) == here.ids
    assert report.exit_code is ExitCode.OK
    asked = [r.query["image_ids"] for r in here.script.to("graph") if is_batch(r)]
    assert asked.count(max(asked, key=len)) == 2, "the same request once more before asking for less"


@pytest.mark.long
def test_too_much_data_in_a_box_is_quartered(site: SiteFactory) -> None:
    too_much = graph_error(500, 1, "Please reduce the amount of data you're asking for, then retry your request")

    def rule(request: FakeRequest) -> FakeReply | None:
        if request.role == "tiles":
            return FakeReply(500, b"broken")
        if is_box(request):
            west, _, east, _ = map(float, request.query["bbox"].split(","))
            return too_much if east - west > 0.003 else None
        return None

    here = site(rule=rule)
    report = here.harvest(max_tries=2)
    assert set(here.sink.by_id) == here.ids
    assert not report.holes


@pytest.mark.long
def test_a_cell_that_never_answers_becomes_a_hole_and_is_tried_again(site: SiteFactory) -> None:
    too_much = graph_error(500, 1, "Please reduce the amount of data you're asking for, then retry your request")
    here = site()
    here.script.rule = lambda r: FakeReply(500) if r.role == "tiles" else too_much if is_box(r) else None
    report = here.harvest(max_tries=1, max_cell_depth=1)
    assert {hole.kind for hole in report.holes} == {"cell"}
    assert report.exit_code is ExitCode.INCOMPLETE_HARVEST
    here.script.rule = None
    assert here.harvest().exit_code is ExitCode.OK
    assert set(here.sink.by_id) == here.ids


# --- row 3: refused tokens and blocks ---


def after_first_batch(reply: FakeReply) -> Callable[[FakeRequest], FakeReply | None]:
    numbers: list[int] = []

    def rule(request: FakeRequest) -> FakeReply | None:
        if not is_batch(request):
            return None
        numbers.append(request.number)
        return None if len(numbers) == 1 else reply

    return rule


@pytest.mark.long
@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (graph_error(500, 190, "Invalid OAuth 2.0 Access Token"), "token"),
        (graph_error(400, 190, "Cannot parse access token"), "token"),
        (graph_error(401, 190, "Session has expired"), "token"),
        (graph_error(400, 368, "Please log in", 1348007), "blocked"),
    ],
)
def test_refused_token_stops_at_once_and_can_be_resumed(site: SiteFactory, reply: FakeReply, word: str) -> None:
    here = site(town(6), rule=after_first_batch(reply))
    with pytest.raises(RemoteError, match=word):
        here.harvest(graph_workers=2)
    assert 2 <= sum(map(is_batch, here.script.to("graph"))) <= 3, "no retries, no halving"
    here.script.rule = None
    here.harvest()
    assert set(here.sink.by_id) == here.ids


def test_bad_token_is_found_by_the_first_request(site: SiteFactory) -> None:
    here = site()
    with MapillaryClient(here.options(), "MLY|1|wrong") as client, pytest.raises(RemoteError, match="MAPILLARY_TOKEN"):
        client.check_token()
    assert len(here.script.seen) == 1


# --- row 4: query timeout ---


def test_query_timeout_is_retried_then_halved(site: SiteFactory) -> None:
    slow = graph_error(400, -2, "Query timeout", 3404014)
    here = site(rule=lambda r: slow if is_batch(r) and r.query["image_ids"].count(",") >= 30 else None)
    report = here.harvest()
    assert set(here.sink.by_id) == here.ids
    assert not report.holes
    batches = [r.query["image_ids"] for r in here.script.to("graph") if is_batch(r)]
    assert max(batches.count(batch) for batch in batches) == 4, "three retries of the same request"


# --- rows 5 and 5b: bad ids, unknown fields ---


@pytest.mark.long
def test_bad_id_in_a_batch_is_noted_alone(site: SiteFactory) -> None:
    here = site()
    listed = here.service.data.sequences["sequence-001"]
    listed.insert(7, "999")
    report = here.harvest()
    assert set(here.sink.by_id) == here.ids
    assert report.n_gone == 1
    assert report.exit_code is ExitCode.OK
    here.script.seen.clear()
    here.sink.by_id.clear()
    assert here.harvest().n_gone == 0
    assert not here.script.to("graph", "999"), "a tombstone is not asked for again"
    assert here.harvest(retry_gone_after_days=0.0).n_gone == 1


def test_unknown_field_is_dropped_for_the_run(site: SiteFactory, caplog: pytest.LogCaptureFixture) -> None:
    unknown = graph_error(400, 100, "Tried accessing nonexisting field (merge_cc) on node type (Image)")
    here = site(rule=lambda r: unknown if "merge_cc" in r.query.get("fields", "") else None)
    here.harvest(graph_workers=1)
    assert set(here.sink.by_id) == here.ids
    assert sum("merge_cc" in record.message for record in caplog.records) == 1
    asked = [r for r in here.script.to("graph") if "merge_cc" in r.query.get("fields", "")]
    assert len(asked) == 1 + 3, "three images are asked whether they, too, lack it"


def test_batches_that_no_longer_exist_are_replaced_by_single_calls(site: SiteFactory) -> None:
    refused = graph_error(400, 100, "Invalid parameter")
    here = site(rule=lambda r: refused if is_batch(r) else None)
    report = here.harvest()
    assert set(here.sink.by_id) == here.ids
    assert report.requests["entity"] == len(here.ids)


def test_images_left_out_of_a_batch_are_asked_for_by_name(site: SiteFactory) -> None:
    here = site(rule=lambda r: json_reply({"data": []}) if is_batch(r) else None)
    here.harvest()
    assert set(here.sink.by_id) == here.ids


# --- row 18: the line itself ---


def test_nobody_there(site: SiteFactory) -> None:
    here = site()
    options = {"graph_url": "http://127.0.0.1:9", "max_tries": 2}
    with MapillaryClient(type(here.options())(**{**vars(here.options()), **options}), "t" * 20) as client:
        with pytest.raises(RemoteError, match=r"127\.0\.0\.1:9 does not answer"):
            client.check_token()
        assert client.n_requests["check"] == 2


def test_unknown_host_and_tls_error_are_remote_errors(site: SiteFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    here = site()
    tls = here.service.graph_url.replace("http://", "https://")
    for url in ("http://no-such-host.invalid", tls):
        changed = type(here.options())(**{**vars(here.options()), "graph_url": url, "max_tries": 2})
        with MapillaryClient(changed, "t" * 20) as client, pytest.raises(RemoteError, match="does not answer"):
            client.check_token()


@pytest.mark.parametrize(
    "reply",
    [
        FakeReply(302, b"", {"Location": "http://127.0.0.1:9/login"}),
        FakeReply(200, b"<html>Please accept the terms of this hotel</html>"),
        FakeReply(407, b"Proxy authentication required"),
        FakeReply(502, b"Bad gateway"),
    ],
)
def test_captive_portals_and_proxies_are_not_mapillary(site: SiteFactory, reply: FakeReply) -> None:
    here = site(rule=lambda r: reply)
    with pytest.raises(RemoteError, match="does not answer like Mapillary"):
        here.harvest()


@pytest.mark.long
def test_dead_service_opens_the_circuit_and_keeps_the_work(site: SiteFactory) -> None:
    here = site(town(30, 20), rule=lambda r: FakeReply(503) if r.number > 120 else None)
    with pytest.raises(RemoteError, match="does not answer"):
        here.harvest()
    assert len(here.script.seen) < 120 + 12 * 5 + 40
    stored = len(here.sink.by_id)
    here.script.rule = None
    report = here.harvest()
    assert set(here.sink.by_id) == here.ids
    assert report.n_new == len(here.ids) - stored


def test_hiccups_are_survived(site: SiteFactory) -> None:
    here = site(rule=lambda r: FakeReply(500, b"oops") if r.number % 3 == 0 else None)
    report = here.harvest(max_tries=8)
    assert set(here.sink.by_id) == here.ids
    assert not report.holes


# --- row 19: bodies that are not what they seem ---


@pytest.mark.long
@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[{"id":"1"',
        b'{"data":[{"id":"1","altitude":NaN}]}',
        b'{"data":[{"id":"1","altitude":Infinity}]}',
        b'{"data":[],"data":[]}',
        b'{"data":null}',
        b"[]",
        b"",
        b"[" * 100_000,
        b'{"error":{"message":"An unexpected error has occurred","code":2,"is_transient":true}}',
    ],
)
def test_unsound_answer_is_asked_for_again(site: SiteFactory, body: bytes) -> None:
    here = site(rule=first(1, FakeReply(200, body), is_batch))
    report = here.harvest()
    assert set(here.sink.by_id) == here.ids
    assert not report.holes


@pytest.mark.long
def test_answer_that_stays_unsound_is_a_hole(site: SiteFactory) -> None:
    here = site(rule=lambda r: FakeReply(200, b'{"data":[{"id"') if "altitude" in r.query.get("fields", "") else None)
    report = here.harvest()
    assert report.exit_code is ExitCode.INCOMPLETE_HARVEST
    assert {hole.kind for hole in report.holes} == {"image"}
    assert {hole.name for hole in report.holes} == here.ids


def test_size_cap_stops_an_endless_answer(site: SiteFactory) -> None:
    bomb = FakeReply(200, b'{"data":[' + b" " * 3_000_000)
    here = site(
        [street_image(0)], rule=lambda r: bomb if r.role == "graph" and "sequence-000" in str(r.query) else None
    )
    report = here.harvest(max_answer_mb=1.0)
    assert "larger than" in report.holes[0].why


def test_waiting_is_interrupted_by_a_stop(site: SiteFactory) -> None:
    here = site()
    with here.client() as client:
        client.limiter.pause_all(60)
        client.limiter.stop("enough")
        started = time.monotonic()
        with pytest.raises(RemoteError, match="enough"):
            client.image_ids("x")
        assert time.monotonic() - started < 5
