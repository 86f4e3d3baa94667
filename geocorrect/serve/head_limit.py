"""HTTP of which nobody can fill the memory: httptools, unlike h11, takes a head of any length."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's first line and headers, which come before it is known who asks."""


class LimitedHeads(HttpToolsProtocol):
    """A connection that ends when the head of a request is too long."""

    _head_bytes: int | None = 0
    """That have come of an unfinished head; None while a body comes."""

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        too_long = self._head_bytes is not None and self._head_bytes > MAX_HEAD_BYTES
        if too_long and not self.transport.is_closing():
            self.send_400_response(f"first line and headers are longer than {MAX_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """See `HttpToolsProtocol`."""
        self._head_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See `HttpToolsProtocol`."""
        self._head_bytes = 0
        super().on_message_complete()
