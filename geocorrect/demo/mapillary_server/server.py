"""A fake Mapillary server on a real socket: Graph API v4, coverage tiles and an image CDN with expiring URLs.

    with FakeMapillaryServer(images, files) as service:
        options = HarvestOptions(graph_url=service.graph_url, tiles_url=service.tiles_url, private_image_hosts=True)

The demo harvests from it with the ordinary client. Tests put faults between request and answer through `fault`.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from geocorrect.demo.mapillary_server.answers import (
    MAX_RESULTS,
    THUMB_SIZES,
    FakeMapillaryData,
    GraphRefusalError,
    Json,
)
from geocorrect.demo.mapillary_server.hostile import Attack

FAKE_TOKEN = "MLY|1234567890123456|0123456789abcdef0123456789abcdef"
"""The token that the fake server accepts; it opens nothing else."""


@dataclass(frozen=True)
class FakeRequest:
    """A request as the server sees it."""

    role: str
    """"graph", "tiles" or "cdn"."""
    path: str
    """Path without the role."""
    query: Mapping[str, str]
    """Parameters of the query."""
    headers: Mapping[str, str]
    """HTTP headers."""
    number: int
    """Position among all requests, from 1."""


@dataclass(frozen=True)
class FakeReply:
    """What goes over the wire, and how badly."""

    status: int = 200
    """HTTP status."""
    body: bytes = b""
    """Content."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """HTTP headers besides Date and Content-Length."""
    stall_s: float = 0.0
    """Wait before answering."""
    byte_interval_s: float = 0.0
    """Send one byte per interval."""
    cut_after: int | None = None
    """Close the connection after so many bytes."""
    content_length: int | None = None
    """What the header claims; None = the true length."""
    attack: Attack | None = None
    """Goes over the wire in place of all this (`hostile.ATTACKS`)."""


def json_reply(content: Any, status: int = 200) -> FakeReply:
    """A JSON body."""
    body = json.dumps(content).encode()
    return FakeReply(status, body, {"Content-Type": "application/json; charset=UTF-8"})


Fault = Callable[[FakeRequest], "FakeReply | None"]


class FakeMapillaryServer:
    """The server as a context manager; serves from threads of this process until the block ends.

    Args:
        images: metadata in the shape of API v4, without thumbnail URLs (the server signs those).
        files: image id → the full-size picture *as the provider delivers it* (upright), a path or the bytes themselves.
        token: the token that it accepts.
        bbox_share: the part of the true result that a bbox search returns, because the real one is a sample.
        url_lifetime_s: how long a signed image URL stays good.
        fault: called with every request; a reply that it returns replaces the true answer.
    """

    def __init__(
        self,
        images: Sequence[Mapping[str, Any]],
        files: Mapping[str, Path | bytes],
        *,
        token: str = FAKE_TOKEN,
        bbox_share: float = 1.0,
        url_lifetime_s: float = 30 * 86400.0,
        fault: Fault | None = None,
    ) -> None:
        self.data = FakeMapillaryData(images, bbox_share)
        self.files = dict(files)
        self.token = token
        self.url_lifetime_s = url_lifetime_s
        self.fault = fault
        self.requests: Counter[str] = Counter()
        self.tokens_sent_to_cdn = 0
        self._lock = threading.Lock()
        self._pictures: dict[tuple[str, str], bytes] = {}
        self._tiles: dict[str, bytes] = {}
        self._http = _HttpServer(("127.0.0.1", 0), _Handler)
        self._http.service = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def root_url(self) -> str:
        """Where the service listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def graph_url(self) -> str:
        """Root of the metadata API."""
        return f"{self.root_url}/graph"

    @property
    def tiles_url(self) -> str:
        """Root of the vector tiles."""
        return f"{self.root_url}/tiles"

    def answer(self, role: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> FakeReply:
        """The reply to a request, faults first."""
        with self._lock:
            self.requests[_endpoint(role, path, query)] += 1
            number = sum(self.requests.values())
            if role == "cdn" and "Authorization" in headers:
                self.tokens_sent_to_cdn += 1
        if self.fault is not None:
            reply = self.fault(FakeRequest(role, path, query, headers, number))
            if reply is not None:
                return reply
        try:
            if role == "graph":
                return self._graph(path, query, headers)
            return self._tile(path, query) if role == "tiles" else self._picture(path, query)
        except GraphRefusalError as refusal:
            return json_reply(refusal.body, refusal.status)

    def signed_url(self, image_id: str, size: str) -> str:
        """A picture URL that expires, in the manner of the real CDN (`oe` = hex seconds, `oh` = signature)."""
        expires = f"{int(time.time() + self.url_lifetime_s):x}"
        return f"{self.root_url}/cdn/{image_id}/{size}.jpg?oh={self._signature(image_id, size, expires)}&oe={expires}"

    def _graph(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> FakeReply:
        if headers.get("Authorization") != f"OAuth {self.token}":
            raise GraphRefusalError(401, 190, "Invalid OAuth 2.0 Access Token")
        fields = [name for name in query.get("fields", "id").split(",") if name]
        if path == "image_ids":
            return json_reply({"data": self.data.sequence(query.get("sequence_id", ""))})
        image_id, _, edge = path.partition("/")
        if edge == "detections":
            self.data.entity(image_id, ("id",))
            return json_reply({"data": self.data.detections.get(image_id, [])})
        if path != "images":
            return json_reply(self._with_urls(self.data.entity(path, fields), fields))
        if "image_ids" in query:
            found = self.data.batch(query["image_ids"].split(","), fields)
        else:
            found = self.data.search(_numbers(query.get("bbox", "")), fields, int(query.get("limit", MAX_RESULTS)))
        return json_reply({"data": [self._with_urls(entry, fields) for entry in found]})

    def _with_urls(self, entry: Json, fields: Sequence[str]) -> Json:
        for size in THUMB_SIZES:
            if f"thumb_{size}_url" in fields and entry["id"] in self.files:
                entry[f"thumb_{size}_url"] = self.signed_url(entry["id"], size)
        return entry

    def _tile(self, path: str, query: Mapping[str, str]) -> FakeReply:
        if query.get("access_token") != self.token:
            return FakeReply(403, b"Forbidden", {"Content-Type": "text/plain"})
        with self._lock:
            if path not in self._tiles:
                _, _, layer, _, _, x, y = path.split("/")
                self._tiles[path] = self.data.tile(layer, int(x), int(y))
            body = self._tiles[path]
        return FakeReply(200 if body else 204, body, {"Content-Type": "application/x-protobuf"})

    def _picture(self, path: str, query: Mapping[str, str]) -> FakeReply:
        image_id, _, name = path.partition("/")
        size, expires = name.removesuffix(".jpg"), query.get("oe", "0")
        if query.get("oh") != self._signature(image_id, size, expires) or int(expires, 16) < time.time():
            return FakeReply(403, b"URL signature expired", {"Content-Type": "text/plain"})
        if image_id not in self.files or size not in THUMB_SIZES:
            return FakeReply(404, b"Not found", {"Content-Type": "text/plain"})
        return FakeReply(200, self._scaled(image_id, size), {"Content-Type": "image/jpeg"})

    def _scaled(self, image_id: str, size: str) -> bytes:
        key = (image_id, size)
        if key not in self._pictures:
            source = self.files[image_id]
            data = source if isinstance(source, bytes) else source.read_bytes()
            self._pictures[key] = data if size == "original" else _thumbnail(data, int(size))
        return self._pictures[key]

    def _signature(self, image_id: str, size: str, expires: str) -> str:
        return hashlib.sha256(f"{image_id}/{size}/{expires}/{id(self)}".encode()).hexdigest()[:24]


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    service: FakeMapillaryServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _HttpServer

    def do_GET(self) -> None:
        """Route a request to the service and send its reply."""
        parts = urlsplit(self.path)
        role, _, path = parts.path.lstrip("/").partition("/")
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        try:
            self._send(self.server.service.answer(role, path, query, dict(self.headers.items())))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            self.wfile = io.BytesIO()  # what is left in the buffer has nowhere to go

    def _send(self, reply: FakeReply) -> None:
        time.sleep(reply.stall_s)
        if reply.attack is not None:
            self.close_connection = True
            reply.attack(self.wfile)
            return
        length = len(reply.body) if reply.content_length is None else reply.content_length
        self.send_response_only(reply.status)
        self.send_header("Date", self.date_time_string())
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if reply.byte_interval_s > 0:
            for byte in reply.body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(reply.byte_interval_s)
        else:
            self.wfile.write(reply.body[: reply.cut_after])
        self.wfile.flush()
        if reply.cut_after is not None or length != len(reply.body):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the service counts its requests in `requests`."""


def _thumbnail(data: bytes, width: int) -> bytes:
    """A progressive JPEG of the given width without EXIF, or the picture as it is when it is narrower."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        if picture.width <= width:
            return data
        small = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.save(out, "JPEG", quality=90, progressive=True)
    return out.getvalue()


def _numbers(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 4:
        raise GraphRefusalError(400, 100, "Invalid bbox")
    return values


def _endpoint(role: str, path: str, query: Mapping[str, str]) -> str:
    """The name under which a request is counted."""
    if role == "graph" and path == "images":
        return "graph:batch" if "image_ids" in query else "graph:bbox"
    if role == "graph":
        return "graph:sequence" if path == "image_ids" else "graph:entity"
    return role
