"""Anchors left out and localised from the others: the command on a world with known depth, and its tables by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support import catalog_world
from support.depth_world import NETWORK_SCALE, WIDTH, write_depth_world
from support.docs_page import block, commands

from geocorrect.__main__ import run
from geocorrect.api.photo import PhotoLocalizer
from geocorrect.api.scene import AnchorSource, Scene
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings, load_settings
from geocorrect.errors import Status
from geocorrect.evaluate.own import beside
from geocorrect.evaluate.own import tables as own_tables
from geocorrect.evaluate.own.leave_out import LeaveOutProtocol, _Photo, drawn, with_errors, without
from geocorrect.evaluate.own.tables import coverage, false_accepts, sentences, tables, with_all_anchors
from geocorrect.evaluate.remembered import RememberedMatcher, remembered
from geocorrect.evaluate.table import Journal, Row, read_table, write_table
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame
from geocorrect.geometry.pose import Pose
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.match.sift import SiftMatcher
from geocorrect.records import Anchor, AnchorIndex, AnchorView, Correction, Evidence, Matches, Query

CONFIG = """
[catalog]
url = "corner.gpkg"
[match.sift]
max_features = 1000
[depth]
source = "{source}"
[depth.files]
folder = "depth"
common_log_sigma = 0.01
log_sigma = 0.01
"""
COMMAND = [
    *("-c", "geocorrect.toml", "evaluate", "own", "--out", "out"),
    *("--gaps-m", "0,2", "--photos", "3", "--anchors", "1,3"),
]


@pytest.fixture
def corner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five anchors 1.5 m apart with exact depth, in a catalog."""
    world = write_depth_world(tmp_path)
    wave = 1.0 + 0.08 * np.cos(np.pi * np.arange(WIDTH) / WIDTH)[None, :]
    for path in (tmp_path / "depth").glob("*.npy"):
        np.save(path, (np.load(path) / (NETWORK_SCALE * wave)).astype(np.float32))
    (tmp_path / "geocorrect.toml").write_text(CONFIG.format(source="files"))
    monkeypatch.chdir(tmp_path)
    arguments = ["--format", "table", "--crs", "EPSG:4979", "--height-reference", "ellipsoid"]
    assert run(["-c", "geocorrect.toml", "anchors", "add", str(world.table), *arguments]) == 0
    return tmp_path


@pytest.mark.long
def test_the_command_measures_writes_and_continues(
    corner: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(COMMAND) == 0
    first = capsys.readouterr().out
    rows: list[Row] = read_table(corner / "out" / "table.parquet")
    assert len({row.query_id for row in rows}) == 3
    assert all(row.query_id not in row.anchor_ids.split() for row in rows)
    assert {row.n_anchors for row in rows} == {1, 3} | {row.n_anchors for row in rows if row.gap_m == 2}
    assert all(row.baseline_m >= row.gap_m for row in rows if row.n_anchors)
    good = [row for row in rows if row.status == Status.ACCEPTED]
    assert len(good) >= 6
    assert np.median([row.centre_m for row in good]) < 0.05
    assert false_accepts(rows) == []
    assert np.median([row.reported_m for row in rows]) > 1.0
    page = (corner / "out" / "report.html").read_text()
    assert "<svg" in page
    assert "own_calibration" in page
    assert "http:" not in page.replace("http://www.w3.org", "").replace("http://purl", "").replace("http://creativ", "")
    assert {p.name for p in (corner / "out").iterdir()} >= {
        "tables.md",
        "own_gap.tex",
        "own_errors.png",
        "own_errors.svg",
    }

    monkeypatch.setattr(own_tables, "pictures", lambda _: [])  # they take the longest
    journal = corner / "out" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])  # killed while it wrote the last photo
    computed: list[str] = []
    localize = PhotoLocalizer.localize
    monkeypatch.setattr(
        PhotoLocalizer, "localize", lambda self, q, *a: (computed.append(q.image_id), localize(self, q, *a))[1]
    )
    assert run(COMMAND) == 0
    assert set(computed) == {json.loads(lines[-1])[0].rsplit("/", 1)[1]}
    assert capsys.readouterr().out == first
    assert repr(read_table(corner / "out" / "table.parquet")) == repr(rows)


