"""How the tests of this room start the program without paying for its imports each time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.warm_program import WarmStart, warm_start


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmStart]:
    with warm_start() as server:
        yield server
