"""The queue, decisions and their versions, as the page asks for them over HTTP, on both back-ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from threading import Event
from time import sleep

import numpy as np
import pytest
from sqlalchemy import text
from support import catalog_world as world
from support.served import TOKEN, Served, served

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.check import faults_of
from geocorrect.catalog.curation.review import Reviews
from geocorrect.catalog.lock import lock_scene
from geocorrect.catalog.run import StoredResult
from geocorrect.errors import Status
from geocorrect.localize.gate import GateStatistics
from geocorrect.localize.options import GateOptions
from geocorrect.records import Attribution
from geocorrect.serve.review.describe import gate_words
from geocorrect.serve.review.matches import EvidenceFinder, as_delivered
from geocorrect.serve.state import ServeSettings


@pytest.fixture
def server(catalog: Catalog) -> Iterator[Served]:
    world.fill(catalog)
    with served(ServeSettings(catalog, TOKEN, reviewer="ana")) as running:
        yield running


def queue(server: Served, query: str = "") -> list[str]:
    return [photo["image_id"] for photo in server.get(f"/api/review/queue?{query}").value["photos"]]


def photo(server: Served, image_id: str) -> dict[str, object]:
    found: dict[str, object] = server.get(f"/api/review/photo?id={image_id}").value
    return found


def test_the_queue_is_filtered_and_the_least_sure_come_first(server: Served) -> None:
    whole = server.get("/api/review/queue").value
    assert (whole["total"], len(whole["photos"])) == (20, 20)
    assert [p["image_id"] for p in whole["photos"][:3]] == ["1013", "1006", "1018"], "waiting, then accepted"
    assert queue(server, "status=review") == ["1013", "1006"]
    assert queue(server, "status=rejected&reason=too_few_matches") == ["1004", "1009", "1014", "1019"]
    assert queue(server, "status=review&sequence_id=seq-0") == ["1006"]
    assert queue(server, "device=Acme%20Cam%201&status=review") == ["1013"]
    assert queue(server, "min_error_m=0.3&max_error_m=0.33") == ["1013", "1012", "1011", "1010"]
    assert queue(server, "first=18&status=") == ["1014", "1019"]
    for wrong in ("min_error_m=much", "first=-1", "first=1e300", "first=1.5"):
        refused = server.get(f"/api/review/queue?{wrong}")
        assert (refused.status, wrong.split("=")[0] in refused.value["error"]) == (422, True)
    choices = server.get("/api/review/choices").value
    assert choices["status"] == [["accepted", 14], ["rejected", 4], ["review", 2]]
    assert choices["reason"] == [["too_few_matches", 4]]
    assert choices["device"] == [["Acme Cam 0", 10], ["Acme Cam 1", 10]]


def test_a_photo_comes_with_places_words_and_evidence(server: Served) -> None:
    found = photo(server, "1006")
    lon, lat, _ = world.ROME.wgs84_from_enu([30.0, -2.0, 1.8])
    numbers = found["numbers"]
    assert isinstance(numbers, dict)
    assert (numbers["lon_deg"], numbers["lat_deg"]) == pytest.approx((float(lon), float(lat)), abs=1e-9)
    assert numbers["computed_lon_deg"] is None
    outline = np.array(found["ellipse"])
    away = world.ROME.enu_from_wgs84(outline[:, 0], outline[:, 1], 49.8)[:, :2] - [30.0, -2.0]
    # 95 % of two dimensions: 2.448 sigma; standard deviations of 0.2 m and 0.1 m.
    assert np.abs(away).max(axis=0) == pytest.approx([0.49, 0.245], abs=0.01)
    assert found["words"] == "predicted error 0.26 m"
    assert [a["n_inliers"] for a in found["anchors"]] == [100, 100]  # type: ignore[attr-defined]
    assert photo(server, "1004")["words"] == "Too few verified matches with every anchor. 4 matches, 20 needed"
    assert server.get("/api/review/photo?id=nobody").status == 422


LONE = {
    "n_inliers": 480.0, "inlier_share": 0.9, "coverage": 0.7, "displacement_m": 5.0, "height_difference_m": 0.1,
    "anchor_spread_m": np.nan, "alternative_share": 0.05, "supporting_anchors": 1.0, "support_share": 1.0,
    "expected_error_m": 0.05, "expected_heading_error_deg": 0.1, "reported_sigmas": 1.0, "independent_anchors": 1.0,
    "inlier_patches": 134.0,
}  # fmt: skip
"""A good photo that one anchor supports."""
AGREES = {"sequence_weight": 1.0, "sequence_apart_m": 0.12, "sequence_apart_deg": 0.31}


@pytest.mark.parametrize(
    ("status", "changes", "by_person", "words"),
    [
        (Status.REVIEW, {}, False, "one anchor alone: no other would notice"),
        (
            Status.ACCEPTED,
            AGREES,
            False,
            "confirmed by other photos of its sequence, 0.12 m and 0.3° from where they put",
        ),
        (
            Status.ACCEPTED,
            {**AGREES, "sequence_apart_m": np.nan, "reported_position_apart_m": 0.4, "reported_position_error_m": 0.9},
            False,
            "confirmed by other photos of its sequence, 0.40 m from its reported position less their offset",
        ),
        (Status.ACCEPTED, AGREES, True, "accepted, though the gate says: one anchor alone"),
        (Status.ACCEPTED, {}, True, "accepted, though the gate says: one anchor alone"),
        (
            Status.REVIEW,
            {"independent_anchors": 2.0, "supporting_anchors": 2.0, **AGREES, "sequence_weight": 0.0},
            False,
            "contradicted by other photos of its sequence, 0.12 m and 0.3° from where they put it",
        ),
    ],
    ids=[
        "alone",
        "confirmed",
        "confirmed by its position",
        "accepted by a person after its sequence",
        "accepted by a person",
        "doubted",
    ],
)
def test_the_words_say_who_decided(status: Status, changes: dict[str, float], by_person: bool, words: str) -> None:
    unknown = {field.name: np.nan for field in fields(GateStatistics)}
    plain = world.correction(3, status)
    result = replace(plain, evidence=replace(plain.evidence, gate=unknown | LONE | changes))
    stored = StoredResult(
        1, "run", world.START, "1003", status, None, "", None, None, Attribution(), make_result=lambda: result
    )
    assert gate_words(stored, GateOptions(), by_person).startswith(words)


def test_a_decision_is_a_version_and_is_taken_back_by_one_request(server: Served, catalog: Catalog) -> None:
    before = photo(server, "1006")
    asked = {"image_id": "1006", "version": before["version"], "verdict": "reject", "note": "wrong street"}
    answer = server.post("/api/review/decide", asked)
    assert answer.status == 200
    made = answer.value
    assert (made["status"], made["reason"]) == ("rejected", "rejected_by_reviewer")
    (decision,) = made["decisions"]
    assert (decision["verdict"], decision["reviewer"], decision["note"]) == ("reject", "ana", "wrong street")
    assert len(list(catalog.results(ResultFilter(image_ids=["1006"], active=False)))) == 2
    nobody = server.post("/api/review/undo", {"image_id": "1006", "version": made["version"], "reviewer": " "})
    assert (nobody.status, "name of who decides" in nobody.value["error"]) == (422, True)
    undone = server.post("/api/review/undo", {"image_id": "1006", "version": made["version"], "reviewer": "ben"}).value
    assert (undone["status"], undone["version"]) == ("review", before["version"])
    assert [d["is_active"] for d in undone["decisions"]] == [False]
    with catalog.engine.connect() as connection:
        assert connection.execute(text("select because from retraction")).scalars().all() == ["taken back by ben"]
    nothing = server.post("/api/review/undo", {"image_id": "1006", "version": before["version"]})
    assert (nothing.status, "no decision" in nothing.value["error"]) == (422, True)
    assert faults_of(catalog.engine) == []


def test_an_outdated_decision_changes_nothing_and_says_who_was_first(server: Served, catalog: Catalog) -> None:
    version = photo(server, "1006")["version"]
    first = {"image_id": "1006", "version": version, "verdict": "accept", "reviewer": "ben", "note": "fits"}
    assert server.post("/api/review/decide", first).status == 200
    late = server.post("/api/review/decide", first | {"verdict": "reject", "reviewer": "cleo"})
    assert late.status == 409
    assert "ben decided to accept it (fits); look again" in late.value["error"]
    assert server.post("/api/review/undo", {"image_id": "1006", "version": version}).status == 409
    assert photo(server, "1006")["status"] == "accepted"
    catalog.begin_run(replace(world.manifest("run-b"), config_key="b"))
    catalog.record("run-b", [world.correction(13, Status.REVIEW)])
    stale = {"image_id": "1013", "version": version, "verdict": "accept"}
    assert "it was computed anew" in server.post("/api/review/decide", stale).value["error"]


@pytest.mark.long
def test_fifty_editors_at_once_lose_nothing(server: Served, catalog: Catalog) -> None:
    """Ten photos, five editors each who looked at the same version: one decision of each photo counts."""
    ids = [f"{1000 + k}" for k in (0, 1, 2, 3, 5, 7, 8, 10, 11, 12)]
    seen = {image_id: photo(server, image_id)["version"] for image_id in ids}
    asked = [
        {"image_id": i, "version": seen[i], "verdict": "reject", "reviewer": f"editor {n}"}
        for n in range(5)
        for i in ids
    ]
    with ThreadPoolExecutor(50) as editors:
        statuses = list(editors.map(lambda one: server.post("/api/review/decide", one).status, asked))
    assert (statuses.count(200), statuses.count(409)) == (10, 40)
    decisions = Reviews(catalog).decisions()
    assert sorted(d.image_id for d in decisions) == sorted(ids)
    assert all(d.is_active for d in decisions)
    assert {photo(server, image_id)["reason"] for image_id in ids} == {"rejected_by_reviewer"}
    assert faults_of(catalog.engine) == []


def test_while_a_run_has_the_scene_a_decision_waits_for_another_time(server: Served, catalog: Catalog) -> None:
    asked = {"image_id": "1006", "version": photo(server, "1006")["version"], "verdict": "accept"}
    with lock_scene(catalog.engine):
        busy = server.post("/api/review/decide", asked)
    assert busy.status == 409
    assert server.post("/api/review/decide", asked).status == 200


def test_matches_are_not_computed_for_whoever_has_gone_on(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos that are skipped quickly must not stand in line before the one that is looked at."""
    computed, begun, may_end = [], Event(), Event()

    def slowly(_self: object, image_id: str) -> dict[str, str]:
        computed.append(image_id)
        begun.set()
        may_end.wait(60)
        return {"found": image_id}

    monkeypatch.setattr(EvidenceFinder, "matches", slowly)
    with ThreadPoolExecutor(2) as pages:
        first = pages.submit(server.get, "/api/review/matches?id=1000")
        assert begun.wait(60)
        for image_id in ("1001", "1002", "1003"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as skipped:
                head = [f"GET /api/review/matches?id={image_id} HTTP/1.1", f"Host: 127.0.0.1:{server.port}"]
                head += [f"{name}: {value}" for name, value in server.own_headers().items()]
                skipped.sendall("\r\n".join([*head, "", ""]).encode())
        last = pages.submit(server.get, "/api/review/matches?id=1004")
        sleep(0.3)  # for the last to stand in line
        may_end.set()
        assert (first.result(60).value, last.result(60).value) == ({"found": "1000"}, {"found": "1004"})
    assert computed == ["1000", "1004"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"verdict": "perhaps"}, "verdict"), ({"version": "7"}, "version"), ({"note": "x" * 3000}, "note"),
        ({"more": 1}, "more"), ({"image_id": ""}, "image_id"), ({"reviewer": "a\0b"}, "reviewer"),
    ],
)  # fmt: skip
def test_a_wrong_request_names_the_field(server: Served, change: dict[str, object], named: str) -> None:
    asked = {"image_id": "1006", "version": photo(server, "1006")["version"], "verdict": "accept"} | change
    answer = server.post("/api/review/decide", asked)
    assert answer.status == 422
    assert named in answer.value["error"]
    assert photo(server, "1006")["status"] == "review"


