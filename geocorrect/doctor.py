"""`geocorrect doctor`: is everything in place for a run? Each check says how to mend what is wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from geocorrect.console import Invocation, open_catalog, stderr
from geocorrect.errors import ExitCode, GeocorrectError
from geocorrect.log import redact

MIN_FREE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Finding:
    """One check: its name, whether it passed, what was seen, and the exit code that a failure stands for."""

    check: str
    ok: bool
    text: str
    exit_code: ExitCode = ExitCode.OK

    def as_json(self) -> dict[str, object]:
        """Plain values for --json."""
        return {"check": self.check, "ok": self.ok, "text": self.text}


def examine(invocation: Invocation) -> list[Finding]:
    """Run all checks; a broken configuration hides the checks that need it."""
    try:
        settings = invocation.settings()
    except GeocorrectError as error:
        return [Finding("configuration", False, redact(str(error)), error.exit_code)]

    def catalog() -> str:
        with open_catalog(settings) as store:
            return f"{store.address}: {len(store.anchor_index().ids)} anchors, {len(store.image_ids())} images"

    def disk() -> str:
        folder = _existing_parent(settings.images.folder)
        free = shutil.disk_usage(folder).free
        if free < MIN_FREE_BYTES or not os.access(folder, os.W_OK):
            raise GeocorrectError(f"{folder}: {free / 1e9:.1f} GB free, or not writable; make room or change [images]")
        return f"{free / 1e9:.0f} GB free at {folder}"

    def token() -> str:
        from geocorrect.harvest.client import token_from_environment

        token_from_environment()
        return "MAPILLARY_TOKEN is set (validity is checked by the first request of a harvest)"

    def backends() -> str:
        from geocorrect.batch.backends import build_depth, build_matcher

        return f"{build_matcher(settings).fingerprint}, {build_depth(settings).fingerprint}"

    checks = {"catalog": catalog, "disk": disk, "token": token, "back-ends": backends}
    return [Finding("configuration", True, "read"), *_run(checks)]


def print_findings(findings: list[Finding]) -> None:
    """One line per check on stderr."""
    for finding in findings:
        mark = "[green]ok[/]  " if finding.ok else "[red]FAIL[/]"
        stderr().print(f"{mark} {finding.check}: {finding.text}")


def _run(checks: dict[str, Callable[[], str]]) -> Iterator[Finding]:
    for name, check in checks.items():
        try:
            yield Finding(name, True, check())
        except GeocorrectError as error:
            code = error.exit_code if error.exit_code is not ExitCode.PROGRAMMING_ERROR else ExitCode.OUTPUT
            yield Finding(name, False, redact(str(error)), code)


def _existing_parent(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
