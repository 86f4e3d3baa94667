"""Processes that tests start: however a test ends, none is left running, and none is waited for in vain."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process with the options of `subprocess.Popen`, killed at the end of the block if it still runs.

    `Popen` as a context manager waits for it instead, after a failed assertion, too. With start_new_session its whole
    process group is killed.
    """
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            if options.get("start_new_session"):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
