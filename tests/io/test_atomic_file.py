"""A file is the old one or the new one, at any moment and whatever happens to its writer."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path

import pytest

from geocorrect.errors import OutputError
from geocorrect.io.atomic_file import atomic_file, atomic_path, probe_output, replacement, write_atomically


def test_content_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(TypeError), atomic_file(path) as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("where", ["file/table.csv", "."])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / where
    with pytest.raises(OutputError, match=str(path)), atomic_path(path):
        pass


def test_a_missing_folder_is_made_and_a_probe_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.csv"
    probe_output(path)
    assert list(path.parent.iterdir()) == []
    path.write_text("old")
    probe_output(path)
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["table.csv"]
    with pytest.raises(OutputError, match="is a folder"):
        probe_output(tmp_path)


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    child = os.fork()
    if child == 0:
        with atomic_path(path):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_path(path), atomic_path(path):  # the inner one leaves the writer at work alone
        assert len(list(tmp_path.iterdir())) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(("content", "expected"), [("Straße\n", "Straße\n".encode()), (b"\xff\x00", b"\xff\x00")])
def test_text_and_bytes_in_a_new_folder(tmp_path: Path, content: str | bytes, expected: bytes) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, content, ".part")
    assert path.read_bytes() == expected
    assert list(path.parent.iterdir()) == [path]


def test_new_files_have_the_rights_of_any_other(tmp_path: Path) -> None:
    """A temporary file is readable by its owner only; the finished one is not."""
    (plain := tmp_path / "plain").touch()
    write_atomically(tmp_path / "file", "x")
    assert (tmp_path / "file").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_file_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    synced: list[bool] = []
    path = tmp_path / "file"
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(path.exists()))
    write_atomically(path, "x", durable=durable)
    assert synced == ([False, True] if durable else [])


def test_a_replacement_passes_the_systems_error_on(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacement(tmp_path / "nowhere" / "file"):
        pass
    with pytest.raises(OSError, match="full"), replacement(tmp_path / "file"):
        raise OSError(28, "full")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("how", ["link", "chain of links", "relative link", "dangling link"])
def test_a_link_is_written_through(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    target, link = folder / "table.csv", tmp_path / "link.csv"
    if how != "dangling link":
        target.write_text("old")
    first = tmp_path / "first.csv"
    first.symlink_to("real/table.csv" if how == "relative link" else target)
    link.symlink_to(first if how == "chain of links" else first.readlink())
    with atomic_file(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert not target.is_symlink()
    assert target.read_text() == "new"
    assert [entry.name for entry in folder.iterdir()] == ["table.csv"]


def test_a_pipe_is_streamed_to_and_stays_one(tmp_path: Path) -> None:
    """Opened once, by name or through a link; a writer that fails sends nothing."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        with atomic_path(path, suffix=".gpkg") as temporary:
            assert temporary.suffix == ".gpkg"
            temporary.write_bytes(b"rows")
        assert os.read(reader, 100) == b"rows"
        os.close(reader)
    with pytest.raises(ZeroDivisionError), atomic_path(pipe):
        1 / 0  # noqa: B018
    assert pipe.is_fifo()
    assert {entry.name for entry in tmp_path.iterdir()} == {"pipe", "link"}


@pytest.mark.parametrize("what", ["/dev/null", "/dev/zero", "socket"])
def test_what_is_no_file_is_refused_and_stays(tmp_path: Path, what: str) -> None:
    path = tmp_path / "socket" if what == "socket" else Path(what)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(OutputError, match="is a device or socket"), atomic_file(path):
            pass
    assert stat.S_IFMT(path.stat().st_mode) in (stat.S_IFCHR, stat.S_IFSOCK)


@pytest.mark.parametrize("rights", [0o664, 0o600, 0o640, 0o444])
def test_a_file_keeps_its_rights(tmp_path: Path, rights: int) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    path.chmod(rights)
    with atomic_file(path) as file:
        file.write(b"new")
    assert path.stat().st_mode & 0o7777 == rights
