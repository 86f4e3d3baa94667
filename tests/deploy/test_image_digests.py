"""Base images by digest: what the registry serves is written into the files, all of it or nothing."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = ("Dockerfile", "Dockerfile.gpu", "compose.yml")
MANIFESTS = {
    "library/debian/manifests/bookworm-slim": b'{"manifests": ["debian"]}',
    "postgis/postgis/manifests/17-3.5": b'{"manifests": ["postgis"]}',
}
DIGESTS = {path.split("/")[1]: hashlib.sha256(body).hexdigest() for path, body in MANIFESTS.items()}


class Registry(BaseHTTPRequestHandler):
    """Wants an anonymous token for the repository, as Docker Hub does."""

    wrong: str = ""
    manifests = MANIFESTS

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        host = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
        if parts.path == "/token":
            scope = parse_qs(parts.query)["scope"][0]
            return self._say(200, b'{"token": "for %s"}' % scope.encode())
        path = parts.path.removeprefix("/v2/")
        scope = f"repository:{path.partition('/manifests/')[0]}:pull"
        if self.headers.get("Authorization") != f"Bearer for {scope}":
            challenge = f'Bearer realm="{host}/token",service="registry",scope="{scope}"'
            return self._say(401, b"{}", {"WWW-Authenticate": challenge})
        assert "image.index" in self.headers["Accept"]
        body = self.manifests.get(path)
        if body is None:
            return self._say(404, b"{}")
        digest = self.wrong or f"sha256:{hashlib.sha256(body).hexdigest()}"
        return self._say(200, body, {"Docker-Content-Digest": digest})

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def registry() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [Path(shutil.copy(ROOT / "docker" / name, tmp_path)) for name in FILES]


def pin(registry: str, files: list[Path]) -> int:
    spec = importlib.util.spec_from_file_location("image_digests", ROOT / "docker" / "image_digests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return int(module.main(["--registry", registry, *map(str, files)]))


def test_every_base_image_gets_the_digest_that_the_registry_serves(registry: str, files: list[Path]) -> None:
    assert pin(registry, files) == 0
    debian = f"debian:bookworm-slim@sha256:{DIGESTS['debian']}"
    for path in files[:2]:
        bases = [line.split()[1] for line in path.read_text().splitlines() if line.startswith("FROM ")]
        assert bases == [debian, debian]
    services = yaml.safe_load(files[2].read_text())["services"]
    assert services["db"]["image"] == f"postgis/postgis:17-3.5@sha256:{DIGESTS['postgis']}"
    before = [path.read_text() for path in files]
    assert pin(registry, files) == 0
    assert [path.read_text() for path in files] == before, "again: the same"
    originals = [(ROOT / "docker" / name).read_text() for name in FILES]
    assert [len(text.splitlines()) for text in before] == [len(text.splitlines()) for text in originals]


@pytest.mark.parametrize("fault", ["no such tag", "other bytes", "no registry"])
def test_without_an_honest_answer_nothing_is_written(
    registry: str, files: list[Path], fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [path.read_text() for path in files]
    if fault == "no such tag":
        monkeypatch.setattr(Registry, "manifests", {k: v for k, v in MANIFESTS.items() if "debian" in k})
    if fault == "other bytes":
        monkeypatch.setattr(Registry, "wrong", f"sha256:{'0' * 64}")
    assert pin("http://127.0.0.1:9" if fault == "no registry" else registry, files) == 1
    assert [path.read_text() for path in files] == before
    said = capsys.readouterr().err
    assert "nothing was written" in said
    assert ("postgis/postgis:17-3.5" if fault == "no such tag" else "debian:bookworm-slim") in said


def test_dependabot_keeps_what_is_pinned() -> None:
    content = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())
    kept = {(entry["package-ecosystem"], entry["directory"]) for entry in content["updates"]}
    assert kept == {("docker", "/docker"), ("docker-compose", "/docker")}


def test_the_make_target_names_every_file_with_an_image() -> None:
    makefile = (ROOT / "Makefile").read_text()
    target = makefile.partition("\nimage-digests:")[2].partition("\n\n")[0]
    assert all(f"docker/{name}" in target for name in FILES)
    texts = {path.name: path.read_text() for path in (ROOT / "docker").iterdir() if path.is_file()}
    with_images = {name for name, text in texts.items() if re.search(r"^(FROM| +image:) ", text, re.MULTILINE)}
    assert with_images == set(FILES)
