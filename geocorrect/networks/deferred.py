"""Networks that are loaded when they are first used.

Describing a run, or answering from a cache, needs to know which weights would be used, not their gigabytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

Network = TypeVar("Network")


def deferred(load: Callable[[], Network]) -> Network:
    """A stand-in for the network that `load` gives; the first look at it or call of it loads it, once.

    Errors of `load` are raised there. Everything that can be checked without loading belongs before this call.
    """
    return cast(Network, _Deferred(load))


class _Deferred(Generic[Network]):
    """Passes every look and call on to the network."""

    def __init__(self, load: Callable[[], Network]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._network: Network | None = None

    def resolve(self) -> Network:
        """The network itself, loaded now if it was not yet."""
        with self._lock:
            if self._network is None:
                self._network = self._load()
            return self._network

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a copy or a pickle must not load anything
            raise AttributeError(name)
        return getattr(self.resolve(), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        network: Any = self.resolve()
        return network(*arguments, **named)
