"""The thesis' tables on a drive of known geometry with depth of known error: what comes out is known in closed form."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.depth_world import HEIGHT, WIDTH
from support.drawn import panels
from support.vbr_corner import image_id, place, points_m, scanned_m, write_corner_drive, write_prediction

from geocorrect.__main__ import run
from geocorrect.api.backends import build_matcher
from geocorrect.config import load_settings
from geocorrect.evaluate.metrics import abs_rel, abs_rel_axes
from geocorrect.evaluate.mining.run import Mined, SplitPair, photos_of
from geocorrect.evaluate.render import Picture
from geocorrect.evaluate.table import Row, read_table
from geocorrect.evaluate.vbr import command
from geocorrect.evaluate.vbr import run as vbr_run
from geocorrect.evaluate.vbr.run import ORACLE
from geocorrect.evaluate.vbr.scenes import read_drive
from geocorrect.evaluate.vbr.tables import training_tables
from geocorrect.match.base import DeclaredMatcher

pytestmark = pytest.mark.long

N_IMAGES = 5
AXES = np.array([0.5, 0.7, 0.4])
"""What the network of points off the rays multiplies x, y and z by."""
FIGURES: dict[str, Picture] = {}
"""What the command would have drawn."""
CONFIG = """
[match.sift]
max_features = 800
[localize]
estimator = "poselib"
"""


@pytest.fixture(scope="module")
def corner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drive, three predictions, and the report of the command on them."""
    folder = tmp_path_factory.mktemp("vbr")
    write_corner_drive(folder / "drives", N_IMAGES)
    wave = 1.0 + 0.25 * np.cos(np.pi * np.arange(WIDTH) / WIDTH)[None, :]
    for number in range(N_IMAGES):
        points = points_m(number)
        write_prediction(folder / "half", number, 0.5 * points[..., 2])
        write_prediction(folder / "axes", number, points * AXES)
        write_prediction(folder / "smooth", number, points[..., 2] * wave)
    (folder / "geocorrect.toml").write_text(CONFIG)
    drawn = command.pictures

    def some(*of: Any) -> list[Picture]:
        FIGURES.update({picture.name: picture for picture in drawn(*of)})
        return [FIGURES["figure_3"], FIGURES["figure_8_corner0"]]  # rendering takes the longest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "pictures", some)
        assert run(_command(folder)) == 0
    return folder


