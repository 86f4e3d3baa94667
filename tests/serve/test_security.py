"""What the server refuses: foreign names, sites and tokens, paths, long bodies, changes where it is read-only."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest
from support import catalog_world as world
from support.served import TOKEN, Served, served

from geocorrect.catalog import Catalog
from geocorrect.serve.head_limit import MAX_HEAD_BYTES
from geocorrect.serve.security import CSRF_HEADER, MAX_BODY_BYTES, content_security_policy, cookie_of, csrf_of
from geocorrect.serve.state import ServeSettings

DECISION = b'{"image_id": "1006", "version": 7, "verdict": "accept"}'


@pytest.fixture(scope="module")
def server(empty_geopackage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "c.gpkg").write_bytes(empty_geopackage.read_bytes())
    with Catalog.open(str(folder / "c.gpkg")) as catalog:
        world.fill(catalog)
        with served(ServeSettings(catalog, TOKEN, scene=folder)) as running:
            yield running


def without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key != name}


def test_the_token_becomes_a_cookie_and_leaves_the_address(server: Served) -> None:
    answer = server.ask("GET", f"/review?token={TOKEN}&sequence=a%20b")
    assert (answer.status, answer.headers["location"]) == (303, "/review?sequence=a+b")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{cookie_of(TOKEN)}={TOKEN};")
    assert {part.strip().lower() for part in cookie.split(";")[1:]} >= {"httponly", "samesite=strict", "path=/"}
    assert server.ask("GET", "//evil.example/?token=" + TOKEN).headers["location"] == "/evil.example/"


@pytest.mark.parametrize("path", ["/", "/review", "/session", "/api/review/queue", "/photo/1006", "/anchor/anchor-01"])
def test_without_cookie_nothing_private_is_read(server: Served, path: str) -> None:
    assert server.ask("GET", path).status == 401
    assert server.ask("GET", path + "?token=wrong").status == 401
    assert server.ask("GET", path, headers={"Cookie": f"{cookie_of(TOKEN)}=wrong"}).status == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", ""])
def test_a_foreign_name_is_refused_also_with_the_cookie(server: Served, host: str) -> None:
    """DNS rebinding: the page of evil.example asks this machine under its own name."""
    assert server.ask("GET", "/session", headers=server.own_headers() | {"Host": host}).status == 421
    assert server.ask("GET", "/static/common.js", headers={"Host": host}).status == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1"])
def test_own_names_are_served(server: Served, host: str) -> None:
    assert server.ask("GET", "/session", headers=server.own_headers() | {"Host": host}).status == 200


@pytest.mark.parametrize("path", ["/api/review/decide", "/api/review/undo"])
def test_changes_come_from_own_pages_only(server: Served, path: str) -> None:
    own = server.own_headers()
    foreign = [
        without(own, "Cookie"),
        without(own, "Origin"),
        own | {"Origin": "http://evil.example"},
        own | {"Origin": "null"},
        own | {"Origin": "http://["},
        own | {"Origin": f"http://127.0.0.1:{server.port + 1}"},
        without(own, CSRF_HEADER),
        own | {CSRF_HEADER: TOKEN},
        own | {CSRF_HEADER: csrf_of("another server")},
        # What an HTML form of another site can send at most.
        {"Cookie": own["Cookie"], "Origin": "http://evil.example", "Content-Type": "text/plain"},
    ]
    assert [server.ask("POST", path, DECISION, headers).status for headers in foreign] == [401] + [403] * 9


def test_long_bodies_are_refused_stated_or_not(server: Served) -> None:
    long = b"x" * (MAX_BODY_BYTES + 1)
    assert server.ask("POST", "/api/review/decide", long, server.own_headers()).status == 413
    lines = [b"POST /api/review/decide HTTP/1.1", f"Host: 127.0.0.1:{server.port}".encode()]
    lines += [f"{name}: {value}".encode() for name, value in server.own_headers().items()]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", b""]))
        for _ in range(5):
            raw.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        assert raw.recv(100).split()[1] == b"413"


def test_a_head_without_end_is_refused(server: Served) -> None:
    """Whoever sends it: it comes before the cookie is looked at. One that is long enough for all pages is read."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        start = b"GET /session HTTP/1.1\r\nX: "
        raw.sendall(start.ljust(MAX_HEAD_BYTES + 1, b"x"))
        assert raw.recv(100).split()[1] == b"400"
    kept = HTTPConnection("127.0.0.1", server.port, timeout=10)
    for _ in range(3):  # more than the limit together
        kept.request("GET", "/session", headers=server.own_headers() | {"X": "x" * 40_000})
        answer = kept.getresponse()
        answer.read()
        assert answer.status == 200
    kept.close()


