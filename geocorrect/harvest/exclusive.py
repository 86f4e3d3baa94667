"""One harvest per image folder at a time; the lock dies with its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geocorrect.errors import OutputError, SceneBusyError

_LOCK_NAME = "lock"


@contextmanager
def exclusive(state_folder: Path) -> Iterator[None]:
    """Hold the folder for the block. SceneBusyError naming the other process; OutputError when it cannot be written."""
    path = state_folder / _LOCK_NAME
    try:
        state_folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another image folder") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise SceneBusyError(f"{state_folder.parent}: another harvest is at work (process {holder})") from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
