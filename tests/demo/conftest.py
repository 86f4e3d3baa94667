"""A small demo world, built once; jobs of this folder compute in the test's process unless they say otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.world_cache import small_world  # noqa: F401


@pytest.fixture(scope="module", autouse=True)
def _in_process() -> Iterator[None]:
    """A worker process takes seconds to start, and that it gives the same results is another test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
        patch.setenv("GEOCORRECT__BATCH__WORKERS", "1")
        yield
