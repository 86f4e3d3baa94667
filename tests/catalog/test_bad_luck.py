"""A full disk, a read-only disk, a disk without locks: the advice is right and nothing is lost."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import catalog_world as world

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.catalog.check import faults_of
from geocorrect.catalog.connect import engine_for
from geocorrect.catalog.geopackage import database
from geocorrect.catalog.lock import holder_of, lock_scene
from geocorrect.errors import DatabaseError, ExitCode, OutputError


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip(f"no file system can be mounted here: {mounting.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def catalog_there(small_disk: Path, empty_geopackage: Path) -> Path:
    path = Path(shutil.copy(empty_geopackage, small_disk / "catalog.gpkg"))
    with Catalog.open(str(path)) as catalog:
        world.fill(catalog, 5)
    return path


def fill_up(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 512, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return filler


@pytest.mark.long
def test_a_disk_that_is_really_full(catalog_there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filler = fill_up(catalog_there.parent)
    for command in ("status", "db upgrade", "db check", "db rollback run-a", "db retract 1001", "db runs"):
        code = run([*command.split(), "--catalog", str(catalog_there)])
        said = " ".join(capsys.readouterr().err.split())
        assert "restore" not in said, command
        assert code in (ExitCode.OK, ExitCode.DATABASE, ExitCode.OUTPUT), (command, said)
        if code != ExitCode.OK:
            assert "make room" in said, (command, said)
    with pytest.raises((DatabaseError, OutputError), match="make room"), Catalog.open(str(catalog_there)) as catalog:
        catalog.upsert_images([world.image(index) for index in range(10, 500)])
    filler.unlink()
    with Catalog.open(str(catalog_there)) as catalog:
        assert faults_of(catalog.engine) == []
        assert catalog.sizes() == (6, 5)
        assert sum(catalog.counts().values()) == 5


def test_a_full_disk_is_not_taken_for_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's words for it, before the file is open."""
    (tmp_path / "a.gpkg").write_bytes(b"SQLite format 3\0" + b"\0" * 100)
    for words, advice in (
        ("database or disk is full", "make room on its disk"),
        ("disk I/O error", "make room on its disk"),
        ("database disk image is malformed", "restore it from a copy"),
    ):

        def refuse(*_: Any, words: str = words, **__: Any) -> None:
            raise sqlite3.OperationalError(words)

        monkeypatch.setattr(database.sqlite3, "connect", refuse)
        with pytest.raises(DatabaseError, match=advice):
            engine_for(str(tmp_path / "a.gpkg"), create=False)


def test_a_disk_that_became_read_only(catalog_there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(catalog_there)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    subprocess.run(["mount", "-o", "remount,ro", catalog_there.parent], check=True)
    assert run(["status", "--json", "--catalog", str(catalog_there)]) == ExitCode.OK
    assert '"n_images": 5' in capsys.readouterr().out
    assert run(["db", "rollback", "run-a", "--catalog", str(catalog_there)]) == ExitCode.OUTPUT
    assert "Read-only file system" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_named(
    empty_geopackage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = shutil.copy(empty_geopackage, tmp_path / "catalog.gpkg")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    engine = engine_for(str(path), create=False)
    with pytest.raises(OutputError, match=r"has no file locks \(flock\): put it on a local disk"), lock_scene(engine):
        pass
    assert holder_of(engine) is None
    engine.dispose()
