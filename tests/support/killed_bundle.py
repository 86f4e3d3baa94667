"""Replaces a bundle in children that are killed at every single step: `python killed_bundle.py FOLDER`.

A step is anything that Python's audit hooks see of the file system. Prints one JSON line per kill: what stood at the
place of the bundle after the kill and after the next export.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from geocorrect.io.atomic_folder import NOTICE, atomic_folder

WATCHED = ("open", "os.", "shutil.", "tempfile.")


def write(path: Path, what: str) -> None:
    """A bundle of two files that say the same."""
    with atomic_folder(path) as folder:
        for name in (NOTICE, "reconstruction.json"):
            (folder / name).write_text(what)


def state(path: Path) -> str:
    """What a bundle says: one word when it is whole."""
    if not path.exists():
        return "missing"
    said = {(path / name).read_text() if (path / name).exists() else "?" for name in (NOTICE, "reconstruction.json")}
    return " and ".join(sorted(said))


def replaced_until(step: int, path: Path) -> bool:
    """Replace the bundle in a child that kills itself before that step; whether it ended by itself."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, _: tuple[Any, ...]) -> None:
            nonlocal left
            if event.startswith(WATCHED):
                left -= 1
                if left == -1:  # once: killing is an event itself
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        write(path, "new")
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def main(folder: Path) -> None:
    """Kill at the first step, the second, …, until a child comes through."""
    path = folder / "sfm"
    step, came_through = 0, False
    while not came_through:
        write(path, "old")
        came_through = replaced_until(step, path)
        after_kill = state(path)
        hidden = sorted(entry.name for entry in folder.iterdir() if entry.name != "sfm")
        try:
            with atomic_folder(path):
                raise KeyboardInterrupt  # the next export starts, and fails for a reason of its own
        except KeyboardInterrupt:
            after_start = state(path)
        write(path, "newer")
        left = sorted(entry.name for entry in folder.iterdir() if entry.name != "sfm")
        print(json.dumps([step, after_kill, after_start, state(path), len(hidden), left]), flush=True)
        step += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
