"""What many tests need and none changes, made once and kept on disk by the hash of everything that makes it.

Demo worlds, and a small demo that has run to its end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

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


def cached_demo() -> Path:
    """out/demo after `geocorrect demo --size small`, as a user types it; read there, copy what a test writes to.

    Paths in its catalog are absolute: photos and anchors of a copied catalog are still found.
    """
    kept = CACHE / f"demo-{_hash_of_files('demo', [ROOT / 'geocorrect', ROOT / 'migrations'])}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{kept}.lock"), pytest.MonkeyPatch.context() as patch:
        if not (kept / "finished").exists():
            shutil.rmtree(kept, ignore_errors=True)
            cached_world(kept / "out" / "demo" / "world")
            patch.chdir(kept)
            patch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
            assert run(["demo", "--size", "small", "--workers", "1"]) == 0
            (kept / "finished").touch()
    return kept / "out" / "demo"


def _key(seed: int, size: str) -> str:
    """Changes with the options and with any line that renders, places or writes."""
    package = ROOT / "geocorrect"
    rooms = [package / room for room in ("demo", "geometry", "anchors", "io")]
    return _hash_of_files(f"{seed} {size}", [*rooms, package / "records.py"])


def _hash_of_files(what: str, places: Iterable[Path]) -> str:
    digest = hashlib.sha256(what.encode())
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.read_bytes())
    return digest.hexdigest()[:20]
