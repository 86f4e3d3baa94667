"""Advisory locks on files between processes, which the operating system releases when their holder dies.

`flock` and not the `filelock` package, because a lock file here contains who has locked it: `filelock` empties a file
before it tries to lock it.
"""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

RETRY_INTERVAL_S = 0.05
NO_LOCKS = "this file system has no file locks (flock): put it on a local disk, or mount it with locks"
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""What flock answers on network and FUSE file systems that do not have it."""


class FileLockedError(Exception):
    """Another process, or another open file of this one, has the lock.

    Attributes:
        content: text of the lock file, as its holder wrote it; may be empty while the holder is starting.
    """

    def __init__(self, path: Path, content: str) -> None:
        super().__init__(f"{path} is locked ({content or 'unknown holder'})")
        self.content = content


@contextmanager
def locked_file(path: Path, content: str = "", attempts: int = 1) -> Iterator[None]:
    """Lock a file exclusively for the block; it is created when missing, and stays.

    Args:
        path: the lock file; its folder must exist.
        content: what to write into it once it is locked, for others to read.
        attempts: how often to try, `RETRY_INTERVAL_S` apart.

    Raises:
        FileLockedError: another holder has it.
        OSError: the file cannot be opened, written or, for want of locks in its file system (`NO_LOCKS`), locked.
    """
    with path.open("a+", encoding="utf-8") as file:
        for attempt in range(attempts):
            if attempt:
                time.sleep(RETRY_INTERVAL_S)
            if try_lock(file):
                break
        else:
            raise FileLockedError(path, _content(file))
        file.truncate(0)
        file.write(content)
        file.flush()
        yield


def lock_holder(path: Path) -> str | None:
    """What the holder of a lock file wrote into it; None when it is free or there is no such file.

    Looking takes a shared lock for a moment, which an exclusive attempt of just then meets: give it a second one.
    """
    try:
        file = path.open("r+", encoding="utf-8")
    except OSError:
        return None
    with file:
        try:
            return None if try_lock(file, shared=True) else _content(file)
        except OSError:
            return None  # without locks nobody has one


def try_lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Lock an open file until it is closed, without waiting; False when another holder has it.

    shared: any number of shared locks exclude only exclusive ones.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise OSError(error.errno, NO_LOCKS) from None
        raise
    return True


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip()
