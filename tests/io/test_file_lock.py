"""One holder at a time, who is known by name, and whose lock ends with it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from geocorrect.io.file_lock import RETRY_INTERVAL_S, FileLockedError, lock_holder, locked_file, try_lock


def test_the_second_is_refused_and_learns_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_holder(path) is None
    with locked_file(path, "process 1"):
        assert lock_holder(path) == "process 1"
        with pytest.raises(FileLockedError, match="process 1") as refused, locked_file(path, "process 2", attempts=2):
            pass
        assert refused.value.content == "process 1"
    assert lock_holder(path) is None, "the file stays, the lock does not"
    with locked_file(path, "2"):
        assert path.read_text() == "2", "nothing is left of a longer text"


def test_an_attempt_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = path.open("a+")
    assert try_lock(first)
    threading.Timer(2 * RETRY_INTERVAL_S, first.close).start()
    with locked_file(path, attempts=200):
        assert first.closed


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    child = os.fork()
    if child == 0:
        with locked_file(path, "child"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with locked_file(path, "parent"):
        assert lock_holder(path) == "parent"


def test_shared_locks_stand_beside_each_other_but_not_beside_an_exclusive_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("a+") as one, path.open("a+") as two, path.open("a+") as three:
        assert try_lock(one, shared=True)
        assert try_lock(two, shared=True)
        assert not try_lock(three)


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked_file(tmp_path / "nowhere" / "lock"):
        pass
