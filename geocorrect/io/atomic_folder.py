"""Folders that appear complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geocorrect.errors import OutputError
from geocorrect.io.atomic_file import leftovers_of, rights_of, sync_folder, temporary_prefix

NOTICE = "ATTRIBUTION.txt"
"""A file of every bundle of ours: the sign of a folder that may be replaced."""
_ASIDE = ".aside"


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends well; a link is written through.

    An older bundle of ours is replaced. Killed at any moment, `path` is the old bundle, the new one, or missing with
    the old one set aside, which the next export puts back before it starts.

    Raises:
        OutputError: the folder cannot be written, or `path` is a file or folder that is no bundle of ours.
    """
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _restore_after_kill(path)
        if path.exists() and not _is_ours(path):
            raise OutputError(f"{path} exists and is not a bundle of ours; name another folder or remove it")
        temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(path), dir=path.parent))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
    try:
        yield temporary
        temporary.chmod(rights_of(path, 0o777))
        _sync_all(temporary)
        _swap_in(temporary, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    return path.is_dir() and (not any(path.iterdir()) or (path / NOTICE).is_file())


def _swap_in(temporary: Path, path: Path) -> None:
    """Old aside, new in, old away: deleting first could leave half a bundle without the sign that it is ours."""
    aside = temporary.with_name(f"{temporary.name}{_ASIDE}")
    with suppress(FileNotFoundError):
        path.rename(aside)
    try:
        temporary.rename(path)
    finally:
        _put_back(aside, path)
    sync_folder(path.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _put_back(aside: Path, path: Path) -> None:
    if aside.exists() and not path.exists():
        aside.rename(path)


def _restore_after_kill(path: Path) -> None:
    for leftover in leftovers_of(path):
        if leftover.is_dir():
            if leftover.name.endswith(_ASIDE):
                _put_back(leftover, path)
            shutil.rmtree(leftover, ignore_errors=True)


def _sync_all(folder: Path) -> None:
    """Force the files to the disk before their folder gets its name: else a power cut leaves empty files."""
    for entry in folder.iterdir():
        with entry.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
