"""Long computations of tests that are sure to give the same again, kept on disk by the hash of all that they depend on.

For what is asserted on, and for what is only looked at; never for what a test does to files or processes.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from geocorrect.io.atomic_file import write_atomically
from support.world_cache import CACHE, ROOT, hash_of_files

T = TypeVar("T")


def kept(make: Callable[[], T], *options: object) -> T:
    """What `make` returns, from disk where this very program, test file and support have computed it before.

    Args:
        make: a function of the test's own file; deterministic. What it returns can be pickled.
        options: all that distinguishes it from other calls of the same function, as far as their `repr` tells.
    """
    code = make.__code__
    name = repr((_sources(), Path(code.co_filename).read_bytes(), code.co_name, code.co_firstlineno, options))
    path = CACHE / "results" / f"{hashlib.sha256(name.encode()).hexdigest()[:20]}.pickle"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.is_file():
            write_atomically(path, pickle.dumps(make()))
        found: T = pickle.loads(path.read_bytes())
    return found


@cache
def _sources() -> str:
    return hash_of_files("results", [ROOT / "geocorrect", ROOT / "simulation", ROOT / "tests" / "support"])
