from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from support import catalog_world as world
from support.report_world import COUNT, true_places

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.run import StoredResult
from geocorrect.errors import Status
from geocorrect.report.contents import NO_SEQUENCE, Contents, _photo, read_contents
from geocorrect.report.tables import device_rows, group_headings, reason_rows, sequence_rows
from geocorrect.report.truth import TruePlace, Truth


def test_every_result_in_force_is_there_once(contents: Contents) -> None:
    assert len(contents.photos) == COUNT
    assert {photo.stored.image_id for photo in contents.photos} == {f"{1000 + i}" for i in range(COUNT)}
    assert len(contents.of_status(Status.REJECTED)) == COUNT // 5
    assert contents.n_pending == 1
    assert [run.run_key for run in contents.runs] == ["run-a"]
    assert len(contents.anchors) == COUNT + 1
    assert [len(line) for line in contents.routes] == [COUNT + 1]
    assert not contents.has_truth


def test_tables_show_the_lag_of_sequences_and_devices(contents: Contents) -> None:
    titles = [title for title, _ in group_headings(has_truth=False)]
    known = replace(contents, lags_s={"seq-0": 0.5})
    for rows, name in ((sequence_rows(known), "seq-0"), (device_rows(known), "Acme Cam 0")):
        shown = {row.name: row.cells[titles.index("Time lag")].text.replace("\N{NO-BREAK SPACE}", " ") for row in rows}
        assert shown[name] == "+0.50 s"
        assert set(shown.values()) == {"+0.50 s", "–"}
    assert all(len(row.cells) == len(titles) for row in sequence_rows(contents))


def test_truth_gives_horizontal_errors(with_truth: Contents) -> None:
    assert with_truth.has_truth
    for photo in with_truth.corrected:
        assert photo.true_error_m == pytest.approx(0.1, abs=1e-6)
        assert photo.reported_error_m == pytest.approx(math.hypot(4.1, 3.0), abs=1e-3)
    for photo in with_truth.of_status(Status.REJECTED):
        assert math.isnan(photo.true_error_m)
        assert math.isnan(photo.tail)
        assert photo.reported_error_m > 4.0


def test_tail_is_5_percent_on_the_95_percent_ellipse(contents: Contents) -> None:
    stored = contents.corrected[0].stored
    azimuth = math.radians(stored.ellipse_azimuth_deg)
    frame = world.ROME
    for angle in np.linspace(0, 2 * math.pi, 7):
        along, across = stored.semi_major_m * math.cos(angle), stored.semi_minor_m * math.sin(angle)
        east = along * math.sin(azimuth) + across * math.cos(azimuth)
        north = along * math.cos(azimuth) - across * math.sin(azimuth)
        here = frame.enu_from_wgs84(stored.lon_deg, stored.lat_deg, stored.height_m)
        lon, lat, _ = frame.wgs84_from_enu(here + np.array([east, north, 0.0]))
        place = TruePlace(float(lon), float(lat))
        assert _photo(stored, None, {stored.image_id: place}).tail == pytest.approx(0.05, rel=1e-3)


def test_tail_is_uniform_where_predictions_are_true(contents: Contents) -> None:
    stored = contents.corrected[0].stored
    rng = np.random.default_rng(1)
    covariance = stored.result.world_from_cam.covariance[:2, :2]
    centre = stored.result.world_from_cam.translation_m
    tails = []
    for offset in rng.multivariate_normal([0, 0], covariance, 400):
        lon, lat, _ = world.ROME.wgs84_from_enu(centre + np.array([*offset, 0.0]))
        tails.append(_photo(stored, None, {stored.image_id: TruePlace(float(lon), float(lat))}).tail)
    shares = [np.mean(np.array(tails) <= level) for level in (0.05, 0.32, 0.5)]
    assert shares == pytest.approx([0.05, 0.32, 0.5], abs=0.06)


def test_wanted_results_only(catalog: Catalog) -> None:
    shown = read_contents(catalog, wanted=ResultFilter(status=(Status.REJECTED,)))
    assert {photo.status for photo in shown.photos} == {Status.REJECTED}
    assert shown.n_pending == 0


def test_tables_agree_with_the_views_of_the_catalog(catalog: Catalog, contents: Contents) -> None:
    with catalog.engine.connect() as connection:
        sequences = connection.exec_driver_sql(
            "select sequence_id, n_photos, mean_east_m, mean_north_m, heading_bias_deg from sequence_bias"
        ).all()
        devices = connection.exec_driver_sql(
            "select device_make, device_model, n_photos, mean_east_m, mean_north_m, heading_bias_deg from device_bias"
        ).all()
    rows = {row.name: [cell.sort for cell in row.cells] for row in sequence_rows(contents)}
    assert len(sequences) == 3
    for name, n, east, north, heading in sequences:
        assert rows[name][1] == n
        assert rows[name][5:8] == pytest.approx([east, north, heading], abs=1e-6)
    rows = {row.name: [cell.sort for cell in row.cells] for row in device_rows(contents)}
    for make, model, n, east, north, heading in devices:
        found = rows[" ".join(part for part in (make, model) if part)]
        assert found[1] == n
        assert found[5:8] == pytest.approx([east, north, heading], abs=1e-6)


def test_rows_add_up_to_all_photos(with_truth: Contents) -> None:
    for rows in (sequence_rows(with_truth), device_rows(with_truth)):
        assert sum(row.cells[0].sort for row in rows) == COUNT
        assert [sum(row.cells[k].sort for row in rows) for k in (1, 2, 3)] == [
            len(with_truth.of_status(status)) for status in Status
        ]
        assert all(len(row.cells) == 11 for row in rows)
    (reason,) = reason_rows(with_truth)
    assert (reason.code, reason.n) == ("too_few_matches", COUNT // 5)
    assert "20 needed" in reason.example


def test_a_catalog_without_results_or_anchors_can_be_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("empty") / "empty.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        empty = read_contents(catalog, true_places())
    assert empty.photos == ()
    assert empty.anchors == ()
    assert not empty.has_truth


def test_a_photo_without_sequence_position_or_image_keeps_its_place(contents: Contents) -> None:
    lost: StoredResult = replace(
        contents.photos[0].stored, sequence_id=None, reported_lon_deg=math.nan, reported_lat_deg=math.nan
    )
    photo = _photo(lost, None, Truth({}).places)
    assert photo.sequence == NO_SEQUENCE
    assert photo.device == "(unknown device)"