def test_read_only_refuses_decisions(empty_geopackage: Path, tmp_path: Path) -> None:
    (tmp_path / "c.gpkg").write_bytes(empty_geopackage.read_bytes())
    with Catalog.open(str(tmp_path / "c.gpkg")) as catalog:
        world.fill(catalog)
        with served(ServeSettings(catalog, TOKEN, read_only=True)) as server:
            asked = {"image_id": "1006", "version": photo(server, "1006")["version"], "verdict": "accept"}
            answer = server.post("/api/review/decide", asked)
            assert (answer.status, "read-only" in answer.value["error"]) == (403, True)
        assert Reviews(catalog).decisions() == []


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_pixels_are_those_of_the_picture_file(orientation: int, turns: int) -> None:
    """np.rot90 of an upright picture is the raw one (io.pixels); every pixel is found again."""
    raw = np.arange(12).reshape(3, 4)
    upright = np.rot90(raw, -{1: 0, 3: 2, 6: 1, 8: 3}[orientation])
    assert np.array_equal(np.rot90(upright, {1: 0, 3: 2, 6: 1, 8: 3}[orientation]), raw)
    camera = replace(world.CAMERA, width=4, height=3)
    image = replace(world.image(0), camera=camera, exif_orientation=orientation)
    v, u = np.mgrid[0:3, 0:4].reshape(2, -1)
    shown = as_delivered(np.stack([u, v], axis=1).astype(float), image).astype(int)
    assert np.array_equal(upright[shown[:, 1], shown[:, 0]], raw[v, u])
