"""The node that a run started for itself ends in the middle of the work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.child_process import child
from support.ray_fixture import ray_or_skip

pytestmark = pytest.mark.long

ray_or_skip()
RUN = """
import os, signal, sys
from functools import partial
from pathlib import Path
from support.chaos import ray_processes
from support.engine_workers import Echo
from test_ray_cluster import pieces
from geocorrect.workers import pool
from geocorrect.workers.engine import build_engine
from geocorrect.config import BatchOptions
from geocorrect.workers.stop import StopRequest
from geocorrect.errors import RemoteError

pool.STARTUP_WARNING_S = 4.0
engine = build_engine(BatchOptions(engine="ray", workers=1))
stream = engine.map(partial(Echo, Path(sys.argv[1])), pieces(4000), StopRequest())
next(stream)
(node,), (actor,) = (ray_processes(os.getpid(), name) for name in ("raylet", "ray::_Actor"))
for process in (node, actor):  # an actor ends with its node, but not at once
    os.kill(process, signal.SIGKILL)
try:
    print("ended after", len(list(stream)))
except RemoteError as error:
    print("RemoteError:", error)
"""


def test_a_run_does_not_wait_for_a_node_that_nobody_starts_again(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(tests), str(tests / "workers"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    for _ in range(3):  # Ray gives its node 30 s to start, which a busy machine may exceed: it then says nothing
        with child(
            [sys.executable, "-c", RUN, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": paths},
            start_new_session=True,  # Ray's agents outlive their node by minutes
        ) as run:
            said, _ = run.communicate(timeout=150)
        if said:
            break
    assert "RemoteError: Ray's node on this machine has ended; what is done is stored, run the same command" in said
