"""A small town on the fake server, faults to put in its way, and a harvest of it over real HTTP."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from geocorrect.demo.mapillary_server.server import FakeMapillaryServer, FakeReply, FakeRequest, json_reply
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan, run_harvest
from geocorrect.harvest.mapillary.client import MapillaryClient
from geocorrect.harvest.options import HarvestOptions
from geocorrect.harvest.report import HarvestReport
from geocorrect.harvest.sink import MemorySink

WEST, SOUTH = 12.5, 41.9
STEP_DEG = 0.0001
QUICK: dict[str, Any] = {
    "requests_per_s": 2000.0,
    "backoff_base_s": 0.01,
    "backoff_cap_s": 0.1,
    "idle_timeout_s": 2.0,
    "metadata_deadline_s": 2.0,
    "download_deadline_s": 2.0,
    "private_image_hosts": True,
}


def jpeg(width: int, height: int, seed: int = 0, exif_orientation: int | None = None) -> bytes:
    """A small noisy JPEG."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    picture = PillowImage.fromarray(pixels).resize((width, height))
    out = io.BytesIO()
    exif = PillowImage.Exif()
    if exif_orientation is not None:
        exif[0x0112] = exif_orientation
    picture.save(out, "JPEG", quality=80, exif=exif)
    return out.getvalue()


def street_image(index: int, sequence: int = 0, **changes: Any) -> dict[str, Any]:
    """Metadata of one image: every image of a sequence 8 m further east, every sequence 33 m further north."""
    place = {"type": "Point", "coordinates": [WEST + STEP_DEG * index, SOUTH + 3 * STEP_DEG * sequence]}
    record: dict[str, Any] = {
        "id": str(1_000_000_000_000_000 + 1000 * sequence + index),
        "sequence": f"sequence-{sequence:03d}",
        "captured_at": 1_600_000_000_000 + 1000 * (1000 * sequence + index),
        "geometry": place,
        "computed_geometry": place,
        "altitude": 30.0,
        "computed_altitude": 31.5,
        "compass_angle": 1.5,
        "computed_compass_angle": 1.4832,
        "computed_rotation": [1.3642214091955, -0.0019509766093401, 0.035317244081076],
        "camera_type": "perspective",
        "camera_parameters": [0.8, 0.01, 0.0],
        "exif_orientation": 1,
        "width": 640,
        "height": 480,
        "make": "Maker",
        "model": "Model",
        "creator": {"username": "someone", "id": "7"},
        "is_pano": False,
        "quality_score": 0.7,
        "atomic_scale": 0.97,
        "merge_cc": 4.5e18,
    }
    record.update(changes)
    return {key: value for key, value in record.items() if value is not ...}


def town(sequences: int = 3, per_sequence: int = 20) -> list[dict[str, Any]]:
    """Some parallel streets."""
    return [street_image(index, sequence) for sequence in range(sequences) for index in range(per_sequence)]


@dataclass
class Script:
    """Faults by rule: each takes the request and returns a reply, or None to let the true answer through.

    seen: every request with its arrival time, so that tests can ask who called when.
    """

    rule: Callable[[FakeRequest], FakeReply | None] | None = None
    seen: list[tuple[float, FakeRequest]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: FakeRequest) -> FakeReply | None:
        with self.lock:
            self.seen.append((time.monotonic(), request))
        return self.rule(request) if self.rule else None

    def to(self, role: str, text: str = "") -> list[FakeRequest]:
        """The requests of a role whose path or query holds a text."""
        return [r for _, r in self.seen if r.role == role and text in f"{r.path}?{r.query}"]


def first(count: int, reply: FakeReply, matches: Callable[[FakeRequest], bool]) -> Any:
    """A rule that answers the first `count` matching requests with `reply`."""
    lock, left = threading.Lock(), [count]

    def rule(request: FakeRequest) -> FakeReply | None:
        if not matches(request):
            return None
        with lock:
            left[0] -= 1
            return reply if left[0] >= 0 else None

    return rule


def graph_error(status: int, code: int, message: str, subcode: int | None = None) -> FakeReply:
    """An error envelope."""
    error: dict[str, Any] = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "x"}
    if subcode is not None:
        error["error_subcode"] = subcode
    return json_reply({"error": error}, status)


@dataclass
class Site:
    """A running service, a folder and a catalog to harvest into."""

    service: FakeMapillaryServer
    script: Script
    folder: Path
    sink: MemorySink = field(default_factory=MemorySink)
    area: Area = field(default_factory=lambda: Area.from_box(WEST - 0.001, SOUTH - 0.001, WEST + 0.02, SOUTH + 0.02))

    def options(self, **changes: Any) -> HarvestOptions:
        """Quick options pointing at the service."""
        return HarvestOptions(
            graph_url=self.service.graph_url, tiles_url=self.service.tiles_url, **{**QUICK, **changes}
        )

    def client(self, **changes: Any) -> MapillaryClient:
        """A client of the service."""
        return MapillaryClient(self.options(**changes), self.service.token)

    def plan(self, **changes: Any) -> HarvestPlan:
        """The whole town into the folder."""
        return HarvestPlan(**{"area": self.area, "images_dir": self.folder, **changes})

    def harvest(self, plan: Mapping[str, Any] | None = None, **options: Any) -> HarvestReport:
        """One run."""
        token = self.service.token
        return run_harvest(self.options(**options), self.plan(**(plan or {})), self.sink, token=token)

    @property
    def ids(self) -> set[str]:
        """Every image that the service has."""
        return set(self.service.data.images)

    def files(self) -> set[str]:
        """Ids of the pictures on disk."""
        return {path.name.split("_")[0] for path in self.folder.glob("*/*.jpg")}


SiteFactory = Callable[..., Site]
