"""A Ray cluster of three nodes on this machine, of which one is lost in the middle of the work."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.engine_workers import Echo
from support.ray_fixture import ray_or_skip

from geocorrect.config import BatchOptions
from geocorrect.errors import ConfigError, Reason
from geocorrect.records import Image, Rejection
from geocorrect.workers.engine import build_engine
from geocorrect.workers.stop import StopRequest
from geocorrect.workers.worker import Task

ray = ray_or_skip()
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.long]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without room for workers, and two nodes with room for one each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        yield made
        ray.shutdown()
        made.shutdown()


def pieces(count: int) -> Iterator[list[Task]]:
    for number in range(count):
        image = Image(f"image{number:03}", None, None, None)
        yield [Task(image, np.full(3, np.nan), float("nan"), (), ())]


def test_a_lost_node_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    engine = build_engine(BatchOptions(engine="ray", workers=2, ray_address=cluster.address))
    stream = engine.map(partial(Echo, tmp_path), pieces(400), StopRequest())
    found = [next(stream) for _ in range(20)]
    cluster.add_node(num_cpus=1)
    cluster.remove_node(nodes[0], allow_graceful=False)
    found += list(stream)
    assert sorted(outcome.result.image_id for outcome in found) == [f"image{number:03}" for number in range(400)]
    results = [outcome.result for outcome in found]
    assert {result.reason for result in results if isinstance(result, Rejection)} == {Reason.TOO_FEW_MATCHES}


def test_a_cluster_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"batch.ray_address = '127.0.0.1:1'"):
        build_engine(BatchOptions(engine="ray", ray_address="127.0.0.1:1"))
