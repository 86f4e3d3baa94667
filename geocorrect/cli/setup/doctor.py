"""`geocorrect doctor`: is everything in place for a run? Each check says what it saw, or how to fix what is wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from geocorrect.cli.console import Invocation, open_catalog, stderr
from geocorrect.config import Settings
from geocorrect.errors import ConfigError, ExitCode, GeocorrectError, InputError, OutputError
from geocorrect.redaction import redact

MIN_FREE_BYTES = 2 * 1024**3
MAX_CLOCK_OFFSET = timedelta(seconds=30)
"""Signed picture addresses, TLS and the order of results in the catalog stand a smaller offset."""
POOLER = "through a pooler (PgBouncer: session and transaction mode work, idle_transaction_timeout must be 0)"
WRONG_CLOCK = "set the clock (timedatectl set-ntp true) before the next run: results are ordered by time"


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    """Its name."""
    ok: bool
    text: str
    """What was seen."""
    exit_code: ExitCode = ExitCode.OK
    """That of the failure."""

    def as_json(self) -> dict[str, object]:
        """Plain values for --json."""
        return {"check": self.check, "ok": self.ok, "text": self.text, "exit_code": int(self.exit_code)}


Check = Callable[[Settings], str]
"""Returns what was seen; raises GeocorrectError, whose exit code is the finding's, when something is wrong."""


def examine(invocation: Invocation) -> list[Finding]:
    """Everything that can be seen from this machine; a broken configuration hides the checks that need it."""
    return _examine(invocation, OFFLINE)


def examine_online(invocation: Invocation) -> list[Finding]:
    """The same, and one request to the imagery service, for its view of the token and its clock."""
    return _examine(invocation, OFFLINE | ONLINE)


def print_findings(findings: list[Finding]) -> None:
    """One line per check on stderr."""
    from rich.markup import escape

    for finding in findings:
        mark = "[green]ok[/]  " if finding.ok else "[red]FAIL[/]"
        stderr().print(f"{mark} {finding.check}: {escape(finding.text)}", soft_wrap=True)


def _examine(invocation: Invocation, checks: dict[str, Check]) -> list[Finding]:
    try:
        settings = invocation.settings()
    except GeocorrectError as error:
        return [Finding("configuration", False, redact(str(error)), error.exit_code)]
    return [Finding("configuration", True, "read"), *_run(checks, settings)]


def _run(checks: dict[str, Check], settings: Settings) -> Iterator[Finding]:
    for name, check in checks.items():
        try:
            yield Finding(name, True, redact(check(settings)))
        except GeocorrectError as error:
            yield Finding(name, False, redact(str(error)), error.exit_code)


def _catalog(settings: Settings) -> str:
    from geocorrect.catalog.connect import is_pooled

    with open_catalog(settings) as store:
        with store.engine.connect() as connection:
            pooler = f"; {POOLER}" if is_pooled(connection) else ""
        holder = store.holder()
        held = "" if holder is None else f"; held by {holder}"
        n_anchors, n_images = store.sizes()
        return f"{store.address}: {n_anchors} anchors, {n_images} images{pooler}{held}"


def _anchors(settings: Settings) -> str:
    with open_catalog(settings) as store:
        n_anchors, _ = store.sizes()
    if not n_anchors:
        raise InputError("none, and without them every photo is rejected: add some with `geocorrect anchors add`")
    return f"{n_anchors} to match photos against"


def _outputs(settings: Settings) -> str:
    from geocorrect.export.formats import format_of
    from geocorrect.io.atomic_file import probe_output

    for path in settings.export.files:
        format_of(path)
        probe_output(path)
    return ", ".join(str(path) for path in settings.export.files) or "no [export] files configured"


def _disk(settings: Settings) -> str:
    from geocorrect.jobs.cache_report import existing_folder

    seen = {}
    for folder in {existing_folder(folder) for folder in _written_folders(settings)}:
        free = shutil.disk_usage(folder).free
        if free < MIN_FREE_BYTES:
            raise OutputError(f"{folder}: {free / 1e9:.1f} GB free, {MIN_FREE_BYTES / 1e9:.1f} needed; make room")
        if not os.access(folder, os.W_OK):
            raise OutputError(f"{folder}: not writable for this user; change its owner or the configuration")
        seen[folder] = f"{free / 1e9:.0f} GB free at {folder}"
    return ", ".join(seen[folder] for folder in sorted(seen))


def _written_folders(settings: Settings) -> Iterator[Path]:
    from geocorrect.catalog.connect import catalog_path

    yield settings.images.folder
    path = catalog_path(settings.catalog.url)
    if path is not None:
        yield path.absolute().parent
    yield from (file.parent for file in settings.export.files)
    if settings.batch.metrics_file is not None:
        yield settings.batch.metrics_file.parent
    if settings.models.cache_folder is not None:
        yield settings.models.cache_folder
    if settings.depth.needs_neighbours:
        yield settings.calibrations.folder


