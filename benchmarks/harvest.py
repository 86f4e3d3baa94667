"""Throughput of a harvest as a ratio to a sequential client of the same service, in one run.

    python benchmarks/harvest.py [--images 2000] [--latency-ms 20] [--repeats 3]

A fake server in a process of its own answers after a fixed latency. *Baseline* is the least a correct client
does, one request after the other on one connection: sequences, batches of 50, pictures, written without fsync or
checks. *Harvest* is `run_harvest`: discovery by tiles, verification of every picture, fsync, a GeoPackage catalog.
Prints images per second (median, smallest and largest of the repeats), the ratio of the medians, requests against the
least that the recipe needs, and peak memory.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from geocorrect.catalog.store import Catalog
from geocorrect.demo.mapillary_server.server import FAKE_TOKEN, FakeMapillaryServer, FakeRequest
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan, run_harvest
from geocorrect.harvest.mapillary.metadata import ALL_FIELDS
from geocorrect.harvest.options import HarvestOptions
from simulation.city import CITY_BOX, city_images


def serve(count: int, latency_s: float) -> None:
    """The service; says where it listens, and stops when stdin closes."""
    import io

    import numpy as np
    from PIL import Image

    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((1024, 768)).save(out, "JPEG", quality=80)
    images = [{**image, "width": 1024, "height": 768} for image in city_images(count)]

    def slow(request: FakeRequest) -> None:
        time.sleep(latency_s)

    with FakeMapillaryServer(images, {image["id"]: out.getvalue() for image in images}, fault=slow) as service:
        print(json.dumps({"graph": service.graph_url, "tiles": service.tiles_url}), flush=True)
        sys.stdin.read()


def baseline(roots: dict[str, str], sequences: list[str], folder: Path) -> int:
    """Images fetched one after the other."""
    done = 0
    with httpx.Client(headers={"Authorization": f"OAuth {FAKE_TOKEN}"}) as graph, httpx.Client() as host:
        ids: list[str] = []
        for key in sequences:
            listed = graph.get(f"{roots['graph']}/image_ids", params={"sequence_id": key}).json()["data"]
            ids += [entry["id"] for entry in listed]
        for start in range(0, len(ids), 50):
            query = {"image_ids": ",".join(ids[start : start + 50]), "fields": ",".join(ALL_FIELDS)}
            for record in graph.get(f"{roots['graph']}/images", params=query).json()["data"]:
                (folder / f"{record['id']}.jpg").write_bytes(host.get(record["thumb_2048_url"]).content)
                done += 1
    return done


def harvest(roots: dict[str, str], area: Area, folder: Path) -> tuple[int, int]:
    """Images and requests of one harvest."""
    options = HarvestOptions(
        graph_url=roots["graph"], tiles_url=roots["tiles"], requests_per_s=1000.0, private_image_hosts=True
    )
    with Catalog.open(str(folder / "city.gpkg"), create=True) as catalog:
        report = run_harvest(options, HarvestPlan(area, folder / "images"), catalog)
    assert not report.holes
    return report.n_with_picture, sum(report.requests.values())


def rates(repeats: int, job: object) -> tuple[list[float], int]:
    """Images per second of every repeat, and the requests of the last."""
    found, requests = [], 0
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            result = job(Path(folder))  # type: ignore[operator]
            images, requests = result if isinstance(result, tuple) else (result, 0)
            found.append(images / (time.perf_counter() - start))
    return found, requests


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} images/s (n = {len(values)}, {min(values):.1f}–{max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="100 images, once; figures mean little")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(images=100, repeats=1)
    if options.serve:
        serve(options.images, options.latency_ms / 1000)
        return
    os.environ["MAPILLARY_TOKEN"] = FAKE_TOKEN
    images = city_images(options.images)
    sequences = sorted({image["sequence"] for image in images})
    west, south, east, north = CITY_BOX
    area = Area.from_box(west - 0.001, south - 0.001, east + 0.001, north + 0.001)
    command = [sys.executable, __file__, "--serve", *sys.argv[1:]]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        roots = json.loads(server.stdout.readline())
        ours, requests = rates(options.repeats, lambda folder: harvest(roots, area, folder))
        theirs, _ = rates(options.repeats, lambda folder: baseline(roots, sequences, folder))
        server.stdin.close()
    least = 2 * len(area.widened(50).tiles(1000)) + len(sequences) + math.ceil(len(images) / 50) + len(images)
    print(f"{len(images)} images in {len(sequences)} sequences, latency {options.latency_ms:.0f} ms per answer")
    print(f"baseline (sequential): {spread(theirs)}")
    print(f"harvest:               {spread(ours)}")
    print(f"ratio of medians:      {statistics.median(ours) / statistics.median(theirs):.2f}")
    print(f"requests:              {requests}, {requests / least:.3f} × the least of the recipe ({least})")
    print(f"peak memory:           {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
