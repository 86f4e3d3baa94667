"""What other processes do with a catalog: hold its lock, write to it, read it as somebody who may not write."""

from __future__ import annotations

import os
import pwd
import time
from multiprocessing.connection import Connection
from pathlib import Path

import geocorrect.export.geojson  # noqa: F401  another user may not be allowed to read our program
from geocorrect.catalog import Catalog
from geocorrect.catalog.lock import lock_scene
from geocorrect.errors import DatabaseError
from support import catalog_world as world


def hold_lock(url: str, answers: Connection) -> None:
    with Catalog.open(url) as catalog, lock_scene(catalog.engine):
        answers.send("locked")
        time.sleep(60)


def write_results(path: Path, answers: Connection) -> None:
    """Five results to a transaction; the number of each once it is stored."""
    with Catalog.open(str(path)) as catalog:
        catalog.begin_run(world.manifest())
        while due := world.without_result(catalog, "run-a"):
            some = due[:5]
            catalog.record("run-a", [world.correction(int(i) - 1000) for i in some])
            answers.send(len(some))


def read_as_nobody(path: Path, answers: Connection) -> None:
    """What there is to read, and why nothing can be written."""
    if os.geteuid() == 0:
        os.setuid(pwd.getpwnam("nobody").pw_uid)
    try:
        with Catalog.open(str(path)) as catalog:
            answers.send(f"{catalog.counts()} {len(list(catalog.results()))} {catalog.address}")
            catalog.set_frame(catalog.frame())  # type: ignore[arg-type]
            catalog.retract(["1000"], "no")
    except DatabaseError as error:
        answers.send(str(error))
