"""`geocorrect serve`: pages to work in, in the browser of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geocorrect.cli.console import CatalogOption, invocation, open_catalog, stderr


def serve(
    context: typer.Context,
    catalog: CatalogOption = None,
    scene: Annotated[Path | None, typer.Option(help="Folder that relative paths of pictures count from.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; others than this machine can reach 0.0.0.0.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Name by which this server is reached; repeat for more.")
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who decides; default: the user of this machine.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every change.")] = False,
) -> None:
    """Open pages to work in: review poses in doubt, pick landmarks, look at the city. Stop with Ctrl-C."""
    import secrets
    from getpass import getuser

    from geocorrect.errors import UsageError

    try:
        from geocorrect.serve.server import serve as run_server
        from geocorrect.serve.state import ServeSettings
    except ModuleNotFoundError as error:
        if error.name in {"starlette", "uvicorn"}:
            raise UsageError(f"{error.name} is not installed: pip install 'geocorrect[serve]'") from None
        raise
    configured = invocation(context).settings(catalog)
    with open_catalog(configured) as store:
        own = ServeSettings(store, "")
        settings = ServeSettings(
            store, secrets.token_urlsafe(32), scene, read_only, (*own.hosts, host, *(allow_host or ())),
            by if by is not None else getuser(), configured,
        )  # fmt: skip
        run_server(
            settings, host, port, lambda address: stderr().print(f"open {address}", markup=False, soft_wrap=True)
        )
