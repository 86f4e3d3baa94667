"""The store keeps what it is given, once, on both back-ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import catalog_world as world
import numpy as np
import pytest
from sqlalchemy import text

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.errors import DatabaseError, Reason, Status
from geocorrect.geometry.frame import Frame
from geocorrect.records import Correction, Position, Rejection


def all_rows(catalog: Catalog, table: str) -> list[dict[str, object]]:
    with catalog.engine.connect() as connection:
        from geocorrect.catalog import schema

        return [
            dict(row)
            for row in connection.execute(schema.metadata.tables[table].select().order_by(text("1"))).mappings()
        ]


def test_frame_is_kept_and_cannot_change_under_anchors(catalog: Catalog) -> None:
    assert catalog.frame() is None
    catalog.set_frame(Frame("draft", 1.0, 2.0))
    catalog.set_frame(world.ROME)
    assert catalog.frame() == world.ROME
    catalog.add_alignment(world.alignment())
    catalog.upsert_anchors([world.anchor(0)])
    catalog.set_frame(world.ROME)
    with pytest.raises(DatabaseError, match="1 anchors"):
        catalog.set_frame(Frame("other", 1.0, 2.0))


def test_anchors_come_back_as_they_were(catalog: Catalog) -> None:
    catalog.set_frame(world.ROME)
    assert catalog.add_alignment(world.alignment()) == "known-1"
    given = [world.anchor(i) for i in range(3)]
    assert catalog.upsert_anchors(given) == 3
    assert catalog.upsert_anchors(given) == 0
    back = catalog.anchors(["anchor-01"])["anchor-01"]
    assert back.camera == given[1].camera
    assert back.captured_at == given[1].captured_at
    assert back.attribution == given[1].attribution
    np.testing.assert_allclose(back.world_from_cam.matrix, given[1].world_from_cam.matrix, atol=1e-15)
    np.testing.assert_array_equal(back.world_from_cam.covariance, given[1].world_from_cam.covariance)
    index = catalog.anchor_index()
    assert index.ids == ("anchor-00", "anchor-01", "anchor-02")
    np.testing.assert_allclose(index.enu_m[:, 0], [0, 5, 10])
    np.testing.assert_allclose(index.heading_deg, 90, atol=1e-3)
    (alignment,) = catalog.alignments()
    np.testing.assert_allclose(alignment.world_from_local.translation_m, [1, 2, 3])
    assert alignment.details == {"clicks": [{"residual_m": 0.02}]}


def test_anchor_of_unknown_alignment_is_refused(catalog: Catalog) -> None:
    catalog.set_frame(world.ROME)
    with pytest.raises(DatabaseError, match="alignment 'known-1' is not in the catalog"):
        catalog.upsert_anchors([world.anchor(0)])


def test_images_come_back_as_they_were(catalog: Catalog) -> None:
    pose = world.correction(0).world_from_cam.with_covariance(None)
    full = replace(
        world.image(1), computed=Position(12.5, 41.9), computed_heading_deg=359.5, computed_enu_from_cam=pose
    )
    bare = replace(
        world.image(2), reported=None, camera=None, path=None, captured_at=None, problem=Reason.IMAGE_MISSING
    )
    assert catalog.upsert_images([full, bare]) == 2
    back = catalog.images()
    assert list(back) == ["1001", "1002"] == catalog.image_ids()
    for given in (full, bare):
        found = back[given.id]
        for name in (
            "reported",
            "camera",
            "path",
            "captured_at",
            "problem",
            "sequence_id",
            "attribution",
            "provider",
            "sha256",
        ):
            assert getattr(found, name) == getattr(given, name) or name == "reported", name
    assert back["1001"].reported == full.reported
    assert back["1001"].computed is not None
    assert back["1001"].computed.lon_deg == 12.5
    assert np.isnan(back["1001"].computed.height_m)
    assert back["1001"].computed_enu_from_cam is not None
    np.testing.assert_allclose(back["1001"].computed_enu_from_cam.matrix, pose.matrix, atol=1e-15)
    assert back["1002"].reported is None


def test_what_the_provider_said_before_is_kept(catalog: Catalog) -> None:
    catalog.upsert_images([world.image(1)])
    catalog.upsert_images([replace(world.image(1), computed=Position(12.5, 41.9))])
    catalog.upsert_images([replace(world.image(1), computed=Position(12.6, 41.9), path=Path("elsewhere.jpg"))])
    history = all_rows(catalog, "image_history")
    assert [row["computed_lon_deg"] for row in history] == [None, 12.5]


def test_results_are_stored_once_and_come_back(catalog: Catalog) -> None:
    world.fill(catalog)
    first = all_rows(catalog, "correction"), all_rows(catalog, "pair")
    catalog.record("run-a", world.results(), [])
    assert (all_rows(catalog, "correction"), all_rows(catalog, "pair")) == first
    assert catalog.counts() == {"accepted": 14, "rejected": 4, "review": 2}
    assert catalog.counts("run-a") == catalog.counts()
    assert catalog.reasons() == {"too_few_matches": 4}
    stored = {s.result.image_id: s for s in catalog.results()}
    assert list(stored) == sorted(stored)
    given = world.correction(3)
    found = stored["1003"].result
    assert isinstance(found, Correction)
    assert found.evidence == given.evidence
    assert (found.status, found.expected_error_m) == (Status.ACCEPTED, given.expected_error_m)
    np.testing.assert_allclose(found.world_from_cam.matrix, given.world_from_cam.matrix, atol=1e-15)
    np.testing.assert_array_equal(found.world_from_cam.covariance, given.world_from_cam.covariance)
    refused = stored["1004"].result
    assert isinstance(refused, Rejection)
    assert (refused.reason, refused.detail) == (Reason.TOO_FEW_MATCHES, "4 matches, 20 needed")


def test_derived_columns_tell_the_truth(catalog: Catalog) -> None:
    world.fill(catalog)
    stored = next(s for s in catalog.results() if s.result.image_id == "1003")
    lon, lat, height = world.ROME.wgs84_from_enu([15.0, -2.0, 1.8])
    assert (stored.lon_deg, stored.lat_deg, stored.height_m) == (lon, lat, height)
    # Reported 4 m west and 3 m south of the truth; heading reported 8° too small.
    assert stored.displacement_east_m == pytest.approx(4.0, abs=1e-3)
    assert stored.displacement_north_m == pytest.approx(3.0, abs=1e-3)
    assert stored.displacement_m == pytest.approx(5.0, abs=1e-3)
    assert stored.heading_deg == pytest.approx(90.0, abs=1e-3)
    assert stored.heading_change_deg == pytest.approx(8.0, abs=1e-3)
    assert (stored.pitch_deg, stored.roll_deg) == pytest.approx((2.0, 1.0), abs=1e-9)
    # σ 0.2 m east, 0.1 m north: the long axis points east.
    assert stored.semi_major_m == pytest.approx(0.2 * np.sqrt(5.991464547), rel=1e-9)
    assert stored.semi_minor_m == pytest.approx(0.1 * np.sqrt(5.991464547), rel=1e-9)
    assert stored.ellipse_azimuth_deg == pytest.approx(90.0, abs=1e-3)


def test_an_image_is_due_until_it_has_a_result_and_again_when_it_changes(catalog: Catalog) -> None:
    world.fill(catalog, 3)
    catalog.upsert_images([world.image(7)])
    assert catalog.images_due("run-a") == ["1007"]
    assert catalog.images_due("run-b") == ["1000", "1001", "1002", "1007"]
    catalog.upsert_images([replace(world.image(1), path=Path("moved.jpg"))])
    assert catalog.images_due("run-a") == ["1007"]
    catalog.upsert_images([replace(world.image(1), sha256="0" * 64)])
    assert catalog.images_due("run-a") == ["1001", "1007"]
    catalog.record("run-a", [world.rejection(1)])
    assert catalog.images_due("run-a") == ["1007"]
    assert [r["status"] for r in all_rows(catalog, "correction") if r["image_id"] == "1001"] == ["rejected"]


def test_rollback_and_retract_bring_back_what_was_in_force(catalog: Catalog) -> None:
    world.fill(catalog, 3)
    catalog.begin_run(world.manifest("run-b"))
    catalog.record("run-b", [world.correction(0, enu_m=[1.0, -2.0, 1.8]), world.rejection(1)])

    def in_force() -> dict[str, str]:
        return {s.result.image_id: s.run_key for s in catalog.current()}

    assert in_force() == {"1000": "run-b", "1001": "run-b", "1002": "run-a"}
    assert catalog.rollback("run-b", "wrong weights") == 2
    assert in_force() == dict.fromkeys(["1000", "1001", "1002"], "run-a")
    with pytest.raises(DatabaseError, match=r"rolled back \(wrong weights"):
        catalog.begin_run(world.manifest("run-b"))
    catalog.restore("run-b")
    assert catalog.retract(["1000"], "seen on site") == 1
    assert in_force() == {"1000": "run-a", "1001": "run-b", "1002": "run-a"}
    assert catalog.retract(["1000"], "again") == 1
    assert in_force() == {"1001": "run-b", "1002": "run-a"}
    assert catalog.retract(["1000"], "nothing left") == 0


def test_runs_are_remembered(catalog: Catalog) -> None:
    world.fill(catalog, 2)
    assert catalog.begin_run(world.manifest()) == 1
    (run,) = catalog.runs()
    assert (run.run_key, run.n_starts, run.duration_s, run.finished_at) == ("run-a", 2, 12.5, None)
    assert run.config == {"pnp": {"seed": 0}}
    with pytest.raises(DatabaseError, match="run 'nope' is not in the catalog"):
        catalog.record("nope", [world.rejection(0)])
    with pytest.raises(DatabaseError, match="'1009'; harvest"):
        catalog.record("run-a", [world.rejection(9)])


def test_filters(catalog: Catalog) -> None:
    from shapely import box

    world.fill(catalog)

    def ids(**wanted: object) -> list[str]:
        return [s.result.image_id for s in catalog.results(ResultFilter(**wanted))]  # type: ignore[arg-type]

    lon, lat, _ = world.ROME.wgs84_from_enu([[-1, -6, 0], [11, 0, 0]])
    area = (float(lon[0]), float(lat[0]), float(lon[1]), float(lat[1]))
    assert ids(area=area) == ["1000", "1001", "1002"]
    assert ids(area=box(*area)) == ["1000", "1001", "1002"]
    assert ids(status=(Status.REVIEW,)) == ["1006", "1013"]
    assert ids(max_expected_error_m=0.215) == ["1000", "1001"]
    assert ids(run_key="nothing") == []
    assert ids(image_ids=["1004"]) == ["1004"]
    assert ids(since=world.START) == [f"{1000 + i}" for i in range(20)]
