"""Unpacking zlib and gzip streams that others sent, within a limit."""

from __future__ import annotations

import zlib


def inflated(data: bytes, most_bytes: int) -> bytes:
    """The content of a zlib or gzip stream; ValueError saying what is wrong with it."""
    inflater = zlib.decompressobj(wbits=47)
    try:
        content = inflater.decompress(data, most_bytes)
    except zlib.error as error:
        raise ValueError(f"no sound zlib or gzip stream ({error})") from None
    if not inflater.eof:
        raise ValueError(f"the zlib or gzip stream is cut short or unpacks to more than {most_bytes} bytes")
    return content
