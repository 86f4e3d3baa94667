"""The files that schedule the job are judged by their own tools, and what they start is started."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cronexpr
import pytest
import yaml
from support.chaos import Scene, make_scene, serving
from support.child_process import child
from support.small_city import build_city

from geocorrect.config import BatchOptions

ROOT = Path(__file__).resolve().parents[2]
DOCKER, DEPLOY = ROOT / "docker", ROOT / "docs" / "deploy"
PROGRAM = Path(sys.executable).parent / "geocorrect"
SERVICE = DEPLOY / "systemd" / "geocorrect@.service"
TIMER = DEPLOY / "systemd" / "geocorrect@.timer"
CRONTAB = DEPLOY / "cron" / "geocorrect"
KUBERNETES = DEPLOY / "kubernetes" / "geocorrect.yml"
DOCKERFILES = [DOCKER / "Dockerfile", DOCKER / "Dockerfile.gpu"]


def tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A checker that pip installed beside this Python."""
    command = [str(Path(sys.executable).parent / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A scene with three photos, the service that has them, and a run that has harvested them."""
    city = build_city(tmp_path_factory.mktemp("city"), 3)
    with serving(city) as service:
        yield make_scene(tmp_path_factory.mktemp("scenes") / "rome", city, service, "corrections.gpkg", workers=1)


# --- containers ---


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_pass_hadolint(path: Path) -> None:
    judged = tool("hadolint", path)
    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_copy_what_there_is_and_do_not_run_as_root(path: Path) -> None:
    lines = path.read_text().splitlines()
    sources = [
        word for line in lines if line.startswith("COPY") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert len(sources) >= 5
    assert all((ROOT / source).exists() for source in sources if not source.startswith("--"))
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    assert lines.index("USER 10001:10001") > max(i for i, line in enumerate(lines) if line.startswith("RUN"))


def test_the_images_install_extras_that_exist() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (extras,) = re.findall(r"pip install .*'\.\[(.*)\]'", DOCKERFILES[1].read_text())
    assert all(re.search(rf"^{extra} = \[", text, re.MULTILINE) for extra in extras.split(","))


@pytest.mark.long
def test_compose_follows_the_specification() -> None:
    judged = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yml")
    assert judged.returncode == 0, judged.stdout


def test_compose_is_locked_down_and_healthy() -> None:
    services: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text())["services"]
    assert set(services) == {"db", "migrate", "scheduler", "worker"}
    for name, service in services.items():
        assert service["user"] not in ("", "root", "0"), name
        assert service["cap_drop"] == ["ALL"], name
        for key, value in service["environment"].items():
            if "PASSWORD" in key or "TOKEN" in key:
                assert value.startswith("${"), f"{name}: the secret {key} is written down"
        for other in service.get("depends_on", {}):
            assert other in services
    assert all("healthcheck" in services[name] for name in ("db", "scheduler"))


@pytest.mark.long
@pytest.mark.parametrize("file", ["compose.yml"])
def test_a_wrong_compose_file_is_noticed(file: str, tmp_path: Path) -> None:
    wrong = tmp_path / file
    wrong.write_text((DOCKER / file).read_text().replace("healthcheck:", "healthchek:"))
    assert tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", wrong).returncode != 0


def test_the_health_check_of_the_scheduler_is_the_file_that_it_touches() -> None:
    check = yaml.safe_load((DOCKER / "compose.yml").read_text())["services"]["scheduler"]["healthcheck"]["test"][1]
    assert "/tmp/geocorrect-alive" in check
    assert "/tmp/geocorrect-alive" in (DOCKER / "nightly.sh").read_text()


# --- the scheduler of the containers ---


@contextmanager
def nightly(scene: Scene, at: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **scene.environment,
        "PATH": f"{PROGRAM.parent}:/usr/bin:/bin",
        "GEOCORRECT_AT": at,
        "ALIVE": str(scene.folder / "alive"),
    }
    command = ["/bin/sh", str(DOCKER / "nightly.sh"), *arguments]
    with (
        (scene.folder / "nightly.txt").open("wb") as log,
        child(command, cwd=scene.folder, env=environment, stderr=log, start_new_session=True) as process,
    ):
        yield process


@pytest.mark.long
def test_the_scheduler_runs_the_job(scene: Scene) -> None:
    with nightly(scene, "now") as process:
        assert process.wait(timeout=200) == 0, (scene.folder / "nightly.txt").read_text()
    assert (scene.folder / "corrections.geojson").is_file()
    assert (scene.folder / "alive").is_file()
    with nightly(scene, "now", "--nonsense") as process:
        assert process.wait(timeout=100) == 2, "the exit code is the job's"


def test_the_scheduler_waits_and_stops_when_told(scene: Scene) -> None:
    (scene.folder / "alive").unlink(missing_ok=True)
    with nightly(scene, "00:00") as process:
        deadline = time.monotonic() + 30
        while not (scene.folder / "alive").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_the_scheduler_refuses_an_hour_that_is_none(scene: Scene) -> None:
    with nightly(scene, "25:99") as process:
        assert process.wait(timeout=20) == 2


FAKE_DATE = """#!/bin/sh
case "$*" in *-d*) echo 0 ;; *) echo 999999 ;; esac
"""
"""It is always the hour."""
FAKE_JOB = """#!/bin/sh
sleep 0.3
if [ -f "$ALIVE" ]; then echo alive; else echo dead; fi >>seen
rm -f "$ALIVE"
night=$(wc -l <seen)
[ "$night" -lt 6 ] || kill -TERM "$PPID"
for code in 5 5 75 0 9 5; do night=$((night - 1)); [ "$night" -gt 0 ] || exit "$code"; done
"""


@pytest.mark.long
def test_the_scheduler_is_not_well_while_every_job_fails(tmp_path: Path) -> None:
    """After two failures in a row nobody touches the file of the health check, until a job succeeds."""
    for name, script in (("date", FAKE_DATE), ("geocorrect", FAKE_JOB)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "GEOCORRECT_AT": "02:30", "ALIVE": str(tmp_path / "alive")}
    command = ["/bin/sh", str(DOCKER / "nightly.sh")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert (tmp_path / "seen").read_text().split() == ["alive", "alive", "dead", "dead", "alive", "alive"]
    assert "exit code 5, 2 in a row" in done.stderr


# --- stopping in time, memory ---


def _seconds(text: str) -> float:
    return float(re.sub(r"\D", "", text)) * (60 if text.endswith(("m", "min")) else 1)


def test_whoever_stops_a_job_waits_for_its_slowest_photo() -> None:
    """The limit, the quarter more after which a worker is killed, and some minutes for an export."""
    needed_s = BatchOptions().image_time_limit_s * 1.25 + 300
    services = yaml.safe_load((DOCKER / "compose.yml").read_text())["services"]
    graces = [services[name]["stop_grace_period"] for name in ("scheduler", "worker")]
    graces += re.findall(r"^TimeoutStopSec=(\S+)$", SERVICE.read_text(), re.MULTILINE)
    graces += re.findall(r"terminationGracePeriodSeconds: (\d+)", KUBERNETES.read_text())
    assert len(graces) == 4
    assert all(_seconds(grace) >= needed_s for grace in graces), graces


def test_a_heavy_photo_does_not_take_the_pod_with_it() -> None:
    """The kernel ends every process of a pod that is above its limit: workers must stay below it by themselves."""
    text = KUBERNETES.read_text()
    toml = tomllib.loads(textwrap.dedent(text.split("geocorrect.toml: |\n")[1].split("---")[0]))
    limit_mb = float(re.findall(r"limits:\s+memory: (\d+)Gi", text)[0]) * 1024
    workers_mb = toml["batch"]["workers"] * toml["batch"]["worker_memory_limit_mb"]
    assert workers_mb + 1024 <= limit_mb, "a gigabyte for the main process"


# --- Kubernetes ---


@pytest.mark.long
def test_manifests_follow_the_schema_of_kubernetes() -> None:
    judged = tool("kubernetes-validate", "--strict", KUBERNETES)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    wrong = tool("kubernetes-validate", "--strict", "-k", "1.1", KUBERNETES)
    assert wrong.returncode != 0


@pytest.mark.long
def test_the_cron_job_starts_the_program_with_its_configuration(tmp_path: Path) -> None:
    configuration, _, job = yaml.safe_load_all(KUBERNETES.read_text())
    assert cronexpr.next_fire(job["spec"]["schedule"], datetime(2026, 1, 1, tzinfo=UTC)).hour == 2
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 10001
    (tmp_path / "geocorrect.toml").write_text(configuration["data"]["geocorrect.toml"])
    for container in pod["initContainers"] + pod["containers"]:
        arguments = [a.replace("/etc/geocorrect", str(tmp_path)) for a in container["args"]]
        shown = subprocess.run([PROGRAM, *arguments, "--help"], capture_output=True, text=True, check=False)
        assert shown.returncode == 0, shown.stderr
    shown = subprocess.run(
        [PROGRAM, "-c", tmp_path / "geocorrect.toml", "config", "show"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert "batch.workers = 4" in shown.stdout


# --- systemd, cron ---


def unit(path: Path) -> configparser.RawConfigParser:
    """Strict reading: every line is a section, a comment or a key; keys may repeat (the last is kept)."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


