"""A program with two workers that are slow at their images, to be sent signals."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from geocorrect.errors import Reason
from geocorrect.records import Image, Rejection
from geocorrect.workers.engine import PoolEngine
from geocorrect.workers.pool import Limits
from geocorrect.workers.process import ProcessWorker
from geocorrect.workers.stop import stop_on_signal
from geocorrect.workers.worker import Outcome, Task


class Slow:
    """Takes a second per image and marks every try in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, item: Task) -> Outcome:
        with (self.folder / item.image.id).open("a") as tries:
            tries.write("x")
        time.sleep(1.0)
        return Outcome(Rejection(item.image.id, Reason.UNCERTAIN), ())


def pieces() -> Iterator[list[Task]]:
    for number in range(100):
        image = Image(f"image{number}", None, None, None)
        yield [Task(image, np.full(3, np.nan), float("nan"), (), ())]


def main(folder: str) -> None:
    """Prints "first" when the first image is done, then the other ids; exits as a signal demands."""
    engine = PoolEngine(ProcessWorker, 2, Limits())
    with stop_on_signal() as stop:
        done = engine.map(partial(Slow, Path(folder)), pieces(), stop)
        next(done)
        print("first", flush=True)
        for outcome in done:
            print(outcome.result.image_id, flush=True)
    sys.exit(stop.exit_code or 0)