def test_depth_from_neighbours_never_sees_the_photo(corner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither through an anchor's neighbours nor through depth that was kept from another photo's turn."""
    (corner / "geocorrect.toml").write_text(CONFIG.format(source="triangulated"))
    seen: list[tuple[str, int]] = []

    def watched(self: PhotoLocalizer, query, pairs, anchors, neighbours):  # type: ignore[no-untyped-def]
        used = {anchor.id for anchor in anchors} | {n.id for near in neighbours.values() for n in near}
        assert neighbours
        assert query.image_id not in used
        seen.append((query.image_id, id(self.anchors)))
        kept.append(self.anchors)
        return localize(self, query, pairs, (), {})

    kept: list[object] = []  # so that no cache gets the address of an earlier one
    monkeypatch.setattr(own_tables, "pictures", lambda _: [])
    localize = PhotoLocalizer.localize
    monkeypatch.setattr(PhotoLocalizer, "localize", watched)
    assert run(COMMAND) == 0
    caches: dict[int, set[str]] = {}
    for name, cache in seen:
        caches.setdefault(cache, set()).add(name)
    assert all(len(names) == 1 for names in caches.values())


def test_other_configurations_stand_beside_it_in_one_table(
    corner: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_tables, "pictures", lambda _: [])
    calls: list[int] = []
    match = SiftMatcher.match
    monkeypatch.setattr(SiftMatcher, "match", lambda self, *of: (calls.append(len(of[1])), match(self, *of))[1])
    pnp = CONFIG.format(source="files") + '[localize]\nestimator = "opencv"\n[localize.opencv]\nvariant = "{}"\n'
    for variant in ("opencv-default", "opencv-sqpnp"):
        (corner / f"{variant}.toml").write_text(pnp.format(variant))
    command = ["-c", "geocorrect.toml", "evaluate", "own", "--photos", "1", "--gaps-m", "0", "--anchors", "3"]
    both = ["--beside", "opencv-default.toml", "--beside", "opencv-sqpnp.toml"]
    assert run([*command, "--out", "out", *both]) == 0
    rows: list[Row] = read_table(corner / "out" / "table.parquet")
    assert calls == [3]  # found once for all of them
    assert [row.estimator for row in rows] == ["joint", "opencv-default", "opencv-sqpnp"]
    assert len({row.query_id for row in rows}) == 1
    assert len({row.config_hash for row in rows}) == 3
    lines = (corner / "out" / "own_configurations.tex").read_text().splitlines()
    assert [line.split(" & ")[0] for line in lines[7:10]] == ["geocorrect", "opencv-default", "opencv-sqpnp"]
    assert "anchors | n | accepted" in capsys.readouterr().out
    (corner / "sub").mkdir()
    (corner / "sub" / "geocorrect.toml").write_text("")
    assert run([*command, "--out", "no", "--beside", "sub/geocorrect.toml"]) == 2
    assert "rename the file" in capsys.readouterr().err
    assert run([*command, "--out", "no", "--beside", "none.toml"]) == 4
    assert "none.toml" in capsys.readouterr().err
    assert not (corner / "no").exists()


def test_configurations_by_hand() -> None:
    """Accepted 0.1 m, for review 0.5 m, rejected: the median of the answers is 0.3, of all three 0.5."""
    rows = [
        replace(ROW, query_id="p0", centre_m=0.1, horizontal_m=0.1, rotation_deg=1.0),
        replace(ROW, query_id="p1", status="review", centre_m=0.5, horizontal_m=0.5, rotation_deg=3.0),
        replace(ROW, query_id="p2", status="rejected", reason="too_few_matches"),
        replace(ROW, query_id="p3", n_anchors=0, status="rejected", reason="no_anchor_nearby"),
    ]
    oracle = [replace(ROW, depth_is_oracle=True, centre_m=2.0, horizontal_m=1.5)]
    (first, second) = beside.table({"a": rows, "b": oracle}).rows
    assert (first[0], *first[3:8]) == ("a", "1", "3", "1", "0", "2")
    assert first[8].startswith("0.300 [")
    assert first[9:] == ("0.500", "0.500", "2.000")
    assert second[2].endswith(" (oracle)")
    assert second[4:8] == ("1", "1", "1", "1")


def test_one_anchor_is_refused_and_nothing_is_written(corner: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (corner / "anchors.csv").read_text().splitlines()
    (corner / "one.csv").write_text("\n".join(lines[:2]) + "\n")
    arguments = ["--format", "table", "--crs", "EPSG:4979", "--height-reference", "ellipsoid", "--catalog", "one.gpkg"]
    assert run(["anchors", "add", "one.csv", *arguments]) == 0
    assert run(["evaluate", "own", "--catalog", "one.gpkg", "--out", "none"]) == 3
    assert "at least two" in capsys.readouterr().err
    assert not (corner / "none").exists()
    assert run([*COMMAND[:-1], "one,two"]) == 2
    assert "--anchors" in capsys.readouterr().err


def test_wrong_files_are_named(
    corner: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anchors without scans under the default depth, and one anchor whose depth file is missing."""
    (corner / "geocorrect.toml").write_text(CONFIG.format(source="lidar"))
    assert run(COMMAND) == 3
    assert "it has no laser scan" in " ".join(capsys.readouterr().err.split())
    assert not (corner / "out").exists()
    (corner / "geocorrect.toml").write_text(CONFIG.format(source="files"))
    (corner / "depth" / "a0.npy").unlink()
    (corner / "a4.png").write_bytes(b"not a picture")
    few = [*COMMAND[:6], "--gaps-m", "0", "--anchors", "1"]
    monkeypatch.setattr(own_tables, "pictures", lambda _: [])
    assert run(few) == 0
    rows: list[Row] = read_table(corner / "out" / "table.parquet")
    reasons = {row.query_id: row.reason for row in rows}
    assert reasons["a4"] == "files_unusable"
    # A picture that cannot be read is a failure at every gap.
    assert "| 0 | 5 | " in (corner / "out" / "tables.md").read_text().split("By gap")[1].split("By number")[0]
    assert "of 5 attempts" in " ".join(sentences(rows, 5))
    assert "files_unusable" in {row.reason for row in rows if row.anchor_ids == "a0"} | {reasons["a4"]}
    keys = [
        json.loads(line)[0].rsplit("/", 1)[1] for line in (corner / "out" / "journal.jsonl").read_text().splitlines()
    ]
    assert "a4" not in keys
    assert len(keys) >= 2


def test_what_remains_when_one_is_left_out(corner: Path) -> None:
    with Catalog.open("corner.gpkg") as catalog:
        anchors = AnchorSource.of_catalog(catalog)
        row = anchors.index.ids.index("a2")
        assert set(without(anchors, row, 0.0).index.ids) == {"a0", "a1", "a3", "a4"}
        remaining = without(anchors, row, 2.0)
        assert set(remaining.index.ids) == {"a0", "a4"}
        assert all(a.world_from_cam.covariance is None for a in remaining.read(["a0"]).values())
        settings = load_settings(Path("geocorrect.toml")).settings
        assert Scene(settings, remaining).retriever.candidates("a2", anchors.index.enu_m[row])


def test_the_page_shows_commands_that_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    shown = commands(block(page, "commands"), tmp_path)
    assert [words[1] for words in shown] == ["own", "mine", "vbr"]
    for words in shown:
        assert run([*words, "--help"]) == 0
    capsys.readouterr()


def test_photos_are_drawn_by_the_seed() -> None:
    ids = [f"a{i:03d}" for i in range(50)]
    ten = drawn(ids, LeaveOutProtocol(max_queries=10, seed=3))
    assert ten == sorted(set(ten))
    assert len(ten) == 10
    assert ten == drawn(ids, LeaveOutProtocol(max_queries=10, seed=3))
    assert ten != drawn(ids, LeaveOutProtocol(max_queries=10, seed=4))
    assert drawn(ids, LeaveOutProtocol(max_queries=99)) == ids


ROW = Row("own", "drive", "q", "a", 1, "lidar", True, "sift", "joint", "0", 0, "accepted", gap_m=0.0, baseline_m=1.0)


def test_errors_of_one_pose_by_hand() -> None:
    """Off by (0.3, 0.4, 1.2) m with a sigma of 0.3, 0.4 and 1.2 m: χ² = 3. Turned by 2° about the vertical."""
    camera = Camera.pinhole(10, 10, 10.0, 10.0, 4.5, 4.5)
    level = Rotation.from_matrix(np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).T)  # looks north
    frame = Frame("here", 12.0, 42.0, 0.0)
    true, anchor = Pose(level, [5.0, 0.0, 0.0]), Pose(level, [5.0, -4.0, 0.0])
    found = Pose(
        Rotation.from_euler("z", -2, degrees=True) * level,
        [5.3, 0.4, 1.2],
        np.diag([0.09, 0.16, 1.44, 1e-4, 1e-4, 1e-4]),
    )

    def record(name: str, pose: Pose) -> Anchor:
        return Anchor(name, "set", Path("x.png"), camera, pose, "alignment")

    correction = Correction("q", found, Status.ACCEPTED, 0.6, 1.0, Evidence(gate={"inlier_patches": 93.0}))
    row = with_errors(ROW, correction, record("q", true), [record("a", anchor)], frame)
    assert (row.centre_m, row.horizontal_m) == pytest.approx((1.3, 0.5))
    assert row.chi2 == pytest.approx(3.0)
    assert (row.rotation_deg, row.heading_error_deg) == pytest.approx((2.0, 2.0), abs=1e-4)
    assert (row.expected_m, row.expected_heading_deg) == (0.6, 1.0)
    assert (row.gate, row.inflation) == ('{"inlier_patches": 93.0}', COVARIANCE_INFLATION)
    # Anchor in the query's frame, truth (0, 0, −4); found: the offset (−0.3, −4.4) east and north seen 2° turned.
    cos, sin = np.cos(np.radians(2)), np.sin(np.radians(2))
    x_m, z_m = -0.3 * cos + 4.4 * sin, -0.3 * sin - 4.4 * cos
    assert (row.x_m, row.y_m, row.z_m) == pytest.approx((abs(x_m), 1.2, abs(z_m + 4.0)), abs=1e-6)
    both = with_errors(ROW, correction, record("q", true), [record("a", anchor)] * 2, frame)
    assert np.isnan(both.transform_m)


