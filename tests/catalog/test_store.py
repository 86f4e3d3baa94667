"""The store keeps what it is given, once, on both back-ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from support import catalog_world as world

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.rows.codec import camera_from, camera_row
from geocorrect.catalog.rows.column_types import Json
from geocorrect.catalog.schema import TABLES
from geocorrect.errors import DatabaseError, Reason, Status
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.projection import COEFFICIENTS
from geocorrect.records import (
    Anchor,
    AnchorNoise,
    Attribution,
    Correction,
    LidarScan,
    MetadataQuality,
    Position,
    Rejection,
)


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


def test_every_lens_comes_back_as_it_was() -> None:
    coefficients = tuple(0.01 * k for k in range(1, 13))
    for projection, names in COEFFICIENTS.items():
        lens = coefficients[: len(names)]
        camera = Camera(projection, 640, 320, 500.0, 501.0, 319.5, 159.5, lens)
        assert camera_from(json.loads(json.dumps(camera_row(camera)))) == camera
        assert "readout_s" not in camera_row(camera)  # the content of all other photos stays as it was
    rolling = replace(world.CAMERA, readout_s=-0.03)
    assert camera_from(json.loads(json.dumps(camera_row(rolling)))) == rolling


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


def test_what_a_check_found_stays_with_the_same_anchors(catalog: Catalog) -> None:
    """Its hash is part of what a result takes from an anchor; without it the hash is that of before."""
    catalog.set_frame(world.ROME)
    catalog.add_alignment(world.alignment())
    given = [world.anchor(i) for i in range(3)]
    catalog.upsert_anchors(given)
    before = catalog.anchor_index().content_hashes
    noise = AnchorNoise(0.013, 0.07, np.diag([-0.0, 1e-9, 0.2, 3e-7, 0.0, 1 / 3]))
    assert catalog.set_anchor_noise({"anchor-01": noise}) == 1
    assert catalog.set_anchor_noise({"anchor-01": noise}) == 0
    back = catalog.anchors()["anchor-01"].noise
    assert back is not None
    assert (back.position_m, back.rotation_deg) == (0.013, 0.07)
    np.testing.assert_array_equal(back.common, noise.common)
    after = catalog.anchor_index().content_hashes
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]
    assert catalog.upsert_anchors(given) == 0
    assert catalog.upsert_anchors([replace(given[1], drive_id="another")]) == 1
    assert catalog.anchors()["anchor-01"].noise is None
    assert catalog.set_anchor_noise({}) == 0


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
    assert list(back) == ["1001", "1002"] == list(catalog.images())
    for given in (full, bare):
        found = back[given.id]
        for name in ("camera", "path", "captured_at", "problem", "sequence_id", "attribution", "provider", "sha256"):
            assert getattr(found, name) == getattr(given, name), name
        assert_same_position(found.reported, given.reported)
        assert_same_position(found.computed, given.computed)
    assert back["1001"].computed_enu_from_cam is not None
    np.testing.assert_allclose(back["1001"].computed_enu_from_cam.matrix, pose.matrix, atol=1e-15)


def assert_same_position(found: Position | None, given: Position | None) -> None:
    """Equal, an unknown height (nan, which equals nothing) included."""
    assert (found is None) == (given is None)
    if found is not None and given is not None:
        assert (found.lon_deg, found.lat_deg) == (given.lon_deg, given.lat_deg)
        assert found.height_reference == given.height_reference
        np.testing.assert_array_equal(found.height_m, given.height_m)


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


def test_what_was_done_about_a_rolling_shutter_is_stored(catalog: Catalog) -> None:
    world.fill(catalog)
    given = world.correction(3)
    shutter = {"readout_s": 0.03, "speed_m_s": float("nan")}
    catalog.begin_run(world.manifest("run-b"))
    catalog.record("run-b", [replace(given, evidence=replace(given.evidence, rolling_shutter=shutter))], [])
    (stored,) = catalog.results(ResultFilter(run_key="run-b"))
    found = stored.result.evidence.rolling_shutter
    assert list(found) == ["readout_s", "speed_m_s"]
    np.testing.assert_array_equal(list(found.values()), [0.03, np.nan])


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


def test_a_result_is_never_replaced_and_says_what_it_rests_on(catalog: Catalog) -> None:
    world.fill(catalog, 3)
    catalog.upsert_images([world.image(7)])
    assert world.without_result(catalog, "run-a") == ["1007"]
    first = replace(world.manifest("first"), config_key="config", n_due=3)
    assert catalog.newest_run("config") is None
    fid = catalog.begin_run(first)
    catalog.record("first", [world.correction(0), world.correction(1)], (), {"1000": "a", "1001": "b"})
    catalog.record("first", [world.rejection(0)], (), {"1000": "c"})
    assert [found.input_hash for found in catalog.results(ResultFilter(run_key="first"))] == ["a", "b"]
    second = catalog.begin_run(replace(first, run_key="second", generation=2))
    catalog.record("second", [world.rejection(1)], (), {"1001": "d"})
    newest = catalog.newest_run("config")
    assert newest is not None
    assert (newest[0], newest[1].generation, newest[1].n_due) == (second, 2, 3)
    assert catalog.counts() == {"accepted": 2, "rejected": 1}
    history = catalog.results(ResultFilter(image_ids=["1001"], active=False))
    assert [(found.run_key, found.status) for found in history] == [
        ("run-a", Status.ACCEPTED), ("first", Status.ACCEPTED), ("second", Status.REJECTED),
    ]  # fmt: skip
    sites = catalog.image_positions("config")
    assert sites.input_hash == ("a", "d", None, None)
    assert sites.run_fid.tolist() == [fid, second, -1, -1]
    assert catalog.image_positions("other").run_fid.tolist() == [-1] * 4


def test_photos_are_planned_in_pieces_by_columns(catalog: Catalog) -> None:
    world.fill(catalog, 5)
    hidden = replace(world.image(8), reported=None, heading_deg=float("nan"))
    sfm = replace(world.image(9), quality=MetadataQuality.SFM, computed_heading_deg=123.0)
    catalog.upsert_images([hidden, sfm])
    whole = catalog.image_positions("any")
    assert len(whole) == 7
    first = catalog.image_positions("any", count=4)
    rest = catalog.image_positions("any", after_fid=int(first.fid[-1]), count=4)
    assert [*first.fid, *rest.fid] == whole.fid.tolist() == sorted(whole.fid)
    assert len(catalog.image_positions("any", after_fid=int(rest.fid[-1]))) == 0
    assert np.isnan([whole.lon_deg[5], whole.lat_deg[5], whole.heading_deg[5]]).all()
    assert whole.heading_deg[[0, 6]].tolist() == [82.0, 123.0]
    photos = catalog.stored_images([int(whole.fid[6]), 999])
    assert {fid: (p.image.id, p.content_hash) for fid, p in photos.items()} == {
        int(whole.fid[6]): ("1009", whole.content_hash[6])
    }


def test_the_hash_of_an_anchor_follows_what_a_result_takes_from_it(catalog: Catalog) -> None:
    catalog.set_frame(world.ROME)
    catalog.add_alignment(world.alignment())
    catalog.add_alignment(world.alignment("known-2"))
    lidar = LidarScan(Path("here/scan.bin"), "kitti", Pose.identity())
    anchor = replace(world.anchor(0), lidar=lidar)

    def hash_of(changed: Anchor) -> str:
        catalog.upsert_anchors([changed])
        (found,) = catalog.anchor_index().content_hashes
        return found

    first = hash_of(anchor)
    moved = replace(anchor, path=Path("elsewhere") / anchor.path.name, lidar=replace(lidar, path=Path("a/scan.bin")))
    same = [moved, replace(anchor, attribution=Attribution("somebody else"))]
    assert {hash_of(changed) for changed in same} == {first}
    pose = anchor.world_from_cam
    others = [
        replace(anchor, alignment_id="known-2"),
        replace(anchor, path=Path("other.png")),
        replace(anchor, sha256="0" * 64),
        replace(anchor, lidar=None),
        replace(anchor, lidar=replace(lidar, max_range_m=80.0)),
        replace(anchor, camera=replace(anchor.camera, focal_x_px=801.0)),
        replace(anchor, world_from_cam=Pose(pose.rotation, pose.translation_m + 1e-9, pose.covariance)),
        replace(anchor, world_from_cam=pose.with_covariance(None)),
    ]
    assert len({first, *map(hash_of, others)}) == len(others) + 1


def test_rollback_and_retract_bring_back_what_was_active(catalog: Catalog) -> None:
    world.fill(catalog, 3)
    catalog.begin_run(world.manifest("run-b"))
    catalog.record("run-b", [world.correction(0, enu_m=[1.0, -2.0, 1.8]), world.rejection(1)])

    def active() -> dict[str, str]:
        return {s.result.image_id: s.run_key for s in catalog.current()}

    assert active() == {"1000": "run-b", "1001": "run-b", "1002": "run-a"}
    assert catalog.rollback("run-b", "wrong weights") == 2
    assert active() == dict.fromkeys(["1000", "1001", "1002"], "run-a")
    with pytest.raises(DatabaseError, match=r"rolled back \(wrong weights"):
        catalog.begin_run(world.manifest("run-b"))
    catalog.restore("run-b")
    assert catalog.retract(["1000"], "seen on site") == 1
    assert active() == {"1000": "run-a", "1001": "run-b", "1002": "run-a"}
    assert catalog.retract(["1000"], "again") == 1
    assert active() == {"1001": "run-b", "1002": "run-a"}
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


def test_layers_are_geodataframes(catalog: Catalog) -> None:
    world.fill(catalog, 8)
    corrected, waiting = catalog.to_geopandas(), catalog.to_geopandas("review_queue")
    assert sorted(corrected["image_id"]) == ["1000", "1001", "1002", "1003", "1005", "1007"]
    assert list(waiting["image_id"]) == ["1006"]
    place = corrected.set_index("image_id").loc["1003"]
    assert (place.geometry.x, place.geometry.y) == pytest.approx((place["lon_deg"], place["lat_deg"]), abs=1e-9)
    assert str(place["captured_at"]) == "2026-03-01 10:00:03+00:00"
    for frame in (corrected, waiting, catalog.to_geopandas("anchor")):
        assert frame.crs.to_epsg() == 4326
    for name in ("run_summary", "nothing", "pair"):
        with pytest.raises(DatabaseError, match=f"no layer '{name}'"):
            catalog.to_geopandas(name)


def test_every_json_column_is_an_object_for_sql(catalog: Catalog) -> None:
    """Not a text that holds one, in which `->` finds nothing; also when a row is written again."""
    world.fill(catalog, 2)
    catalog.upsert_images([replace(world.image(1), computed=Position(12.4965, 41.9028))])
    catalog.upsert_anchors([replace(world.anchor(1), camera=world.image(1).camera)])
    kind = "jsonb_typeof" if catalog.engine.dialect.name == "postgresql" else "json_type"
    found = {}
    with catalog.engine.connect() as connection:
        for table in TABLES:
            for column in (c for c in table.columns if isinstance(c.type, Json)):
                query = text(f'select distinct {kind}("{column.name}") from "{table.name}"')
                found[f"{table.name}.{column.name}"] = set(connection.execute(query).scalars()) - {None}
        assert connection.execute(text("select config -> 'pnp' ->> 'seed' from run")).scalar() in (0, "0")
    assert found.pop("run.config") == {"object"}
    assert all(kinds <= {"object"} for kinds in found.values()), found


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
