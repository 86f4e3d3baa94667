"""Planted secrets: every command at debug level, and no output, log, record, export, page or traceback shows them."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
import typer
from PIL import Image as PillowImage
from sqlalchemy import text
from support import catalog_world as world
from support.harvest_support import SOUTH, WEST, SiteFactory

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.catalog.connect import engine_for
from geocorrect.cli.app import app as root
from geocorrect.config import load_settings
from geocorrect.demo.demo import DemoOptions, _configuration
from geocorrect.log import LogOptions, set_up_logging

TOKEN = "MLY|777|Pl4ntedT0ken"
PASSWORD = "Pl4nted/w@rd"
PARTS = ("Pl4nted", "w@rd", "w%40rd", "T0ken", "kitten")
"""What no output may hold; the sslpassword is "kitten"."""
COMMANDS = {
    "init": "scene", "doctor": "--json --online", "correct": "--json", "run": "--json", "status": "--json",
    "georeference": "--trajectory nothing.txt", "harvest": "--bbox {box} --clusters", "sequences": "--json",
    "devices": "--json",
    "export": "out.geojson; out.gpkg; out.qgz; out.csv", "report": "--out page.html", "localize": "photo.jpg --json",
    "match": "photo.jpg photo.jpg", "demo": "--size wrong", "import": "photos", "config show": "",
    "anchors calibrate": "", "anchors scale": "", "anchors add": "nothing --format table", "depth list": "",
    "models list": "", "models fetch": "mast3r", "models verify": "mast3r", "models accept": "nothing",
    "models path": "mast3r", "models train mickey": "nothing out --backbone nothing.pth",
    "evaluate kitti-raw": "nothing", "evaluate mapfree": "nothing", "db upgrade": "", "db current": "",
    "db check": "", "db runs": "", "db retract": "1001", "db rollback": "run-a", "db restore": "run-a",
    "db grant": "--reader geocorrect_test_reader --writer geocorrect_test_writer", "cache info": "", "cache clear": "",
    "evaluate own": "--out own", "evaluate mine": "--out mined", "evaluate vbr": "nothing --out tables",
    "anchors formats": "--json", "anchors check": "--json", "anchors inspect": "--json",
    "depth pointcloud": "nothing.las --crs EPSG:32633", "serve": "--orthophoto nothing.tif",
    "models finetune mast3r": "--train nothing --validate nothing --out tuned",
    "models finetune grid": "--train nothing --validate nothing --out tuned",
    "models finetune report": "nothing --out tuned",
    "db copy": "copied.gpkg", "review list": "--json", "review accept": "1001", "review reject": "1001",
}  # fmt: skip
"""Every command with arguments that let it work, or fail after it has read its settings."""


def leaves(command: Any, name: str = "") -> Iterator[str]:
    for word, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, f"{name} {word}".strip())
    if not hasattr(command, "commands"):
        yield name


@pytest.fixture(autouse=True)
def _plain_log() -> Iterator[None]:
    yield
    set_up_logging(LogOptions())


def secret_forms(url: str) -> dict[str, str]:
    """A server's address with the password written in every way."""
    parts = urlsplit(url)
    database = parts.path.lstrip("/")
    query = f"?{parts.query}" if parts.query else "?connect_timeout=10"
    place = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}/{database}"
    user = parts.username or "postgres"
    pairs = unquote(query.lstrip("?")).replace("&", " ")
    if parts.hostname:
        pairs += f" host={parts.hostname} port={parts.port or 5432}"
    return {
        "raw": f"postgresql://{user}:{PASSWORD}@{place}{query}&sslpassword=kitten",
        "encoded": f"postgresql://{user}:{quote(PASSWORD, safe='')}@{place}{query}",
        "parameter": f"postgresql://{user}@{place}{query}&password={PASSWORD}",
        "sslpassword": f"postgresql+psycopg://{user}@{place}{query}&sslpassword=kitten",
        "pairs": f"user={user} dbname={database} password='{PASSWORD}' {pairs} sslpassword=kitten",
    }