def _token(settings: Settings) -> str:
    if settings.harvest.source == "panoramax":
        return "Panoramax needs none"
    from geocorrect.harvest.mapillary.client import token_from_environment

    token_from_environment()
    return "MAPILLARY_TOKEN is set (`geocorrect doctor --online` asks the service whether it is valid)"


def _back_ends(settings: Settings) -> str:
    from geocorrect.api.backends import Backends

    return ", ".join(Backends(settings).fingerprints)


def _weights(settings: Settings) -> str:
    from geocorrect.networks.cards import CARDS
    from geocorrect.networks.weights import model_rows, weights_folder

    access = settings.models.access
    states = [(row["name"], row["state"]) for row in model_rows(CARDS.values(), access.folder)]
    there = ", ".join(f"{name} {state}" for name, state in states if state != "absent")
    return f"{there or 'none fetched (SIFT and LiDAR need none)'} in {weights_folder(access)}"


def _matching(settings: Settings) -> str:
    """What matches, and what this machine could do better: the cascade decides whether a hard photo gets an answer."""
    section = settings.match
    using = " → ".join(section.matchers)
    if "aliked_lightglue" in section.matchers or section.matcher not in ("sift", "xfeat"):
        return using
    missing = [] if _has_learned_libraries() else ["pip install 'geocorrect[learned]'"]
    missing += [] if _has_learned_weights(settings) else ["geocorrect models fetch aliked_lightglue"]
    steps = " and ".join([*missing, 'set [match] matcher = "cascade"'])
    return f"{using}; for hard photos {steps}"


def learned_is_ready(settings: Settings) -> bool:
    """Whether libraries and weights of the default cascade are on this machine."""
    return _has_learned_libraries() and _has_learned_weights(settings)


def _has_learned_libraries() -> bool:
    return find_spec("torch") is not None and find_spec("kornia") is not None


def _has_learned_weights(settings: Settings) -> bool:
    from geocorrect.networks.weights import locate

    try:
        locate("aliked_lightglue", settings.models.access)
    except GeocorrectError:
        return False
    return True


def _device(settings: Settings) -> str:
    if find_spec("torch") is None:
        if settings.models.device not in ("auto", "cpu"):
            raise ConfigError(f"device {settings.models.device!r}, but no torch: pip install 'geocorrect[models]'")
        return "networks are not installed (pip install 'geocorrect[models]'); SIFT and LiDAR need none"
    import torch

    from geocorrect.networks.runtime import torch_device

    device = torch_device(settings.models)
    if device.type != "cuda":
        return f"networks run on the {device.type.upper()}, torch {torch.__version__}"
    try:
        free, total = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(device)
    except RuntimeError as error:
        # A broken or mismatched driver, a GPU that fell off the bus or is full: what a doctor is for.
        first = str(error).strip().splitlines()[0]
        raise ConfigError(f'the GPU does not answer ({first}); check `nvidia-smi`, or set device = "cpu"') from None
    return f"{name}: {free / 1e9:.0f} of {total / 1e9:.0f} GB free"


def _clock(settings: Settings) -> str:
    """Against the database server, and against what the catalog remembers: a clock set back is a clock set back."""
    from geocorrect.catalog.check import newest_moment, server_time

    now = datetime.now(UTC)
    with open_catalog(settings) as store:
        there, newest = server_time(store.engine), newest_moment(store.engine)
    if newest is not None and newest - now > MAX_CLOCK_OFFSET:
        raise ConfigError(f"it is {now:%Y-%m-%d %H:%M:%S} UTC, but the catalog knows {newest}; {WRONG_CLOCK}")
    if there is None:
        return f"{now:%Y-%m-%d %H:%M:%S} UTC, nothing in the catalog is newer"
    return _compared("the database server", there)


def _service(settings: Settings) -> str:
    """One request, two tries."""
    if settings.harvest.source == "panoramax":
        from geocorrect.harvest.panoramax.client import PanoramaxClient

        with PanoramaxClient(replace(settings.harvest, max_tries=2, backoff_cap_s=2.0)) as client:
            client.check_service()
        return f"{settings.harvest.panoramax_url} answers"
    from geocorrect.harvest.mapillary.client import service_time

    there = service_time(settings.harvest)
    clock = "its answer has no date" if there is None else _compared("its clock", there)
    return f"{settings.harvest.graph_url} takes the token; {clock}"


def _compared(what: str, there: datetime) -> str:
    offset_s = (datetime.now(UTC) - there).total_seconds()
    if abs(offset_s) > MAX_CLOCK_OFFSET.total_seconds():
        direction = "ahead of" if offset_s > 0 else "behind"
        raise ConfigError(f"this machine is {abs(offset_s):.0f} s {direction} {what}; {WRONG_CLOCK}")
    return f"{what} agrees within {max(abs(offset_s), 1.0):.0f} s"


OFFLINE: dict[str, Check] = {
    "catalog": _catalog,
    "disk": _disk,
    "exports": _outputs,
    "token": _token,
    "back-ends": _back_ends,
    "matching": _matching,
    "weights": _weights,
    "device": _device,
    "clock": _clock,
    "anchors": _anchors,
}
ONLINE: dict[str, Check] = {"service": _service}
