"""One writer per scene: the second is told who and since when; a dead holder holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from geocorrect.catalog import Catalog
from geocorrect.catalog.hold import hold_scene
from geocorrect.errors import SceneBusyError

HOLDER = """
import sys, time
from geocorrect.catalog import Catalog
from geocorrect.catalog.hold import hold_scene
with Catalog.open(sys.argv[1]) as catalog, hold_scene(catalog.engine):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(catalog_url: str):  # type: ignore[no-untyped-def]
    """Another process that holds the scene."""
    Catalog.open(catalog_url, create=True).close()
    process = subprocess.Popen([sys.executable, "-c", HOLDER, catalog_url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_is_told_who_and_since_when(holder: subprocess.Popen[str], catalog_url: str) -> None:
    with Catalog.open(catalog_url) as catalog:
        with pytest.raises(SceneBusyError) as caught, hold_scene(catalog.engine):
            pass
        assert str(holder.pid) in str(caught.value)
        assert "since 20" in str(caught.value)
        assert catalog.image_ids() == [], "readers are not kept out"


def test_a_killed_holder_holds_nothing(holder: subprocess.Popen[str], catalog_url: str) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with Catalog.open(catalog_url) as catalog:
        held = False
        for _ in range(50):  # the server notices a dead client within moments
            try:
                with hold_scene(catalog.engine):
                    held = True
                    break
            except SceneBusyError:
                signal.sigtimedwait([], 0.1)
        assert held


def test_it_is_free_after_the_block_and_scenes_do_not_disturb_each_other(catalog_url: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other.gpkg")
    with Catalog.open(catalog_url, create=True) as first, Catalog.open(other, create=True) as second:
        for _ in range(2):
            with hold_scene(first.engine), hold_scene(second.engine):
                pass