def _command(folder: Path, *further: str) -> list[str]:
    predictions = [part for name in ("half", "axes", "smooth") for part in ("--prediction", f"{name}={folder / name}")]
    return [
        *("-c", str(folder / "geocorrect.toml"), "evaluate", "vbr", str(folder / "drives")),
        *("--out", str(folder / "out")),
        *("--spacing-m", "0", "--min-gap-s", "0", "--min-score", "60", "--strong-score", "60", "--keep", "2"),
        *(*predictions, *further),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def rows(corner: Path) -> list[Row]:
    return read_table(corner / "out" / "table.parquet")


def _of(rows: list[Row], depth: str) -> dict[tuple[str, str], Row]:
    found = {(row.anchor_ids, row.query_id): row for row in rows if row.depth == depth}
    assert len(found) == 2 * N_IMAGES
    assert all(row.status == "solved" for row in found.values())
    return found


def _number(photo: str) -> int:
    return next(n for n in range(N_IMAGES) if image_id(n) == photo)


def _baseline_m(pair: tuple[str, str]) -> float:
    anchor, query = (place(_number(photo)) for photo in pair)
    return float(np.linalg.norm(anchor - query))


def test_the_oracle_is_right(rows: list[Row]) -> None:
    oracle = _of(rows, ORACLE)
    assert all(row.depth_is_oracle for row in oracle.values())
    assert np.median([row.transform_m for row in oracle.values()]) < 0.02
    assert max(row.transform_m for row in oracle.values()) < 0.05
    assert all(row.baseline_m == pytest.approx(_baseline_m(pair), abs=1e-6) for pair, row in oracle.items())
    assert all(np.isnan(row.abs_rel) for row in oracle.values())


def test_half_the_depth_is_half_the_baseline(rows: list[Row]) -> None:
    """Points at half their distance are seen from half the way: |t − t*| = baseline / 2, and no rotation."""
    for pair, row in _of(rows, "half").items():
        assert row.transform_m == pytest.approx(_baseline_m(pair) / 2, abs=0.05)
        assert row.rotation_deg < 0.5
        assert row.abs_rel == pytest.approx(0.5, abs=1e-5)
        assert (row.abs_rel_x, row.abs_rel_y, row.abs_rel_z) == pytest.approx((0.5, 0.5, 0.5), abs=1e-5)
        assert not row.depth_is_oracle
    for heuristic in ("per_axis_l1", "per_axis_l2", "mean_per_axis_l2", "similarity"):
        for where in ("LiDAR", "train, random"):
            scaled = _of(rows, f"half × {heuristic} ({where})")
            assert all(row.abs_rel < 1e-5 for row in scaled.values())
            assert all((row.scale_x, row.scale_y, row.scale_z) == pytest.approx((2, 2, 2)) for row in scaled.values())
            assert max(row.transform_m for row in scaled.values()) < 0.05
            assert all(row.depth_is_oracle == (where == "LiDAR") for row in scaled.values())


def test_per_axis_errors_are_restored_by_per_axis_scales_only(rows: list[Row]) -> None:
    """Table IX row by row: 1 − factor per axis, and the mean over the scan's points for the whole."""
    for (anchor, _), row in _of(rows, "axes").items():
        true = scanned_m(_number(anchor))
        assert (row.abs_rel_x, row.abs_rel_y, row.abs_rel_z) == pytest.approx((0.5, 0.3, 0.6), abs=1e-5)
        expected = np.linalg.norm(true * (1 - AXES), axis=1) / np.linalg.norm(true, axis=1)
        assert row.abs_rel == pytest.approx(expected.mean(), abs=1e-4)
        assert row.n_depth == pytest.approx(len(true), abs=2)
    for where in ("LiDAR", "train, random"):
        exact = _of(rows, f"axes × per_axis_l1 ({where})")
        for row in exact.values():
            assert (row.scale_x, row.scale_y, row.scale_z) == pytest.approx(1 / AXES, rel=1e-5)
            assert row.abs_rel < 1e-5
            assert row.transform_m < 0.05
    for heuristic, norms in (("mean_per_axis_l2", "l2"), ("similarity", "umeyama")):
        for (anchor, query), row in _of(rows, f"axes × {heuristic} (LiDAR)").items():
            true = scanned_m(_number(anchor))
            assert row.scale_x == row.scale_y == row.scale_z
            if norms == "l2":
                assert row.scale_x == pytest.approx(
                    np.linalg.norm(true, axis=0).sum() / np.linalg.norm(true * AXES, axis=0).sum(), rel=1e-4
                )
            left = true * AXES * row.scale_x
            assert row.abs_rel == pytest.approx(abs_rel(left, true), abs=1e-4)
            axes = (row.abs_rel_x, row.abs_rel_y, row.abs_rel_z)
            assert axes == pytest.approx(abs_rel_axes(left, true).tolist(), abs=1e-3)
            assert row.abs_rel > 0.1
            assert row.transform_m > exact[anchor, query].transform_m


def test_smooth_errors_remain(rows: list[Row]) -> None:
    for heuristic in ("per_axis_l1", "similarity"):
        assert all(row.abs_rel > 0.05 for row in _of(rows, f"smooth × {heuristic} (LiDAR)").values())


def test_table_ii_is_what_the_closed_form_says(corner: Path, rows: list[Row]) -> None:
    """Of all ten pairs, as printed: (MTE, AbsRel); None where geometry gives no closed form."""
    pairs = list(_of(rows, ORACLE))
    half_m = float(np.median([_baseline_m(pair) for pair in pairs])) / 2
    scans = [scanned_m(_number(anchor)) for anchor, _ in pairs]
    one_scale = [np.linalg.norm(p, axis=0).sum() / np.linalg.norm(p * AXES, axis=0).sum() for p in scans]
    axes, isotropic = (
        float(np.median([abs_rel(p * AXES * s, p) for p, s in zip(scans, scales, strict=True)]))
        for scales in (np.ones(len(scans)), one_scale)
    )
    columns = np.arange(0, WIDTH, 4)
    smooth = float(np.abs(0.25 * np.cos(np.pi * columns / WIDTH)).mean())
    expected = {
        ORACLE: (0.0, None),
        "half": (half_m, 0.5),
        "half × per_axis_l1 (LiDAR)": (0.0, 0.0),
        "half × similarity (LiDAR)": (0.0, 0.0),
        "axes": (None, axes),
        "axes × per_axis_l1 (LiDAR)": (0.0, 0.0),
        "axes × per_axis_l1 (train, random)": (0.0, 0.0),
        "axes × mean_per_axis_l2 (LiDAR)": (None, isotropic),
        "smooth": (None, smooth),
    }
    text = (corner / "out" / "tables.md").read_text().split("Table II: median errors, all valid pairs")[1]
    lines = (line.strip("| ").split(" | ") for line in text.splitlines()[4:] if line.startswith("| "))
    printed = {line[0]: (float(line[3].split(" [")[0]), line[7]) for line in lines if len(line) == 8}
    for depth, (mte_m, relative) in expected.items():
        assert mte_m is None or printed[depth][0] == pytest.approx(mte_m, abs=0.02), depth
        assert (
            printed[depth][1] == "–"
            if relative is None
            else float(printed[depth][1]) == pytest.approx(relative, abs=2e-3)
        ), depth
    assert isotropic > 0.1
    assert float(printed["smooth × per_axis_l1 (LiDAR)"][1]) > 0.05


def test_tables_are_queries_on_the_rows(corner: Path, rows: list[Row]) -> None:
    text = (corner / "out" / "tables.md").read_text()
    names = ("I:", "II", "III", "IV:", "V:", "VI:", "VII:", "VIII", "IX")
    for name in (f"Table {number}" for number in names):
        assert name in text
    assert "| corner0, axes, all valid pairs | 10 | 2.000 (0.0000) | 1.429 (0.0000) | 2.500 (0.0000) |" in text
    assert "| corner0 | 1/1 | 2 | 20 | 10 | 10 |" in text
    assert "beyond 0.1 m" in text
    assert "too short" in text  # not split by place, and said so
    median = np.median([row.transform_m for row in _of(rows, "half").values()])
    line = next(line for line in text.split("all valid pairs, those")[1].splitlines() if line.startswith("| half |"))
    assert f"{median:.3f} [" in line
    assert {row.random_set for row in rows} == {"train", "val", "test1", ""}  # one is left by rounding
    names = {path.name for path in (corner / "out").iterdir()}
    assert {"report.html", "table_2_test1.tex", "figure_3.png", "figure_8_corner0.svg"} <= names
    assert set(FIGURES) == {
        "figure_3", "figure_7_corner0", "figure_8_corner0",
        *(f"figure_{number}_corner0_{name}" for number in (5, 15) for name in ("half", "axes", "smooth")),
    }  # fmt: skip


def test_figure_5_and_8_show_the_pair(corner: Path) -> None:
    """Of points at 0.4 of their depth the scale of the axis makes the scan's again."""
    shown = panels(FIGURES["figure_5_corner0_axes"])
    raw, scaled = (shown[title].images[0].get_array() for title in ("axes, raw", "axes, scaled per axis"))
    np.testing.assert_allclose(scaled, raw / AXES[2], rtol=1e-4)
    scan = np.asarray(shown[ORACLE].collections[0].get_array())
    assert np.median(scan) == pytest.approx(np.median(np.asarray(scaled)), rel=0.02)
    assert 10 < len(shown["verified matches, anchor and query"].lines) <= 60
    every = panels(FIGURES["figure_8_corner0"])
    assert {ORACLE, "half", "axes", "smooth"} <= set(every)
    np.testing.assert_allclose(every["half"].images[0].get_array(), raw / AXES[2] / 2, rtol=1e-4)


def test_figure_3_shows_the_drive(corner: Path, rows: list[Row]) -> None:
    (axes,) = panels(FIGURES["figure_3"]).values()
    drawn = {line.get_label(): line.get_xydata() for line in axes.lines}
    forward_left_m = np.array([[place(number)[1], -place(number)[0]] for number in range(N_IMAGES)])
    np.testing.assert_allclose(drawn["all images"], forward_left_m, atol=1e-6)
    assert len(drawn["queries"]) == len({row.query_id for row in rows})
    assert len(axes.lines) == 3 + 2 * N_IMAGES  # and one for every pair


def test_data_that_several_networks_were_trained_on_are_those_of_the_thesis() -> None:
    sets, shared = training_tables()
    assert [row[0] for row in sets.rows] == list(shared.headings[1:])
    ticks = {row[0]: "".join(row[1:]) for row in shared.rows}
    assert ticks == {
        "BlendedMVS": "✓✓✓✓", "TartanAir": "✓✓✓✓", "IRS": "–✓✓✓", "Virtual KITTI": "✓–✓✓", "MegaDepth": "✓✓––",
        "Hypersim": "––✓✓", "HRWSI": "–✓✓–", "ARKitScenes": "✓–✓–", "UnrealStereo4K": "✓–✓–",
        "ScanNet/ScanNet++": "✓–✓–", "DIML": "–✓✓–",
    }  # fmt: skip


def test_a_pair_has_as_many_verified_matches_as_the_matcher_declares(
    corner: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when photos are localised."""
    settings = load_settings(corner / "geocorrect.toml").settings
    photos = photos_of(read_drive(corner / "drives" / "corner0", 0))
    pair = SplitPair(
        rows[0].anchor_ids, rows[0].query_id, "", 0, score=100, is_valid=True, matches_forward=100, inliers_forward=100,
        matches_backward=100, inliers_backward=100, distance_m=1.0, turn_deg=0.0, gap_s=0.0, anchor_drive="",
        query_drive="",
    )  # fmt: skip
    mined = Mined((pair,), 1, {}, (), (), 0.0)
    verified = []
    for enough in (0, 10_000):
        monkeypatch.setattr(vbr_run, "build_matcher", lambda _, n=enough: DeclaredMatcher(build_matcher(settings), n))
        verified.append(len(vbr_run.DriveEvaluation(settings, "corner0", photos, mined, {}).shown(pair).anchor_px))
    assert verified[0] > 50
    assert verified[1] == 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    calls: list[str] = []
    observe = vbr_run.observe
    monkeypatch.setattr(
        vbr_run, "observe", lambda query, *rest: (calls.append(query.image_id), observe(query, *rest))[1]
    )
    return calls


def test_a_second_run_computes_only_what_changed(
    corner: Path, rows: list[Row], counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "pictures", lambda *_: [])  # they take the longest and depend on the rows alone
    (corner / "out" / "table.parquet").unlink()
    assert run(_command(corner)) == 0
    assert counted == []
    assert repr(read_table(corner / "out" / "table.parquet")) == repr(rows)


def _copy(corner: Path, folder: Path) -> Path:
    shutil.copytree(corner, folder, ignore=shutil.ignore_patterns("out"))
    return folder


def test_bad_input_is_said_and_nothing_is_written(
    corner: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = _copy(corner, tmp_path / "bad")
    ranges = bad / "ranges.json"
    ranges.write_text('[{"drive": "corner0", "anchors": [0, 2], "queries": [[2, 4]]}]')
    (bad / "none").mkdir()
    cases = [
        (_command(bad, "--ranges", str(ranges)), "corner0:0-2 and corner0:2-4 overlap"),
        (_command(bad, "--prediction", f"half={bad / 'half'}"), "given twice"),
        (_command(bad, "--prediction", "none=nowhere"), "NAME=FOLDER"),
        ([*_command(bad)[:4], str(bad / "none"), *_command(bad)[5:]], "no VBR drive"),
    ]
    for words, message in cases:
        assert run(words) == 3, message
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (bad / "out").exists()
    write_prediction(bad / "axes", 0, np.ones((HEIGHT // 2, WIDTH // 2, 3)))
    assert run(_command(bad)) == 3
    assert "the anchor's image" in " ".join(capsys.readouterr().err.split())
    (bad / "axes" / f"{image_id(0)}.npy").unlink()
    assert run(_command(bad)) == 3
    assert "no such depth file" in capsys.readouterr().err
    assert [path.name for path in (bad / "out").iterdir()] == ["journal.jsonl"]
    assert run(_command(bad, "--min-score", "9999")) == 3
    assert "none of 20 candidate pairs is valid" in " ".join(capsys.readouterr().err.split())
    shutil.rmtree(bad / "drives" / "corner0" / "ouster_points")
    shutil.rmtree(bad / "out")
    assert run(_command(bad)) == 3
    assert "no laser scans" in capsys.readouterr().err
    assert not (bad / "out").exists()
