"""Ctrl-C, SIGTERM and the time that a run may take: finish the image at hand, write, release, say how it ended."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from geocorrect.errors import ExitCode


@dataclass
class StopRequest:
    """Set by the first signal; a second Ctrl-C interrupts at once. Time that is up requests a stop, too.

    max_runtime_s: counted from when this object is made, on a clock that nobody can set back.
    """

    exit_code: ExitCode | None = None
    max_runtime_s: float = math.inf
    _began_s: float = field(default_factory=time.monotonic)

    @property
    def requested(self) -> bool:
        """Whether to stop after the image at hand."""
        return self.exit_code is not None or self.time_is_up

    @property
    def time_is_up(self) -> bool:
        """Whether the run has taken as long as it may."""
        return time.monotonic() - self._began_s >= self.max_runtime_s


@contextmanager
def stop_on_signal(max_runtime_s: float = math.inf) -> Iterator[StopRequest]:
    """Turn SIGINT, SIGTERM and the end of the time into a request while the block runs."""
    request = StopRequest(max_runtime_s=max_runtime_s)

    def note(number: int, _frame: FrameType | None) -> None:
        # Not `requested`: time that is up is no first Ctrl-C.
        if request.exit_code is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.exit_code = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
