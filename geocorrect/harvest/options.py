"""The options of a harvest, with their defaults and units. Stdlib only; `config` composes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ImageSize = Literal["256", "1024", "2048", "original"]


@dataclass(frozen=True)
class HarvestOptions:
    """How to ask, how politely, and what to keep.

    graph_url, tiles_url: roots of the metadata API and of the vector tiles.
    image_size: width in pixels of the picture to download, or "original".
    requests_per_s: rate of metadata and tile requests, all workers together (the service allows far more; 5 is polite).
    graph_workers, download_workers: concurrent requests to the API, and to the image host.
    batch_size: images per metadata request (50 is the most that the official viewer asks for).
    margin_m: how far around the area sequences are looked for, because positions are uncertain.
    cell_deg: side of a search box where tiles fail; the service refuses 0.01 and more. max_cell_depth: how often such a
    box is quartered before it is written down as a hole.
    max_tries: tries per request. backoff_base_s, backoff_cap_s: exponential wait with full jitter between tries.
    metadata_deadline_s, download_deadline_s: total time of one answer, however slowly it trickles.
    idle_timeout_s: longest silence on an open connection.
    max_consecutive_failures, max_silence_s: when to give up on a service that does not answer at all.
    refresh_after_h: age at which a record without `computed_*` is asked for again.
    retry_gone_after_days: age at which an image that did not exist is asked for again.
    max_tiles: largest area, in z14 tiles of about 2.4 km × cos(latitude).
    max_answer_mb, max_image_mb: size caps of one answer and of one picture, in 10^6 bytes.
    """

    graph_url: str = "https://graph.mapillary.com"
    tiles_url: str = "https://tiles.mapillary.com"
    image_size: ImageSize = "2048"
    requests_per_s: float = 5.0
    graph_workers: int = 4
    download_workers: int = 8
    batch_size: int = 50
    margin_m: float = 50.0
    cell_deg: float = 0.008
    max_cell_depth: int = 5
    max_tries: int = 5
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 120.0
    metadata_deadline_s: float = 30.0
    download_deadline_s: float = 240.0
    idle_timeout_s: float = 15.0
    max_consecutive_failures: int = 12
    max_silence_s: float = 300.0
    refresh_after_h: float = 24.0
    retry_gone_after_days: float = 30.0
    max_tiles: int = 20_000
    max_answer_mb: float = 64.0
    max_image_mb: float = 64.0

    def __post_init__(self) -> None:
        positive = ("requests_per_s", "graph_workers", "download_workers", "max_tries", "backoff_cap_s")
        for name in (*positive, "metadata_deadline_s", "download_deadline_s", "max_answer_mb", "max_image_mb"):
            if not getattr(self, name) > 0:
                raise ValueError(f"harvest.{name} must be above 0, got {getattr(self, name)}")
        if not 1 <= self.batch_size <= 50:
            raise ValueError(f"harvest.batch_size must be 1…50, got {self.batch_size}")
        if not 0 < self.cell_deg < 0.01:
            raise ValueError(f"harvest.cell_deg must be above 0 and below 0.01, got {self.cell_deg}")