def test_tables_by_hand() -> None:
    """Four photos at gap 0: 0.1, 0.2 and 3 m accepted, one rejected; χ² 1, 3, 9."""
    rows = [
        replace(ROW, query_id="p0", centre_m=0.1, horizontal_m=0.1, expected_m=0.15, chi2=1.0),
        replace(ROW, query_id="p1", centre_m=0.2, horizontal_m=0.2, expected_m=0.15, chi2=3.0),
        replace(ROW, query_id="p2", centre_m=3.0, horizontal_m=2.5, expected_m=0.4, chi2=9.0),
        replace(ROW, query_id="p3", status="rejected", reason="too_few_matches"),
    ]
    fewer = [replace(row, n_anchors=0, status="rejected", centre_m=np.nan) for row in rows]
    assert with_all_anchors([*fewer, *rows]) == rows
    assert [row.query_id for row in false_accepts(rows)] == ["p2"]
    assert coverage(rows[:3]) == pytest.approx({50: 1 / 3, 68: 2 / 3, 95: 2 / 3})
    by_name = {table.name: table for table in tables(rows)}
    (line,) = by_name["own_gap"].rows
    assert line[:6] == ("0", "4", "75%", "0", "1", "1")
    assert line[6].startswith("0.200 [")
    assert line[7] == "1.600"  # of 0.1, 0.2, 3 and ∞ the mean of the middle two
    assert by_name["own_distance"].rows[0][0] == "0–2"
    assert by_name["own_calibration"].rows[-1][:2] == ("all", "3")
    assert by_name["own_calibration"].rows[-1][4].startswith("33%")
    assert by_name["own_reasons"].rows == (("too_few_matches", "1"),)
    said = " ".join(sentences(rows, 9))
    assert "4 of 9 anchors" in said
    assert "3 of 4 attempts (75%)" in said
    assert "p2 at gap 0 m by 2.5 m" in said
    assert r"75\%" in by_name["own_gap"].latex()


