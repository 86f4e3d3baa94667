"""Kills in the middle of `geocorrect db upgrade`: the catalog has the old schema or the new one, never half of it."""

from __future__ import annotations

from geocorrect.catalog import migrate
from geocorrect.catalog.schema import REVISION
from support.chaos import Chaos, Scene, _signal, _wait
from support.chaos_state import working_statements
from support.old_catalog import make_old
from support.warm_program import Program

OLD = "0001"


def kill_upgrades(chaos: Chaos, scene: Scene, n_kills: int) -> None:
    """Upgrade the scene's old catalog under kills, then once to the end."""
    assert migrate.revision_at(scene.url) == OLD
    for _ in range(n_kills):
        if migrate.revision_at(scene.url) == REVISION:
            make_old(scene.url, OLD)
        chaos.tally.starts += 1
        hit = _kill_in_the_middle(chaos, scene, scene.start("db", "upgrade"))
        chaos.tally.hits["migration"] += hit
        chaos.tally.kills["migration"] += hit
        chaos.tally.misses["migration"] += not hit
        revision = migrate.revision_at(scene.url)
        if revision not in (OLD, REVISION):
            chaos.tally.half_written.append(f"schema {revision} after a killed upgrade")
    if scene.run("db", "upgrade") or scene.run("db", "check"):
        raise AssertionError(scene.last_words())


def _kill_in_the_middle(chaos: Chaos, scene: Scene, process: Program) -> bool:
    with working_statements(scene.url) as writes:
        met = _wait(lambda: writes() or process.poll() is not None, 30.0, 0.0002)
        _wait(lambda: process.poll() is not None, chaos.random.uniform(0.0, 0.15), 0.001)
    hit = met and process.poll() is None
    _signal(-process.pid)
    process.wait()
    return hit
