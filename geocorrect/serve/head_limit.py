"""HTTP of which nobody can fill the memory: httptools, unlike h11, takes heads and trailers of any length."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's first line and headers, which come before it is known who asks; likewise of its trailers."""


class LimitedHeads(HttpToolsProtocol):
    """A connection that ends when the head of a request is too long, or what comes between and after its body."""

    _head_bytes = 0
    """That have come since the end of a head, a piece of a body or the end of a request."""

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"first line and headers are longer than {MAX_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """See `HttpToolsProtocol`."""
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """See `HttpToolsProtocol`."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See `HttpToolsProtocol`."""
        self._head_bytes = 0
        super().on_message_complete()