def test_trailers_without_end_are_refused(server: Served) -> None:
    """They follow the body, also when it was refused."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        head = (
            f"POST /api/review/decide HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        raw.sendall(head.encode() + b"1\r\n{\r\n0\r\n")
        assert raw.recv(10_000).split()[1] == b"401"
        with suppress(ConnectionError):  # ended
            for number in range(4):
                raw.sendall(f"X{number}: {'x' * 30_000}\r\n".encode())
            while raw.recv(10_000):
                pass


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/photo/../c.gpkg", "/photo/..%2fc.gpkg",
        "/photo/%2fetc%2fpasswd", "/photo/c.gpkg", "/anchor/..%2f..%2fetc%2fpasswd", "/photo/%00",
    ],
)  # fmt: skip
def test_no_path_reaches_the_file_system(server: Served, path: str) -> None:
    answer = server.get(path)
    assert answer.status == 404
    assert b"SQLite" not in answer.body
    assert b"import" not in answer.body


def test_a_picture_is_sent_by_id_and_only_as_a_picture(server: Served, tmp_path: Path) -> None:
    assert server.get("/photo/1006").status == 404, "its file does not exist"
    path = tmp_path / "c.gpkg"
    Catalog.open(str(path), create=True).close()
    page, sound, picture = (tmp_path / name for name in ("page.jpg", "sound.webp", "picture.jpg"))
    sound.write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    page.write_bytes(b"<html><script>alert(1)</script>")
    picture.write_bytes(b"\xff\xd8\xff\xe0rest")
    with Catalog.open(str(path)) as catalog:
        catalog.upsert_images([replace(world.image(k), path=file) for k, file in enumerate((page, picture, sound))])
        with served(ServeSettings(catalog, TOKEN)) as own:
            assert [own.get(f"/photo/{name}").status for name in ("1000", "1002")] == [415, 415]
            answer = own.get("/photo/1001")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, picture.read_bytes(), "image/jpeg")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/session", "/static/common.js", "/nowhere"])
def test_every_answer_has_the_headers(server: Served, path: str) -> None:
    headers = server.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "http" not in policy, "no foreign origin unless named"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/ogc/collections/corrections/items", "/tiles/corrected/14/8762/6089.mvt"])
def test_strangers_are_not_told_where_a_damaged_catalog_lies(
    empty_geopackage: Path, tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "c.gpkg").write_bytes(empty_geopackage.read_bytes())
    with Catalog.open(str(tmp_path / "c.gpkg")) as catalog, served(ServeSettings(catalog, TOKEN)) as own:
        world.fill(catalog)
        with catalog.engine.begin() as connection:
            connection.exec_driver_sql("drop view current_result")
        stranger, editor = own.ask("GET", path), own.get("/api/city/counts")
    assert (stranger.status, stranger.value["error"]) == (
        500,
        "the catalog cannot be read now; the server's log says why",
    )
    assert (editor.status, str(tmp_path) in editor.value["error"]) == (500, True)
    assert f"{path}: {tmp_path}" in caplog.text


def test_the_answer_to_a_bug_has_the_headers_too(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geocorrect.serve.city.page.read_devices", lambda _catalog: 1 / 0)
    answer = server.get("/api/city/devices")
    assert answer.status == 500
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_only_named_tile_servers_are_in_the_policy() -> None:
    policy = content_security_policy(("https://tiles.example",))
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert {name for name, value in parts.items() if "tiles.example" in value} == {"img-src", "connect-src"}
