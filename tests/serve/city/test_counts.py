"""Counts of the map's page: exact where that is quick, else an estimate at once; counted anew when anything changes."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from support import catalog_world as world
from support.served import Served

from geocorrect.catalog import Catalog, ResultFilter
from geocorrect.catalog.served import counts as served_counts
from geocorrect.errors import Reason

pytestmark = pytest.mark.long


def counted(server: Served, query: str = "") -> tuple[dict[str, int], bool]:
    found = server.get(f"/api/city/counts{query}").value
    return {row["reason"] or row["status"]: row["count"] for row in found["counts"]}, found["is_exact"]


def truth(catalog: Catalog) -> dict[str, int]:
    return dict(Counter(r.reason or r.status.value for r in catalog.results(ResultFilter())))


def test_every_change_is_counted(server: Served, filled: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    count = served_counts._counted
    monkeypatch.setattr(served_counts, "_counted", lambda *given: asked.append(given) or count(*given))
    changes = [
        lambda: None,
        lambda: filled.begin_run(world.manifest("run-b")),
        lambda: filled.record("run-b", [world.rejection(1, Reason.UNCERTAIN)]),
        lambda: filled.rollback("run-b"),
        lambda: filled.retract(["1002"], "wrong street"),
    ]
    for change in changes:
        change()
        assert counted(server) == (truth(filled), True)
    before = len(asked)
    assert counted(server, "?exact=1") == counted(server) == (truth(filled), True)
    assert len(asked) == before == len(changes), "what has not changed is not counted again"


def test_of_very_many_there_is_an_estimate_at_once(
    server: Served, filled: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the photos twice, so that a result is active or not; as of the first run all are."""
    filled.begin_run(world.manifest("run-b"))
    filled.record("run-b", [world.correction(i) for i in range(0, 30, 2)])
    monkeypatch.setattr(served_counts, "COUNTED", 10)
    for query in ("", f"?run={server.get('/api/city/start').value['runs'][0]['fid']}"):
        estimate, is_exact = counted(server, query)
        assert not is_exact
        exact, is_exact = counted(server, f"{query}{'&' if query else '?'}exact=1")
        assert is_exact
        # Every key is in the sample of so few: what is estimated is the count itself.
        assert estimate == exact
        assert counted(server, query) == (exact, True), "once it is counted, it is not estimated"


def test_only_one_request_counts_and_the_others_do_not_wait(filled: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_counts, "COUNTED", 10)
    begun, may_end = Event(), Event()
    count = served_counts._counted

    def slowly(*given: Any) -> Any:
        begun.set()
        assert may_end.wait(60)
        return count(*given)

    monkeypatch.setattr(served_counts, "_counted", slowly)
    counter = served_counts.ResultCounter(filled)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(counter.read, None, exact=True)
        assert begun.wait(60)
        assert not counter.read(None, exact=True).is_exact
        may_end.set()
        assert first.result(60).is_exact
    assert counter.read(None, exact=False) == first.result()


def test_the_sample_says_the_shares(filled: Catalog) -> None:
    """By 200 of 1,200 results, every seventh rejected, whatever the pattern of the rows."""
    filled.begin_run(world.manifest("run-b"))
    filled.upsert_images(world.image(i) for i in range(30, 1200))
    corrected = [replace(world.correction(i % 30), image_id=f"{1000 + i}") for i in range(1200)]  # there are 31 anchors
    filled.record("run-b", [world.rejection(i) if i % 7 == 3 else corrected[i] for i in range(1200)])
    exact = truth(filled)
    with pytest.MonkeyPatch.context() as patch, filled.engine.connect() as connection:
        patch.setattr(served_counts, "SAMPLE", 200)
        low, high = served_counts._state(connection)[:2]
        estimate = {r or s: n for s, r, n in served_counts._estimated(connection, None, low, high)}
    assert estimate["accepted"] == pytest.approx(exact["accepted"], rel=0.1)
    assert estimate["too_few_matches"] == pytest.approx(exact["too_few_matches"], rel=0.3)
