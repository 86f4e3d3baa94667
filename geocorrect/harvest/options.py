"""The options of a harvest, with their defaults and units. Stdlib only; `config` composes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ImageSize = Literal["256", "1024", "2048", "original"]
_POSITIVE = (
    *("requests_per_s", "graph_workers", "download_workers", "max_tries", "backoff_cap_s"),
    *("metadata_deadline_s", "download_deadline_s", "max_answer_mb", "max_image_mb"),
)


@dataclass(frozen=True)
class HarvestOptions:
    """How to ask, how politely, and what to store (limits of the service: docs/mapillary_api.md)."""

    source: Literal["mapillary", "panoramax"] = "mapillary"
    """The service."""
    panoramax_url: str = "https://api.panoramax.xyz/api"
    """Root of a Panoramax API: the federation's catalog, or one instance (https://panoramax.openstreetmap.fr/api)."""
    graph_url: str = "https://graph.mapillary.com"
    """Root of the metadata API."""
    tiles_url: str = "https://tiles.mapillary.com"
    """Root of the vector tiles."""
    image_size: ImageSize = "2048"
    """Width in pixels of the picture to download, or "original"."""
    requests_per_s: float = 5.0
    """Rate of metadata and tile requests, all workers together (the service allows far more; 5 is polite)."""
    graph_workers: int = 4
    """Concurrent requests to the API."""
    download_workers: int = 8
    """Concurrent requests to the image host."""
    batch_size: int = 50
    """Images per metadata request (50 is the most that the official viewer asks for)."""
    margin_m: float = 50.0
    """How far around the area sequences are looked for, because positions are uncertain."""
    cell_deg: float = 0.008
    """Side of a search box where tiles fail; the service refuses 0.01 and more."""
    max_cell_depth: int = 5
    """How often such a box is quartered before it is written down as a hole."""
    max_tries: int = 5
    """Tries per request."""
    backoff_base_s: float = 1.0
    """Longest wait before the second try; it doubles with every further one (exponential, full jitter)."""
    backoff_cap_s: float = 120.0
    """Longest wait between tries."""
    metadata_deadline_s: float = 30.0
    """Total time of one answer of the API, its headers included, however slowly it trickles."""
    download_deadline_s: float = 240.0
    """Total time of one picture."""
    idle_timeout_s: float = 15.0
    """Longest silence on an open connection."""
    max_consecutive_failures: int = 12
    """Failures in a row after which the service counts as down."""
    max_silence_s: float = 300.0
    """Time without a usable answer after which the service counts as down."""
    refresh_after_h: float = 24.0
    """Age at which a record without `computed_*` is asked for again."""
    retry_gone_after_days: float = 30.0
    """Age at which an image that did not exist is asked for again."""
    max_tiles: int = 20_000
    """Largest area, in z14 tiles of about 2.4 km × cos(latitude)."""
    max_answer_mb: float = 64.0
    """Size cap of one answer, 10^6 bytes."""
    max_image_mb: float = 64.0
    """Size cap of one picture, 10^6 bytes."""
    private_image_hosts: bool = False
    """Pictures may come from loopback, link-local and private addresses: for a mirror in one's own network."""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"harvest.{name} must be above 0, got {getattr(self, name)}")
        if not 1 <= self.batch_size <= 50:
            raise ValueError(f"harvest.batch_size must be 1…50, got {self.batch_size}")
        if not 0 < self.cell_deg < 0.01:
            raise ValueError(f"harvest.cell_deg must be above 0 and below 0.01, got {self.cell_deg}")
