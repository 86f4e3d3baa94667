"""What a run costs besides matching, depth and solving: CPU, memory, processes, Ray, tiles; against a baseline each.

    python benchmarks/batch.py [--quick] [--only overhead,second,memory,tiles,processes,ray]

Photos are those of the small city of the tests, drawn larger (640x480), so that matching costs what it costs; "memory"
and "second" need no matching at all. Seconds are of CPU unless said otherwise; wall clock means something on a quiet
machine only, so the load is printed. "photos/s" is that of the steady state, without the start of the workers.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from support import batch_scene, postgis_fixture, small_city

from geocorrect.__main__ import run as command
from geocorrect.catalog import Catalog
from geocorrect.config import BatchOptions, ExportSection, Settings, load_settings
from geocorrect.depth.lidar import LidarDepth
from geocorrect.errors import Reason, Status
from geocorrect.geometry.camera import Camera
from geocorrect.jobs.pipeline import run_pipeline
from geocorrect.jobs.plan import plan_run
from geocorrect.jobs.run import read_pieces, run_batch
from geocorrect.localize.correct import LocalizationResult
from geocorrect.records import DepthMap, Image, Position, Rejection
from geocorrect.workers import anchor_cache, worker
from geocorrect.workers.anchor_cache import AnchorCache
from geocorrect.workers.backends import build_matcher
from geocorrect.workers.engine import build_engine
from geocorrect.workers.limits import WorkerFactory
from geocorrect.workers.stop import StopRequest

SCALE = 4


def build(folder: Path, n_photos: int) -> Path:
    """A city on disk, its anchors and photos in a catalog; the configuration."""
    small_city.WIDTH, small_city.HEIGHT = 160 * SCALE, 120 * SCALE
    small_city.FOCAL_PX, small_city.PX_PER_M = 140.0 * SCALE, 20 * SCALE
    city = small_city.build_city(folder, n_photos)
    text = city.configuration()
    for small, large in (("features = 400", "features = 2000"), ("_m = 12.0", "_m = 20.0"), ("ates = 2", "ates = 5")):
        text = text.replace(small, large)
    config = folder / "geocorrect.toml"
    config.write_text(text)
    Catalog.open(load_settings(config).settings.catalog.url, create=True).close()
    table = ["--format", "table", "--crs", "EPSG:4979", "--height-reference", "ellipsoid"]
    with contextlib.redirect_stdout(sys.stderr):
        if command(["-c", str(config), "anchors", "add", str(city.anchors_table), *table]):
            raise SystemExit("the city could not be made")
    camera = pinhole()
    (folder / "images").mkdir(exist_ok=True)
    images = []
    for record in city.records:
        path = folder / "images" / f"{record['id']}.jpg"
        path.write_bytes(city.photos[record["id"]])
        lon, lat = record["geometry"]["coordinates"]
        images.append(Image(record["id"], Position(lon, lat), camera, path, heading_deg=record["compass_angle"]))
    with Catalog.open(load_settings(config).settings.catalog.url) as catalog:
        catalog.upsert_images(images)
    return config


def pinhole() -> Camera:
    """The camera of all photos."""
    w, h, f = 160 * SCALE, 120 * SCALE, 140.0 * SCALE
    return Camera.from_opencv(w, h, [f, f, (w - 1) / 2, (h - 1) / 2], [0.0, 0.0, 0.0, 0.0])


def with_batch(settings: Settings, **values: Any) -> Settings:
    """Another seed is another run: everything is due."""
    return settings.model_copy(update={"batch": BatchOptions(**values)})


# --- overhead -------------------------------------------------------------------------------------------


def bench_overhead(config: Path, _quick: bool) -> None:
    """CPU of a run in this process, and how much of it lies in matching, solving and depth."""
    settings = with_batch(load_settings(config).settings, seed=1, engine="in-process")
    inside_s = [0.0]

    def clocked(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            began_s = time.process_time()
            try:
                return work(*arguments, **named)
            finally:
                inside_s[0] += time.process_time() - began_s

        return run

    whole = (worker.localize, AnchorCache.depth)
    worker.localize = clocked(whole[0])
    AnchorCache.depth = clocked(whole[1])  # type: ignore[method-assign]
    try:
        with Catalog.open(settings.catalog.url) as catalog:
            began_s = time.process_time()
            summary = run_batch(plan_run(settings, catalog), catalog, StopRequest())
            total_s = time.process_time() - began_s
    finally:
        worker.localize, AnchorCache.depth = whole  # type: ignore[method-assign]
    share, each_ms = 1 - inside_s[0] / total_s, 1000 * (total_s - inside_s[0]) / summary.n_computed
    print(
        f"overhead: {summary.n_computed} photos, {summary.by_status[Status.ACCEPTED]} accepted, {total_s:.2f} s; "
        f"outside matching, depth and solving {100 * share:.1f} % ({each_ms:.1f} ms a photo)  "
        f"target 10 %: {verdict(share <= 0.10)}"
    )


# --- second run -----------------------------------------------------------------------------------------


def bench_second(_config: Path, quick: bool) -> None:
    """`geocorrect run` where nothing is due, on both back-ends; baseline: the first run of the same photos."""
    count = 1000 if quick else 10_000
    for name, url in addresses():
        with tempfile.TemporaryDirectory() as folder:
            address = url or f"{folder}/c.gpkg"
            with Catalog.open(address, create=True) as catalog:
                batch_scene.street(catalog, count, count, step_m=2.0)
                began_s = time.perf_counter()
                batch_scene.correct_all(catalog, Settings())
                first_s = time.perf_counter() - began_s
            wall, cpu = zip(*(timed_command(["run", "--catalog", address], folder) for _ in range(5)), strict=True)
            print(
                f"second run on {name}: {count} photos unchanged, wall {min(wall):.2f} s best, "
                f"{statistics.median(wall):.2f} s median of 5, CPU {statistics.median(cpu):.2f} s; first run (photos "
                f"without files: no matching) {first_s:.1f} s wall  target 3 s: {verdict(min(wall) <= 3.0)}"
            )


def timed_command(arguments: list[str], folder: str) -> tuple[float, float]:
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "geocorrect", *arguments], check=True, capture_output=True, cwd=folder)
    wall_s, after = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def addresses() -> Iterator[tuple[str, str | None]]:
    """Name and address of each back-end; None: a file of its own."""
    yield "GeoPackage", None
    programs = postgis_fixture.installed_programs()
    if programs is None:
        print(f"no PostGIS: {postgis_fixture.INSTALL}")
        return
    cluster = postgis_fixture.Cluster(programs)
    try:
        cluster.start()
        postgis_fixture.execute(cluster.url("postgres"), "create database bench")
        yield "PostGIS", cluster.url("bench")
    finally:
        cluster.remove()


# --- memory ---------------------------------------------------------------------------------------------


def bench_memory(config: Path, quick: bool) -> None:
    """Peak resident memory of a run over few and over many photos; each in a process of its own."""
    peaks = {}
    for count in (200, 1000) if quick else (1000, 20_000):
        done = subprocess.run(
            [sys.executable, __file__, "--measure-memory", str(count), str(config)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr)
        peaks[count] = float(done.stdout.split()[-1])
    few, many = sorted(peaks)
    ratio = peaks[many] / peaks[few]
    print(
        f"memory: peak {peaks[few]:.0f} MiB with {few} photos, {peaks[many]:.0f} MiB with {many}: {ratio:.3f}x  "
        f"target 1.15x: {verdict(ratio <= 1.15)}"
    )


def measure_memory(count: int, config: Path) -> None:
    """`geocorrect run` over photos every two metres along a street with an anchor every four, a thousand a sequence.

    Pixels are read, nothing is matched; every result is exported.
    """
    anchors_file, photo_file = config.parent / "anchors" / "a0000.png", next((config.parent / "images").glob("*.jpg"))
    camera = pinhole()
    uncertain = Reason.UNCERTAIN
    worker.localize = lambda query, *_: LocalizationResult(Rejection(query.image_id, uncertain))  # type: ignore[assignment]
    anchor_cache.build_depth = lambda *_: FlatDepth()  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder, Catalog.open(f"{folder}/c.gpkg", create=True) as catalog:
        batch_scene.street(catalog, 0, 0)
        for start in range(0, count, 1000):
            numbers = range(start, min(start + 1000, count))
            photos = (batch_scene.photo(f"p{i:06}", 2.0 * i) for i in numbers)
            here = {"camera": camera, "path": photo_file, "sequence_id": f"s{start // 1000:04}"}
            catalog.upsert_images([replace(photo, **here) for photo in photos])
            anchors = (batch_scene.anchor(f"a{i:06}", 2.0 * i, 0.0, "near-1") for i in numbers if i % 2 == 0)
            catalog.upsert_anchors([replace(anchor, camera=camera, path=anchors_file) for anchor in anchors])
        before_mib = peak_mib()
        settings = batch_scene.in_process(Settings(export=ExportSection(files=(Path(folder) / "corrections.gpkg",))))
        summary = run_pipeline(settings, catalog).correct
        assert summary.n_computed == count, summary
        assert summary.reasons == {"uncertain": count}, summary
    print(f"{count} photos, peak before the run {before_mib:.0f} MiB, after", peak_mib())


class FlatDepth:
    """A dense map of the picture's size, as networks give; under the name of the source that is configured."""

    fingerprint = LidarDepth().fingerprint

    def depth(self, _anchor: Any, image: Any) -> DepthMap:
        """Ten metres everywhere."""
        return DepthMap("flat", is_oracle=False, z_m=np.full(image.shape[:2], 10.0, np.float32))


