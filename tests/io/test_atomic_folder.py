"""A bundle's folder is whole at any moment, and nothing that happens to a writer blocks its path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from geocorrect.errors import OutputError
from geocorrect.io.atomic_folder import NOTICE, atomic_folder

KILLED = Path(__file__).parents[1] / "support" / "killed_bundle.py"


def test_killed_at_every_step(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(KILLED), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rounds) > 15
    for step, after_kill, after_start, after_export, _, left in rounds:
        # Missing: between two renames; the old one waits under a hidden name.
        assert after_kill in ("old", "new", "missing"), step
        assert after_start == ("new" if after_kill == "new" else "old"), step
        assert (after_export, left) == ("newer", []), step
    assert {"old", "missing", "new"} == {after_kill for _, after_kill, *_ in rounds}
    assert any(hidden for *_, hidden, _ in rounds)
    assert rounds[-1][1] == "new"


def test_a_rename_that_fails_brings_the_old_bundle_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sfm"
    write(path, "old")
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if Path(target) == path and not self.name.endswith(".aside"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OutputError, match="No space left"):
        write(path, "new")
    assert (path / NOTICE).read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["sfm"]


def test_the_unfinished_of_the_living_and_of_others_stay(tmp_path: Path) -> None:
    """Another writer of the same path at work, and a stranger's hidden folder."""
    path = tmp_path / "sfm"
    with atomic_folder(path) as living:
        (living / NOTICE).write_text("first")
        (tmp_path / ".sfm.mine").mkdir()
        write(path, "second")
        assert living.is_dir()
    assert (path / NOTICE).read_text() == "first"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".sfm.mine", "sfm"]


def test_everything_is_on_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def syncing(handle: int) -> None:
        events.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name[:4]}")
        fsync(handle)

    def renaming(self: Path, target: Path) -> Path:
        events.append(f"rename to {Path(target).name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "rename", renaming)
    write(tmp_path / "sfm", "new")
    moved = events.index("rename to sfm")
    assert {"sync ATTR", "sync .sfm"} <= set(events[:moved])
    assert events[-1] == f"sync {tmp_path.name[:4]}"


def write(path: Path, what: str) -> None:
    with atomic_folder(path) as folder:
        (folder / NOTICE).write_text(what)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "nowhere").write_text("no folder")
    with pytest.raises(OutputError, match="nowhere"):
        write(tmp_path / "nowhere" / "sfm", "new")
    write(tmp_path / "new" / "sfm", "new")
    shutil.rmtree(tmp_path)


def test_a_link_to_a_folder_is_written_through_and_rights_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir(mode=0o700)
    link.symlink_to(real)
    for content in ("first", "second"):
        with atomic_folder(link) as folder:
            (folder / NOTICE).write_text(content)
        assert link.is_symlink()
        assert (real / NOTICE).read_text() == content
        assert real.stat().st_mode & 0o777 == 0o700
