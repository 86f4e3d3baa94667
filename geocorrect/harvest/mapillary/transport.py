"""Connections that end in time: whatever a server sends or withholds, a request is over at its deadline or on a stop.

A library's timeouts count silence, and its decoders count output: headers without end, 1xx answers and packed nothing
pass both. Here every wait for the line is cut into short ones that look at deadline and stop, and bytes are counted as
they arrive, before they are unpacked.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from typing import Any

import httpcore
import httpx

from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError

POLL_S = 0.25
"""How long a wait for the line lasts before deadline and stop are looked at."""
_STEP_BYTES = 1_000_000
_ORDINARY_BYTES = 16_000_000
_PACKED = ("gzip", "x-gzip", "deflate")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RequestGuard:
    """The deadline of the request that each thread has under way, and the stop of the run."""

    def __init__(self, raise_if_stopped: Callable[[], None]) -> None:
        self._raise_if_stopped = raise_if_stopped
        self._thread = threading.local()
        self._large = threading.Semaphore()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What this thread does on the line in the block is over after `seconds`."""
        self._thread.deadline_s = time.monotonic() + seconds
        try:
            yield
        finally:
            self._thread.deadline_s = math.inf

    @property
    def deadline_s(self) -> float:
        """On the monotonic clock; inf outside of `within`."""
        return getattr(self._thread, "deadline_s", math.inf)

    def check(self) -> None:
        """Raise once the run is stopped (RemoteError) or the deadline is over (TEMPORARY)."""
        self._raise_if_stopped()
        if time.monotonic() > self.deadline_s:
            raise RequestError(ErrorKind.TEMPORARY, "the answer is not complete at the deadline")

    @contextmanager
    def closing(self, connection: socket.socket) -> Iterator[None]:
        """Shut a connection down from another thread, at the deadline or on a stop, if the block still waits for it."""
        deadline_s, done, twin = self.deadline_s, threading.Event(), connection.dup()

        def watch() -> None:
            while not done.wait(POLL_S):
                try:
                    self._raise_if_stopped()
                    if time.monotonic() <= deadline_s:
                        continue
                except Exception:
                    pass
                with suppress(OSError):
                    twin.shutdown(socket.SHUT_RDWR)
                return

        watcher = threading.Thread(target=watch, name="handshake", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            twin.close()
        self.check()

    def body(self, chunks: Iterable[bytes], encoding: str, cap: int) -> bytes:
        """A body as it arrives, unpacked from at most one layer of gzip; RequestError when it is larger than `cap`.

        Answers beyond 16 MB are taken one at a time, so that many of them together do not fill the memory.
        """
        inflater = _inflater(encoding)
        body, n_raw, large = bytearray(), 0, False
        try:
            for chunk in chunks:
                n_raw += len(chunk)
                for piece in (chunk,) if inflater is None else self._inflated(inflater, chunk):
                    self.check()
                    body += piece
                    if max(n_raw, len(body)) > cap:
                        raise RequestError(ErrorKind.REFUSED, f"the answer is larger than {cap} bytes")
                    if len(body) > _ORDINARY_BYTES and not large:
                        while not self._large.acquire(timeout=POLL_S):
                            self.check()
                        large = True
            if inflater is not None and n_raw and not inflater.eof:
                raise RequestError(ErrorKind.MALFORMED, "the packed answer is cut short")
            return bytes(body)
        finally:
            if large:
                self._large.release()

    def _inflated(self, inflater: Any, chunk: bytes) -> Iterator[bytes]:
        """Pieces of bounded size; at least one, so that packed nothing is looked at, too."""
        while True:
            try:
                yield inflater.decompress(chunk, _STEP_BYTES)
            except zlib.error as error:
                raise RequestError(ErrorKind.MALFORMED, f"no sound zlib or gzip stream ({error})") from None
            if inflater.unused_data or (inflater.eof and not chunk):
                raise RequestError(ErrorKind.MALFORMED, "there is data behind the end of the packed answer")
            chunk = inflater.unconsumed_tail
            if not chunk:
                return


def _inflater(encoding: str) -> Any:
    """None for a plain body; RequestError for encodings that were not asked for, two layers of gzip among them."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in _PACKED:
        raise RequestError(ErrorKind.MALFORMED, f"the answer is packed as {encoding!r}, which nobody asked for")
    return zlib.decompressobj(wbits=47)


class GuardedBackend(httpcore.NetworkBackend):
    """Connects for httpx, under a guard.

    Args:
        guard: knows the deadline.
        public_only: refuse hosts that have an address in this machine or its networks, or any other that is not public.
    """

    def __init__(self, guard: RequestGuard, *, public_only: bool) -> None:
        self._guard, self._public_only = guard, public_only
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; with `public_only` it is the one that was looked at.

        Nothing cuts a look-up of a name short, so that a thread of its own does it, which is left behind: the process
        does not wait for it when it ends, and a connection that comes too late is closed.
        """
        deadline_s = self._guard.deadline_s

        def connect() -> httpcore.NetworkStream:
            for address in (addresses := self._addresses(host, port)):
                left_s = max(deadline_s - time.monotonic(), POLL_S)
                try:
                    wait_s = min(timeout or left_s, left_s)
                    return self._inner.connect_tcp(address, port, wait_s, local_address, socket_options)
                except (httpcore.ConnectError, httpcore.ConnectTimeout):
                    if address == addresses[-1] or time.monotonic() > deadline_s:
                        raise
            raise httpcore.ConnectError(f"{host} has no address")

        connected: Future[httpcore.NetworkStream] = Future()
        threading.Thread(target=_fulfil, args=(connected, connect), name="connect", daemon=True).start()
        try:
            while not wait([connected], POLL_S).done:
                self._guard.check()
        except BaseException:
            connected.add_done_callback(_close_late)
            raise
        return _GuardedStream(connected.result(), self._guard)

    def sleep(self, seconds: float) -> None:
        """For the interface."""
        self._inner.sleep(seconds)

    def _addresses(self, host: str, port: int) -> list[str]:
        if not self._public_only:
            return [host]
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host}: {error}") from None
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        if not all(map(is_public, addresses)):
            text = (
                f"{host} is no public address; for a mirror in your own network set harvest.private_image_hosts = true"
            )
            raise RequestError(ErrorKind.REFUSED, text)
        return addresses


