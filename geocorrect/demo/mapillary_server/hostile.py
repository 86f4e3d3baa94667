"""What a hostile server sends instead of an answer. Each attack writes until the client closes the connection."""

from __future__ import annotations

import gzip
import itertools
import json
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from io import BufferedIOBase

Attack = Callable[[BufferedIOBase], None]
"""Writes to a connection whose request has been read."""

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNK_S = 0.01
LONGEST_S = 60.0
"""After which an attack ends by itself; far beyond any deadline of the tests."""


def _endless(start: bytes, chunks: Iterable[bytes], pause_s: float = _CHUNK_S) -> Attack:
    def attack(wire: BufferedIOBase) -> None:
        wire.write(start)
        wire.flush()
        end_s = time.monotonic() + LONGEST_S
        for chunk in itertools.cycle(chunks):
            wire.write(chunk)
            wire.flush()
            if time.monotonic() > end_s:
                return
            time.sleep(pause_s)

    return attack


def _once(make_body: Callable[[], bytes], headers: str = "") -> Attack:
    def attack(wire: BufferedIOBase) -> None:
        body = make_body()
        wire.write(_OK + f"{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wire.flush()

    return attack


def _two_gigabytes() -> bytes:
    """Of blanks, as one layer of gzip without its end."""
    packer = zlib.compressobj(9, wbits=31)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    return start + (packer.compress(b" " * 10**7) + packer.flush(zlib.Z_FULL_FLUSH)) * 200


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_GZIPPED = "Content-Encoding: gzip\r\n"
_STREAM = b"Transfer-Encoding: chunked\r\n"
ATTACKS: dict[str, Attack] = {
    "nothing": _endless(b"", [b""]),
    "endless headers": _endless(_OK, [b"X-More: 1\r\n"], 0.05),
    "one endless header": _endless(_OK + b"X-More: ", [b"1"]),
    "1xx answers": _endless(b"", [b"HTTP/1.1 100 Continue\r\n\r\n"]),
    "a flood of 1xx answers": _endless(b"", [b"HTTP/1.1 102 Processing\r\n\r\n" * 2000], 0.0),
    "slow drip": _endless(_OK + b"Content-Length: 100000\r\n\r\n", [b" "], 0.05),
    "empty deflate stream": _endless(
        _OK + _STREAM + b"Content-Encoding: deflate\r\n\r\n" + _chunked(b"\x78\x9c"), [_chunked(b"\0\0\0\xff\xff")]
    ),
    "data behind the gzip end": _endless(
        _OK + _STREAM + _GZIPPED.encode() + b"\r\n" + _chunked(gzip.compress(b'{"data": []}')), [_chunked(b"\0" * 1000)]
    ),
    "two layers of gzip": _once(lambda: gzip.compress(_two_gigabytes()), "Content-Encoding: gzip, gzip\r\n"),
    "one layer of gzip, 2 GB": _once(_two_gigabytes, _GZIPPED),
    "endless body": _endless(_OK + _STREAM + b"\r\n", [_chunked(b" " * 1_000_000)], 0.0),
    "huge message": _once(
        lambda: json.dumps({"error": {"code": 1, "message": "\x1b[2J\x07" + "x" * 20_000_000}}).encode()
    ),
    "millions of values": _once(lambda: b"[" + b"[]," * 5_000_000 + b"[]]"),
}
"""By name, for any role."""


ODD_BODIES: dict[str, dict[str, bytes]] = {
    "graph": {
        "JSON nested 5000 deep": b"[" * 5000,
        "repeated key": b'{"id": "1", "data": [], "data": []}',
        "no number": b'{"data": [{"id": NaN}]}',
        "NUL bytes": bytes(100),
    },
    "tiles": {
        "tile cut in a tag": b"\x1a\x7f\x78\x02",
        "tile of an unknown wire type": b"\x1f" * 50,
        "tile that claims gigabytes": b"\x1a\xff\xff\xff\xff\x0f" + bytes(20),
    },
    "cdn": {
        "JPEG cut in its head": b"\xff\xd8\xff\xe0\0\x10JFIF",
        "JPEG of gigapixels": b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0\xff\xd9",
        "HTML for a picture": b"<html>Sign in to the network</html>",
    },
}
"""By role and name, bodies that no honest service sends."""


def hostile_records(record: Mapping[str, object]) -> dict[str, bytes]:
    """By name, the JSON of a metadata record that honest software never writes."""
    odd: dict[str, dict[str, str]] = {
        "NUL": {"make": r'"a\u0000b"'},
        "lone surrogate": {"model": r'"\ud800"', "creator": r'{"username": "\udfff"}'},
        "integer beyond 64 bit": {"merge_cc": str(10**30), "atomic_scale": str(10**400)},
        "deep nesting": {"camera_parameters": "[" * 400 + "]" * 400},
        "NUL in what is kept raw": {"camera_type": r'"\u0000"', "quality_score": r'{"\ud800": "\u0000"}'},
    }
    texts = {key: json.dumps(value) for key, value in record.items()}
    return {
        name: f"{{{', '.join(f'{json.dumps(key)}: {text}' for key, text in (texts | changed).items())}}}".encode()
        for name, changed in odd.items()
    }
