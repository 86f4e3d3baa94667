"""The main job on the synthetic street: the ordinary pipeline from anchors and API to catalog and GeoJSON, then scored.

OUT/world/                  the synthetic data (see demo.world)
OUT/geocorrect.toml         the configuration, ready for `geocorrect -c`
OUT/calibrations/           depth of the anchors, with --depth triangulated
OUT/images/                 photos as harvested over HTTP
OUT/cache/                  features of the anchors
OUT/corrections.gpkg        the catalog; OUT/corrections.geojson its export
OUT/before_after.png        the picture; OUT/summary.json the figures; OUT/report.html the page
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from geocorrect.anchors.add import VbrSource, add_anchors
from geocorrect.anchors.alignment import read_alignment
from geocorrect.anchors.readers.vbr.sequence import VbrOptions
from geocorrect.catalog.run import StoredResult
from geocorrect.catalog.store import Catalog
from geocorrect.config import CatalogSection, Settings, load_settings
from geocorrect.demo.mapillary_server.server import FAKE_TOKEN, FakeMapillaryServer
from geocorrect.demo.summary import Outcome, before_after, summarise
from geocorrect.demo.world.build import DemoWorld, build_world, cores
from geocorrect.demo.world.plan import SIZES
from geocorrect.errors import ExitCode, Status, UsageError
from geocorrect.export.export import export_catalog
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan, run_harvest
from geocorrect.io.atomic_file import write_atomically
from geocorrect.jobs.report import CorrectReport
from geocorrect.jobs.run import correct_due
from geocorrect.records import Correction
from geocorrect.redaction import without_secrets
from geocorrect.report.truth import read_truth_file
from geocorrect.report.write import write_report

Say = Callable[[str], None]
Progress = Callable[[int, int], None]

AREA_MARGIN_DEG = 0.0005
PICTURE_CPU_S, PHOTO_CPU_S = 0.5, 1.1
"""Processor time of a picture of the street and of correcting a photo, with a share of what is done once."""
CONFIGURATION = """# Written by `geocorrect demo`. Try: geocorrect -c {file} status
[catalog]
url = "{catalog}"

[images]
folder = "images"

[harvest]
image_size = "original"
requests_per_s = 50.0     # the fake server runs on this machine; be politer to the real service

[match.sift]
max_features = 2500       # the default is 8000; for the sake of time

[models]
cache_folder = "cache"    # features of the anchors, found once for all workers

[retrieve]
max_candidates = 6

[depth]
source = "{depth}"

[localize.joint]          # how well the anchors' poses fit each other: this drive is known exactly
anchor_position_m = 0.002
anchor_rotation_deg = 0.01

[batch]
workers = {workers}
"""


@dataclass(frozen=True)
class DemoOptions:
    """Where, which world, and with how many processes."""

    out: Path
    """Folder for everything."""
    seed: int = 7
    size: str = "full"
    """See `build_world`."""
    workers: int = 2
    catalog_url: str | None = None
    """A database; None: a GeoPackage in `out`."""
    depth: str = "lidar"
    """Measured by the anchors' scanner (an oracle), or "triangulated" from their neighbours: no scanner, no network."""


@dataclass(frozen=True)
class DemoOutcome:
    """What the demo did."""

    summary: dict[str, Any]
    """The figures of summary.json, empty when the run was stopped."""
    recomputed: int
    """Images that got a new result in this run."""
    exit_code: ExitCode = ExitCode.OK
    """130 or 143 when it was stopped."""


def run_demo(options: DemoOptions, say: Say, progress: Progress) -> DemoOutcome:
    """Build the world, run the pipeline, compare with the truth. A second call changes no file."""
    started_s = time.monotonic()
    n_pictures = SIZES[options.size].n_pictures
    duration = _about(n_pictures * PICTURE_CPU_S, options)
    say(f"building the street: {n_pictures} pictures, {duration} (once; later runs reuse it)")
    world = build_world(options.out / "world", options.seed, options.size, options.workers, progress)
    settings = _configuration(options)
    with Catalog.open(settings.catalog.url, create=True) as catalog:
        say("adding anchors")
        _add_anchors(catalog, world)
        say("harvesting photos over HTTP")
        _harvest(settings, catalog, world)
        n_photos = len(world.photos)
        say(f"correcting {n_photos} photos: {_about(n_photos * PHOTO_CPU_S, options)}")
        outcome = correct_due(settings, catalog, on_progress=progress)
        if outcome.exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
            return DemoOutcome({}, outcome.n_computed, outcome.exit_code)
        say("comparing with the truth, writing pictures and files")
        return _score(options, world, catalog, outcome, time.monotonic() - started_s)


