"""Workers for the engine tests, in a module of their own so that spawned processes can import them."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from geocorrect.config import Settings
from geocorrect.errors import ModelError, Reason
from geocorrect.log import LogSetup, current_setup, resume
from geocorrect.records import Rejection
from geocorrect.workers.limits import LimitedWorker
from geocorrect.workers.worker import Outcome, Task


class Echo:
    """Rejects every image with the id as detail; some ids kill the process that touches them, hang or eat memory.

    Every try of an image is a character in a file of its name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, item: Task) -> Outcome:
        image_id = item.image.id
        with (self.folder / image_id).open("a") as tries:
            tries.write("x")
        if image_id == "kills-always" or (image_id == "kills-once" and len((self.folder / image_id).read_text()) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if image_id == "hangs":
            time.sleep(600)
        if image_id == "eats":
            food = bytearray(800 * 2**20)
            food[:: os.sysconf("SC_PAGESIZE")] = b"x" * (len(food) // os.sysconf("SC_PAGESIZE"))
            time.sleep(600)
        if image_id == "bug":
            raise ZeroDivisionError("a bug")
        return Outcome(Rejection(image_id, Reason.TOO_FEW_MATCHES, image_id), (), (), item.input_hash)


class Telltale:
    """Rejects every image with its process as detail, slowly enough for others to get work too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, item: Task) -> Outcome:
        # Nobody runs ahead while another is still starting.
        (self.folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 20
        while len(list(self.folder.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.01)
        return Outcome(Rejection(item.image.id, Reason.TOO_FEW_MATCHES, str(os.getpid())), ())


@dataclass(frozen=True)
class Talkers:
    """Makes workers that log a line about every photo."""

    log_setup: LogSetup = field(default_factory=current_setup)

    def __call__(self) -> LimitedWorker:
        resume(self.log_setup)
        return LimitedWorker(self.talk, 60.0)

    def talk(self, item: Task) -> Outcome:
        logging.getLogger("geocorrect.talker").warning("about %s", item.image.id)
        return Outcome(Rejection(item.image.id, Reason.UNCERTAIN), ())


def cannot_start() -> Echo:
    raise ModelError("the weights of nothing are missing")


def dies_at_start() -> Echo:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


class Faulty:
    """Fails on one photo, crashes on another, is uncertain about the rest. A certain seed: fails on all of them."""

    KILLS, BUG, ALL_SEED = "p000030", "p000040", 13

    def __init__(self, settings: Settings) -> None:
        self.all = settings.batch.seed == self.ALL_SEED

    def __call__(self, item: Task) -> Outcome:
        if item.image.id == self.KILLS:
            ctypes.string_at(0)
        if item.image.id == self.BUG or self.all:
            raise FloatingPointError("of this photo alone")
        return Outcome(Rejection(item.image.id, Reason.UNCERTAIN), item.pairs, (), item.input_hash)


@dataclass(frozen=True)
class FaultyWorkers:
    """Stands in for `WorkerFactory`; in a module that spawned processes can import."""

    settings: Settings
    fingerprints: tuple[str, str]
    log_setup: LogSetup = field(default_factory=current_setup)

    def __call__(self) -> LimitedWorker:
        resume(self.log_setup)
        return LimitedWorker(Faulty(self.settings), 60.0)
