"""What every page of the application works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geocorrect.catalog.store import Catalog


@dataclass(frozen=True)
class ServeSettings:
    """What `geocorrect serve` was asked for."""

    catalog: Catalog
    """Open; closed by whoever opened it."""
    token: str
    """Secret of this server: who knows it may write. Part of the address that is printed at the start."""
    scene: Path | None = None
    """Folder that relative paths of photos count from."""
    read_only: bool = False
    """Refuse every request that would change something."""
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    """Names that the server may be addressed by; any other is refused, so that no foreign name can be pointed here."""
    reviewer: str = ""
    """Who decides when the page says nobody else."""


@dataclass(frozen=True)
class ServeState:
    """What the pages share. They are given it once, when their routes are made."""

    catalog: Catalog
    scene: Path | None
    read_only: bool
    token: str
    reviewer: str = ""
    tile_origins: tuple[str, ...] = field(default=())
    """Origins outside this server that the browser may fetch map tiles from; none unless the user named them."""
