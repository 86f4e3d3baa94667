"""Mining in a world of two parallel streets with known overlap; splits by their properties and the thesis' Table I."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from support.depth_world import write_depth_world

from geocorrect.__main__ import run
from geocorrect.errors import InputError
from geocorrect.evaluate.mining.candidates import (
    CandidateOptions,
    Photos,
    candidates_of_ranges,
    find_candidates,
    read_ranges,
)
from geocorrect.evaluate.mining.mine import MinedPair, MiningOptions, mine
from geocorrect.evaluate.mining.run import SplitPair
from geocorrect.evaluate.mining.splits import SplitOptions, leaks, place_split, random_split
from geocorrect.evaluate.table import read_table
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.records import Anchor, Matches

NORTH = Rotation.from_matrix(np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).T)
CAMERA = Camera.pinhole(512, 384, 300.0, 300.0, 255.5, 191.5)
START = datetime(2024, 5, 1, tzinfo=UTC)
STEPS = 6
OPTIONS = MiningOptions(keep=2, min_score=30)


def _anchor(number: int, east_m: float, north_m: float, time_s: float) -> Anchor:
    pose = Pose(NORTH, [east_m, north_m, 1.5])
    when = START + timedelta(seconds=time_s)
    return Anchor(f"p{number:02d}", "set", Path(f"{number}.png"), CAMERA, pose, "a", captured_at=when, drive_id="drive")


@cache
def _streets() -> Photos:
    """Street A (east 0) is driven at 0 s and at 200 s, 1 m beside; street B (east 20) at 100 s; a photo every 8 m."""
    visits = [(0.0, 0.0), (20.0, 100.0), (1.0, 200.0)]
    anchors = [
        _anchor(STEPS * visit + step, east_m, 8.0 * step, start_s + step)
        for visit, (east_m, start_s) in enumerate(visits)
        for step in range(STEPS)
    ]
    return Photos.of(anchors, {anchor.id: 0.0 for anchor in anchors})


@cache
def _points(street: int) -> np.ndarray:
    """Façade points on both sides of a street, 12 per metre of street."""
    random = np.random.default_rng(street)
    n = 1200
    side = random.choice([-6.0, 6.0], n)
    return np.column_stack([20.0 * street + side, random.uniform(0, 100, n), random.uniform(0, 8, n)])


@cache
def _visible(photos: Photos, row: int) -> dict[int, np.ndarray]:
    """Pixels of the points that a photo sees between 6 and 40 m ahead."""
    east, north, _ = photos.enu_m[row]
    points = _points(round(east / 20))
    px, inside = CAMERA.project(photos.anchors[row].world_from_cam.inverse().apply(points))
    ahead = points[:, 1] - north
    seen = inside & CAMERA.contains(px) & (ahead > 6) & (ahead < 40)
    return {int(i): px[i] for i in np.flatnonzero(seen)}


class KnownOverlap:
    """Exact matches of what two photos both see; of different streets 20 random ones. A pixel says which photo.

    With the later photo first it misses every fifth match, so that the orders differ.
    """

    fingerprint = "known-overlap"

    def __init__(self, photos: Photos) -> None:
        self.photos, self.calls = photos, 0

    def match(self, query, anchors):  # type: ignore[no-untyped-def]
        self.calls += len(anchors)
        return [self._pair(int(query[0, 0, 0]), int(anchor[0, 0, 0])) for anchor in anchors]

    def _pair(self, first: int, second: int) -> Matches:
        one, two = _visible(self.photos, first), _visible(self.photos, second)
        if round(self.photos.enu_m[first, 0] / 20) != round(self.photos.enu_m[second, 0] / 20):
            px = np.random.default_rng([first, second]).uniform(0, 380, (2, 20, 2))
            return Matches(px[0], px[1], np.ones(20))
        both = sorted(one.keys() & two.keys())
        if first > second:
            both = [i for n, i in enumerate(both) if n % 5]
        a, b = (np.array([side[i] for i in both], float).reshape(-1, 2) for side in (one, two))
        return Matches(a, b, np.ones(len(both)))


def _read(photos: Photos):  # type: ignore[no-untyped-def]
    rows = {anchor.id: row for row, anchor in enumerate(photos.anchors)}

    def read(anchor: Anchor) -> np.ndarray:
        pixels = np.zeros((384, 512, 3), np.uint8)
        pixels[0, 0, 0] = rows[anchor.id]
        return pixels

    return read


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the whole world, mined once; another number kept or another bar asks for no match anew."""
    folder = tmp_path_factory.mktemp("mined")
    _mined(_streets(), folder)
    return folder


