"""A cache in memory that forgets what was used longest ago, bounded by a count or by bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """The values used last, as many as fit; safe to use from several threads."""

    def __init__(self, limit: int, size_of: Callable[[Value], int] | None = None, *, keep_newest: bool = False) -> None:
        """Make an empty cache.

        Args:
            limit: what all values may take together, in the unit of `size_of`.
            size_of: size of a value, e.g. in bytes; None: each counts 1, and `limit` is a number of values.
            keep_newest: a value that is larger than the limit stays, alone, until the next one comes; otherwise such a
                value is not kept at all.
        """
        # At least 1, so that with keep_newest no value can have the size 0 that would never be dropped.
        self.limit = max(limit, 1) if keep_newest else limit
        self._size_of, self._keep_newest = size_of, keep_newest
        self._values: LRUCache[Key, Value] = LRUCache(self.limit, self._size)
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """What all values take together, in the unit of `limit`."""
        return int(self._values.currsize)

    def get(self, key: Key) -> Value | None:
        """The value of a key, which thereby counts as used; None when it is not at hand."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Remember a value, in place of an earlier one of the same key."""
        with self._lock:
            if self._size(value) <= self.limit:
                self._values[key] = value

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made when it is not at hand.

        `make` runs without the lock: it may ask for other keys, and two threads may make the same value at once.
        """
        value = self.get(key)
        if value is None:
            value = make()
            self.put(key, value)
        return value

    def _size(self, value: Value) -> int:
        size = 1 if self._size_of is None else self._size_of(value)
        return min(size, self.limit) if self._keep_newest else size
