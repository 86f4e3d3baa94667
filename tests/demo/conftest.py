"""A small demo world, built once."""

from __future__ import annotations

import pytest
from support.world_cache import cached_world

from geocorrect.demo.world.build import DemoWorld


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> DemoWorld:
    return cached_world(tmp_path_factory.mktemp("demo") / "world")