def _mined(photos: Photos, folder: Path, options: MiningOptions = OPTIONS) -> tuple[list[MinedPair], KnownOverlap]:
    matcher = KnownOverlap(photos)
    candidates = find_candidates(photos, CandidateOptions(radius_m=30.0))
    return mine(photos, candidates, matcher, _read(photos), options, folder / "journal.jsonl"), matcher


def test_no_valid_pair_across_streets_and_the_best_are_kept(journal: Path) -> None:
    photos = _streets()
    pairs, _ = _mined(photos, journal)
    street = {anchor.id: round(anchor.world_from_cam.translation_m[0] / 20) for anchor in photos.anchors}
    assert any(street[p.anchor_id] != street[p.query_id] for p in pairs)  # 20 m apart: they are candidates
    assert all(street[p.anchor_id] == street[p.query_id] for p in pairs if p.is_valid)
    assert sum(p.is_valid for p in pairs) >= 12
    assert all(p.gap_s >= 10 for p in pairs)
    rows = {anchor.id: row for row, anchor in enumerate(photos.anchors)}
    for query in range(STEPS):  # first visit of street A; its candidates of the other visit of it
        seen = _visible(photos, query)
        overlap = {}
        for other in range(2 * STEPS, 3 * STEPS):
            if np.linalg.norm(photos.enu_m[query] - photos.enu_m[other]) <= 30:
                n = len(seen.keys() & _visible(photos, other).keys())
                overlap[other] = n - len(range(0, n, 5))  # the smaller of the orders
        best = sorted(overlap, key=lambda other: (-overlap[other], other))[:2]
        kept = [p for p in pairs if rows[p.query_id] == query and p.range_name == "set/drive#1"]
        assert [rows[p.anchor_id] for p in kept] == best
        assert [p.score for p in kept] == [overlap[other] for other in best]
        assert [p.rank for p in kept] == [0, 1]


def test_the_score_does_not_depend_on_the_order(journal: Path) -> None:
    pairs, again = _mined(_streets(), journal, replace(OPTIONS, keep=99))
    score = {(p.anchor_id, p.query_id): p for p in pairs}
    assert len(score) > 50
    for (anchor, query), pair in score.items():
        other = score[query, anchor]
        assert (other.score, other.inliers_forward) == (pair.score, pair.inliers_backward)
    assert any(p.inliers_forward != p.inliers_backward for p in pairs if p.is_valid)
    assert again.calls == 0


@pytest.mark.long
def test_an_interrupted_mining_continues(journal: Path, tmp_path: Path) -> None:
    photos = _streets()
    candidates = find_candidates(photos, CandidateOptions(radius_m=30.0))
    orders = {frozenset((c.anchor, c.query)) for c in candidates}
    first, again = KnownOverlap(photos), KnownOverlap(photos)
    part = tmp_path / "part.jsonl"
    mine(photos, candidates, first, _read(photos), OPTIONS, part, stopped=lambda: first.calls >= 20)
    assert mine(photos, candidates, again, _read(photos), OPTIONS, part) == _mined(photos, journal)[0]
    assert first.calls + again.calls == 2 * len(orders)  # each order once
    other = KnownOverlap(photos)
    mine(photos, candidates[:3], other, _read(photos), replace(OPTIONS, max_epipolar_px=2.0, min_score=1), part)
    assert other.calls == 6  # another threshold: anew


def test_time_separates_visits() -> None:
    photos = _streets()
    far = find_candidates(photos, CandidateOptions(radius_m=30.0))
    names = {c.range_name for c in far if c.query == 0}
    assert names == {"set/drive#0", "set/drive#1"}
    consecutive = find_candidates(photos, CandidateOptions(radius_m=9.0, min_gap_s=0.0))
    assert {c.anchor for c in consecutive if c.query == 1} == {0, 2, 2 * STEPS, 2 * STEPS + 1, 2 * STEPS + 2}
    turned = replace(photos, heading_deg=np.where(np.arange(3 * STEPS) >= 2 * STEPS, 180.0, 0.0))
    assert not [c for c in find_candidates(turned, CandidateOptions(radius_m=9.0)) if c.query < STEPS]
    steps = find_candidates(photos, CandidateOptions(radius_m=30.0, query_step=2, anchor_step=3))
    assert {c.query % 2 for c in steps} == {0}
    assert {c.anchor % 3 for c in steps} == {0}


