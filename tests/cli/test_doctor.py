"""The doctor sees what is wrong, says how to mend it, and its exit code tells a script which kind of thing it is."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support import catalog_world as world

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.catalog.run import RunManifest
from geocorrect.demo.mapillary_server.server import FAKE_TOKEN, FakeMapillaryServer
from geocorrect.errors import ExitCode


def add_anchor(catalog: Catalog) -> None:
    catalog.set_frame(world.ROME)
    catalog.add_alignment(world.alignment())
    catalog.upsert_anchors([world.anchor(0)])


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh scene with one anchor; the token is the fake server's."""
    monkeypatch.setenv("GEOCORRECT_WEIGHTS", str(tmp_path / "weights"))
    assert run(["init", str(tmp_path)]) == 0
    with Catalog.open(str(tmp_path / "corrections.gpkg")) as catalog:
        add_anchor(catalog)
    monkeypatch.setenv("MAPILLARY_TOKEN", FAKE_TOKEN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def doctor(scene: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Runs the doctor: (exit code, findings by name)."""

    def examine(*arguments: str) -> tuple[int, dict[str, dict[str, object]]]:
        capsys.readouterr()
        code = run(["doctor", "--json", *arguments])
        return code, {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)}

    return examine


def test_a_healthy_scene(doctor) -> None:  # type: ignore[no-untyped-def]
    code, findings = doctor()
    assert code == 0
    assert set(findings) == {
        "configuration", "catalog", "disk", "token", "back-ends", "matching", "weights", "device", "clock", "exports",
        "anchors",
    }  # fmt: skip
    assert all(finding["ok"] for finding in findings.values())
    assert findings["matching"]["text"] == (
        'sift; for hard photos geocorrect models fetch aliked_lightglue and set [match] matcher = "cascade"'
    )
    assert FAKE_TOKEN not in json.dumps(findings)


def test_a_scene_without_anchors_is_not_ready(doctor, scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    Catalog.open(str(scene / "empty.gpkg"), create=True).close()
    monkeypatch.setenv("GEOCORRECT__CATALOG__URL", str(scene / "empty.gpkg"))
    code, findings = doctor()
    assert (code, findings["anchors"]["ok"]) == (ExitCode.INPUT, False)
    assert "geocorrect anchors add" in str(findings["anchors"]["text"])


@pytest.mark.long
def test_exports_are_probed(doctor, scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """A folder is made; a place where none can be made is a failure, and so is a name without a format."""
    monkeypatch.setenv("GEOCORRECT__EXPORT__FILES", json.dumps(["new/folder/a.geojson"]))
    assert doctor()[1]["exports"]["ok"]
    assert list((scene / "new" / "folder").iterdir()) == []
    (scene / "file").write_text("")
    for name, code in (("file/a.geojson", ExitCode.OUTPUT), ("a.shp", ExitCode.USAGE)):
        monkeypatch.setenv("GEOCORRECT__EXPORT__FILES", json.dumps([name]))
        found, findings = doctor()
        assert (found, findings["exports"]["ok"]) == (code, False), name


@pytest.mark.long
def test_the_disk_of_a_catalog_with_a_scheme_is_looked_at(doctor, scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """gpkg:///folder/file.gpkg is a file like any other."""
    elsewhere = scene / "elsewhere"
    elsewhere.mkdir()
    Catalog.open(f"gpkg://{elsewhere}/c.gpkg", create=True).close()
    monkeypatch.setenv("GEOCORRECT__CATALOG__URL", f"gpkg://{elsewhere}/c.gpkg")
    assert str(elsewhere) in str(doctor()[1]["disk"]["text"])


def test_a_gpu_that_does_not_answer(doctor, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    torch = pytest.importorskip("torch", reason="pip install 'geocorrect[models]'")

    def broken(_: object) -> tuple[int, int]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")

    monkeypatch.setattr("geocorrect.networks.runtime.torch_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    code, findings = doctor()
    assert code == ExitCode.CONFIG
    assert "the GPU does not answer (CUDA error: an illegal memory access was encountered)" in str(
        findings["device"]["text"]
    )


def test_people_read_the_same(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    shown = capsys.readouterr().err
    assert shown.count("ok ") == 11
    (scene / "geocorrect.toml").write_text("[colour]\nred = 1\n")
    assert run(["doctor"]) == ExitCode.CONFIG
    assert "[colour]" in capsys.readouterr().err, "brackets are text, not markup"


@pytest.mark.long
def test_the_service_is_asked_only_when_told(doctor, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    with FakeMapillaryServer([], {}) as service:
        monkeypatch.setenv("GEOCORRECT__HARVEST__GRAPH_URL", service.graph_url)
        assert "service" not in doctor()[1]
        assert sum(service.requests.values()) == 0
        code, findings = doctor("--online")
        assert code == 0
        assert "takes the token; its clock agrees" in str(findings["service"]["text"])
        assert sum(service.requests.values()) == 1


def test_a_refused_token(doctor, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("MAPILLARY_TOKEN", "MLY|1|00000000000000000000")
    with FakeMapillaryServer([], {}) as service:
        monkeypatch.setenv("GEOCORRECT__HARVEST__GRAPH_URL", service.graph_url)
        code, findings = doctor("--online")
    assert code == ExitCode.REMOTE
    assert "the token was refused" in str(findings["service"]["text"])
    assert "MLY|1|" not in str(findings)


def test_nobody_answers(doctor, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GEOCORRECT__HARVEST__GRAPH_URL", "http://127.0.0.1:9")
    code, findings = doctor("--online")
    assert code == ExitCode.REMOTE
    assert "check the network" in str(findings["service"]["text"])


class _WrongClock(BaseHTTPRequestHandler):
    offset = timedelta()

    def do_GET(self) -> None:
        body = b'{"id": "1933525276802129"}'
        self.send_response_only(200)
        self.send_header("Date", format_datetime(datetime.now(UTC) + self.offset, usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def wrong_clock() -> Iterator[str]:
    """A service whose clock is an hour ahead of this machine's."""
    handler = type("Ahead", (_WrongClock,), {"offset": timedelta(hours=1)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_clock_that_the_service_contradicts(doctor, wrong_clock: str, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GEOCORRECT__HARVEST__GRAPH_URL", wrong_clock)
    code, findings = doctor("--online")
    assert code == ExitCode.CONFIG
    # HTTP dates have whole seconds, and the answer takes its time.
    assert re.search(r"\b(3598|3599|3600) s behind its clock", str(findings["service"]["text"]))


def test_a_clock_that_was_set_back(doctor, scene: Path) -> None:  # type: ignore[no-untyped-def]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with Catalog.open(str(scene / "corrections.gpkg")) as catalog:
        catalog.begin_run(RunManifest("from-tomorrow", tomorrow))
    code, findings = doctor()
    assert code == ExitCode.CONFIG
    assert "set the clock" in str(findings["clock"]["text"])


@pytest.mark.long
@pytest.mark.postgis
def test_the_database_server_tells_the_time(doctor, postgis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    with Catalog.open(postgis_url, create=True) as catalog:
        add_anchor(catalog)
    monkeypatch.setenv("GEOCORRECT__CATALOG__URL", postgis_url)
    code, findings = doctor()
    assert code == 0
    assert "database server agrees within" in str(findings["clock"]["text"])


@pytest.mark.long
def test_every_kind_of_trouble_has_its_code(doctor, scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("MAPILLARY_TOKEN")
    assert doctor()[0] == ExitCode.CONFIG
    monkeypatch.setenv("MAPILLARY_TOKEN", FAKE_TOKEN)
    monkeypatch.setenv("GEOCORRECT__MATCH__MATCHER", "mast3r")
    monkeypatch.setenv("GEOCORRECT_WEIGHTS", str(scene / "nothing"))
    code, findings = doctor()
    assert (code, findings["back-ends"]["ok"], findings["weights"]["ok"]) == (ExitCode.MODEL, False, True)
    monkeypatch.delenv("GEOCORRECT__MATCH__MATCHER")
    monkeypatch.setenv("GEOCORRECT__MODELS__DEVICE", "cuda:7")
    assert doctor()[0] == ExitCode.CONFIG
    monkeypatch.delenv("GEOCORRECT__MODELS__DEVICE")
    monkeypatch.setattr("geocorrect.cli.setup.doctor.MIN_FREE_BYTES", 1 << 62)
    code, findings = doctor()
    assert code == ExitCode.OUTPUT
    assert "make room" in str(findings["disk"]["text"])
    monkeypatch.undo()
    (scene / "corrections.gpkg").unlink()
    assert run(["-c", str(scene / "geocorrect.toml"), "doctor"]) in (ExitCode.DATABASE,)