def test_units_say_what_they_must() -> None:
    service, timer = unit(SERVICE), unit(TIMER)
    assert set(service.sections()) == {"Unit", "Service"}
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["User"] == "geocorrect"
    assert service["Service"]["KillMode"] == "mixed"
    assert "75" in service["Service"]["SuccessExitStatus"].split()
    assert set(timer.sections()) == {"Unit", "Timer", "Install"}
    assert timer["Timer"]["OnCalendar"] == "*-*-* 02:30:00"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for path in (SERVICE, TIMER):
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/geocorrect/bin/geocorrect", str(PROGRAM)))
    units = [tmp_path / "geocorrect@rome.service", tmp_path / "geocorrect@rome.timer"]
    judged = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stderr) == (0, "")
    (tmp_path / SERVICE.name).write_text(SERVICE.read_text().replace("KillMode=mixed", "KillMode=gently"))
    judged = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert judged.stderr


@pytest.mark.long
def test_what_the_service_starts_works_in_its_bare_environment(scene: Scene) -> None:
    """As systemd starts it: the environment file, nothing of ours; the working directory finds the configuration."""
    command = unit(SERVICE)["Service"]["ExecStart"].replace("/opt/geocorrect/bin/geocorrect", str(PROGRAM)).split()
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(scene.folder), "OMP_NUM_THREADS": "1", **scene.environment}
    done = subprocess.run(command, cwd=scene.folder, env=bare, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert '"run_id"' in done.stderr


@pytest.mark.long
def test_the_crontab_line(scene: Scene, tmp_path: Path) -> None:
    """Its time is one, its user is there, and what it starts works from cron's bare environment."""
    (line,) = [line for line in CRONTAB.read_text().splitlines() if re.match(r"\d", line)]
    *when, user, command = line.split(None, 6)
    assert cronexpr.next_fire(" ".join(when), datetime(2026, 1, 1, tzinfo=UTC)) == datetime(
        2026, 1, 1, 2, 30, tzinfo=UTC
    )
    assert user == "geocorrect"
    assert "%" not in line
    (tmp_path / "rome.env").write_text("".join(f"{key}='{value}'\n" for key, value in scene.environment.items()))
    for written, here in (
        ("/etc/geocorrect", str(tmp_path)),
        ("/var/lib/geocorrect/rome", str(scene.folder)),
        ("/opt/geocorrect/bin/geocorrect", str(PROGRAM)),
    ):
        command = command.replace(written, here)
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LOGNAME": "geocorrect"}
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd="/", env=bare, capture_output=True, text=True, check=False, timeout=200
    )
    assert (done.stdout, done.stderr) == ("", ""), "cron would mail it"
    assert '"run_id"' in (scene.folder / "geocorrect.log").read_text()
    broken = command.replace(" run ", " -c absent.toml run ")
    done = subprocess.run(["/bin/sh", "-c", broken], cwd="/", env=bare, capture_output=True, text=True, check=False)
    assert "absent.toml" in done.stdout, "what goes wrong is mailed"


def test_no_file_holds_a_secret() -> None:
    for path in [*DOCKER.iterdir(), *DEPLOY.rglob("*")]:
        if path.is_file():
            assert not re.search(r"MLY\|\d", path.read_text()), path
    assert os.access(DOCKER / "nightly.sh", os.X_OK)
