"""The process of `geocorrect serve`: how it ends."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.child_process import child
from support.served import Served

from geocorrect.errors import ExitCode

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("sent", "at_start", "code"),
    [
        (signal.SIGINT, signal.SIG_DFL, ExitCode.INTERRUPTED),
        (signal.SIGINT, signal.SIG_IGN, ExitCode.INTERRUPTED),
        (signal.SIGTERM, signal.SIG_DFL, ExitCode.TERMINATED),
    ],
    ids=["Ctrl-C", "in the background of a script", "SIGTERM"],
)
def test_the_exit_code_says_which_signal_ended_it(
    empty_geopackage: Path, tmp_path: Path, sent: signal.Signals, at_start: signal.Handlers, code: ExitCode
) -> None:
    shutil.copy(empty_geopackage, tmp_path / "c.gpkg")
    command = [sys.executable, "-m", "geocorrect", "serve", "--catalog", "c.gpkg"]

    def set_up() -> None:
        signal.signal(signal.SIGINT, at_start)

    with child(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=set_up) as process:
        assert process.stderr is not None
        port, token = process.stderr.readline().split(":")[2].strip().split("/?token=")
        assert Served(int(port), token).get("/session").status == 200
        process.send_signal(sent)
        assert process.wait(60) == code
