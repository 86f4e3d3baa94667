"""`geocorrect cache`: how much, and away with it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from support.store_world import entry

from geocorrect.__main__ import run
from geocorrect.errors import ExitCode
from geocorrect.io.file_cache import contents
from geocorrect.networks.store import TensorStore, content_key


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scene whose cache holds four entries, two of them unused for three days; the run's own store wrote them."""
    (tmp_path / "geocorrect.toml").write_text('[models]\ncache_folder = "cache"\ncache_disk_mib = 2\n')
    monkeypatch.chdir(tmp_path)
    store = TensorStore(tmp_path / "cache")
    for number in range(4):
        store.put(content_key(np.full((2, 2, 3), number, np.uint8)), entry(number))
    for old in contents(tmp_path / "cache").entries[:2]:
        os.utime(old.path, (time.time() - 3 * 86_400,) * 2)
    return tmp_path


@pytest.mark.long
def test_info_and_clear(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["n_entries"], facts["limit_bytes"], facts["writable"]) == (4, 2 << 20, True)
    assert facts["folder"] == str(scene / "cache"), "taken from the configuration's folder"
    assert facts["n_bytes"] == sum(path.stat().st_size for path in scene.rglob("*.tensors"))
    assert run(["cache", "clear", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_entries"] == 4
    assert run(["cache", "clear", "--unused-days", "2"]) == 0
    assert "2 entries" in capsys.readouterr().err
    assert len(contents(scene / "cache").entries) == 2
    assert run(["cache", "clear"]) == 0
    assert not contents(scene / "cache").entries
    assert run(["cache", "info"]) == 0
    assert "0 entries" in capsys.readouterr().err


def test_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["cache", "info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] is None
    assert run(["cache", "clear"]) == ExitCode.CONFIG
    assert "cache_folder" in capsys.readouterr().err
