"""What many tests need and none changes, made once and kept on disk by the hash of everything that makes it.

Demo worlds, and a small demo that has run to its end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from geocorrect.__main__ import run
from geocorrect.demo.world.build import DemoWorld, build_world, open_world

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("GEOCORRECT_TEST_CACHE") or ROOT / ".pytest_cache" / "worlds")


def cached_world(folder: Path, seed: int = 7, size: str = "small") -> DemoWorld:
    """`build_world(folder, seed, size)`, copied from the cache where it was rendered before."""
    kept = CACHE / _key(seed, size)
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{kept}.lock"):
        if not kept.is_dir():
            unfinished = kept.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            build_world(unfinished, seed=seed, size=size, workers=1)
            unfinished.rename(kept)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(kept, folder)
    return open_world(folder)


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> DemoWorld:
    """The small street, for tests that write nothing into it."""
    return cached_world(tmp_path_factory.mktemp("demo") / "world")


def cached_demo() -> Path:
    """out/demo after `geocorrect demo --size small`, as a user types it; read there, copy what a test writes to.

    Paths in its catalog are absolute: photos and anchors of a copied catalog are still found.
    """
    kept = _demo_folder()
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{kept}.lock"), pytest.MonkeyPatch.context() as patch:
        if not (kept / "finished").exists():
            shutil.rmtree(kept, ignore_errors=True)
            cached_world(kept / "out" / "demo" / "world")
            patch.chdir(kept)
            for name in [name for name in os.environ if name.startswith("GEOCORRECT__")]:
                patch.delenv(name)  # of the test that happens to be the first to ask
            patch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
            assert run(["demo", "--size", "small", "--workers", "1"]) == 0
            (kept / "finished").touch()
    return kept / "out" / "demo"


def forget_demo() -> None:
    """The next `cached_demo` runs again. For tests that find that it is not what they ask of it."""
    (_demo_folder() / "finished").unlink(missing_ok=True)


@cache
def _demo_folder() -> Path:
    """Its name changes with any line of the program and with any library, so that it is never another program's."""
    return CACHE / f"demo-{hash_of_files('demo', [ROOT / 'geocorrect', ROOT / 'migrations'])}"


def _key(seed: int, size: str) -> str:
    """Changes with the options and with any line that renders, places or writes."""
    package = ROOT / "geocorrect"
    rooms = [package / room for room in ("demo", "geometry", "anchors", "io")]
    return hash_of_files(f"{seed} {size}", [*rooms, package / "records"])


def hash_of_files(what: str, places: Iterable[Path]) -> str:
    """Of what the files and folders hold, of the libraries and the Python that read them, and of a name."""
    libraries = sorted(path.name for path in Path(np.__file__).parents[1].glob("*.dist-info"))
    threads = os.environ.get("OMP_NUM_THREADS")  # sums in another order differ in their last digits
    digest = hashlib.sha256(repr([what, sys.version, libraries, threads]).encode())
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:  # bytecode comes and goes while others import
                digest.update(path.read_bytes())
    return digest.hexdigest()[:20]
