"""A run as its operator sees it: every log line names the run, metrics that Prometheus reads, status while it works."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.chaos import WITHOUT_WORKERS, Scene, make_scene, serving
from support.small_city import SmallCity, build_city
from support.warm_program import Program, WarmStart

from geocorrect.catalog import Catalog
from geocorrect.demo.mapillary_server.server import FakeMapillaryServer
from geocorrect.errors import ExitCode, Reason
from geocorrect.jobs.observe import HELP, RunMetrics, last_success_s

pytestmark = pytest.mark.long

N_PHOTOS = 26
COMMAND = ["--log-format", "json", "--log-level", "info", "run"]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> SmallCity:
    return build_city(tmp_path_factory.mktemp("city"), N_PHOTOS)


@pytest.fixture(scope="module")
def service(city: SmallCity) -> Iterator[FakeMapillaryServer]:
    with serving(city) as service:
        yield service


@pytest.fixture(scope="module")
def done(city: SmallCity, service: FakeMapillaryServer, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A scene on which the scheduled job has run once with two workers, logging as JSON, with a metrics file."""
    scene = make_scene(tmp_path_factory.mktemp("scenes") / "done", city, service, "corrections.gpkg", workers=2)
    scene.environment["GEOCORRECT__BATCH__METRICS_FILE"] = "geocorrect.prom"
    (scene.folder / "log.txt").unlink()
    assert scene.start(*COMMAND).wait(timeout=300) == 0, scene.last_words()
    return scene


def metrics(path: Path) -> dict[str, dict[str, float]]:
    """Sample values by metric and by the value of the label that is not the catalog; by the standard's own parser."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(path.read_text()):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            assert sample.labels["catalog"].endswith("corrections.gpkg")
            kind = next((v for k, v in sample.labels.items() if k != "catalog"), "")
            found.setdefault(sample.name.removeprefix("geocorrect_"), {})[kind] = sample.value
    return found


def test_every_line_names_the_run_and_lines_about_an_image_name_it(done: Scene) -> None:
    lines = [json.loads(line) for line in (done.folder / "log.txt").read_text().splitlines()]
    assert len({line["run_id"] for line in lines}) == 1
    images = [line for line in lines if "image_id" in line]
    assert sorted({line["image_id"] for line in images}) == sorted(str(10_000 + i) for i in range(N_PHOTOS))
    told = {line["process"] for line in lines if "results written to" in line["message"]}
    computed = {line["process"] for line in images}
    assert computed, "workers logged"
    assert not computed & told, "what workers logged in processes of their own is in the job's log"
    assert len({line["run_key"] for line in images}) == 1
    assert told, "what people are told is in the log, too"


def test_metrics_of_a_finished_run(done: Scene) -> None:
    found = metrics(done.folder / "geocorrect.prom")
    assert set(found) == set(HELP)
    assert found["run_exit_code"] == {"": 0.0}
    assert found["run_active"] == {"": 0.0}
    assert found["run_images_done"] == found["run_images_due"] == {"": N_PHOTOS}
    assert sum(found["run_images"].values()) == N_PHOTOS
    assert set(found["run_rejections"]) == {reason.value for reason in Reason}
    assert sum(found["run_rejections"].values()) == found["run_images"]["rejected"] >= 1
    assert found["harvest_images"]["new"] == N_PHOTOS
    assert found["run_cpu_seconds"][""] > 1.0
    assert found["run_peak_memory_bytes"][""] > 50e6


def test_success_is_remembered_through_failure(done: Scene) -> None:
    """What an alert asks is when a run last succeeded, however often it failed since."""
    file = done.folder / "geocorrect.prom"
    success_s = last_success_s(file)
    assert abs(success_s - time.time()) < 3600
    elsewhere = {**done.environment, "GEOCORRECT__CATALOG__URL": "absent.gpkg"}
    assert Scene(done.folder, done.url, elsewhere).run(*COMMAND) == ExitCode.DATABASE
    found = [f for f in text_string_to_metric_families(file.read_text()) if f.name == "geocorrect_run_exit_code"]
    assert found[0].samples[0].value == ExitCode.DATABASE
    assert last_success_s(file) == success_s
    assert done.run(*COMMAND) == 0
    assert last_success_s(file) > success_s


def test_labels_are_escaped() -> None:
    text = RunMetrics('odd "name"\\with\nall', {"run_id": "x"}).text()
    (family,) = text_string_to_metric_families(text)
    assert family.samples[0].labels["catalog"] == 'odd "name"\\with\nall'


def test_status_while_it_works_and_a_second_run(
    city: SmallCity, service: FakeMapillaryServer, tmp_path: Path, warm: WarmStart
) -> None:
    """Progress, rate and who; a second run on the scene leaves with 75, one on another scene works."""
    scene = make_scene(tmp_path / "busy", city, service, "corrections.gpkg", 1, warm)
    other = make_scene(tmp_path / "other", city, service, "corrections.gpkg", 1, warm)
    for one in (scene, other):
        one.environment |= {"GEOCORRECT__BATCH__METRICS_FILE": "m.prom", **WITHOUT_WORKERS}
    first = scene.start("run")
    elsewhere = other.start("run")
    facts = status_of_a_run_at_work(scene, first)
    assert elsewhere.poll() in (None, 0)
    first.send_signal(signal.SIGSTOP)  # so that it is still at work when the second comes
    try:
        assert scene.run("correct") == ExitCode.SCENE_BUSY
    finally:
        first.send_signal(signal.SIGCONT)
    assert re.search(rf"held by process {first.pid} on \S+ since 20", scene.last_words())
    assert first.wait(timeout=300) == 0, scene.last_words()
    assert elsewhere.wait(timeout=300) == 0, other.last_words()
    assert facts["held_by"]["who"].startswith(f"process {first.pid} on ")
    assert facts["running"]["n_due"] == N_PHOTOS
    assert 1 <= facts["running"]["n_done"] < N_PHOTOS
    assert facts["running"]["images_per_s"] > 0
    assert facts["running"]["left_s"] > 0
    with Catalog.open(scene.url) as catalog:
        assert catalog.holder() is None
    assert metrics(scene.folder / "m.prom")["run_exit_code"] == {"": 0.0}, "the one that left kept its hands off"


def status_of_a_run_at_work(scene: Scene, process: Program) -> dict[str, dict[str, object]]:
    from geocorrect.jobs.status import catalog_status, status_lines

    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        with Catalog.open(scene.url) as catalog:
            facts = catalog_status(catalog)
            if facts["running"] and facts["running"]["n_done"] and facts["running"]["images_per_s"]:
                assert re.search(
                    r"running: \d+ of 26 due images, [\d.]+ images/s, about", "\n".join(status_lines(facts))
                )
                return facts
        time.sleep(0.02)
    pytest.fail("the run was never seen at work")