def _fulfil(future: Future[httpcore.NetworkStream], work: Callable[[], httpcore.NetworkStream]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


def _close_late(late: Future[httpcore.NetworkStream]) -> None:
    """A connection that nobody waits for any more."""
    if late.exception() is None:
        late.result().close()


def is_public(address: str) -> bool:
    """Whether a numeric address is one of the open internet, also when it is wrapped in an IPv6 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else inner
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


class _GuardedStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, guard: RequestGuard) -> None:
        self._inner, self._guard = inner, guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        silent_until_s = time.monotonic() + (math.inf if timeout is None else timeout)
        while True:
            self._guard.check()
            try:
                return self._inner.read(max_bytes, POLL_S)
            except httpcore.ReadTimeout:
                if time.monotonic() > silent_until_s:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._guard.check()
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        with self._guard.closing(self._inner.get_extra_info("socket")):
            return _GuardedStream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._guard)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def guarded_client(guard: RequestGuard, *, public_only: bool, **options: Any) -> httpx.Client:
    """An HTTP client whose connections are guarded; those through a proxy of the environment, too.

    What lies behind a proxy only the proxy can look at, so `public_only` does not concern it.
    """
    client = httpx.Client(headers={"User-Agent": "geocorrect", "Accept-Encoding": "gzip"}, **options)
    for transport, direct in [(client._transport, True), *((mount, False) for mount in client._mounts.values())]:
        if transport is not None:
            # httpx hands no backend on; tests/harvest/test_hostile.py fails should these attributes be renamed.
            pool = transport._pool  # type: ignore[attr-defined]
            pool._network_backend = GuardedBackend(guard, public_only=public_only and direct)
    return client
