"""A run that is stopped, kept out, or left without its service, at every step: how it ends, and what it leaves."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.chaos import WITHOUT_WORKERS, Scene, make_scene, serving
from support.small_city import SmallCity, build_city
from support.warm_program import WarmStart

from geocorrect import __main__
from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.catalog.lock import lock_scene
from geocorrect.config import BatchOptions, Settings
from geocorrect.demo.mapillary_server.server import FakeMapillaryServer
from geocorrect.errors import ConfigError, ExitCode, GeocorrectError, RemoteError, SceneBusyError
from geocorrect.harvest.report import HarvestReport, Hole
from geocorrect.io.atomic_file import atomic_path
from geocorrect.jobs import observe
from geocorrect.jobs.observe import observed
from geocorrect.jobs.report import CorrectReport, JobReport, SequenceReport
from geocorrect.workers.stop import stop_on_signal

pytestmark = pytest.mark.long

N_PHOTOS = 12
SLOW_HARVEST = {"GEOCORRECT__HARVEST__REQUESTS_PER_S": "2", "GEOCORRECT__HARVEST__DOWNLOAD_WORKERS": "1"}


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> SmallCity:
    return build_city(tmp_path_factory.mktemp("city"), N_PHOTOS)


@pytest.fixture(scope="module")
def service(city: SmallCity) -> Iterator[FakeMapillaryServer]:
    with serving(city) as service:
        yield service


@pytest.fixture
def scene(city: SmallCity, service: FakeMapillaryServer, tmp_path: Path, warm: WarmStart) -> Scene:
    scene = make_scene(tmp_path / "scene", city, service, "corrections.gpkg", 1, warm)
    scene.environment |= {"GEOCORRECT__BATCH__METRICS_FILE": "m.prom", **WITHOUT_WORKERS}
    return scene


def metrics(folder: Path) -> dict[str, float]:
    """Samples without further labels."""
    text = (folder / "m.prom").read_text()
    found = re.findall(r'^geocorrect_run_(\w+)\{catalog="[^"]*"\} (\S+)$', text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGINT, ExitCode.INTERRUPTED)]
)
def test_stopped_in_the_harvest(scene: Scene, number: signal.Signals, code: ExitCode) -> None:
    """Meanwhile the scene is held and the metrics say so; afterwards nothing is half done and the next run goes on."""
    quick = dict(scene.environment)
    scene.environment |= SLOW_HARVEST
    process = scene.start("run")
    wait_until(lambda: (scene.folder / "m.prom").exists() or process.poll() is not None)
    assert metrics(scene.folder)["active"] == 1.0, scene.last_words()
    assert scene.run("correct") == ExitCode.SCENE_BUSY
    assert metrics(scene.folder)["active"] == 1.0, "the one that left kept its hands off"
    process.send_signal(number)
    asked_s = time.monotonic()
    assert process.wait(timeout=60) == code, scene.last_words()
    assert time.monotonic() - asked_s < 10.0
    assert (metrics(scene.folder)["active"], metrics(scene.folder)["exit_code"]) == (0.0, code)
    assert not (scene.folder / "corrections.geojson").exists()
    assert "stopped on request" in scene.last_words()
    scene.environment = quick
    assert scene.run("run") == 0, scene.last_words()
    with Catalog.open(scene.url) as catalog:
        assert len(catalog.images()) == sum(catalog.counts().values()) == N_PHOTOS


def test_stopped_in_the_export(scene: Scene) -> None:
    """The file at hand is finished, the others wait for the next run; no unfinished one is left."""
    many = [f"out/{number}.csv" for number in range(400)]
    (scene.folder / "out").mkdir()
    scene.environment["GEOCORRECT__EXPORT__FILES"] = str(many).replace("'", '"')
    process = scene.start("run")
    wait_until(lambda: list((scene.folder / "out").glob("[0-9]*.csv")) or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == ExitCode.TERMINATED, scene.last_words()
    written = list((scene.folder / "out").iterdir())
    assert 1 <= len(written) < len(many)
    assert all(path.read_text().endswith("\n") for path in written if path.suffix == ".csv")
    assert not list((scene.folder / "out").glob(".*"))
    assert (metrics(scene.folder)["active"], metrics(scene.folder)["exit_code"]) == (0.0, 143.0)


def test_sigterm_ends_other_commands_tidily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`geocorrect export` has nothing to finish; it removes what it has begun."""

    def exporting(_: list[str]) -> int:
        with atomic_path(tmp_path / "corrections.csv") as unfinished:
            assert unfinished.exists()
            signal.raise_signal(signal.SIGTERM)
        return 0

    monkeypatch.setattr(__main__, "run", exporting)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as caught:
            __main__.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == ExitCode.TERMINATED
    assert not list(tmp_path.iterdir())


