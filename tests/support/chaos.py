"""SIGKILL at any moment: does the next run end as if nothing had happened? `make chaos`, or a few kills in the tests.

A round starts an empty scene and lets the real program (`geocorrect run`: harvest, correct, export) work on it, killed
again and again, until a run ends by itself. Then every row of the catalog and every exported file must equal those of
a scene that was left alone. Meanwhile nothing that bears a final name may ever be half-written, and no process may
outlive its parent.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from geocorrect import __main__
from geocorrect.demo.mapillary_server.server import FAKE_TOKEN, FakeMapillaryServer
from geocorrect.log import LogOptions, end_run, set_up_logging
from support.chaos_state import half_written, leftovers, snapshot, working_statements
from support.hostile_service import HostileService
from support.small_city import SmallCity
from support.warm_program import Program

GIVE_UP_S = 300.0
WAIT_FOR_PHASE_S = 60.0
ORPHANS_MAY_TAKE_S = {"local": 60.0, "ray": 240.0}
"""How long processes may outlive the run, by engine: Ray's agents of a killed node report its end to a server that is
gone, too, before they believe it."""
RAY_PROCESSES = {"ray actor": "ray::_Actor", "ray node": "raylet"}
"""What the processes of a Ray node are called: an actor by its class, the node by its daemon."""
WORKERS = {"local": ("worker",), "ray": tuple(RAY_PROCESSES)}
"""Kinds of kills that meet what computes, by engine."""
WITHOUT_WORKERS = {"GEOCORRECT__BATCH__ENGINE": "in-process", "GEOCORRECT__BATCH__WORKERS": "1"}
"""Seconds faster than one worker process; results and what is due are the same."""


Launch = Callable[[list[str], dict[str, str], Path], Program]
"""Starts the program with arguments, an environment and a log file."""


def cold_start(arguments: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """The real program, leader of a process group of its own; all it says is added to a file."""
    with log.open("ab") as said:
        command = [sys.executable, "-m", "geocorrect", *arguments]
        return subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)


@dataclass
class Scene:
    """A scene on disk, its catalog's address, and how the program is started on it."""

    folder: Path
    url: str
    environment: dict[str, str]
    launch: Launch = cold_start
    """`cold_start`, or a `WarmStart`, which is seconds faster."""

    def start(self, *command: str) -> Program:
        """The program in a process group of its own."""
        arguments = ["-c", str(self.folder / "geocorrect.toml"), *command]
        return self.launch(arguments, {**os.environ, **self.environment}, self.folder / "log.txt")

    def run(self, *command: str) -> int:
        """Run to the end in this process, which costs neither a start nor workers; the exit code.

        The results are those of the program, which the campaign itself proves: it compares them with these.
        """
        with pytest.MonkeyPatch.context() as patch, (self.folder / "log.txt").open("a") as log:
            for name, value in {**self.environment, **WITHOUT_WORKERS}.items():
                patch.setenv(name, value)
            with redirect_stdout(log), redirect_stderr(log):
                try:
                    return __main__.run(["-c", str(self.folder / "geocorrect.toml"), *command])
                finally:
                    end_run()
                    set_up_logging(LogOptions())

    def last_words(self) -> str:
        """The end of what the program said."""
        return (self.folder / "log.txt").read_text(errors="replace")[-3000:]


def make_scene(
    folder: Path, city: SmallCity, service: FakeMapillaryServer, url: str, workers: int, launch: Launch = cold_start
) -> Scene:
    """An empty scene with the city's anchors."""
    folder.mkdir(parents=True)
    for name in ("anchors", "depth"):
        (folder / name).symlink_to(city.folder / name)
    (folder / "geocorrect.toml").write_text(city.configuration(url, workers))
    environment = {
        "MAPILLARY_TOKEN": FAKE_TOKEN,
        "OMP_NUM_THREADS": "1",
        "GEOCORRECT__HARVEST__GRAPH_URL": service.graph_url,
        "GEOCORRECT__HARVEST__TILES_URL": service.tiles_url,
        "GEOCORRECT__HARVEST__PRIVATE_IMAGE_HOSTS": "true",
        # A hostile server is left after this time, an honest one answers in milliseconds.
        "GEOCORRECT__HARVEST__METADATA_DEADLINE_S": "5",
        "GEOCORRECT__HARVEST__DOWNLOAD_DEADLINE_S": "5",
    }
    scene = Scene(folder, url if "://" in url else str(folder / url), environment, launch)
    table = ["--format", "table", "--crs", "EPSG:4979", "--height-reference", "ellipsoid"]
    if scene.run("anchors", "add", str(city.anchors_table), *table):
        raise AssertionError(scene.last_words())
    return scene


