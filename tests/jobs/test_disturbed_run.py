"""A run that is killed, asked to stop, or met by a second one ends as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from support.chaos import WITHOUT_WORKERS
from support.warm_program import WarmProgram, WarmStart
from support.world_cache import cached_demo

from geocorrect.__main__ import run
from geocorrect.catalog.lock import lock_scene
from geocorrect.catalog.store import Catalog
from geocorrect.errors import ExitCode

pytestmark = pytest.mark.long

MORE = {"GEOCORRECT__BATCH__SEED": "1", "GEOCORRECT__BATCH__IMAGES_PER_TRANSACTION": "1"}
"""Another seed is another run: every photo of the finished demo is due again."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a run of the other seed stores when it is left alone."""
    alone = copy_of_demo(tmp_path_factory.mktemp("alone"))
    assert correct(alone) == 0
    return results(alone)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A folder in which the demo has run on the small street."""
    return copy_of_demo(tmp_path)


def copy_of_demo(folder: Path) -> Path:
    finished = cached_demo()
    for name in ("corrections.gpkg", "geocorrect.toml"):
        shutil.copy(finished / name, folder / name)
    (folder / "images").symlink_to(finished / "images")
    return folder


def start(warm: WarmStart, scene: Path) -> WarmProgram:
    """The program, with a worker process."""
    return warm(["-c", str(scene / "geocorrect.toml"), "correct"], {**os.environ, **MORE}, scene / "log.txt")


def correct(scene: Path, *options: str) -> int:
    """The same in this process, without a worker; the exit code."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**MORE, **WITHOUT_WORKERS}.items():
            patch.setenv(name, value)
        return run(["-c", str(scene / "geocorrect.toml"), "correct", *options])


def results(scene: Path) -> list[str]:
    """Results of the newest run, without the time of writing."""
    with Catalog.open(str(scene / "corrections.gpkg")) as catalog:
        run_key = catalog.runs()[-1].run_key
        stored = [row for row in catalog.current() if row.run_key == run_key]
    return [row.result.image_id + place(row) for row in stored]


def place(row: object) -> str:
    return repr([getattr(row, name) for name in ("run_key", "lon_deg", "lat_deg", "height_m", "heading_deg")])


def wait_for_a_result(scene: Path, process: WarmProgram) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        with Catalog.open(str(scene / "corrections.gpkg")) as catalog:
            runs = catalog.runs()
            if len(runs) == 2 and sum(catalog.counts(runs[-1].run_key).values()) >= 1:
                return
        time.sleep(0.05)
    pytest.fail("the run stored nothing")


def test_killed_and_started_again(warm: WarmStart, scene: Path, undisturbed: list[str]) -> None:
    process = start(warm, scene)
    wait_for_a_result(scene, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 1 <= len(results(scene)) <= len(undisturbed)
    assert start(warm, scene).wait(timeout=300) == 0
    assert results(scene) == undisturbed
    assert len(undisturbed) == 4


def test_a_second_run_leaves_politely(scene: Path) -> None:
    with Catalog.open(str(scene / "corrections.gpkg")) as catalog, lock_scene(catalog.engine):
        assert correct(scene) == ExitCode.SCENE_BUSY
        assert len(catalog.runs()) == 1


def test_sigterm_ends_a_run_well(warm: WarmStart, scene: Path, undisturbed: list[str]) -> None:
    process = start(warm, scene)
    wait_for_a_result(scene, process)
    process.send_signal(signal.SIGTERM)
    # A machine so fast that nothing was left to do ends with 0; test_stopped_job.py chooses the moment itself.
    assert process.wait(timeout=120) in (ExitCode.TERMINATED, ExitCode.OK)
    assert correct(scene) == 0
    assert results(scene) == undisturbed


def test_a_run_may_be_given_little_time_or_few_images(scene: Path, undisturbed: list[str]) -> None:
    """What is left is no failure, and the next run goes on."""
    assert correct(scene, "--max-images", "1") == 0
    assert len(results(scene)) == 1
    assert correct(scene, "--max-runtime", "0.01s") == 0
    assert len(results(scene)) == 1
    assert correct(scene, "--max-runtime", "1h") == 0
    assert results(scene) == undisturbed