def test_without_the_service_what_is_there_is_corrected(scene: Scene) -> None:
    """No token, then a refused one: told at the end, by exit code and in words."""
    assert scene.run("harvest") == 0, scene.last_words()
    scene.environment["MAPILLARY_TOKEN"] = ""
    assert scene.run("run") == ExitCode.CONFIG, scene.last_words()
    with Catalog.open(scene.url) as catalog:
        assert sum(catalog.counts().values()) == N_PHOTOS
    assert (scene.folder / "corrections.geojson").exists()
    assert metrics(scene.folder)["exit_code"] == ExitCode.CONFIG
    scene.environment["MAPILLARY_TOKEN"] = "MLY|1|0000"
    assert scene.run("run") == ExitCode.REMOTE
    assert "not harvested: " in scene.last_words()


def after(code: ExitCode = ExitCode.OK) -> CorrectReport:
    return CorrectReport("k", exit_code=code)


HOLES = HarvestReport(holes=[Hole("cell", "x", "y")])


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (JobReport(after()), 0),
        (JobReport(after(), HOLES), 9),
        (JobReport(after(ExitCode.TERMINATED), HOLES), 143),
        (JobReport(after(), HOLES, stopped=ExitCode.INTERRUPTED), 130),
        (JobReport(after(ExitCode.INPUT), HOLES), 3),
        (JobReport(after(), HOLES, sequences=SequenceReport(exit_code=ExitCode.TERMINATED)), 143),
        (JobReport(after(), harvest_error=RemoteError("down")), 8),
        (JobReport(after(ExitCode.TOO_MANY_REJECTED), harvest_error=ConfigError("no token")), 7),
    ],
)
def test_the_gravest_exit_code_wins(report: JobReport, code: int) -> None:
    assert report.exit_code == report.as_json()["exit_code"] == code


def test_the_first_interrupt_after_the_time_is_up_is_a_request() -> None:
    with stop_on_signal(0.0) as stop:
        assert stop.requested
        signal.raise_signal(signal.SIGINT)
        assert stop.exit_code is ExitCode.INTERRUPTED
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    "command",
    [
        ["anchors", "add", "{anchors}", "--format", "table", "--crs", "EPSG:4979", "--height-reference", "ellipsoid"],
        ["import", "{photos}"],
        ["harvest", "--bbox", "12.5,41.8,12.6,41.9"],
        ["db", "upgrade"],
        ["db", "rollback", "abc"],
        ["db", "restore", "abc"],
        ["db", "retract", "1000"],
        ["sequences"],
        ["correct"],
        ["run"],
    ],
    ids=" ".join,
)
def test_whoever_writes_needs_the_scene(
    command: list[str], city: SmallCity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPILLARY_TOKEN", "MLY|1|0000")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"")
    words = [word.format(photos=tmp_path / "photos", anchors=city.anchors_table) for word in command]
    with Catalog.open("c.gpkg", create=True) as catalog, lock_scene(catalog.engine):
        assert run([*words, "--catalog", "c.gpkg"]) == ExitCode.SCENE_BUSY


def test_metrics_stay_fresh_while_nothing_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo of an hour is no reason for an alarm that a dead process deserves."""
    monkeypatch.setattr(observe, "UPDATE_S", 0.05)
    settings = Settings(batch=BatchOptions(metrics_file=tmp_path / "m.prom"))
    with observed(settings, "run") as observer:
        observer.begin()
        first_s = metrics(tmp_path)["updated_timestamp_seconds"]
        wait_until(lambda: metrics(tmp_path)["updated_timestamp_seconds"] > first_s)
        assert metrics(tmp_path)["active"] == 1.0
        observer.stop_updates()
        ended_s = metrics(tmp_path)["updated_timestamp_seconds"]
        time.sleep(0.2)
        assert metrics(tmp_path)["updated_timestamp_seconds"] == ended_s


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SceneBusyError("somebody"), 75),
        (GeocorrectError("what"), 1),
        (KeyboardInterrupt(), 130),
        (SystemExit(143), 143),
        (ValueError(), 1),
    ],
)
def test_metrics_say_how_it_ended(error: BaseException, code: int, begun: bool, tmp_path: Path) -> None:
    """Only who never had the scene leaves the file to the one who has it."""
    settings = Settings(batch=BatchOptions(metrics_file=tmp_path / "m.prom"))

    def job() -> None:
        with observed(settings, "run") as observer:
            if begun:
                observer.begin()
            raise error

    with pytest.raises(type(error)):
        job()
    if not begun and isinstance(error, SceneBusyError):
        assert not (tmp_path / "m.prom").exists()
    else:
        assert (metrics(tmp_path)["active"], metrics(tmp_path)["exit_code"]) == (0.0, code)
