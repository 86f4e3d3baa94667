"""The command line: parse → one call → print. Heavy imports happen inside the commands."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from geocorrect import __version__
from geocorrect.cli.console import Invocation, JsonOption, LogChoice, invocation, open_catalog, stderr, write_json

app = typer.Typer(
    name="geocorrect",
    help="Put crowd-sourced street photos back where they were really taken.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"geocorrect {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration file; default: geocorrect.toml here.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error; default: [log] level.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text, or json: one object per line of stderr.")] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Short for --log-format json.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that come before the command."""
    context.obj = Invocation(config, LogChoice.parsed(log_level, "json" if log_json else log_format))


class Preset(StrEnum):
    """The configurations that `geocorrect init` writes."""

    STARTER = "starter"
    THESIS = "thesis"


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new scene.")] = Path(),
    preset: Annotated[
        Preset, typer.Option(help="starter: weight-free defaults. thesis: the system of the thesis, docs/thesis.md.")
    ] = Preset.STARTER,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing geocorrect.toml.")] = False,
) -> None:
    """Write a commented geocorrect.toml to start from, and an empty catalog beside it."""
    config = write_starter(folder, preset, force=force)
    settings = Invocation(config).settings()
    with open_catalog(settings, create=True):
        stderr().print(f"wrote {config} and {settings.catalog.address}; next: geocorrect anchors add --help")


def write_starter(folder: Path, preset: Preset = Preset.STARTER, *, force: bool = False) -> Path:
    """Write geocorrect.toml into a folder (created if needed) and return its path; OutputError when it exists."""
    from geocorrect.errors import OutputError
    from geocorrect.io.atomic_file import atomic_file

    path = folder / "geocorrect.toml"
    if path.exists() and not force:
        raise OutputError(f"{path}: exists already; edit it, or use --force to start over")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    text = Path(__file__).with_name(f"{preset}.toml").read_text(encoding="utf-8")
    with atomic_file(path) as file:
        file.write((_with_cascade(text) if preset is Preset.STARTER else text).encode())
    return path


def _with_cascade(text: str) -> str:
    """The starter configuration, with the cascade where its libraries and weights are on this machine."""
    from geocorrect.cli.setup.doctor import learned_is_ready
    from geocorrect.config import Settings

    if not learned_is_ready(Settings()):
        return text
    line = (
        'matcher = "cascade"             # SIFT, and ALIKED with LightGlue for the photos that it finds no answer for'
    )
    return re.sub(r"^matcher = .*$", line, text, flags=re.MULTILINE)


@app.command()
def doctor(
    context: typer.Context,
    online: Annotated[bool, typer.Option("--online", help="Also ask the imagery service: token, clock.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, catalog, disk, token, weights, GPU and clock; say how to fix what is wrong."""
    from geocorrect.cli.setup.doctor import examine, examine_online, print_findings

    findings = (examine_online if online else examine)(invocation(context))
    if as_json:
        write_json([finding.as_json() for finding in findings])
    else:
        print_findings(findings)
    raise typer.Exit(next((finding.exit_code for finding in findings if not finding.ok), 0))


config_app = typer.Typer(help="The resolved configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")


@config_app.command("show")
def config_show(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print every setting with its value and where the value comes from."""
    resolved = invocation(context).resolved()
    if as_json:
        write_json(resolved.settings.as_json())
        return
    for key, value, origin in resolved.rows():
        typer.echo(f"{key} = {value!r}  # {origin}")


def _mount() -> None:
    """The commands of the other files, which import nothing heavy. The order is that of the help."""
    from geocorrect.cli import (
        anchors,
        catalog,
        demo,
        depth,
        evaluate,
        export,
        georeference,
        harvest,
        localize,
        models,
    )  # fmt: skip
    from geocorrect.cli import run as jobs
    from geocorrect.cli import serve as pages

    for command in (
        jobs.correct, jobs.run, jobs.status, georeference.georeference, harvest.harvest, jobs.sequences, jobs.devices,
        export.export, export.report, localize.localize, localize.match, pages.serve, demo.demo,
    ):  # fmt: skip
        app.command(command.__name__)(command)
    app.command("import")(harvest.import_photos)
    models.app.add_typer(evaluate.train_app, name="train")
    models.app.add_typer(models.finetune_app, name="finetune")
    for name, group in {
        "anchors": anchors.app, "depth": depth.app, "models": models.app, "evaluate": evaluate.app,
        "review": catalog.review_app, "db": catalog.app, "cache": models.cache_app,
    }.items():  # fmt: skip
        app.add_typer(group, name=name)


_mount()
