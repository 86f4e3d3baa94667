"""Demo worlds that many tests need, rendered once and kept on disk by the hash of everything that makes them."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from filelock import FileLock

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


def _key(seed: int, size: str) -> str:
    """Changes with the options and with any line that renders, places or writes."""
    digest = hashlib.sha256(f"{seed} {size}".encode())
    for room in ("demo", "geometry", "anchors", "io"):
        for path in sorted((ROOT / "geocorrect" / room).rglob("*.py")):
            digest.update(path.read_bytes())
    digest.update((ROOT / "geocorrect" / "records.py").read_bytes())
    return digest.hexdigest()[:20]