def peak_mib() -> float:
    """VmHWM begins anew with every program; getrusage would remember the parent's."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


# --- tiles ----------------------------------------------------------------------------------------------


class Counted:
    """A function that counts its calls."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self.work, self.calls = work, 0

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        self.calls += 1
        return self.work(*arguments)


def bench_tiles(config: Path, _quick: bool) -> None:
    """Pixels and depth of the anchors, read tile by tile and read for every image alone (baseline)."""
    found = {}
    for name, cached in (("image by image", 1), ("tile by tile", BatchOptions().cached_anchors_mib)):
        settings = with_batch(load_settings(config).settings, seed=2, cached_anchors_mib=cached)
        read = anchor_cache.read_anchor
        counted = Counted(read)
        anchor_cache.read_anchor = counted
        try:
            with Catalog.open(settings.catalog.url) as catalog:
                planned = plan_run(settings, catalog)
                reader = AnchorCache(settings, build_matcher(settings))
                tasks = [t for piece in read_pieces(planned, planned.due, catalog) for t in piece]
                began_s = time.process_time()
                for task in tasks:
                    reader.usable(task.anchors, task.neighbours)
                found[name] = (counted.calls, time.process_time() - began_s, len(tasks))
        finally:
            anchor_cache.read_anchor = read
    (alone, alone_s, count), (tiled, tiled_s, _) = found.values()
    anchors = len({anchor.id for task in tasks for anchor in task.anchors})
    print(
        f"tiles: {count} photos, {anchors} anchors; image by image {alone} reads, {alone_s:.2f} s; tile by tile "
        f"{tiled} reads, {tiled_s:.2f} s: {tiled / alone:.2f}x the reads, {tiled_s / alone_s:.2f}x the time; "
        f"{tiled / anchors:.2f} reads per anchor"
    )


