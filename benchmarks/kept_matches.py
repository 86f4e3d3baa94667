"""A matcher that matches each photo once, in this process and in later ones; what that cost stays with the answer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geocorrect.io.atomic_file import atomic_path
from geocorrect.match.base import DeclaredMatcher, Matcher
from geocorrect.records import ImageArray, Matches


class KeptMatcher:
    """Another matcher, under a name, whose answers are kept in memory and, with a folder, on disk."""

    def __init__(self, name: str, matcher: Matcher, folder: Path | None = None) -> None:
        self.name, self.matcher, self.fingerprint = name, matcher, matcher.fingerprint
        self._folder = folder
        # What is declared of a matcher changes no match.
        self._identity = (matcher.matcher if isinstance(matcher, DeclaredMatcher) else matcher).fingerprint
        self._known: dict[str, tuple[list[Matches], float]] = {}
        self.cost_s = self.spent_s = 0.0
        """Processor time of all answers, and of those that were computed just now."""

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`; what was matched before costs as much as it did."""
        key = self._key(query, anchors)
        if key not in self._known:
            self._known[key] = self._read(key) or self._compute(key, query, anchors)
        found, cost_s = self._known[key]
        self.cost_s += cost_s
        return found

    def _key(self, query: ImageArray, anchors: Sequence[ImageArray]) -> str:
        digest = hashlib.blake2b(self._identity.encode(), digest_size=16)
        for picture in (query, *anchors):
            digest.update(repr(picture.shape).encode())
            digest.update(np.ascontiguousarray(picture).data)
        return digest.hexdigest()

    def _compute(self, key: str, query: ImageArray, anchors: Sequence[ImageArray]) -> tuple[list[Matches], float]:
        started_s = time.process_time()
        found = self.matcher.match(query, anchors)
        cost_s = time.process_time() - started_s
        self.spent_s += cost_s
        if self._folder is not None:
            parts = {f"{n}/{name}": values for n, matches in enumerate(found) for name, values in vars(matches).items()}
            with atomic_path(self._folder / f"{key}.npz") as unfinished, unfinished.open("wb") as stream:
                np.savez(stream, cost_s=cost_s, count=len(found), **parts)
        return found, cost_s

    def _read(self, key: str) -> tuple[list[Matches], float] | None:
        path = None if self._folder is None else self._folder / f"{key}.npz"
        if path is None or not path.is_file():
            return None
        with np.load(path) as kept:
            parts = [[kept[f"{n}/{name}"] for name in ("query_px", "anchor_px", "score")] for n in range(kept["count"])]
            return [Matches(*part) for part in parts], float(kept["cost_s"])
