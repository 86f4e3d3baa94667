"""What is due: exactly the photos whose own content or whose candidate anchors changed, on both back-ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.engine import make_url
from support import catalog_world as world
from support.batch_scene import anchor, correct_all, due, ids_between, in_process, photo, street
from support.postgis_fixture import database_from

from geocorrect.api.scene import AnchorSource, Scene
from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.config import Settings
from geocorrect.depth.options import DepthSection
from geocorrect.errors import DatabaseError, InputError
from geocorrect.jobs.plan import plan_run
from geocorrect.jobs.run import correct_due, run_batch
from geocorrect.jobs.tiles import read_pieces
from geocorrect.match.sift import ALGORITHM_VERSION
from geocorrect.records import AnchorNoise, Position
from geocorrect.retrieve.options import RetrieveOptions
from geocorrect.workers.stop import StopRequest

SETTINGS = in_process(Settings(retrieve=RetrieveOptions(radius_m=20.0, max_candidates=4)))
N = 60


def fill(url: str) -> None:
    """A street of which every photo has a result."""
    with Catalog.open(url) as opened:
        street(opened, N, N)
        correct_all(opened, SETTINGS)


@pytest.fixture(scope="module")
def on_file(empty_geopackage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copy(empty_geopackage, tmp_path_factory.mktemp("street")))
    fill(str(path))
    return path


@pytest.fixture(scope="module")
def on_server(empty_postgis: str, postgis_server_url: str) -> Iterator[str]:
    with database_from(postgis_server_url, empty_postgis) as url:
        fill(url)
        yield str(make_url(url).database)


@pytest.fixture(params=["geopackage", pytest.param("postgis", marks=pytest.mark.postgis)])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    """A copy of that street, to do with as one likes."""
    if request.param == "geopackage":
        with Catalog.open(str(shutil.copy(request.getfixturevalue("on_file"), tmp_path / "c.gpkg"))) as opened:
            yield opened
        return
    template, server = request.getfixturevalue("on_server"), request.getfixturevalue("postgis_server_url")
    with database_from(server, template) as url, Catalog.open(url) as opened:
        yield opened


def candidates(catalog: Catalog, settings: Settings = SETTINGS) -> dict[str, tuple[str, ...]]:
    """Photo → its candidate anchors, in order."""
    scene = Scene(settings, AnchorSource.of_catalog(catalog))
    return {
        image_id: tuple(pair.anchor_id for pair in scene.retriever.candidates(image_id, *scene.place_of(image)))
        for image_id, image in catalog.images().items()
    }


def test_what_a_check_found_makes_the_photos_of_its_anchors_due(catalog: Catalog) -> None:
    used = candidates(catalog)
    found = next(iter(next(iter(used.values()))))
    catalog.set_anchor_noise({found: AnchorNoise(0.01, 0.1, np.zeros((6, 6)))})
    assert due(catalog, SETTINGS) == {photo_id for photo_id, names in used.items() if found in names}


def test_unchanged_input_is_never_due_again(catalog: Catalog) -> None:
    assert due(catalog, SETTINGS) == set()
    summary = run_batch(plan_run(SETTINGS, catalog), catalog, StopRequest())
    (run,) = catalog.runs()
    assert (summary.n_due, summary.run_key, run.n_starts, run.generation) == (0, run.run_key, 1, 1)
    assert catalog.counts() == {"rejected": N}


def test_new_and_changed_photos_are_due_and_only_they(catalog: Catalog) -> None:
    catalog.upsert_images([photo("p900000", 7.0), replace(photo("p000003", 15.0, 2.0), sha256="0" * 64)])
    nowhere = replace(photo("p900001", 0.0), reported=None)
    catalog.upsert_images([nowhere])
    assert due(catalog, SETTINGS) == {"p900000", "p900001", "p000003"}
    correct_all(catalog, SETTINGS)
    assert due(catalog, SETTINGS) == set()
    # A photo that had a result got another one: a new generation, and the old result is still there.
    assert [run.generation for run in catalog.runs()] == [1, 2]
    history = catalog.results(ResultFilter(image_ids=["p000003"], active=False))
    assert [found.run_key for found in history] == [run.run_key for run in catalog.runs()]


def test_only_new_photos_go_on_in_the_same_run(catalog: Catalog) -> None:
    catalog.upsert_images([photo("p900000", 7.0)])
    correct_all(catalog, SETTINGS)
    (run,) = catalog.runs()
    assert (run.n_starts, run.n_due) == (2, 1)


@pytest.mark.parametrize(
    ("east_m", "north_m", "closer_to"),
    [(100.0, 4.0, range(18, 23)), (152.0, -6.0, range(30, 32)), (100.0, 19.0, range(0))],
)
def test_a_new_anchor_nearby_makes_exactly_those_due_whose_candidates_change(
    catalog: Catalog, east_m: float, north_m: float, closer_to: range
) -> None:
    """Photos that it is closer to than the fourth best of their anchors, which is 10 m away, 2 m beside."""
    before = candidates(catalog)
    catalog.upsert_anchors([anchor("new", east_m, north_m, "near-1")])
    after = candidates(catalog)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == ids_between(closer_to)
    assert due(catalog, SETTINGS) == changed
    assert all("new" in after[name] for name in changed)
    # Photos within the radius whose list was full of better ones stay as they are.
    near = {name for name in before if abs(int(name[1:]) * 5.0 - east_m) < 19.0}
    assert changed < near
    correct_all(catalog, SETTINGS)
    assert due(catalog, SETTINGS) == set()


def test_a_new_anchor_far_away_makes_nothing_due(catalog: Catalog) -> None:
    catalog.upsert_anchors([anchor("far", 50_000.0, 0.0, "near-1"), anchor("beside", 100.0, 23.0, "near-1")])
    assert due(catalog, SETTINGS) == set()


def test_a_new_alignment_makes_exactly_those_due_that_rest_on_it(catalog: Catalog) -> None:
    moved = [
        replace(found, alignment_id="far-2") for found in catalog.anchors().values() if found.alignment_id == "far-1"
    ]
    catalog.add_alignment(world.alignment("far-2"))
    assert due(catalog, SETTINGS) == set()  # nothing rests on it yet
    catalog.upsert_anchors(moved)
    theirs = {found.id for found in moved}
    expected = {name for name, ids in candidates(catalog).items() if theirs & set(ids)}
    assert due(catalog, SETTINGS) == expected
    assert ids_between(range(32, N)) <= expected
    assert not expected & ids_between(range(25))


def test_an_anchor_that_is_corrected_in_place_counts_as_changed(catalog: Catalog) -> None:
    old = catalog.anchors(["a00010"])["a00010"]
    pose = old.world_from_cam
    catalog.upsert_anchors([replace(old, world_from_cam=pose.with_covariance(pose.covariance * 4.0))])
    assert due(catalog, SETTINGS) == {name for name, ids in candidates(catalog).items() if "a00010" in ids}


def test_depth_from_neighbours_rests_on_the_neighbours_too(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"depth": DepthSection(source="triangulated")})
    with Catalog.open(str(tmp_path / "n.gpkg"), create=True) as catalog:
        street(catalog, N, N, step_m=3.0)
        correct_all(catalog, settings)
        assert due(catalog, settings) == set()
        before = candidates(catalog, settings)
        old = catalog.anchors(["a00010"])["a00010"]
        catalog.upsert_anchors([replace(old, sha256="0" * 64)])
        at_least = {name for name, ids in before.items() if "a00010" in ids}
        beside = {name for name, ids in before.items() if {"a00009", "a00011"} & set(ids)}
        assert at_least < due(catalog, settings)
        assert beside <= due(catalog, settings)
        assert len(due(catalog, settings)) < N // 2


def test_another_configuration_makes_everything_due_and_the_first_stays_done(catalog: Catalog) -> None:
    other = SETTINGS.model_copy(update={"retrieve": RetrieveOptions(radius_m=30.0)})
    assert len(due(catalog, other)) == N
    correct_all(catalog, other)
    assert due(catalog, SETTINGS) == set()


def test_going_back_to_earlier_anchors_is_a_change_too(catalog: Catalog) -> None:
    """The result in force rests on what was there last, not on what was there once."""
    old = catalog.anchors(["a00010"])["a00010"]
    for sha256 in ("0" * 64, old.sha256):
        catalog.upsert_anchors([replace(old, sha256=sha256)])
        assert len(due(catalog, SETTINGS)) >= 1
        correct_all(catalog, SETTINGS)
    assert [run.generation for run in catalog.runs()] == [1, 2, 3]
    assert due(catalog, SETTINGS) == set()


def test_a_killed_generation_is_gone_on_with(catalog: Catalog) -> None:
    catalog.upsert_anchors([anchor("new", 100.0, 4.0, "near-1")])
    n_due = len(due(catalog, SETTINGS))
    first = run_batch(plan_run(SETTINGS, catalog), catalog, StopRequest(), max_images=2)
    assert (first.n_due, first.n_computed) == (n_due, 2)
    second = run_batch(plan_run(SETTINGS, catalog), catalog, StopRequest())
    assert (second.run_key, second.n_computed) == (first.run_key, n_due - 2)
    runs = catalog.runs()
    assert [(run.generation, run.n_starts, run.finished_at is not None) for run in runs] == [(1, 1, True), (2, 2, True)]


def test_what_was_rolled_back_is_not_computed_again_behind_ones_back(catalog: Catalog) -> None:
    (run,) = catalog.runs()
    catalog.rollback(run.run_key, "wrong scene")
    assert due(catalog, SETTINGS) == set()
    catalog.upsert_images([photo("p900000", 7.0)])
    with pytest.raises(DatabaseError, match=r"was rolled back \(wrong scene\)"):
        correct_all(catalog, SETTINGS)
    # With other anchors it is another matter.
    catalog.upsert_anchors([anchor("mended", 100.0, 4.0, "near-1")])
    correct_all(catalog, SETTINGS)
    assert [run.generation for run in catalog.runs()] == [1, 2]


@pytest.mark.long
def test_tiles_hold_together_and_order_depends_on_places_only(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    places = random.uniform(-700, 700, (300, 2))
    orders = []
    for name, numbers in (("a", range(300)), ("b", random.permutation(300).tolist())):
        with Catalog.open(str(tmp_path / f"{name}.gpkg"), create=True) as catalog:
            street(catalog, 0, 3)
            catalog.upsert_images(photo(f"p{i:06}", *places[i]) for i in numbers)
            catalog.upsert_images([replace(photo("nowhere", 0.0), reported=None)])
            planned = plan_run(SETTINGS, catalog)
            pieces = list(read_pieces(planned, planned.due, catalog))
            orders.append([task.image.id for piece in pieces for task in piece])
            for piece in pieces:
                tiles = {tuple(np.floor(task.reported_enu_m[:2] / 200.0)) for task in piece[:1] + piece[-1:]}
                assert len(tiles) == 1 or piece[0].image.id == "nowhere"
            assert planned.due.fid.tolist() == sorted(set(planned.due.fid.tolist()), key=planned.due.fid.tolist().index)
    assert orders[0] == orders[1]
    assert orders[0][-1] == "nowhere"
    assert len(orders[0]) == 301


def test_a_photo_on_the_other_side_of_the_earth_is_planned_too(catalog: Catalog) -> None:
    catalog.upsert_images([replace(photo("p900000", 0.0), reported=Position(-167.5, -41.9))])
    assert due(catalog, SETTINGS) == {"p900000"}


def test_a_scene_without_anchors_says_what_to_do(tmp_path: Path) -> None:
    with (
        Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog,
        pytest.raises(InputError, match="geocorrect anchors add"),
    ):
        plan_run(SETTINGS, catalog)


def causes(catalog: Catalog, settings: Settings = SETTINGS) -> dict[str, int]:
    return dict(correct_due(settings, catalog, dry_run=True, explain=True).causes)


def test_a_dry_run_explains_what_changed(catalog: Catalog) -> None:
    assert causes(catalog) == {}
    catalog.upsert_images([photo("p999999", 2.0), replace(catalog.images(["p000003"])["p000003"], heading_deg=10.0)])
    catalog.upsert_anchors([anchor("new", 100.0, 1.0, "near-1")])
    found = causes(catalog)
    assert (found["no result yet"], found["the photo changed"]) == (1, 1)
    assert found["its anchors changed"] == len(due(catalog, SETTINGS)) - 2 > 0
    wider = SETTINGS.model_copy(update={"retrieve": RetrieveOptions(radius_m=25.0, max_candidates=4)})
    assert causes(catalog, wider) == {"configuration: retrieve.radius_m 20.0 → 25.0": N, "no result yet": 1}


def test_a_rebuilt_image_makes_nothing_due(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another OpenCV, another patch release of ours: neither changes a result by itself."""
    monkeypatch.setattr("cv2.__version__", "99.0.0")
    monkeypatch.setattr("geocorrect.__version__", "99.0.0")
    assert due(catalog, SETTINGS) == set()
    monkeypatch.setattr("geocorrect.match.sift.ALGORITHM_VERSION", ALGORITHM_VERSION + 1)
    found = causes(catalog)
    assert list(found.values()) == [N]
    assert next(iter(found)).startswith(f"configuration: matcher sift-{ALGORITHM_VERSION}/")
    assert f"sift-{ALGORITHM_VERSION + 1}/" in next(iter(found))