def test_rows_survive_parquet_and_a_torn_journal(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, query_id="ü", centre_m=0.25, n_inliers=7)]
    write_table(rows, tmp_path / "t.parquet")
    back = read_table(tmp_path / "t.parquet")
    assert [repr(row) for row in back] == [repr(row) for row in rows]
    path = tmp_path / "deep" / "j.jsonl"
    with Journal(path) as journal:
        assert not path.parent.exists()
        journal.add_rows("one", rows)
    with path.open("ab") as file:
        file.write(b'["two", [{"half')
    with Journal(path) as journal:
        assert list(journal.known) == ["one"]
        journal.add_rows("two", rows[:1])
    with Journal(path) as journal:
        assert repr(journal.rows(["two", "one"])) == repr([ROW, *rows])


def test_matches_are_found_once_per_pair() -> None:
    class Counting:
        fingerprint = "counting"
        calls = 0

        def match(self, query, anchors):  # type: ignore[no-untyped-def]
            self.calls += len(anchors)
            return [Matches.empty() for _ in anchors]

    counting = Counting()
    matcher = remembered(counting)
    photo, first, second = (np.full((2, 2, 3), value, np.uint8) for value in range(3))
    matcher.match(photo, [first])
    assert len(matcher.match(photo.copy(), [first, second, first])) == 3
    assert counting.calls == 2
    matcher.match(first, [photo])  # the other order is another answer
    assert counting.calls == 3


