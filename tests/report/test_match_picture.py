"""The picture of a matched pair: sizes, colours, depth, and nothing half-written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from geocorrect.errors import InputError, OutputError
from geocorrect.records import Anchor, DepthMap, Matches
from geocorrect.report.pictures.match_picture import (
    INLIER,
    OUTLIER,
    PANEL_HEIGHT_PX,
    MatchedPair,
    draw,
    match_pair,
    write_picture,
)

WIDTH, HEIGHT = 400, 300


class Known:
    """A matcher that knows a sideways step past points at many depths, and adds wrong matches."""

    fingerprint = "known"

    def match(self, query: np.ndarray, anchors: Sequence[np.ndarray]) -> list[Matches]:
        random = np.random.default_rng(0)
        focal, centre = 0.85 * WIDTH, np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
        points = random.uniform((-6, -4, 8), (6, 4, 30), (120, 3))
        anchor_px = focal * points[:, :2] / points[:, 2:] + centre
        moved = points - [1.0, 0.2, 0.5]
        query_px = focal * moved[:, :2] / moved[:, 2:] + centre
        query_px[100:] = random.uniform(0, (WIDTH - 1, HEIGHT - 1), (20, 2))
        inside = ((anchor_px > 0) & (anchor_px < (WIDTH - 1, HEIGHT - 1))).all(axis=1)
        return [Matches(query_px[inside], anchor_px[inside], np.ones(inside.sum()))]


class Plane:
    """A depth source that knows half of a plane."""

    fingerprint = "plane"

    def depth(self, anchor: Anchor, image: np.ndarray) -> DepthMap:
        z_m = np.full(image.shape[:2], 10.0, np.float32)
        z_m[:, : image.shape[1] // 2] = np.nan
        return DepthMap("plane", is_oracle=False, z_m=z_m)


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "a.png", tmp_path / "b.png"
    for path in paths:
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    return paths


def test_inliers_are_told_from_outliers_and_counted(photos: tuple[Path, Path]) -> None:
    pair = match_pair(*photos, Known(), Plane())
    summary = pair.summary()
    n_true = int((pair.inliers[: len(pair.matches) - 20]).sum())
    assert n_true >= 0.95 * (len(pair.matches) - 20)
    assert pair.inliers[-20:].sum() <= 6
    assert summary["n_inliers"] == int(pair.inliers.sum())
    assert summary["depth_known_share"] == pytest.approx(0.5)
    assert summary["depth_median_m"] == pytest.approx(10.0)


def test_picture_has_three_panels_and_both_colours(photos: tuple[Path, Path], tmp_path: Path) -> None:
    pair = match_pair(*photos, Known(), Plane())
    picture = draw(pair)
    panel_width = round(WIDTH * PANEL_HEIGHT_PX / HEIGHT)
    assert picture.shape == (PANEL_HEIGHT_PX, 3 * panel_width, 3)
    for colour in (INLIER, OUTLIER):
        assert (picture == colour).all(axis=2).sum() > 50
    depth_panel = picture[:, 2 * panel_width :]
    assert (depth_panel[:, : panel_width // 2 - 2] == 128).all()
    assert not (depth_panel[:, panel_width // 2 + 2 :] == 128).all(axis=2).any()
    write_picture(picture, tmp_path / "out.png")
    again = cv2.cvtColor(cv2.imread(str(tmp_path / "out.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(again, picture)


def test_without_matches_and_depth() -> None:
    photo = np.zeros((30, 40, 3), np.uint8)
    pair = MatchedPair(photo, photo, Matches.empty(), np.zeros(0, bool))
    assert draw(pair).shape == (PANEL_HEIGHT_PX, 2 * 720, 3)
    assert pair.summary()["depth"] is None


def test_wide_photos_are_stacked() -> None:
    photo = np.zeros((100, 400, 3), np.uint8)
    one = np.array([[200.0, 50.0]], np.float32)
    pair = MatchedPair(photo, photo, Matches(one, one, np.ones(1, np.float32)), np.ones(1, bool))
    picture = draw(pair)
    assert picture.shape == (540, 1080, 3)
    drawn = picture[..., 1] > 60  # antialiased: the line's full colour may lie between two columns
    assert drawn[140:400, 535:548].any(axis=1).all(), "a line from the upper to the lower photo"


def test_sparse_depth_is_drawn_as_dots() -> None:
    photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    samples = DepthMap("lidar", is_oracle=True, samples_px=[[100.0, 50.0]], samples_z_m=[7.0])  # type: ignore[arg-type]
    picture = draw(MatchedPair(photo, photo, Matches.empty(), np.zeros(0, bool), samples))
    panel = picture[:, 2 * 720 :]
    drawn = ~(panel == 128).all(axis=2)
    rows, columns = np.nonzero(drawn)
    assert abs(rows.mean() / PANEL_HEIGHT_PX - 50 / HEIGHT) < 0.01
    assert abs(columns.mean() / panel.shape[1] - 100 / WIDTH) < 0.01


def test_unreadable_photo_and_unwritable_picture(photos: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png"):
        match_pair(photos[0], tmp_path / "none.png", Known())
    picture = np.zeros((10, 10, 3), np.uint8)
    with pytest.raises(OutputError, match=r"ends in \.png or \.jpg"):
        write_picture(picture, tmp_path / "out.gif")
    with pytest.raises(OutputError, match="cannot be written"):
        write_picture(picture, tmp_path / "a.png" / "out.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
