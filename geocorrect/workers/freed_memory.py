"""Memory that a worker frees is kept for its next photo instead of being asked of the kernel again."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's mallopt(3)."""
KEPT_BYTES = 512 << 20
"""At most so much stays free at the end of the heap: SIFT of a photo of two megapixels needs about as much."""
LARGE_BYTES = 64 << 20
"""What is larger is asked of the kernel and given back, as before: such photos are few, and memory is the user's."""


def keep_freed_memory() -> bool:
    """Make this process keep what it frees; False where the C library is not glibc, whose behaviour is left as it is.

    By default glibc gives arrays of megabytes back at once, and the kernel clears every page of the next one: a third
    of the processor time of SIFT (docs/accuracy.md, "Processor time of a photo").
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(name, size) == 1 for name, size in ((M_TRIM_THRESHOLD, KEPT_BYTES), (M_MMAP_THRESHOLD, LARGE_BYTES))
    )
