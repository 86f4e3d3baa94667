"""What every page of the application works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from geocorrect.catalog.lock import lock_scene
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.serve.basemap import Basemap
from geocorrect.serve.landmarks.drive import LandmarkFiles


@dataclass(frozen=True)
class ServeSettings:
    """What `geocorrect serve` was asked for; pages are given it once, when their routes are made."""

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
    settings: Settings = field(default_factory=Settings)
    """How photos are localised, for the matches that the review page shows."""
    landmarks: LandmarkFiles | None = None
    """What is clicked in; None: there is no landmark page."""
    basemap: Basemap | None = None
    """The map under the pages; None: an empty one."""
    web_origins: tuple[str, ...] = ()
    """Other sites ("https://map.example.org") whose pages may read tiles and features."""
    _own_lock: Lock = field(default_factory=Lock, repr=False)

    def on_disk(self, path: Path | None) -> Path | None:
        """Where the picture lies that the catalog has at a path; None where it has none."""
        return path if path is None or self.scene is None else self.scene / path

    @contextmanager
    def writing(self) -> Iterator[Catalog]:
        """The catalog, locked for a change. Editors of this server wait for each other; SceneBusyError names a run."""
        with self._own_lock, lock_scene(self.catalog.engine):
            yield self.catalog
