"""Poses that wait for a person are not published; what people decide is a new version that runs respect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from support import catalog_world as world
from support.catalog_fixtures import NOW

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.check import faults_of
from geocorrect.catalog.curation.review import Reviews, Verdict
from geocorrect.catalog.sequences import SequenceStore
from geocorrect.errors import InputError, Reason, Status
from geocorrect.export.export import export_catalog
from geocorrect.records import SEQUENCE_MATCHER, Correction, Rejection

WAITING = ["1006", "1013"]
ACCEPTED = [str(1000 + i) for i in range(20) if i % 5 != 4 and i % 7 != 6]


def ids(catalog: Catalog, view: str) -> list[str]:
    with catalog.engine.connect() as connection:
        return list(connection.execute(text(f"select image_id from {view} order by image_id")).scalars())


def only(catalog: Catalog, image_id: str) -> Correction | Rejection:
    (stored,) = catalog.results(ResultFilter(image_ids=[image_id]))
    return stored.result


def test_what_waits_is_published_nowhere(catalog: Catalog) -> None:
    world.fill(catalog)
    for view in ("current_correction", "displacement", "error_ellipse", "coverage"):
        assert ids(catalog, view) == ACCEPTED, view
    assert ids(catalog, "review_queue") == WAITING
    assert ids(catalog, "placed_photo") == sorted(ACCEPTED + WAITING)


@pytest.mark.parametrize("kind", ["geojson", "gpkg", "geoparquet", "flatgeobuf", "csv", "opensfm", "colmap", "sidecar"])
def test_an_export_holds_what_is_accepted(empty_geopackage: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "c.gpkg"
    path.write_bytes(empty_geopackage.read_bytes())
    with Catalog.open(str(path)) as catalog:
        world.fill(catalog)
        assert export_catalog(catalog, tmp_path / "out", kind) == len(ACCEPTED)
        wanted = ResultFilter(status=(Status.ACCEPTED, Status.REVIEW))
        assert export_catalog(catalog, tmp_path / "more", kind, wanted) == len(ACCEPTED) + 2


def test_the_queue_says_what_a_reviewer_needs(catalog: Catalog) -> None:
    world.fill(catalog)
    waiting = Reviews(catalog).waiting()
    assert [photo.image_id for photo in waiting] == ["1013", "1006"], "least sure first"
    first = waiting[0]
    assert (first.path, first.page_url, first.run_key) == ("img/13.jpg", "https://example.org/1013", "run-a")
    assert first.expected_error_m == pytest.approx(0.33)
    lon, lat, _ = world.ROME.wgs84_from_enu([65.0, -2.0, 1.8])
    assert (first.lon_deg, first.lat_deg) == pytest.approx((float(lon), float(lat)))
    assert first.captured_at == world.image(13).captured_at
    assert np.isnan(first.computed_lon_deg)


def test_accepting_makes_a_version_that_can_be_rolled_back(catalog: Catalog) -> None:
    world.fill(catalog)
    before = only(catalog, "1006")
    (key,) = Reviews(catalog).decide(["1006"], Verdict.ACCEPT, "ana", "seen on the map")
    assert isinstance(before, Correction)
    assert repr(only(catalog, "1006")) == repr(replace(before, status=Status.ACCEPTED))
    assert ids(catalog, "review_queue") == ["1013"]
    assert "1006" in ids(catalog, "current_correction")
    (made,) = Reviews(catalog).decisions()
    assert (made.image_id, made.verdict, made.note, made.reviewer, made.reviewed_at) == (
        "1006", Verdict.ACCEPT, "seen on the map", "ana", NOW,
    )  # fmt: skip
    assert (made.run_key, made.reviewed_run_key, made.is_active) == (key, "run-a", True)
    assert len(list(catalog.results(ResultFilter(image_ids=["1006"], active=False)))) == 2
    catalog.rollback(key)
    assert ids(catalog, "review_queue") == WAITING
    assert [decision.is_active for decision in Reviews(catalog).decisions()] == [False]
    # Decided again: another generation, because what was rolled back stays rolled back.
    (again,) = Reviews(catalog).decide(["1006"], Verdict.REJECT, "ana")
    assert again != key
    assert ids(catalog, "review_queue") == ["1013"]
    assert faults_of(catalog.engine) == []


def test_rejecting_keeps_evidence_and_note(catalog: Catalog) -> None:
    world.fill(catalog)
    Reviews(catalog).decide(["1006", "1000"], Verdict.REJECT, "ben", "another street")
    for image_id, evidence in (("1006", world.evidence(6)), ("1000", world.evidence(0))):
        found = only(catalog, image_id)
        assert isinstance(found, Rejection)
        assert (found.reason, found.detail) == (Reason.REJECTED_BY_REVIEWER, "ben: another street")
        assert found.evidence.anchors == evidence.anchors
    assert "1000" not in ids(catalog, "current_correction")
    assert {"1000", "1006"} <= set(ids(catalog, "rejected"))
    catalog.retract(["1006"], "a mistake")
    assert "1006" in ids(catalog, "review_queue"), "one decision alone is taken back, the other stands"
    assert "1000" in ids(catalog, "rejected")


def test_a_decision_falls_with_what_it_was_about(catalog: Catalog) -> None:
    """Through a run of the sequence step as well, which depends on the run that is rolled back."""
    world.fill(catalog)
    catalog.begin_run(replace(world.manifest("run-s"), matcher=SEQUENCE_MATCHER))
    SequenceStore(catalog).depend_on("run-s", ["run-a"])
    catalog.record("run-s", [world.correction(4, Status.REVIEW)])
    (key,) = Reviews(catalog).decide(["1004"], Verdict.ACCEPT, "ana")
    catalog.rollback("run-a")
    assert ids(catalog, "current_result") == []
    states = {run.run_key: (run.is_active, run.state) for run in catalog.runs()}
    assert states["run-a"] == (False, "rolled back")
    assert states["run-s"] == states[key] == (False, "not active: depends on run-a, which is rolled back")
    catalog.restore("run-a")
    assert all(run.is_active for run in catalog.runs())
    assert "1004" in ids(catalog, "current_correction")


def test_a_new_result_of_the_photo_ends_a_decision(catalog: Catalog) -> None:
    world.fill(catalog)
    Reviews(catalog).decide(["1006"], Verdict.REJECT, "ana")
    catalog.begin_run(world.manifest("run-b"))
    catalog.record("run-b", [world.correction(6, Status.REVIEW)])
    assert ids(catalog, "review_queue") == WAITING


def test_the_photo_is_not_due_because_somebody_decided(catalog: Catalog) -> None:
    world.fill(catalog)
    catalog.begin_run(replace(world.manifest("run-b"), config_key="config"))
    catalog.record("run-b", [world.correction(6, Status.REVIEW)], input_hashes={"1006": "inputs"})
    Reviews(catalog).decide(["1006"], Verdict.REJECT, "ana")
    positions = catalog.image_positions("config")
    assert positions.input_hash[ids(catalog, "image").index("1006")] == "inputs"
    (stored,) = catalog.results(ResultFilter(image_ids=["1006"]))
    assert stored.input_hash == "inputs"


@pytest.mark.parametrize(
    ("photos", "verdict", "by", "message"),
    [
        (["1006", "nobody"], Verdict.ACCEPT, "ana", "photo 'nobody': no active result"),
        (["1006", "1004"], Verdict.ACCEPT, "ana", r"photo 1004: is rejected \(too_few_matches\) and has no pose"),
        (["1006", "1000"], Verdict.ACCEPT, "ana", "photo 1000: is accepted already"),
        (["1006"], Verdict.ACCEPT, " ", "needs the name of who decides: --by"),
    ],
)
def test_what_cannot_be_decided_changes_nothing(
    catalog: Catalog, photos: list[str], verdict: Verdict, by: str, message: str
) -> None:
    world.fill(catalog)
    with pytest.raises(InputError, match=message):
        Reviews(catalog).decide(photos, verdict, by)
    assert ids(catalog, "review_queue") == WAITING
    assert [run.run_key for run in catalog.runs()] == ["run-a"]