def _about(cpu_s: float, options: DemoOptions) -> str:
    """How long that takes where each process has a core of its own, to ten seconds."""
    workers = min(options.workers, cores())
    return f"about {10 * math.ceil(cpu_s / workers / 10)} s with {workers} core{'s' if workers > 1 else ''}"


def _configuration(options: DemoOptions) -> Settings:
    file = options.out / "geocorrect.toml"
    if file.is_file() and (before := load_settings(file).settings.depth.source) != options.depth:
        raise UsageError(f"{options.out}: holds a demo with {before} depth; give another folder with --out")
    url = options.catalog_url or "corrections.gpkg"
    text = CONFIGURATION.format(file=file, catalog=without_secrets(url), depth=options.depth, workers=options.workers)
    _write_if_changed(file, text.encode())
    settings = load_settings(file).settings
    if options.catalog_url:
        settings = settings.model_copy(update={"catalog": CatalogSection(url)})
    if settings.depth.needs_neighbours:
        # Where this folder is, all processes share the depth that one of them has triangulated.
        settings.calibrations.folder.mkdir(exist_ok=True)
    return settings


def _add_anchors(catalog: Catalog, world: DemoWorld) -> None:
    alignment = read_alignment(world.alignment)
    for drive in world.drives:
        calibration, truth = drive / "vbr_calib.yaml", drive / f"{drive.name}_gt.txt"
        add_anchors(catalog, VbrSource(drive, calibration, truth, alignment, VbrOptions(spacing_m=0.0)))


def _harvest(settings: Settings, catalog: Catalog, world: DemoWorld) -> None:
    """The ordinary harvester against the fake server, over real HTTP."""
    positions = [record["geometry"]["coordinates"] for record in world.metadata if record.get("geometry")]
    lon, lat = zip(*positions, strict=True)
    margin = AREA_MARGIN_DEG
    area = Area.from_box(min(lon) - margin, min(lat) - margin, max(lon) + margin, max(lat) + margin)
    with FakeMapillaryServer(world.metadata, world.photos) as service:
        options = replace(
            settings.harvest, graph_url=service.graph_url, tiles_url=service.tiles_url, private_image_hosts=True
        )
        run_harvest(options, HarvestPlan(area, settings.images.folder), catalog, token=FAKE_TOKEN)


def _score(
    options: DemoOptions,
    world: DemoWorld,
    catalog: Catalog,
    outcome: CorrectReport,
    wall_s: float,
) -> DemoOutcome:
    """Compare with the truth and write the outputs; when nothing was computed and all are there, they stay."""
    out = options.out
    names = ("summary.json", "before_after.png", "corrections.geojson", "report.html")
    summary_file, picture_file, geojson_file, report_file = (out / name for name in names)
    recomputed = outcome.n_computed
    if recomputed == 0 and all((out / name).is_file() for name in names):
        return DemoOutcome(json.loads(summary_file.read_text(encoding="utf-8")), 0)
    results = list(catalog.current())
    export_catalog(catalog, geojson_file)
    outcomes = [_outcome(stored, world) for stored in results]
    before_after(world.truth, outcomes, picture_file)
    write_report(catalog, report_file, read_truth_file(world.folder / "truth.json"))
    computed = {image.id: (image.computed.lon_deg, image.computed.lat_deg)
                for image in catalog.images().values() if image.computed is not None}  # fmt: skip
    summary = summarise(world.truth, outcomes, wall_s, computed)
    # orjson writes nan, which is what the median of nothing is, as null: JSON knows no nan.
    _write_if_changed(summary_file, orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
    return DemoOutcome(summary, recomputed)


def _outcome(stored: StoredResult, world: DemoWorld) -> Outcome:
    """A photo that waits for a person's review is not accepted."""
    result = stored.result
    if isinstance(result, Correction) and result.status is Status.REVIEW:
        return Outcome(result.image_id, reason=Status.REVIEW.value)
    return Outcome.of(result, world.truth.frame)


def _write_if_changed(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)
