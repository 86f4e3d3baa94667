"""A few of the kills of `make chaos`, on both back-ends: what is killed and started again ends like what was not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.chaos import WORKERS, Chaos, Tally, kinds_of_a_round, serving
from support.chaos_campaign import Campaign, Site, fight
from support.child_process import child
from support.small_city import build_city
from support.warm_program import WarmStart

pytestmark = pytest.mark.long

FEW = Campaign(photos=26, kills=4, kills_per_round=3, migration_kills=1, workers=2, seed=3)


@pytest.fixture(params=["geopackage", pytest.param("postgis", marks=pytest.mark.postgis)])
def site(request: pytest.FixtureRequest, tmp_path: Path, warm: WarmStart) -> Iterator[Site]:
    server = None
    if request.param == "postgis":
        server = request.getfixturevalue("postgis_server_url").split("#")[0]
    city = build_city(tmp_path / "city", FEW.photos)
    with serving(city) as service:
        place = Site(tmp_path / "scenes", city, service, server, warm)
        yield place
        place.close()


def test_killed_runs_end_as_if_nothing_had_happened(site: Site) -> None:
    tally = fight(site, FEW)
    assert sum(tally.kills.values()) + tally.misses["migration"] == FEW.kills
    assert tally.clean, "\n".join(tally.lines())


def test_the_judge_sees_what_is_wrong(tmp_path: Path) -> None:
    """A harness that cannot fail proves nothing: a lost row, a doubled one, a torn file."""
    city = build_city(tmp_path / "city", 3)
    with serving(city) as service:
        place = Site(tmp_path, city, service, None)
        quiet, other = place.scene("quiet", 1), place.scene("other", 1)
        assert quiet.run("run") == 0
        assert other.run("run", "--dry-run") == 0
        (other.folder / "corrections.geojson").write_text('{"features": [')
        (other.folder / ".corrections.csv.x.part").write_text("")
        tally = Tally()
        with pytest.raises(ValueError):
            Chaos(1, tally).compare(other, quiet)
        (other.folder / "corrections.geojson").unlink()
        Chaos(1, tally).compare(other, quiet)
    assert not tally.clean
    assert tally.rows_lost >= 6
    assert tally.left_over == [".corrections.csv.x.part"]


@pytest.mark.parametrize("engine", list(WORKERS))
def test_every_kind_of_kill_is_drawn_and_workers_in_every_round(engine: str) -> None:
    rng = Chaos(1, Tally()).random
    rounds = [kinds_of_a_round(rng, 12, engine) for _ in range(5)]
    assert set().union(*rounds) == {"parent", "group", "harvest", "write", "export", *WORKERS[engine]}
    assert all(set(WORKERS[engine]) <= set(kinds) for kinds in rounds)


@pytest.mark.parametrize("kind", ["parent", "group", "worker", "ray actor", "ray node"])
def test_a_kill_that_meets_nobody_is_not_counted(kind: str) -> None:
    """The run had ended by itself, or there was no worker to be killed."""
    tally = Tally()
    with child([sys.executable, "-c", ""], start_new_session=True) as ended:
        ended.wait()
        Chaos(1, tally)._kill(kind, ended, False)
    assert (tally.kills[kind], tally.misses[kind]) == (0, 1)
    with child([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as alive:
        Chaos(1, tally)._kill(kind, alive, True)
        assert alive.poll() is not None
    met = kind in ("parent", "group")
    assert (tally.kills[kind], tally.hits[kind], tally.misses[kind]) == (met, met, 2 - met)