def test_matches_of_a_whole_drive_do_not_fill_the_memory() -> None:
    class Each:
        fingerprint = "each"
        calls = 0

        def match(self, query, anchors):  # type: ignore[no-untyped-def]
            self.calls += len(anchors)
            px = np.full((10, 2), query[0, 0, 0], np.float32)  # 200 bytes with the scores
            return [Matches(px, px, np.ones(10, np.float32)) for _ in anchors]

    each = Each()
    matcher = RememberedMatcher(each, max_bytes=500)
    photos = [np.full((2, 2, 3), value, np.uint8) for value in range(4)]
    for number, photo in enumerate(photos):
        assert [m.query_px[0, 0] for m in matcher.match(photo, photos[:3])] == [number] * 3, "more than fit, all right"
    assert each.calls == 12
    matcher.match(photos[3], [photos[2]])
    assert each.calls == 12, "the last ones are kept"
    matcher.match(photos[0], [photos[2]])
    assert each.calls == 13, "the first ones are not"


def test_a_left_out_anchor_with_a_rolling_shutter_moves_as_its_drive_does(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = replace(catalog_world.CAMERA, readout_s=0.03)
    anchors = {a.id: a for a in (replace(catalog_world.anchor(k), camera=camera) for k in range(3))}
    enu_m = np.array([a.world_from_cam.translation_m for a in anchors.values()])
    index = AnchorIndex(tuple(anchors), enu_m, np.full(3, 90.0), ("",) * 3, ("",) * 3)
    source = AnchorSource(catalog_world.ROME, index, lambda ids: {name: anchors[name] for name in ids})
    views: Any = SimpleNamespace(anchors=SimpleNamespace(view=lambda a: AnchorView(a, np.zeros((2, 2, 3), np.uint8))))
    asked: list[Query] = []
    monkeypatch.setattr(_Photo, "_at_gap", lambda self, truth, query, *rest: asked.append(query) or [])
    _Photo(Settings(), source, LeaveOutProtocol(gaps_m=(0.0,)), views, "", []).rows("anchor-01")
    assert asked[0].motion is not None
    np.testing.assert_allclose(asked[0].motion.velocity_m_s, [5.0, 0.0, 0.0], atol=1e-9)