def _ranges(path: Path, **entry: object) -> Path:
    path.write_text(json.dumps([{"drive": "drive", "anchors": [0, 3], "queries": [[12, 15]]} | entry]))
    return path


def test_given_ranges(tmp_path: Path) -> None:
    photos = _streets()
    ranges = read_ranges(_ranges(tmp_path / "r.json"))
    pairs = candidates_of_ranges(photos, ranges, CandidateOptions(query_step=2))
    assert {(c.anchor, c.query) for c in pairs} == {(a, q) for a in range(4) for q in (12, 14)}
    assert {c.range_name for c in pairs} == {"drive:0-3"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"queries": [[3, 9]]}, "drive:0-3 and drive:3-9 overlap"),
        ({"queries": [[12, 14], [14, 16]]}, "overlap"),
        ({"queries": [[9, 3]]}, "no range"),
        ({"queries": None}, "entry 0"),
        ({"drive": "elsewhere"}, "no such photos"),
    ],
)
def test_bad_ranges_are_refused(tmp_path: Path, entry: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        candidates_of_ranges(_streets(), read_ranges(_ranges(tmp_path / "r.json", **entry)), CandidateOptions())


def test_no_candidates_and_no_valid_pair_are_said(journal: Path, tmp_path: Path) -> None:
    photos = _streets()
    with pytest.raises(InputError, match="no candidate pairs"):
        mine(photos, [], KnownOverlap(photos), _read(photos), OPTIONS, tmp_path / "j")
    assert not (tmp_path / "j").exists()
    with pytest.raises(InputError, match=r"none of \d+ candidate pairs is valid: the best has \d+ inliers"):
        _mined(photos, journal, replace(OPTIONS, min_score=5000))


# --- splits ----------------------------------------------------------------------------------------------------


def _pair(anchor: str, query: str, score: int = 900) -> MinedPair:
    return MinedPair(anchor, query, "r", 0, score, score > 200, 0, score, 0, score, 1.0, 0.0, 99.0, "d", "d")


@pytest.mark.parametrize(
    ("n_valid", "n_strong", "sizes"),
    [(2485, 1168, (817, 175, 175, 1492)), (2030, 1291, (903, 193, 193, 932)), (1992, 869, (608, 130, 130, 1253))],
)
def test_random_split_has_the_sizes_of_the_thesis(n_valid: int, n_strong: int, sizes: tuple[int, ...]) -> None:
    """Its Table I for Spagna, Ciampino 1 and 2; test2 contains test1."""
    pairs = [_pair(f"a{i}", f"q{i}", 701 if i < n_strong else 700) for i in range(n_valid)]
    pairs.append(_pair("a", "q", 200))  # not valid
    split = random_split(pairs, SplitOptions())
    assert tuple(len(split.sets[name]) for name in ("train", "val", "test1", "test2")) == sizes
    parts = [set(split.sets[name]) for name in ("train", "val", "test1")]
    assert len(set.union(*parts)) == sum(map(len, parts)) == n_strong - split.n_dropped
    assert parts[2] < set(split.sets["test2"])
    assert split.sets == random_split(pairs, SplitOptions()).sets
    assert split.sets != random_split(pairs, SplitOptions(seed=1)).sets


def _street_pairs(places: np.ndarray, reach_m: float) -> tuple[list[MinedPair], dict[str, np.ndarray]]:
    """All pairs of photos nearer than reach_m."""
    names = [f"p{i:03d}" for i in range(len(places))]
    near = np.linalg.norm(places[:, None] - places[None], axis=2) < reach_m
    pairs = [_pair(names[a], names[q]) for a, q in np.argwhere(near).tolist() if a != q]
    return pairs, {name: np.array([*place, 0.0]) for name, place in zip(names, places, strict=True)}


def _check(pairs: list[MinedPair], enu_m: dict[str, np.ndarray], options: SplitOptions) -> None:
    split = place_split(pairs, enu_m, options)
    photos = [{n for p in split.sets[name] for n in (p.anchor_id, p.query_id)} for name in ("train", "val", "test1")]
    for i, first in enumerate(photos):
        assert first
        for second in photos[i + 1 :]:
            assert not first & second
            apart = [np.linalg.norm(enu_m[a][:2] - enu_m[b][:2]) for a in first for b in second]
            assert min(apart) >= options.buffer_m
    n = sum(len(each) for each in split.sets.values())
    assert n + split.n_dropped == len(pairs)


def test_places_are_not_shared_on_a_long_street_and_round_a_block() -> None:
    along = np.linspace(0, 1000, 120)
    street = np.column_stack([along, 3 * np.sin(along)])
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    block = 200 * np.column_stack([np.cos(angle), np.sin(angle)])
    for places in (street, block):
        for seed in (0, 1):
            _check(*_street_pairs(places, 25.0), SplitOptions(seed=seed))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(5, 40), st.floats(0, 80), st.floats(10, 60))