# --- processes and Ray ----------------------------------------------------------------------------------


def photos_per_s(config: Path, seed: int, options: BatchOptions) -> float:
    """Outcomes a second (wall clock) between the moment when every worker works and the last outcome."""
    settings = load_settings(config).settings.model_copy(update={"batch": replace(options, seed=seed)})
    with Catalog.open(settings.catalog.url) as catalog:
        planned = plan_run(settings, catalog)
        pieces = read_pieces(planned, planned.due, catalog)
        make_worker = WorkerFactory(settings, planned.backends.fingerprints)
        stream = build_engine(settings.batch).map(make_worker, pieces, StopRequest())
        moments = [time.perf_counter() for _ in stream]
    warm = 2 * options.workers
    return (len(moments) - 1 - warm) / (moments[-1] - moments[warm])


def bench_processes(config: Path, quick: bool) -> None:
    """Two worker processes against one."""
    one, two = compared(config, BatchOptions(workers=1), BatchOptions(workers=2), 1 if quick else 3)
    print(
        f"processes: {one:.2f} photos/s with 1, {two:.2f} with 2: {two / one:.2f}x  target 1.7x: "
        f"{verdict(two / one >= 1.7)}"
    )


def bench_ray(config: Path, quick: bool) -> None:
    """Two Ray actors against two worker processes."""
    local, ray = compared(config, BatchOptions(workers=2), BatchOptions(workers=2, engine="ray"), 1 if quick else 3)
    print(
        f"ray: {local:.2f} photos/s with 2 processes, {ray:.2f} with 2 actors: {ray / local:.2f}x  target 0.85x: "
        f"{verdict(ray / local >= 0.85)}"
    )


def compared(config: Path, first: BatchOptions, second: BatchOptions, repeats: int) -> tuple[float, float]:
    """Best of the repeats of both, taken in turn."""
    rates = [(photos_per_s(config, 10 + i, first), photos_per_s(config, 10 + i, second)) for i in range(repeats)]
    print(f"  in turn: {', '.join(f'{a:.2f} and {b:.2f}' for a, b in rates)} photos/s (load {os.getloadavg()[0]:.1f})")
    return max(a for a, _ in rates), max(b for _, b in rates)


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


PARTS: dict[str, Callable[[Path, bool], None]] = {
    "overhead": bench_overhead,
    "second": bench_second,
    "memory": bench_memory,
    "tiles": bench_tiles,
    "processes": bench_processes,
    "ray": bench_ray,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few photos; figures mean little")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--photos", type=int, default=120)
    parser.add_argument("--measure-memory", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if given.measure_memory:
        measure_memory(int(given.measure_memory[0]), Path(given.measure_memory[1]))
        return
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as folder:
        config = build(Path(folder), 16 if given.quick else given.photos)
        for name in given.only.split(","):
            PARTS[name](config, given.quick)


if __name__ == "__main__":
    main()
