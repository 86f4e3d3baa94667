"""No worker outlives the process that started it."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this worker process as soon as its parent has ended, even killed, even in the middle of an image.

    A pool's workers wait for work on a pipe whose other end they hold themselves, so they would wait for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
