"""The demo's score, against numbers worked out by hand; and its picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from geocorrect.demo.summary import MapView, Outcome, before_after, summarise
from geocorrect.demo.world.drives import FRAME
from geocorrect.demo.world.truth import DemoTruth, PhotoTruth
from geocorrect.errors import Reason, Status
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.records import Correction, Evidence, Rejection

PLACES = {"a": (0.0, 0.0, True), "b": (20.0, 1.0, True), "c": (40.0, -1.0, True), "d": (60.0, 0.0, True)}
ASTRAY = {"x": (30.0, 2.0, False), "y": (35.0, 2.0, False)}


def photo(image_id: str, east: float, north: float, localisable: bool) -> PhotoTruth:
    pose = Pose(rotation_from_heading(350.0), np.array([east, north, 1.5]))
    lon, lat, height = (float(v) for v in FRAME.wgs84_from_enu(pose.translation_m))
    reported_lon, reported_lat, _ = FRAME.wgs84_from_enu(pose.translation_m + np.array([3.0, 4.0, 0.0]))
    kind = "street" if localisable else "sky"
    heading = FRAME.heading_deg(pose)
    return PhotoTruth(
        image_id,
        pose,
        lon,
        lat,
        height,
        heading,
        localisable,
        kind,
        "phone",
        "s",
        float(reported_lon),
        float(reported_lat),
    )


@pytest.fixture
def truth() -> DemoTruth:
    photos = {key: photo(key, *value) for key, value in (PLACES | ASTRAY).items()}
    square = np.array([[-5.0, 8], [70, 8], [70, 20], [-5, 20]])
    anchors = np.column_stack([np.linspace(0, 60, 9), np.zeros(9), np.full(9, 1.4)])
    return DemoTruth(FRAME, photos, anchors, (square, square - [0, 28]), (square[:4] * 0.05,))


def found(truth: DemoTruth, image_id: str, error_m: tuple[float, float, float], turn_deg: float = 0.1) -> Outcome:
    true = truth.photos[image_id]
    lon, lat, height = FRAME.wgs84_from_enu(true.world_from_cam.translation_m + np.array(error_m))
    return Outcome(image_id, float(lon), float(lat), float(height), (true.heading_deg + turn_deg) % 360)


@pytest.fixture
def outcomes(truth: DemoTruth) -> list[Outcome]:
    return [
        found(truth, "a", (0.03, 0.0, 0.04), -0.2),
        found(truth, "b", (0.0, 0.0, 0.2), 0.5),
        found(truth, "c", (0.0, 1.2, 0.0), 20.0),
        Outcome("d", reason="too_few_inliers"),
        Outcome("x", reason="too_few_matches"),
        Outcome("y", reason="review"),
    ]


def test_the_score_is_exact(truth: DemoTruth, outcomes: list[Outcome]) -> None:
    places = {name: tuple(map(float, FRAME.wgs84_from_enu(truth.photos[name].world_from_cam.translation_m + shift)[:2]))
              for name, shift in (("a", (3.0, 0.0, 0.0)), ("x", (0.0, 9.0, 0.0)))}  # fmt: skip
    score = summarise(truth, outcomes, 12.34, places)
    assert list(score) == [
        "n_images", "n_localisable", "n_accepted", "n_review", "n_rejected", "reasons",
        "reported_median_m", "computed_median_m",
        "corrected_median_m", "corrected_median_low_m", "corrected_median_high_m", "corrected_p90_m", "corrected_max_m",
        "heading_median_deg", "false_accepts", "wall_s",
    ]  # fmt: skip
    assert (score["n_images"], score["n_localisable"]) == (6, 4)
    assert (score["n_accepted"], score["n_review"], score["n_rejected"]) == (3, 1, 2)
    assert score["reasons"] == {"too_few_inliers": 1, "too_few_matches": 1}
    assert score["reported_median_m"] == pytest.approx(5.0, abs=1e-4)
    assert score["computed_median_m"] == pytest.approx(3.0, abs=1e-4), "of localisable photos"
    assert score["corrected_median_m"] == pytest.approx(0.2, abs=1e-6)
    assert score["corrected_p90_m"] == pytest.approx(0.2 + 0.8 * 1.0, abs=1e-6)
    assert score["corrected_max_m"] == pytest.approx(1.2, abs=1e-6)
    assert np.isnan(score["corrected_median_low_m"]), "three photos cannot enclose a median with 95 %"
    assert score["heading_median_deg"] == pytest.approx(0.5, abs=1e-6)
    assert score["false_accepts"] == 1
    assert score["wall_s"] == 12.3


def test_an_accepted_photo_of_elsewhere_is_a_false_accept(truth: DemoTruth, outcomes: list[Outcome]) -> None:
    wrong = [found(truth, "x", (200.0, 0.0, 0.0)) if outcome.image_id == "x" else outcome for outcome in outcomes]
    score = summarise(truth, wrong, 1.0)
    assert score["false_accepts"] == 2
    assert score["corrected_median_m"] == summarise(truth, outcomes, 1.0)["corrected_median_m"]


def test_nothing_accepted_has_no_median(truth: DemoTruth) -> None:
    score = summarise(truth, [Outcome(key, reason="no_anchor_nearby") for key in truth.photos], 1.0)
    assert score["n_accepted"] == score["false_accepts"] == 0
    assert np.isnan(score["corrected_median_m"])


def test_every_photo_needs_exactly_one_outcome(truth: DemoTruth, outcomes: list[Outcome]) -> None:
    with pytest.raises(ValueError, match="5 outcomes"):
        summarise(truth, outcomes[:-1], 1.0)
    with pytest.raises(ValueError, match="7 outcomes"):
        summarise(truth, [*outcomes, outcomes[0]], 1.0)
    with pytest.raises(ValueError, match="outcome of a"):
        Outcome("a")


def test_outcomes_come_from_results(truth: DemoTruth) -> None:
    true = truth.photos["b"]
    pose = true.world_from_cam.with_covariance(np.eye(6) * 1e-4)
    outcome = Outcome.of(Correction("b", pose, Status.ACCEPTED, 0.02, 0.1, Evidence()), FRAME)
    assert outcome.accepted
    assert (outcome.lon_deg, outcome.lat_deg, outcome.height_m) == pytest.approx(
        (true.lon_deg, true.lat_deg, true.height_m), abs=1e-9
    )
    assert outcome.heading_deg == pytest.approx(true.heading_deg)
    rejected = Outcome.of(Rejection("b", Reason.TOO_FEW_INLIERS), FRAME)
    assert (rejected.accepted, rejected.reason) == (False, "too_few_inliers")


@pytest.mark.long
def test_the_picture_is_drawn_and_whole(truth: DemoTruth, outcomes: list[Outcome], tmp_path: Path) -> None:
    path = tmp_path / "before_after.png"
    before_after(truth, outcomes, path)
    picture = cv2.imread(str(path))
    assert picture.shape[1] > 2000
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)[::7].tolist()}
    for hexadecimal in ("#1d4ed8", "#c2410c", "#1f2937"):  # corrected, reported, rejected
        wanted = np.array([int(hexadecimal[k : k + 2], 16) for k in (5, 3, 1)])
        assert min(np.abs(np.array(colour) - wanted).max() for colour in colours) < 24
    assert list(tmp_path.iterdir()) == [path]
    before_after(truth, [replace(o, reason="diverged") for o in outcomes], path)
    assert cv2.imread(str(path)).shape == picture.shape


def test_the_map_turns_the_street_level() -> None:
    along = np.stack([np.linspace(0, 50, 20), np.linspace(0, 30, 20)], axis=1)
    turned = MapView.fitted_to(along).turned(along)
    assert np.abs(turned[:, 1]).max() < 1e-9
    assert np.ptp(turned[:, 0]) == pytest.approx(np.hypot(50, 30))
    assert turned[-1, 0] > turned[0, 0]
