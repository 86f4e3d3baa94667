"""A small demo world, built once."""

from __future__ import annotations

import pytest

from geocorrect.demo.world.build import DemoWorld, build_world


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> DemoWorld:
    return build_world(tmp_path_factory.mktemp("demo") / "world", seed=7, size="small", workers=1)