@dataclass
class Tally:
    """What happened. kills: signals that met a living process, by kind; misses: those for which there was none (any
    more); hits: kills that met the phase they aimed at; the rest must stay empty.
    """

    kills: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    starts: int = 0
    orphans: int = 0
    longest_orphan_s: float = 0.0
    half_written: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    rows_lost: int = 0
    rows_doubled: int = 0
    rows_different: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing at all went wrong."""
        bad = (self.orphans, self.rows_lost, self.rows_doubled, self.rows_different)
        return not any(bad) and not self.half_written and not self.left_over

    def lines(self) -> Iterator[str]:
        """A table for people."""
        yield f"{sum(self.kills.values())} SIGKILLs in {self.rounds} rounds, {self.starts} starts of the program"
        for kind, count in sorted(self.kills.items()):
            yield f"  {kind:<12} {count:3d} kills, {self.hits[kind]:3d} in the phase aimed at"
        yield f"not counted: {sum(self.misses.values())} that came too late"
        yield f"rows lost {self.rows_lost}, doubled {self.rows_doubled}, different {self.rows_different}"
        yield f"half-written files {len(self.half_written)}, left over {len(self.left_over)}, orphans {self.orphans}"
        yield f"the last process of a killed run ended at most {self.longest_orphan_s:.0f} s after it"
        yield from (f"  {what}" for what in self.half_written + self.left_over + self.examples)


class Chaos:
    """Kills the program at random; the same seed draws the same kinds and delays."""

    def __init__(self, seed: int, tally: Tally) -> None:
        self.random = random.Random(seed)
        self.tally = tally

    def round(self, scene: Scene, kinds: list[str]) -> None:
        """Run the scene to its end under these kills, one after the other, whatever is left of it for each."""
        self.tally.rounds += 1
        for kind in kinds:
            process = self._start(scene)
            hit = getattr(self, f"_aim_{kind.replace(' ', '_')}", self._aim_anywhere)(scene, process)
            self._kill(kind, process, hit)
            engine = scene.environment.get("GEOCORRECT__BATCH__ENGINE", "local")
            since_s = time.monotonic()
            orphans = _orphans(process.pid, ORPHANS_MAY_TAKE_S[engine])
            self.tally.orphans += bool(orphans)
            self.tally.longest_orphan_s = max(self.tally.longest_orphan_s, time.monotonic() - since_s)
            self.tally.examples += [f"{scene.folder.name}: {kind} left {title}" for title in orphans]
            self.tally.half_written += half_written(scene.folder)
        process = self._start(scene)
        code = process.wait(timeout=GIVE_UP_S)
        if code != 0:
            raise AssertionError(f"the last run ended with {code}: {scene.last_words()}")

    def compare(self, scene: Scene, undisturbed: Scene) -> None:
        """Count what differs between the rows and files of the two."""
        found, expected = snapshot(scene.url, scene.folder), snapshot(undisturbed.url, undisturbed.folder)
        for table, rows in expected.items():
            there = Counter(found[table])
            self.tally.rows_doubled += sum(count - 1 for count in there.values() if count > 1)
            keys, wanted = {row[0] for row in found[table]}, {row[0] for row in rows}
            self.tally.rows_lost += len(wanted - keys)
            different = set(found[table]) ^ set(rows)
            self.tally.rows_different += len(different)
            self.tally.examples += [f"{scene.folder.name} {table}: {row}" for row in sorted(different)[:2]]
        self.tally.half_written += half_written(scene.folder)
        self.tally.left_over += leftovers(scene.folder)

    def _start(self, scene: Scene) -> Program:
        self.tally.starts += 1
        return scene.start("run")

    def _kill(self, kind: str, process: Program, hit: bool) -> None:
        """Kill who was aimed at, if it is still there; then, uncounted, whoever is left of the run."""
        victims = self._victims(kind, process)
        self.tally.kills[kind] += bool(victims)
        self.tally.hits[kind] += hit and bool(victims)
        self.tally.misses[kind] += not victims
        for victim in victims:
            _signal(victim)
        if victims and kind in RAY_PROCESSES:
            # The run goes on without the actor, or ends without the node; then it is killed.
            _wait(lambda: process.poll() is not None, self.random.uniform(2.0, 10.0))
        if victims and kind == "worker":
            # The run must survive it. It goes on for a while, and is then killed.
            _wait(lambda: process.poll() is not None, self.random.uniform(1.0, 4.0))
            if process.poll() not in (None, 0):
                raise AssertionError(f"a run did not survive the death of a worker: {process.returncode}")
        if process.poll() is None and kind in (*RAY_PROCESSES, "worker"):
            _signal(-process.pid)
        process.wait(timeout=GIVE_UP_S)

    def _victims(self, kind: str, process: Program) -> list[int]:
        """Whom to kill: a process, a group (negative), nobody when they have ended."""
        if process.poll() is not None:
            return []
        if kind in (*RAY_PROCESSES, "worker"):
            found = (
                ray_processes(process.pid, RAY_PROCESSES[kind]) if kind in RAY_PROCESSES else workers_of(process.pid)
            )
            return self.random.sample(found, k=min(1, len(found)))
        return [-process.pid if kind == "group" else process.pid]

    def _aim_anywhere(self, scene: Scene, process: Program) -> bool:
        _wait(lambda: process.poll() is not None, self.random.uniform(0.3, 6.0))
        return process.poll() is None

    def _aim_worker(self, scene: Scene, process: Program) -> bool:
        met = _wait(lambda: bool(workers_of(process.pid)) or process.poll() is not None, WAIT_FOR_PHASE_S)
        _wait(lambda: process.poll() is not None, self.random.uniform(0.0, 3.0))
        return met and process.poll() is None and bool(workers_of(process.pid))

    def _aim_ray_actor(self, scene: Scene, process: Program) -> bool:
        return self._aim_ray(process, "ray actor")

    def _aim_ray_node(self, scene: Scene, process: Program) -> bool:
        return self._aim_ray(process, "ray node")

    def _aim_ray(self, process: Program, kind: str) -> bool:
        name = RAY_PROCESSES[kind]
        met = _wait(lambda: bool(ray_processes(process.pid, name)) or process.poll() is not None, 60.0)
        _wait(lambda: process.poll() is not None, self.random.uniform(0.0, 5.0))
        return met and process.poll() is None and bool(ray_processes(process.pid, name))

    def _aim_harvest(self, scene: Scene, process: Program) -> bool:
        images = scene.folder / "images"
        before = len(list(images.glob("*/*")))
        wanted = before + self.random.randint(1, 60)

        def seen() -> bool:
            return len(list(images.glob("*/*"))) >= wanted or process.poll() is not None

        return _wait(seen, WAIT_FOR_PHASE_S, 0.001) and process.poll() is None

    def _aim_write(self, scene: Scene, process: Program) -> bool:
        with working_statements(scene.url) as writes:
            skip = self.random.randint(0, 5)

            def writing() -> bool:
                nonlocal skip
                skip -= writes()
                return skip < 0 or process.poll() is not None

            return _wait(writing, WAIT_FOR_PHASE_S, 0.0005) and process.poll() is None

    def _aim_export(self, scene: Scene, process: Program) -> bool:
        nth = self.random.randint(0, 2)
        seen: set[str] = set()

        def exporting() -> bool:
            seen.update(path.name for path in scene.folder.glob(".corrections*"))
            return len(seen - old) > nth or process.poll() is not None

        old = {path.name for path in scene.folder.glob(".corrections*")}
        return _wait(exporting, GIVE_UP_S, 0.0005) and process.poll() is None


def kinds_of_a_round(rng: random.Random, count: int, engine: str = "local") -> list[str]:
    """A harvest first, exports last (they come when everything is computed), anything between, workers certainly."""
    if count < 3:
        return [rng.choice(("parent", "write")) for _ in range(count)]
    middle = list(WORKERS[engine])[: count - 2]
    middle += [rng.choice(("parent", "group", "write", *WORKERS[engine])) for _ in range(count - 2 - len(middle))]
    rng.shuffle(middle)
    return ["harvest", *middle, "export"]


def workers_of(pid: int) -> list[int]:
    """The worker processes of a run: its children, without Python's resource tracker; or those of its fork server."""
    cold, warm = [], []
    for child in _children(pid):
        with suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                cold.append(child)
        warm += _children(child)
    return cold or warm