def shown(folder: Path, *arguments: str) -> str:
    """All that a command prints, its traceback if it has one included."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            run(["--log-level", "debug", *arguments])
        except Exception:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    out.flush()
    printed: bytes = out.buffer.getvalue()  # type: ignore[attr-defined]
    return f"{printed.decode()}\n{err.getvalue()}"


def found_in(what: str) -> list[str]:
    return [part for part in PARTS if part in what]


@pytest.mark.long
def test_no_command_shows_a_secret(
    catalog_url: str, tmp_path: Path, site: SiteFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_server = "://" in catalog_url
    here = site(token=TOKEN)
    with Catalog.open(catalog_url) as catalog:
        world.fill(catalog, 3)
    folder = tmp_path / "work"
    (folder / "photos").mkdir(parents=True)
    monkeypatch.chdir(folder)
    PillowImage.new("RGB", (64, 48)).save("photo.jpg")
    environment = {
        "MAPILLARY_TOKEN": TOKEN,
        "GEOCORRECT__CATALOG__URL": secret_forms(catalog_url)["raw"] if on_server else catalog_url,
        "GEOCORRECT__HARVEST__GRAPH_URL": here.service.graph_url,
        "GEOCORRECT__HARVEST__TILES_URL": here.service.tiles_url,
        "GEOCORRECT__HARVEST__PRIVATE_IMAGE_HOSTS": "true",
        "GEOCORRECT__BATCH__ENGINE": "in-process",
        "GEOCORRECT__BATCH__METRICS_FILE": "metrics.prom",
        "GEOCORRECT__MODELS__ACCESS__FOLDER": str(folder / "weights"),
        "GEOCORRECT_ACCEPT": "",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert set(COMMANDS) == set(leaves(typer.main.get_command(root)))
    box = f"{WEST - 0.001},{SOUTH - 0.001},{WEST + 0.02},{SOUTH + 0.02}"
    outputs = {}
    for name, arguments in COMMANDS.items():
        calls = (call.format(box=box).split() for call in arguments.split(";"))
        outputs[name] = "".join(shown(folder, *name.split(), *words) for words in calls)
    assert {name: hits for name, printed in outputs.items() if (hits := found_in(printed))} == {}
    # A test that greps silence proves nothing.
    assert "3 images" in outputs["doctor"]
    assert "60 new images" in outputs["harvest"]
    files = {path.name: path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()}
    assert {"out.geojson", "out.gpkg", "out.qgz", "out.csv", "metrics.prom"} <= files.keys()
    assert {name: hits for name, content in files.items() if (hits := found_in(content))} == {}
    assert found_in(stored(catalog_url)) == []


def stored(url: str) -> str:
    """Every value of every table, and the bytes of a file."""
    engine = engine_for(url, create=False)
    with engine.connect() as connection:
        tables = ("run", "image", "anchor", "alignment", "correction", "pair")
        rows = [repr(row) for table in tables for row in connection.execute(text(f"select * from {table}"))]
    engine.dispose()
    assert len(rows) > 60
    return "\n".join(rows) + ("" if "://" in url else Path(url).read_bytes().decode("latin-1"))


@pytest.mark.long
@pytest.mark.postgis
@pytest.mark.parametrize("form", ["raw", "encoded", "parameter", "sslpassword", "pairs"])
def test_every_way_of_writing_a_password_connects_and_is_masked(
    catalog_url: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "://" not in catalog_url:
        pytest.skip("a file has no password")
    monkeypatch.chdir(tmp_path)
    url = secret_forms(catalog_url)[form]
    for command in ("status", "db runs", "db check", "db upgrade", "export out.qgz"):
        printed = shown(tmp_path, *command.split(), "--catalog", url)
        assert found_in(printed) == []
        assert "error:" not in printed
    assert "postgresql://" in shown(tmp_path, "status", "--json", "--catalog", url)
    monkeypatch.setenv("GEOCORRECT__CATALOG__URL", url)
    for command in ("config show", "config show --json", "doctor", "init a"):
        printed = shown(tmp_path, *command.split())
        assert found_in(printed) == []
        assert "postgresql://" in printed
    # Away, wrong, and in the wrong place: messages of driver, parser and settings.
    broken = {"status": url.replace("host=", "host=/nowhere"), "db current": f"{url}:x", "db check": f"ftp://{url}"}
    printed = "".join(shown(tmp_path, *words.split(), "--catalog", wrong) for words, wrong in broken.items())
    monkeypatch.delenv("GEOCORRECT__CATALOG__URL")
    monkeypatch.setenv("GEOCORRECT__CATALOG", url)
    printed += shown(tmp_path, "config", "show")
    monkeypatch.setenv("GEOCORRECT__CATALOG__URL", url)
    printed += shown(tmp_path, "config", "show")
    assert printed.count("error:") >= 4
    assert found_in(printed) == []


def test_a_traceback_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError(f"cannot reach postgresql://me:{PASSWORD}@host/db?sslpassword=kitten with {TOKEN}")

    monkeypatch.setenv("MAPILLARY_TOKEN", TOKEN)
    monkeypatch.setattr("geocorrect.config.load_settings", fail)
    for form in ("text", "json"):
        printed = shown(tmp_path, "--log-format", form, "config", "show")
        assert "RuntimeError: cannot reach postgresql://" in printed
        assert found_in(printed) == []


def test_the_demo_writes_no_password_into_its_configuration(tmp_path: Path) -> None:
    url = f"postgresql://me:{PASSWORD}@host/db?sslpassword=kitten"
    assert _configuration(DemoOptions(tmp_path, catalog_url=url)).catalog.url == url
    assert found_in((tmp_path / "geocorrect.toml").read_text()) == []
    assert load_settings(tmp_path / "geocorrect.toml").settings.catalog.url == "postgresql://me@host/db"
