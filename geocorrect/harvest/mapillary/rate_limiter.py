"""Politeness shared by all workers: the request rate, the common pause after a rate limit, and when to give up."""

from __future__ import annotations

import math
import threading
import time
from email.utils import parsedate_to_datetime

from geocorrect.errors import RemoteError
from geocorrect.harvest.options import HarvestOptions


class RateLimiter:
    """One per client: `wait_turn` blocks until a request may go out, `succeeded` and `failed` take the outcomes."""

    def __init__(self, options: HarvestOptions) -> None:
        self._interval_s = 1.0 / options.requests_per_s
        self._max_failures = options.max_consecutive_failures
        self._max_silence_s = options.max_silence_s
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._why_stopped = ""
        self._next_turn_s = 0.0
        self._paused_until_s = 0.0
        self._failures = 0
        self._silent_since_s: float | None = None

    def wait_turn(self, *, rated: bool) -> None:
        """Wait for the common pause and, for `rated` requests, for a slot of the rate; RemoteError once stopped."""
        while True:
            with self._lock:
                now = time.monotonic()
                ready = max(self._paused_until_s, self._next_turn_s if rated else 0.0)
                if ready <= now:
                    if rated:
                        self._next_turn_s = max(self._next_turn_s, now - self._interval_s) + self._interval_s
                    break
            self.sleep(ready - now)
        self.check()

    def sleep(self, seconds: float) -> None:
        """Sleep that a stop of the run interrupts."""
        self._stopped.wait(seconds)
        self.check()

    def pause_all(self, seconds: float) -> None:
        """Nobody sends anything for a while. Pauses do not add up: the latest end counts."""
        with self._lock:
            self._paused_until_s = max(self._paused_until_s, time.monotonic() + seconds)

    def succeeded(self) -> None:
        """The service answered; an answer that says no is an answer."""
        with self._lock:
            self._failures, self._silent_since_s = 0, None

    def failed(self, *, counts: bool) -> bool:
        """No usable answer; whether it is time to `give_up`. A rate limit is no failure, but its silence counts."""
        with self._lock:
            now = time.monotonic()
            self._failures += counts
            if self._silent_since_s is None:
                self._silent_since_s = now
            return self._failures >= self._max_failures or now - self._silent_since_s > self._max_silence_s

    def give_up(self) -> None:
        """End the run because nobody answers."""
        with self._lock:
            failures, silent_since_s = self._failures, self._silent_since_s
        silent_s = 0.0 if silent_since_s is None else time.monotonic() - silent_since_s
        self.stop(
            f"the service does not answer ({failures} failures in a row, {silent_s:.0f} s without an answer); "
            "what was harvested is kept, run the same command later to continue"
        )

    def stop(self, why: str) -> None:
        """End the run: every worker's next step raises RemoteError with this text. The first reason stays."""
        with self._lock:
            self._why_stopped = self._why_stopped or why
        self._stopped.set()

    def check(self) -> None:
        """RemoteError once the run has been stopped."""
        if self._stopped.is_set():
            raise RemoteError(self._why_stopped)


def retry_after_s(header: str | None, cap_s: float) -> float:
    """Seconds that a Retry-After header asks for: integer or HTTP date, at most `cap_s`; nan when absent or garbage."""
    text = (header or "").strip()
    if text.isdecimal():
        return min(float(text), cap_s)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return min(max(seconds, 0.0), cap_s)