def ray_processes(pid: int, name: str) -> list[int]:
    """Processes of the Ray node that this process started, by the beginning of their command's name."""
    found = []
    for child in _descendants(pid):
        with suppress(OSError):
            title = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            if Path(title).name.startswith(name) or title.startswith(name):
                found.append(child)
    return found


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _orphans(group: int, patience_s: float) -> list[str]:
    """What is left of a process group after a while, by its processes' titles; it is ended here."""

    def gone() -> bool:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    if _wait(gone, patience_s):
        return []
    titles = [_title(pid) for pid in _processes_of(group)]
    _signal(-group)
    return titles or ["processes that have just ended"]


def _processes_of(group: int) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ProcessLookupError):
            if folder.name.isdigit() and os.getpgid(int(folder.name)) == group:
                yield int(folder.name)


def _title(pid: int) -> str:
    """Command line and state; a zombie has no command line."""
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(bytes(1), b" ").decode(errors="replace")
        return f"{command.strip()[:160]} ({state})"
    return "?"


def _signal(pid: int) -> None:
    """SIGKILL for a process, or a group (negative); one that has ended meanwhile is no matter."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _wait(condition: Callable[[], bool], at_most_s: float, step_s: float = 0.02) -> bool:
    deadline = time.monotonic() + at_most_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(step_s)
    return False


@contextmanager
def serving(city: SmallCity, hostile: HostileService | None = None) -> Iterator[FakeMapillaryServer]:
    """The city's photos over HTTP, from a server that may be hostile now and then."""
    with FakeMapillaryServer(city.records, city.photos, fault=hostile) as service:
        if hostile is not None:
            hostile.service = service
        # Killed clients leave broken connections: no news here.
        service._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        yield service
