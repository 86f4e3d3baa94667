"""Many kills in a row: `make chaos`, or this with PYTHONPATH=tests and --help. Exit 1 unless clean."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geocorrect.catalog import Catalog
from geocorrect.demo.mapillary_server.server import FakeMapillaryServer
from support.chaos import Chaos, Launch, Scene, Tally, cold_start, kinds_of_a_round, make_scene, serving
from support.chaos_migration import OLD, kill_upgrades
from support.hostile_service import HostileService
from support.old_catalog import make_old
from support.postgis_fixture import Cluster, execute, installed_programs, with_database
from support.small_city import SmallCity, build_city


@dataclass(frozen=True)
class Campaign:
    """How much chaos. kills: on each back-end, migrations included; kills_per_round: after that a fresh scene."""

    photos: int = 300
    kills: int = 60
    kills_per_round: int = 12
    migration_kills: int = 8
    workers: int = 2
    seed: int = 1
    engine: str = "local"


class Site:
    """Where scenes and their catalogs are made. server: address of a PostGIS server, None for GeoPackages."""

    def __init__(
        self,
        folder: Path,
        city: SmallCity,
        service: FakeMapillaryServer,
        server: str | None,
        launch: Launch = cold_start,
    ) -> None:
        self.folder, self.city, self.service, self.server, self.launch = folder, city, service, server, launch
        self.databases: list[str] = []

    def scene(self, name: str, workers: int) -> Scene:
        """A fresh scene with an empty catalog."""
        return make_scene(self.folder / name, self.city, self.service, self._address(), workers, self.launch)

    def close(self) -> None:
        """Drop the databases that were made on the server."""
        for name in self.databases:
            execute(str(self.server), f"drop database {name} with (force)")

    def _address(self) -> str:
        if self.server is None:
            return "corrections.gpkg"
        name = f"geocorrect_chaos_{uuid.uuid4().hex[:10]}"
        execute(self.server, f"create database {name}")
        self.databases.append(name)
        url = with_database(self.server, name)
        Catalog.open(url, create=True).close()
        return url


def fight(site: Site, campaign: Campaign) -> Tally:
    """All kills on one back-end."""
    tally = Tally()
    chaos = Chaos(campaign.seed, tally)
    quiet = site.scene("undisturbed", campaign.workers)
    if quiet.run("run"):
        raise AssertionError(quiet.last_words())
    wanted = campaign.kills - campaign.migration_kills
    while (left := wanted - sum(tally.kills.values())) > 0:
        kinds = kinds_of_a_round(chaos.random, min(left, campaign.kills_per_round), campaign.engine)
        scene = site.scene(f"round-{tally.rounds + 1}", campaign.workers)
        scene.environment["GEOCORRECT__BATCH__ENGINE"] = campaign.engine
        chaos.round(scene, kinds)
        chaos.compare(scene, quiet)
        say(f"{sum(tally.kills.values())} kills, {'clean' if tally.clean else 'NOT CLEAN'} so far")
    if campaign.migration_kills:
        upgraded = site.scene("upgraded", campaign.workers)
        _old_with_results(upgraded, campaign.migration_kills, chaos)
        _old_with_results(quiet, 0, chaos)
        chaos.compare(upgraded, quiet)
    return tally


def _old_with_results(scene: Scene, n_kills: int, chaos: Chaos) -> None:
    if scene.run("run"):
        raise AssertionError(scene.last_words())
    make_old(scene.url, OLD)
    kill_upgrades(chaos, scene, n_kills)


@contextmanager
def throw_away_server() -> Iterator[str]:
    """A PostGIS server of its own."""
    programs = installed_programs()
    if programs is None:
        raise SystemExit("PostGIS is not installed: apt-get install postgresql postgresql-postgis")
    cluster = Cluster(programs)
    try:
        cluster.start()
        execute(cluster.url("template1"), "create extension postgis")
        yield cluster.url("postgres")
    finally:
        cluster.remove()


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    default = Campaign()
    for name in ("photos", "kills", "kills_per_round", "migration_kills", "workers", "seed"):
        options.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(default, name))
    options.add_argument("--engine", choices=("local", "ray"), default=default.engine)
    options.add_argument("--back-end", choices=("geopackage", "postgis", "both"), default="both")
    chosen = vars(options.parse_args())
    back_end = chosen.pop("back_end")
    campaign = Campaign(**chosen)
    folder = Path(tempfile.mkdtemp(prefix="geocorrect-chaos."))
    city = build_city(folder / "city", campaign.photos, campaign.seed)
    tallies: dict[str, Tally] = {}
    hostile = HostileService(city.records)
    with serving(city, hostile) as service:
        if back_end != "postgis":
            tallies["GeoPackage"] = fight(Site(folder / "geopackage", city, service, None), campaign)
        if back_end != "geopackage":
            with throw_away_server() as server:
                tallies["PostGIS"] = fight(Site(folder / "postgis", city, service, server), campaign)
    print(f"\nhostile answers: {sum(hostile.served.values())}, of {len({name for _, name in hostile.served})} kinds; "
          f"never sent: {', '.join(hostile.missing()) or 'none'}")  # fmt: skip
    for name, tally in tallies.items():
        print(f"\n{name}: {campaign}")
        print("\n".join(tally.lines()))
    if all(tally.clean for tally in tallies.values()):
        shutil.rmtree(folder)
        sys.exit(0)
    sys.exit(f"not clean; the scenes are in {folder}")


if __name__ == "__main__":
    main()
