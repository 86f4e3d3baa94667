"""A process that writes and reads a shared cache until it is killed; it dies loudly when it reads anything wrong."""

from __future__ import annotations

import hashlib
import random
import sys
import time
from pathlib import Path

from geocorrect.io.file_cache import FileCache

LIMIT_BYTES = 400_000
LONGEST_S = 120.0


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def content_of(number: int) -> bytes:
    """Up to 60 kB that can be checked."""
    return hashlib.sha256(f"content {number}".encode()).digest() * (1 + (number * 37) % 1900)


def main() -> None:
    cache = FileCache(Path(sys.argv[1]), LIMIT_BYTES)
    draw = random.Random(sys.argv[2])
    print("at work", flush=True)
    until_s = time.monotonic() + LONGEST_S
    while time.monotonic() < until_s:
        number = draw.randrange(60)
        cache.put(key_of(number), content_of(number))
        number = draw.randrange(60)
        if cache.get(key_of(number)) not in (None, content_of(number)):
            sys.exit(f"entry {number} holds something else")


if __name__ == "__main__":
    main()