def test_places_are_never_shared(seed: int, cell_m: float, buffer_m: float, reach_m: float) -> None:
    random = np.random.default_rng(seed)
    steps = np.cumsum(random.normal(0, 12, (80, 2)) + np.array([8, 0]), axis=0)
    pairs, enu_m = _street_pairs(steps, reach_m)
    options = SplitOptions(cell_m=cell_m, buffer_m=buffer_m, seed=seed)
    try:
        place_split(pairs, enu_m, options)
    except InputError:
        assume(False)
    _check(pairs, enu_m, options)


def test_the_leak_is_what_is_shared() -> None:
    """100 photos along 1 km, every pair within 25 m: at random every photo of the test was seen in training."""
    pairs, enu_m = _street_pairs(np.column_stack([np.linspace(0, 1000, 100), np.zeros(100)]), 25.0)
    at_random, by_place = random_split(pairs, SplitOptions()), place_split(pairs, enu_m, SplitOptions())
    test1, test2 = leaks(at_random, enu_m)
    assert (test1.test, test2.test) == ("test1", "test2")
    assert test1.shared_anchors >= 0.8 * test1.anchors
    assert test1.nearest_m == 0.0
    (place,) = leaks(by_place, enu_m)
    assert (place.shared_anchors, place.shared_queries) == (0, 0)
    assert place.nearest_m > 60.0
    (few,) = leaks(
        replace(by_place, sets={"train": (_pair("p000", "p001"),), "test1": (_pair("p001", "p000"),)}), enu_m
    )
    assert (few.anchors, few.shared_anchors, few.queries, few.shared_queries) == (1, 0, 1, 0)


def test_a_short_drive_is_not_split() -> None:
    pairs, enu_m = _street_pairs(np.column_stack([np.linspace(0, 100, 20), np.zeros(20)]), 25.0)
    with pytest.raises(InputError, match="too short: lower --buffer-m"):
        place_split(pairs, enu_m, SplitOptions())
    with pytest.raises(InputError, match="do not fill three sets"):
        random_split(pairs[:3], SplitOptions())


@pytest.mark.long
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Four anchors in front of a corner, real SIFT: pairs are stored with both orders; a bar too high is said."""
    world = write_depth_world(tmp_path, n_anchors=4)
    monkeypatch.chdir(tmp_path)
    arguments = ["--format", "table", "--crs", "EPSG:4979", "--height-reference", "ellipsoid", "--catalog", "c.gpkg"]
    assert run(["anchors", "add", str(world.table), *arguments]) == 0
    command = ["evaluate", "mine", "--catalog", "c.gpkg", "--out", "out"]
    assert run(command) == 3
    assert "no candidate pairs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run([*command, "--min-gap-s", "0", "--min-score", "9999"]) == 3
    assert "none of 12 candidate pairs is valid" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["journal.jsonl"]
    assert run([*command, "--min-gap-s", "0", "--min-score", "50", "--keep", "2", "--strong-score", "50"]) == 0
    pairs: list[SplitPair] = read_table(tmp_path / "out" / "pairs.parquet", SplitPair)
    assert len(pairs) == 8
    neighbours = {(p.anchor_id, p.query_id) for p in pairs if p.rank == 0}
    assert all(abs(int(a[1]) - int(q[1])) == 1 for a, q in neighbours)
    assert {p.random_set for p in pairs} == {"train", "val", "test1"} | {p.random_set for p in pairs}
    printed = capsys.readouterr()
    assert "Table VI" in printed.out
    assert "too short" in printed.err
    assert (tmp_path / "out" / "report.html").is_file()
