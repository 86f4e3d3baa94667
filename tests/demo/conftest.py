"""A small demo world, built once; jobs of this folder compute in the test's process unless they say otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.world_cache import cached_world

from geocorrect.demo.world.build import DemoWorld


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> DemoWorld:
    return cached_world(tmp_path_factory.mktemp("demo") / "world")


@pytest.fixture(scope="module", autouse=True)
def _in_process() -> Iterator[None]:
    """A worker process takes seconds to start, and that it gives the same results is another test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
        patch.setenv("GEOCORRECT__BATCH__WORKERS", "1")
        yield
