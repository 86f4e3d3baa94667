"""The cache folder: whole or absent, bounded, shared, and never in the way."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import cache_crowd
from support.cache_crowd import LIMIT_BYTES, content_of, key_of

from geocorrect.io.file_cache import UNFINISHED_S, FileCache, contents, remove_unused


@pytest.fixture
def crowd() -> Iterator[Callable[[Path, int], subprocess.Popen[str]]]:
    """Starts processes on a cache folder; whatever happens, none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, seed: int) -> subprocess.Popen[str]:
        process = _start(folder, seed)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def _start(folder: Path, seed: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, cache_crowd.__file__, str(folder), str(seed)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> str:
    """Kill it; what it said before, if it died by itself."""
    process.kill()
    said = process.communicate()[1]
    return said if process.returncode > 0 else ""


@pytest.mark.long
def test_killed_writers_leave_a_cache_that_is_whole(
    tmp_path: Path, crowd: Callable[[Path, int], subprocess.Popen[str]]
) -> None:
    """Three processes at a time on one folder, twelve SIGKILLs: nothing wrong is ever read, the bound holds."""
    draw = random.Random(5)
    running = [crowd(tmp_path, seed) for seed in range(3)]
    wrong = []
    for kill in range(12):
        time.sleep(draw.uniform(0.02, 0.15))
        wrong.append(end(running.pop(draw.randrange(3))))
        running.append(crowd(tmp_path, 100 + kill))
        assert contents(tmp_path).n_bytes <= 2 * LIMIT_BYTES + 12 * 60_000
    wrong += [end(process) for process in running]
    assert not any(wrong)
    cache = FileCache(tmp_path, LIMIT_BYTES)
    there = [cache.get(key_of(number)) for number in range(60)]
    assert sum(content is not None for content in there) > 3
    assert all(content in (None, content_of(number)) for number, content in enumerate(there))
    for entry in contents(tmp_path).unfinished:
        os.utime(entry.path, (time.time() - UNFINISHED_S - 1,) * 2)
    remove_unused(tmp_path, LIMIT_BYTES)
    assert not contents(tmp_path).unfinished, "what the killed left behind is removed"


@pytest.mark.parametrize("cut", [0, 5, 11, 200])
def test_a_torn_entry_counts_as_absent(tmp_path: Path, cut: int) -> None:
    cache = FileCache(tmp_path, 1 << 20)
    cache.put(key_of(1), content_of(1))
    (path,) = (entry.path for entry in contents(tmp_path).entries)
    path.write_bytes(path.read_bytes()[:cut])
    assert cache.get(key_of(1)) is None
    assert not path.exists()


def test_a_flipped_bit_counts_as_absent(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 1 << 20)
    cache.put(key_of(1), content_of(1))
    (path,) = (entry.path for entry in contents(tmp_path).entries)
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(bytes(damaged))
    assert cache.get(key_of(1)) is None


@pytest.fixture
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder that this process, for once without privileges, may read but not write."""
    folder = Path(tempfile.mkdtemp(prefix="geocorrect-cache.", dir="/tmp"))
    FileCache(folder, 1 << 20).put(key_of(1), content_of(1))
    (inner,) = (entry.path.parent for entry in contents(folder).entries)
    for path in (inner, folder):
        path.chmod(0o555)
    privileged = os.geteuid() == 0
    if privileged:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if privileged:
            os.seteuid(0)
        for path in (folder, inner):
            path.chmod(0o755)
        shutil.rmtree(folder)


def test_a_read_only_cache_is_read_with_one_warning(read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("geocorrect.io.file_cache.log.warning", lambda text, *values: said.append(text % values))
    cache = FileCache(read_only, 1 << 20)
    assert cache.get(key_of(1)) == content_of(1)
    for number in range(2, 6):
        cache.put(key_of(number), content_of(number))
        assert cache.get(key_of(number)) is None
    assert cache.get(key_of(1)) == content_of(1)
    assert said == [f"cache {read_only} cannot be written (Permission denied); going on without"]


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 1 << 20)
    for number in range(6):
        cache.put(key_of(number), b"x" * 1000)
        path = cache._path(key_of(number))
        os.utime(path, (1_000 + number, 1_000 + number))
    assert cache.get(key_of(0)) is not None  # used now
    removed = remove_unused(tmp_path, 3 * 1012)
    assert len(removed.entries) == 3
    assert [cache.get(key_of(number)) is not None for number in range(6)] == [True, False, False, False, True, True]


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    FileCache(tmp_path, 1 << 20).put(key_of(1), b"x")
    (tmp_path / "thesis.docx").write_text("mine")
    (tmp_path / "ab").mkdir(exist_ok=True)
    (tmp_path / "ab" / "abc.txt").write_text("mine too")
    remove_unused(tmp_path, 0)
    assert not contents(tmp_path).entries
    assert (tmp_path / "thesis.docx").exists()
    assert (tmp_path / "ab" / "abc.txt").exists()
