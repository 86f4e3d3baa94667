"""Limits of one image, in whatever process it is corrected: too slow, too large, a bug: all of them are results."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from geocorrect.api.backends import Backends
from geocorrect.config import Settings
from geocorrect.errors import InputError, ModelError, Reason, UsageError
from geocorrect.jobs.context import RunLimits, seconds
from geocorrect.log import LogOptions, set_up_logging
from geocorrect.records import Image, Rejection
from geocorrect.workers.limits import LimitedWorker, WorkerFactory
from geocorrect.workers.stop import StopRequest
from geocorrect.workers.worker import Outcome, Task, Worker

TASK = Task(Image("p1", None, None, None), np.full(3, np.nan), float("nan"), (), (), input_hash="depends on this")


class OutOfMemoryError(RuntimeError):
    """What torch calls its own, which is not loaded here."""


def guarded(work: Callable[[], object], limit_s: float = 60.0) -> Rejection:
    def worker(task: Task) -> Outcome:
        work()
        return Outcome(Rejection(task.image.id, Reason.UNCERTAIN), task.pairs, (), task.input_hash)

    outcome = LimitedWorker(worker, limit_s)(TASK)
    assert outcome.input_hash == "depends on this"
    assert isinstance(outcome.result, Rejection)
    return outcome.result


def test_a_quick_image_passes_and_leaves_no_alarm_behind() -> None:
    assert guarded(lambda: None, 0.2).reason is Reason.UNCERTAIN
    time.sleep(0.3)


def test_a_slow_image_is_rejected_and_nothing_swallows_the_alarm() -> None:
    def stubborn() -> None:
        while True:
            try:
                time.sleep(5.0)
            except Exception:
                continue

    began_s = time.monotonic()
    found = guarded(stubborn, 0.2)
    assert (found.reason, found.detail) == (Reason.TIME_LIMIT, "not done after 0.2 s (batch.image_time_limit_s)")
    assert time.monotonic() - began_s < 4.0


def numpy_eats() -> None:
    np.zeros(2**46)


def opencv_eats() -> None:
    cv2.resize(np.zeros((10, 10), np.uint8), (2**20, 2**20))


def torch_eats() -> None:
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2 TiB\nmore lines")


@pytest.mark.parametrize("eats", [numpy_eats, opencv_eats, torch_eats])
def test_lack_of_memory_is_a_result(eats: Callable[[], object]) -> None:
    found = guarded(eats)
    assert found.reason is Reason.MEMORY_LIMIT
    assert "emory" in found.detail
    assert "\n" not in found.detail


def no_such_file() -> None:
    raise InputError("a file that nobody foresaw")


def opencv_refuses() -> None:
    cv2.resize(np.zeros((0, 0), np.uint8), (1, 1))


@pytest.mark.parametrize("fails", [lambda: 1 // 0, opencv_refuses, no_such_file])
def test_a_bug_costs_one_image_and_is_told(fails: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(LogOptions())
    found = guarded(fails)
    assert found.reason is Reason.INTERNAL_ERROR
    assert "\n" not in found.detail
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert found.detail.split(":")[0] in told


def test_what_a_human_must_mend_is_raised() -> None:
    def missing() -> None:
        raise ModelError("no weights")

    with pytest.raises(ModelError):
        guarded(missing)


def test_many_bugs_in_a_row_end_the_run_with_the_last_one() -> None:
    plan = iter([*"bbbb", "ok", *"bbbbb"])

    def worker(task: Task) -> Outcome:
        if next(plan) == "b":
            raise ZeroDivisionError
        return Outcome(Rejection(task.image.id, Reason.UNCERTAIN), task.pairs)

    work = LimitedWorker(worker, 60.0)
    found = [work(TASK).result for _ in range(9)]
    assert Counter(result.reason for result in found if isinstance(result, Rejection)) == {
        Reason.INTERNAL_ERROR: 8,
        Reason.UNCERTAIN: 1,
    }
    with pytest.raises(ZeroDivisionError):
        work(TASK)


def test_without_a_main_thread_there_is_no_alarm() -> None:
    found: list[Rejection] = []
    thread = threading.Thread(target=lambda: found.append(guarded(lambda: time.sleep(0.3), 0.1)))
    thread.start()
    thread.join()
    assert found[0].reason is Reason.UNCERTAIN


def test_replaced_weights_are_refused() -> None:
    settings = Settings()
    matcher, depth = Backends(settings).fingerprints
    worker = WorkerFactory(settings, (matcher, depth))()
    assert isinstance(worker.work, Worker)
    assert worker.work.fingerprints == (matcher, depth)
    with pytest.raises(
        ModelError, match=r"weights were replaced while the run worked: it began with sift/other weights"
    ):
        WorkerFactory(settings, ("sift/other weights", depth))()


@pytest.mark.parametrize(
    ("text", "expected_s"), [("90", 90.0), ("90s", 90.0), ("1.5 h", 5400.0), ("30m", 1800.0), (" 2h ", 7200.0)]
)
def test_durations(text: str, expected_s: float) -> None:
    assert seconds(text) == expected_s


@pytest.mark.parametrize("text", ["", "0", "0s", "-1m", "1d", "1h30m", "nan", "inf"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="90s, 30m or 2h"):
        seconds(text)


def test_time_that_is_up_requests_a_stop() -> None:
    assert not StopRequest().requested
    stop = StopRequest(max_runtime_s=0.05)
    assert not stop.requested
    time.sleep(0.06)
    assert stop.requested
    assert stop.exit_code is None
    allowance = RunLimits.of(None, "60s")
    assert 59.0 < allowance.left_s <= 60.0
