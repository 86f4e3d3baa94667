"""The sequence step's reads and writes: own results without those of sequences, findings, runs that depend on runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support import catalog_world as world

from geocorrect.catalog import Catalog, sequences
from geocorrect.catalog.sequences import SequenceStore
from geocorrect.errors import Status


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """Ten photos of one sequence with results, a run of the sequence step that depends on theirs."""
    world.fill(catalog, 10)
    catalog.begin_run(replace(world.manifest("run-s"), matcher="sequence", depth="sequence"))
    SequenceStore(catalog).depend_on("run-s", ["run-a", "run-a"])
    catalog.record("run-s", [world.correction(4, Status.ACCEPTED)], input_hashes={"1004": "inputs"})
    SequenceStore(catalog).record("run-s", world.finding())
    return catalog


def active(catalog: Catalog) -> tuple[str, str]:
    """Status and run of photo 1004."""
    stored = next(s for s in catalog.current() if s.image_id == "1004")
    return stored.status.value, stored.run_key


def test_own_results_are_those_that_no_sequence_made(filled: Catalog) -> None:
    members = dict(SequenceStore(filled).members())
    assert list(members) == ["seq-0"]
    assert [m.image_id for m in members["seq-0"]] == [f"{1000 + i}" for i in range(10)]
    photo = members["seq-0"][4]
    assert (photo.own_run_key, photo.own_status) == ("run-a", "rejected")
    assert active(filled) == ("accepted", "run-s")
    assert photo.own_fid is not None
    own = SequenceStore(filled).own_results([photo.own_fid])
    assert repr(own["1004"]) == repr(world.rejection(4))


def test_photos_without_time_or_sequence_are_left_out(filled: Catalog) -> None:
    filled.upsert_images([replace(world.image(2), captured_at=None), replace(world.image(3), sequence_id=None)])
    members = dict(SequenceStore(filled).members())["seq-0"]
    assert {"1002", "1003"}.isdisjoint({m.image_id for m in members})


def test_retracted_and_rolled_back_results_do_not_count(filled: Catalog) -> None:
    filled.retract(["1000"], "wrong", "run-a")
    assert dict(SequenceStore(filled).members())["seq-0"][0].own_fid is None
    filled.rollback("run-a")
    assert all(m.own_fid is None for m in dict(SequenceStore(filled).members())["seq-0"])


def test_a_run_that_depends_on_a_rolled_back_one_is_not_active(filled: Catalog) -> None:
    filled.rollback("run-a", "bad anchors")
    assert [s.image_id for s in filled.current()] == []
    assert SequenceStore(filled).current() == []
    state = SequenceStore(filled).states()["seq-0"]
    assert (state.rolled_back, state.is_active) == (False, False)
    filled.restore("run-a")
    assert active(filled) == ("accepted", "run-s")


def test_rolling_back_the_sequences_brings_the_own_results_back(filled: Catalog) -> None:
    filled.rollback("run-s")
    assert active(filled) == ("rejected", "run-a")
    assert SequenceStore(filled).states()["seq-0"].rolled_back


def test_findings_are_kept_and_the_newest_is_active(filled: Catalog) -> None:
    store = SequenceStore(filled)
    store.record("run-s", replace(world.finding(), lag_s=9.0))
    assert [f.lag_s for f in store.current()] == [0.5]
    filled.begin_run(replace(world.manifest("run-t"), started_at=world.START + timedelta(days=1), matcher="sequence"))
    nothing = replace(world.finding(input_hash="new"), lag_s=float("nan"), note="too few results agree")
    store.record("run-t", nothing)
    assert repr(store.current()) == repr([nothing])
    assert store.states()["seq-0"].input_hash == "new"
    assert store.input_hashes("run-s", ["1003", "1004"]) == {"1004": "inputs"}


def test_sequences_are_read_some_at_a_time(filled: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The photos of a city are never in memory together; what is found does not depend on how many are read at once."""
    filled.upsert_images([replace(world.image(i), id=f"x{i}", sequence_id=f"seq-{i}") for i in range(1, 6)])
    whole = list(SequenceStore(filled).members())
    assert [name for name, _ in whole] == [f"seq-{i}" for i in range(6)]
    monkeypatch.setattr(sequences, "SEQUENCES_PER_READ", 2)
    few = SequenceStore(filled).members()
    reads: list[int] = []
    query = sequences._members_query
    monkeypatch.setattr(sequences, "_members_query", lambda name, ids: reads.append(len(ids)) or query(name, ids))
    assert next(few) == whole[0]
    assert reads == [2], "the others have not been looked at yet"
    assert [whole[0], *few] == whole
    assert reads == [2, 2, 2]
    assert list(SequenceStore(filled).members(["seq-3"])) == [whole[3]]
