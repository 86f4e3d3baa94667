"""`geocorrect sequences` as a user runs it, on both back-ends: what it stores, stores once, and how to undo it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import catalog_world
from support import sequence_catalog as world

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.curation.review import Reviews, Verdict
from geocorrect.catalog.lock import lock_scene
from geocorrect.config import ImagesSection, Settings
from geocorrect.errors import ExitCode, Reason, Status
from geocorrect.geometry.pose import Pose
from geocorrect.jobs.sequences import adjust_due_sequences
from geocorrect.records import Correction, MetadataQuality, Rejection, Result, ScaleSource
from geocorrect.sequences.options import SequenceOptions
from simulation.sequences import SequenceWorld, SimulatedSequence, simulate_sequence

pytestmark = pytest.mark.long

LAG = SequenceWorld(step_m=8.0, lag_s=0.6, anchored=0.4)
Call = Any


@pytest.fixture
def scene(catalog_url: str) -> tuple[str, dict[str, SimulatedSequence]]:
    """Two sequences of a drifting reconstruction, and one whose photos have too few results."""
    url = catalog_url
    simulated = {"seq-a": simulate_sequence(LAG, 1), "seq-b": simulate_sequence(SequenceWorld(n_images=30), 2)}
    little = simulate_sequence(SequenceWorld(n_images=8), 3)
    with Catalog.open(url) as catalog:
        lonely = replace(little, results=(little.truth[0].with_covariance(np.eye(6) * 1e-4), *[None] * 7))
        world.fill(catalog, {**simulated, "seq-c": lonely})
    return url, simulated


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command with a configuration of its own; (exit code, JSON)."""
    config = tmp_path / "geocorrect.toml"
    config.write_text("")

    def command(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = run(["-c", str(config), *arguments, "--json"])
        printed = capsys.readouterr().out
        return code, json.loads(printed) if printed else {}

    return command


def rows(url: str) -> list[str]:
    with Catalog.open(url) as catalog:
        stored = catalog.results(ResultFilter(active=False))
        return [f"{s.fid} {s.run_key} {_sorted(s.result)!r}" for s in stored]


def _sorted(result: Result) -> Result:
    """With its gate statistics in the order of their names: a server's JSON has an order of its own."""
    return replace(result, evidence=replace(result.evidence, gate=dict(sorted(result.evidence.gate.items()))))


def test_places_sharpens_and_flags(scene: tuple[str, dict[str, SimulatedSequence]], call: Call) -> None:
    url, simulated = scene
    code, dry = call("sequences", "--catalog", url, "--dry-run")
    assert (code, dry["n_due"], dry["n_done"], dry["sequences"]) == (0, 2, 0, [])
    own = rows(url)
    code, done = call("sequences", "--catalog", url)
    assert (code, done["n_due"], done["n_done"]) == (0, 2, 2)
    assert set(own) <= set(rows(url)), "results of photos are never touched"
    with Catalog.open(url) as catalog:
        current = world.active_results(catalog)
        for name, sequence in simulated.items():
            for i in sequence.wrong:
                flagged = current[world.image_id(name, i)]
                assert isinstance(flagged, Rejection)
                assert flagged.reason is Reason.SEQUENCE_OUTLIER
                assert flagged.evidence.matcher == "sift+sequence"
            error = world.errors_m(catalog, name, sequence)
            free = [i for i, r in enumerate(sequence.results) if r is None and i in error]
            assert len(free) > 0.8 * sum(r is None for r in sequence.results)
            assert np.median([error[i] for i in free]) < 0.3
            assert max(error.values()) < 2.0
    placed = [r for r in current.values() if isinstance(r, Correction) and r.evidence.matcher == "sequence"]
    assert len(placed) == done["n_placed"]
    for result in placed:
        assert result.evidence.scale_source is ScaleSource.SEQUENCE
        assert result.evidence.depth == "computed"
        assert result.evidence.depth_is_oracle, "its neighbours rest on laser depth"
        assert result.status is (Status.ACCEPTED if result.expected_error_m <= 0.5 else Status.REVIEW)
    assert done["n_flagged"] == sum(len(s.wrong) for s in simulated.values())


def test_findings_end_in_the_catalog(scene: tuple[str, dict[str, SimulatedSequence]], call: Call) -> None:
    url, simulated = scene
    _, done = call("sequences", "--catalog", url)
    by_name = {finding["sequence_id"]: finding for finding in done["sequences"]}
    assert by_name.keys() == {"seq-a", "seq-b"}
    found, sequence = by_name["seq-a"], simulated["seq-a"]
    assert (found["n_photos"], found["motion"], found["device_model"]) == (60, "computed", "Cam 1")
    assert found["lag_s"] == pytest.approx(0.6, abs=0.25)
    assert found["heading_bias_deg"] == pytest.approx(world.true_heading_bias_deg(sequence), abs=1.0)
    truth = np.array([p.translation_m for p in sequence.truth]) - sequence.reported_enu_m
    assert found["median_east_m"] == pytest.approx(np.median(truth[:, 0]), abs=1.0)
    with Catalog.open(url) as catalog, catalog.engine.connect() as connection:
        view = connection.exec_driver_sql("select sequence_id, lag_s from current_sequence_finding order by 1").all()
        assert [tuple(row) for row in view] == [(n, by_name[n]["lag_s"]) for n in ("seq-a", "seq-b")]
        device = connection.exec_driver_sql("select device_model, n_sequences from device_finding").all()
        assert [tuple(row) for row in device] == [("Cam 1", 2)]
        bias = connection.exec_driver_sql("select n_photos from sequence_bias where sequence_id = 'seq-a'").scalar()
        assert bias is not None
        assert bias > sum(r is not None for r in sequence.results), "placed photos count"


def test_second_run_does_nothing(scene: tuple[str, dict[str, SimulatedSequence]], call: Call) -> None:
    url, _ = scene
    call("sequences", "--catalog", url)
    before = rows(url)
    code, again = call("sequences", "--catalog", url)
    assert (code, again["n_due"], again["n_sequences"]) == (0, 0, 2)
    assert len(again["sequences"]) == 2, "findings are listed all the same"
    assert rows(url) == before


def test_only_the_sequence_that_changed_is_done_again(
    scene: tuple[str, dict[str, SimulatedSequence]], call: Call
) -> None:
    """A sequence that lost its results says nothing any more, and its photos get their own results back."""
    url, simulated = scene
    call("sequences", "--catalog", url)
    names = [world.image_id("seq-b", i) for i, r in enumerate(simulated["seq-b"].results) if r is not None]
    with Catalog.open(url) as catalog:
        first = world.active_results(catalog)
        catalog.retract(names, "wrong drive", "run-a")
    code, again = call("sequences", "--catalog", url)
    assert (code, again["n_due"], again["silent"]) == (0, 1, {"too few results agree": 1})
    with Catalog.open(url) as catalog:
        current = world.active_results(catalog)
        assert not any(isinstance(r, Correction) for name, r in current.items() if name.startswith("seq-b"))
        assert all(repr(current[n]) == repr(r) for n, r in first.items() if n.startswith("seq-a"))
        assert [r.generation for r in catalog.runs() if r.matcher == "sequence"] == [1, 2]
        catalog.rollback(again["run_key"])
        back = world.active_results(catalog)
        placed = {n for n, r in first.items() if r.evidence.matcher == "sequence"}
        assert all(repr(back[n]) == repr(first[n]) for n in placed), "rolling back brings back what was before"
    assert call("sequences", "--catalog", url)[1]["n_due"] == 0


def test_a_new_sequence_goes_on_in_the_same_run(scene: tuple[str, dict[str, SimulatedSequence]], call: Call) -> None:
    url, _ = scene
    _, first = call("sequences", "--catalog", url)
    with Catalog.open(url) as catalog:
        world.fill(catalog, {"seq-d": simulate_sequence(SequenceWorld(n_images=30), 9)})
    _, second = call("sequences", "--catalog", url)
    assert (second["n_due"], second["run_key"]) == (1, first["run_key"])


def test_roll_back_restore_and_the_runs_it_rests_on(
    scene: tuple[str, dict[str, SimulatedSequence]], call: Call
) -> None:
    url, _ = scene
    with Catalog.open(url) as catalog:
        own = world.active_results(catalog)
    _, done = call("sequences", "--catalog", url)
    with Catalog.open(url) as catalog:
        all_in = world.active_results(catalog)
    assert run(["db", "rollback", done["run_key"][:12], "--catalog", url]) == 0
    with Catalog.open(url) as catalog:
        assert repr(world.active_results(catalog)) == repr(own)
    _, held = call("sequences", "--catalog", url)
    assert (held["n_due"], held["n_held"], held["sequences"]) == (0, 2, [])
    assert run(["db", "restore", done["run_key"][:12], "--catalog", url]) == 0
    with Catalog.open(url) as catalog:
        assert repr(world.active_results(catalog)) == repr(all_in)
        catalog.rollback("run-a", "bad anchors")
        assert world.active_results(catalog) == {}, "what rests on rolled back results goes with them"
    assert call("sequences", "--catalog", url)[1]["n_due"] == 0
    with Catalog.open(url) as catalog:
        catalog.restore("run-a")
        assert repr(world.active_results(catalog)) == repr(all_in)


def test_a_stopped_run_goes_on(
    scene: tuple[str, dict[str, SimulatedSequence]], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the results of a sequence and its finding: nothing is lost, nothing is there twice."""
    url, _ = scene
    from geocorrect.catalog.sequences import SequenceStore

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SequenceStore, "record", killed)
        assert run(["sequences", "--catalog", url]) == ExitCode.INTERRUPTED
    code, done = call("sequences", "--catalog", url)
    assert (code, done["n_due"], done["n_done"]) == (0, 2, 2)
    with Catalog.open(url) as catalog:
        assert len([r for r in catalog.runs() if r.matcher == "sequence"]) == 1
        stored = [s.image_id for s in catalog.results(ResultFilter(active=False)) if s.run_key == done["run_key"]]
    assert len(stored) == len(set(stored)) > 0


def test_a_signal_finishes_the_sequence_at_hand(
    scene: tuple[str, dict[str, SimulatedSequence]], tmp_path: Path
) -> None:
    url, _ = scene
    settings = Settings(images=ImagesSection(tmp_path))

    def stop(done: int, due: int) -> None:
        assert (done, due) == (1, 2)
        os.kill(os.getpid(), signal.SIGTERM)

    with Catalog.open(url) as catalog:
        first = adjust_due_sequences(settings, catalog, on_progress=stop)
        assert (first.n_done, first.exit_code) == (1, ExitCode.TERMINATED)
        assert [f.sequence_id for f in first.findings] == ["seq-a"]
        second = adjust_due_sequences(settings, catalog)
        assert (second.n_due, second.n_done, second.exit_code) == (1, 1, ExitCode.OK)
        assert second.run_key == first.run_key


def test_one_writer_per_scene(scene: tuple[str, dict[str, SimulatedSequence]]) -> None:
    url, _ = scene
    with Catalog.open(url) as catalog, lock_scene(catalog.engine):
        assert run(["sequences", "--catalog", url]) == ExitCode.SCENE_BUSY
        assert run(["sequences", "--catalog", url, "--dry-run"]) == 0


def test_clusters_of_the_harvest_are_preferred(tmp_path: Path, call: Call) -> None:
    url = str(tmp_path / "scene.gpkg")
    simulated = simulate_sequence(SequenceWorld(), 4)
    with Catalog.open(url, create=True) as catalog:
        world.fill(catalog, {"seq-a": simulated})
    poses = {world.image_id("seq-a", i): pose for i, pose in enumerate(simulated.frame_from_cam)}
    _, computed = call("sequences", "--catalog", url)
    world.write_cluster(tmp_path / "images" / "clusters", "77", poses)
    code, done = call("sequences", "--catalog", url)
    assert (code, done["n_due"]) == (0, 1), "a new cluster makes its sequence due"
    assert [f["motion"] for s in (computed, done) for f in s["sequences"]] == ["computed", "sfm_cluster"]
    (tmp_path / "images" / "clusters" / "bad.json").write_text("{}")
    assert run(["-c", str(tmp_path / "geocorrect.toml"), "sequences", "--catalog", url]) == ExitCode.INPUT


def test_reported_positions_alone_place_nothing(tmp_path: Path, call: Call) -> None:
    """They say where, but not which way the camera looked; a result that is far off is still found."""
    url = str(tmp_path / "scene.gpkg")
    simulated = simulate_sequence(SequenceWorld(wrong=0.0, anchored=0.8), 5)
    results = list(simulated.results)
    wrong = next(i for i in range(20, 60) if results[i] is not None)
    pose = results[wrong]
    assert pose is not None
    results[wrong] = Pose(pose.rotation, pose.translation_m + np.array([20.0, 12.0, 0.0]), pose.covariance)
    simulated = replace(simulated, results=tuple(results))
    with Catalog.open(url, create=True) as catalog:
        world.fill(catalog, {"seq-a": simulated})
        bare = [replace(i, quality=MetadataQuality.RAW_ONLY, computed=None) for i in world.images("seq-a", simulated)]
        catalog.upsert_images(bare)
    _, done = call("sequences", "--catalog", url)
    assert (done["n_placed"], done["n_doubted"] + done["n_flagged"]) == (0, 1)
    with Catalog.open(url) as catalog:
        now = world.active_results(catalog)[world.image_id("seq-a", wrong)]
        assert isinstance(now, Correction)
        assert now.status is Status.REVIEW


def test_a_result_that_waited_for_review_is_confirmed_by_its_neighbours(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "scene.gpkg")
    simulated = simulate_sequence(SequenceWorld(wrong=0.0, anchored=0.5), 6)
    waiting = next(i for i in range(20, 60) if simulated.results[i] is not None)
    with Catalog.open(url, create=True) as catalog:
        catalog.set_frame(catalog_world.ROME)
        catalog.upsert_images(world.images("seq-a", simulated))
        catalog.begin_run(catalog_world.manifest("run-a"))
        found = world.own_results("seq-a", simulated)
        name = world.image_id("seq-a", waiting)
        found[waiting] = world.own_result(name, simulated.results[waiting], Status.REVIEW)
        catalog.record("run-a", found)
    _, done = call("sequences", "--catalog", url)
    assert done["n_confirmed"] == 1
    with Catalog.open(url) as catalog:
        confirmed = world.active_results(catalog)[name]
        assert isinstance(confirmed, Correction)
        assert confirmed.status is Status.ACCEPTED
    # How many anchors are enough decides who may confirm: another number, and the sequence is due again.
    assert call("sequences", "--catalog", url, "--dry-run")[1]["n_due"] == 0
    monkeypatch.setenv("GEOCORRECT__LOCALIZE__GATE__MIN_INDEPENDENT_ANCHORS", "3")
    assert call("sequences", "--catalog", url, "--dry-run")[1]["n_due"] == 1


def test_both_back_ends_store_the_same(postgis_url: str, tmp_path: Path, call: Call) -> None:
    urls = [str(tmp_path / "a.gpkg"), postgis_url]
    for url in urls:
        with Catalog.open(url, create=True) as catalog:
            world.fill(catalog, {"seq-a": simulate_sequence(SequenceWorld(), 7)})
        assert call("sequences", "--catalog", url)[0] == 0
    assert rows(urls[0]) == rows(urls[1])


def test_same_input_same_bytes(tmp_path: Path, call: Call) -> None:
    first, second = tmp_path / "a.gpkg", tmp_path / "b.gpkg"
    with Catalog.open(str(first), create=True) as catalog:
        world.fill(catalog, {"seq-a": simulate_sequence(SequenceWorld(), 8)})
    shutil.copy(first, second)
    for url in (first, second):
        call("sequences", "--catalog", str(url))
    assert rows(str(first)) == rows(str(second))


def test_the_table_that_people_read(
    scene: tuple[str, dict[str, SimulatedSequence]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = scene
    assert run(["sequences", "--catalog", url]) == 0
    printed = capsys.readouterr()
    header, first, *_ = printed.out.splitlines()
    assert header.split()[:4] == ["sequence", "device", "photos", "results"]
    assert first.startswith("seq-a")
    assert "Acme Cam 1" in first
    assert "2 of 2 due sequences computed" in printed.err


def test_nothing_to_do_without_frame_or_results(tmp_path: Path, call: Call) -> None:
    url = str(tmp_path / "scene.gpkg")
    Catalog.open(url, create=True).close()
    assert call("sequences", "--catalog", url)[1]["n_sequences"] == 0


def documented(name: str) -> str:
    """The code block of docs/sequences.md that follows a marker."""
    text = (Path(__file__).parents[2] / "docs" / "sequences.md").read_text(encoding="utf-8")
    return text.split(f"<!-- test: {name} -->\n", 1)[1].split("\n", 1)[1].split("\n```", 1)[0]


def test_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "geocorrect.toml").write_text('[catalog]\nurl = "corrections.gpkg"\n')
    with Catalog.open("corrections.gpkg", create=True) as catalog:
        world.fill(catalog, {"seq-a": simulate_sequence(LAG, 1)})
    for line in documented("commands").splitlines():
        assert run(line.split("#")[0].split()[1:]) == 0, line
    with Catalog.open("corrections.gpkg") as catalog, catalog.engine.connect() as connection:
        queries = [part.strip() for part in documented("sql").split(";") if part.strip()]
        assert len(queries) == 4
        for query in queries:
            assert connection.exec_driver_sql(query).all(), query


def test_the_documented_limits_are_the_defaults() -> None:
    text, o = (Path(__file__).parents[2] / "docs" / "sequences.md").read_text(encoding="utf-8"), SequenceOptions()
    assert f"≤ {o.accept_error_m} m (68 %, horizontal) and ≤ {o.accept_rotation_deg:.0f}°" in text
    assert f"≤ {o.review_error_m:.0f} m and ≤ {o.review_rotation_deg:.0f}°" in text
    assert f"more than {o.outlier_distance} standard deviations" in text
    assert f"more than {o.outlier_m} m or {o.outlier_deg:.0f}°" in text
    assert f"`[sequence] enabled`, {'on' if o.enabled else 'off'} by default" in text


def test_what_a_person_decided_is_not_decided_again(
    scene: tuple[str, dict[str, SimulatedSequence]], call: Call
) -> None:
    """Rejected poses of the step stay rejected, also when the sequence is computed anew for another reason."""
    url, _ = scene
    call("sequences", "--catalog", url)
    with Catalog.open(url) as catalog:
        placed = sorted(
            name for name, result in world.active_results(catalog).items()
            if isinstance(result, Correction) and result.evidence.matcher == "sequence" and name.startswith("seq-a")
        )  # fmt: skip
        (key,) = Reviews(catalog).decide([placed[0]], Verdict.REJECT, "ana", "in the river")
        own = next(name for name, r in world.active_results(catalog).items()
                   if isinstance(r, Correction) and r.evidence.matcher == "sift" and "seq-a" in name)  # fmt: skip
        Reviews(catalog).decide([own], Verdict.REJECT, "ana")
    _, again = call("sequences", "--catalog", url)
    assert (again["n_due"], again["n_done"]) == (1, 1), "the recording whose own result was rejected"
    with Catalog.open(url) as catalog:
        for name in (placed[0], own):
            result = world.active_results(catalog)[name]
            assert isinstance(result, Rejection)
            assert result.reason is Reason.REJECTED_BY_REVIEWER
        assert key in {run.run_key for run in catalog.runs() if run.is_active}
