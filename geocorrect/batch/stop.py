"""Ctrl-C and SIGTERM: finish the current image, write, release, and say how the run ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from geocorrect.errors import ExitCode


@dataclass
class StopRequest:
    """Set by the first signal; a second Ctrl-C interrupts at once."""

    exit_code: ExitCode | None = None

    @property
    def requested(self) -> bool:
        """Whether to stop after the image at hand."""
        return self.exit_code is not None


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request while the block runs."""
    request = StopRequest()

    def note(number: int, _frame: FrameType | None) -> None:
        if request.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.exit_code = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
