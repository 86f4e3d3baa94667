"""Files that appear complete or not at all: the one place that writes a temporary file and renames it.

A link is written through, not replaced, and a file keeps its rights. A pipe, and whatever a shell has opened as
/dev/stdout, is streamed to; devices are refused.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from geocorrect.errors import OutputError


@contextmanager
def atomic_path(path: Path, suffix: str | None = None) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well; removed when it does not.

    What killed writers of this path left behind is deleted first. For a stream it is elsewhere, and copied at the end.

    Args:
        path: the file to write; its folder is made when missing.
        suffix: of the temporary name, for writers that go by it; default: that of `path`.

    Raises:
        OutputError: the file cannot be written, or `path` is a folder, device or socket; the message names it.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    try:
        if is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                temporary = Path(folder) / f"piped{path.suffix if suffix is None else suffix}"
                temporary.touch()
                yield temporary
                with temporary.open("rb") as content, _opened_stream(path) as stream:
                    shutil.copyfileobj(content, stream)
            return
        if path.exists() and not path.is_file():
            raise OutputError(f"{path} is a device or socket; name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in leftovers_of(_behind_links(path)):
            if leftover.is_file():
                leftover.unlink(missing_ok=True)
        with replacement(path, suffix) as temporary:
            yield temporary
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None


def probe_output(path: Path) -> None:
    """Raise the OutputError that writing a file there would end with, before hours are spent on its contents."""
    with suppress(_Probed), atomic_path(path):
        raise _Probed


class _Probed(Exception):  # noqa: N818
    """Ends a probe before anything takes the place of the file."""


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file, written with a large buffer, that takes the place of `path` when the block ends well."""
    with atomic_path(path) as temporary, temporary.open("wb", buffering=1 << 20) as file:
        yield file


@contextmanager
def replacement(path: Path, suffix: str | None = None, *, durable: bool = True) -> Iterator[Path]:
    """As `atomic_path`, for callers with their own error message and for one file among many.

    Args:
        path: the file to write; its folder must exist.
        suffix: of the temporary name; default: that of `path`.
        durable: force content and name to the disk, so that a power cut leaves the old file or the new one.

    Raises:
        OSError: as the system reports it.
    """
    ending = path.suffix if suffix is None else suffix
    path = _behind_links(path)
    handle, name = tempfile.mkstemp(prefix=temporary_prefix(path), suffix=ending, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.chmod(rights_of(path, 0o666))
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str, suffix: str | None = None, *, durable: bool = True) -> None:
    """Write bytes, or text as UTF-8, by a `replacement`; the folder is made when missing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacement(path, suffix, durable=durable) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def is_stream(path: Path) -> bool:
    """Whether a path leads to a pipe, or to a file by /dev/stdout: written once, with nothing beside it."""
    return path.is_fifo() or (path.is_file() and _descriptor(path) is not None)


def _opened_stream(path: Path) -> BinaryIO:
    number = _descriptor(path)
    # What `> file` or `>> file` opened is written where the shell is: opened by name it would lose what is there.
    return path.open("wb") if number is None else os.fdopen(os.dup(number), "wb")


def _descriptor(path: Path) -> int | None:
    """The open file of this process that a path like /dev/stdout or /dev/fd/1 stands for; None for other paths."""
    if path.parent == Path("/dev") and path.is_symlink():
        path = path.readlink()
    own = os.path.realpath(path.parent) == os.path.realpath("/dev/fd")
    return int(path.name) if own and path.name.isdigit() else None


def rights_of(path: Path, new: int) -> int:
    """The rights of what is at a path, or `new` without the umask where there is nothing yet."""
    return path.stat().st_mode & 0o7777 if path.exists() else new & ~_umask()


def _behind_links(path: Path) -> Path:
    return Path(os.path.realpath(path))


def temporary_prefix(path: Path) -> str:
    """How names of unfinished files and folders of this path begin: hidden, with machine and process of the writer."""
    return f".{path.name[:40]}.{_machine()}-{os.getpid()}."


def leftovers_of(path: Path) -> list[Path]:
    """Unfinished files and folders of this path whose writer, a process of this machine, has ended."""
    own = re.compile(re.escape(f".{path.name[:40]}.{_machine()}-") + r"(\d+)\.")
    matches = [(own.match(entry.name), Path(entry.path)) for entry in os.scandir(path.parent)]
    return [entry for found, entry in matches if found and not _is_alive(int(found[1]))]


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk, so that a power cut does not undo a rename."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no such thing
            os.fsync(handle)
    finally:
        os.close(handle)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@cache
def _machine() -> str:
    """Where process numbers mean something: this machine, and on Linux this container."""
    container = os.readlink("/proc/self/ns/pid") if os.path.exists("/proc/self/ns/pid") else ""
    return f"{zlib.crc32(f'{socket.gethostname()} {container}'.encode()):08x}"


@cache
def _umask() -> int:
    # Once: it can only be read by setting it, and meanwhile another thread's new files would be open to everybody.
    mask = os.umask(0)
    os.umask(mask)
    return mask
