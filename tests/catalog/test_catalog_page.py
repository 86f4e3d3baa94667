"""The commands of docs/catalog.md and docs/howto/team.md, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from support import catalog_world as world
from typer.testing import CliRunner, Result

from geocorrect.catalog import Catalog
from geocorrect.cli.catalog import app as db
from geocorrect.cli.catalog import review_app as review
from geocorrect.cli.console import Invocation
from geocorrect.cli.export import export
from geocorrect.export.formats import Format

DOCS = Path(__file__).parents[2] / "docs"
PAGE, TEAM = ((DOCS / name).read_text(encoding="utf-8") for name in ("catalog.md", "howto/team.md"))


def commands(name: str) -> list[str]:
    """Lines of the shell blocks with this marker."""
    blocks = re.findall(rf"<!-- test: {name} -->\n```sh\n(.*?)\n```", PAGE + TEAM, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def call(arguments: list[str]) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.add_typer(db, name="db")
    app.add_typer(review, name="review")
    app.command("export")(export)

    @app.callback()
    def root(context: typer.Context) -> None:
        context.obj = Invocation(None)

    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (arguments, done.output, done.exception)
    return done


@pytest.mark.long
def test_the_commands_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Catalog.open("c.gpkg", create=True) as catalog:
        world.fill(catalog)
    for command in commands("commands"):
        program, *arguments = shlex.split(command)
        assert program == "geocorrect"
        done = call([*arguments, "--catalog", "c.gpkg"])
        if arguments[0] == "export":
            assert Path(arguments[1]).exists()
            assert not done.stderr.startswith("0 "), command
    assert Path("out.csv.license").is_file()


@pytest.mark.long
@pytest.mark.postgis
def test_a_server_is_set_up_as_the_page_says(bare_postgis_url: str) -> None:
    """Making the database and membership are PostgreSQL's own commands; the rest is ours."""
    ours = [line for line in commands("server") if line.startswith("geocorrect ")]
    for command in ours:
        call([bare_postgis_url if part == "$CATALOG" else part for part in shlex.split(command)[1:]])
    assert len(ours) == 2
    psql = "; ".join(line for line in commands("server") if line.startswith("psql"))
    with Catalog.open(bare_postgis_url) as catalog, catalog.engine.begin() as connection:
        for role in ("geocorrect_writer", "geocorrect_reader"):
            assert f"grant {role} to" in psql
            may = "has_table_privilege(%(role)s, 'geocorrect.correction', 'delete, update')"
            assert connection.exec_driver_sql(f"select {may}", {"role": role}).scalar_one() is False


def test_the_page_names_every_format() -> None:
    table = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    assert table == [kind.value for kind in Format]
