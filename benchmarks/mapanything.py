"""MapAnything at full size with random weights: CPU-seconds, wall time and memory of one query, plain and with cache.

    python benchmarks/mapanything.py [--anchors 1 3 7] [--repeats 1] [--precision float32] [--device cuda] [--quick]

*Plain* encodes every view with its rays and runs the dense head for all of them, as the official code does. *Cached*
encodes the query alone, takes the anchors from the cache and reads poses only. Weights are seeded: times and memory are
those of the published model, answers mean nothing. On CUDA every stage ends with a synchronisation and wall time
counts. --quick takes a network of a few channels instead.

Operation counts: tests/networks/test_mapanything_full_size.py.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch
from support.mapanything_world import TINY
from torch import Tensor

from geocorrect.networks.mapanything.model import MapAnything, ViewTokens
from geocorrect.networks.mapanything.sizes import V1_1, MapAnythingSizes
from geocorrect.networks.mapanything.view_inputs import ViewGeometry, ViewPoses, unit_rays

WIDTH, HEIGHT = 518, 392
TINY_WIDTH, TINY_HEIGHT = 84, 60


def random_model(precision: str, device: str, sizes: MapAnythingSizes = V1_1) -> MapAnything:
    """Seeded weights of a scale that keeps activations finite, without initialising twice."""
    with torch.device("meta"):
        model = MapAnything(sizes)
    model = model.to_empty(device="cpu").eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("bias") or name.endswith("view_pos_table"):
            tensor.zero_()
        elif "norm" in name:
            tensor.fill_(1.0)
        elif name.endswith("gamma"):
            tensor.fill_(0.1)
        else:
            fan_in = tensor[0].numel() if tensor.ndim > 1 else tensor.numel()
            tensor.normal_(0.0, 0.6 / fan_in**0.5, generator=generator)
    return model.use_dtype(getattr(torch, precision)).to(device)


class Clock:
    """CPU-seconds and wall seconds of named stages."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.times: dict[str, list[tuple[float, float]]] = {}

    def measure(self, name: str, work: Callable[[], Any]) -> Any:
        """Do the work, note its times, give its result."""
        before, start = _cpu_s(), time.perf_counter()
        result = work()
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        self.times.setdefault(name, []).append((_cpu_s() - before, time.perf_counter() - start))
        print(f"{name}: {self.times[name][-1][0]:.2f} CPU-s, {self.times[name][-1][1]:.2f} s", file=sys.stderr)
        return result

    def medians(self) -> dict[str, dict[str, float]]:
        """Median CPU-seconds and wall seconds per stage."""
        return {
            name: {
                "cpu_s": round(statistics.median(cpu for cpu, _ in times), 3),
                "wall_s": round(statistics.median(wall for _, wall in times), 3),
            }
            for name, times in self.times.items()
        }


def plain(model: MapAnything, images: Tensor, geometry: ViewGeometry, poses: ViewPoses) -> None:
    """Everything of every view."""
    tokens = model.encode(images, geometry)
    fused = model.fuse(tokens.patches[None], tokens.class_token[None], tokens.grid, poses)
    transformed = model.transform(fused)
    model.poses(transformed)
    for view in range(len(images)):
        model.dense(fused, transformed, view)


def cached(model: MapAnything, image: Tensor, geometry: ViewGeometry, anchors: ViewTokens, poses: ViewPoses) -> None:
    """One query beside anchors whose tokens are there."""
    query = model.encode(image, geometry)
    patches = torch.cat([anchors.patches, query.patches])[None]
    class_token = torch.cat([anchors.class_token, query.class_token])[None]
    model.poses(model.transform(model.fuse(patches, class_token, query.grid, poses), dense=False))


def measure(model: MapAnything, anchors: int, device: str, clock: Clock) -> None:
    """One query among anchors, in each way."""
    count = anchors + 1
    generator = torch.Generator().manual_seed(1)
    width, height = (TINY_WIDTH, TINY_HEIGHT) if model.sizes == TINY else (WIDTH, HEIGHT)
    images = torch.randn(count, 3, height, width, generator=generator).to(device)
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rays = unit_rays(torch.stack([(u - 258.5) / 420.0, (v - 195.5) / 420.0, torch.ones(height, width)], dim=-1))
    geometry = ViewGeometry(rays.expand(count, -1, -1, -1).to(device))
    quaternions = torch.tensor([0.0, 0.0, 0.0, 1.0]).repeat(1, count, 1)
    known = torch.tensor([[True] * anchors + [False]])
    poses = ViewPoses(*(part.to(device) for part in (quaternions, torch.randn(1, count, 3), known)))
    own = ViewGeometry(geometry.rays[-1:]) if geometry.rays is not None else geometry
    tokens = model.encode(images[:-1], ViewGeometry(geometry.rays[:-1]) if geometry.rays is not None else None)
    name = f"{count} views"
    clock.measure(f"{name}, plain", lambda: plain(model, images, geometry, poses))
    clock.measure(f"{name}, cached, all poses", lambda: cached(model, images[-1:], own, tokens, poses))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anchors", type=int, nargs="+", default=[1])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    clock = Clock(arguments.device)
    sizes = TINY if arguments.quick else V1_1
    model = clock.measure("random weights", lambda: random_model(arguments.precision, arguments.device, sizes))
    for anchors in arguments.anchors:
        for _ in range(arguments.repeats):
            measure(model, anchors, arguments.device, clock)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if arguments.device.startswith("cuda"):
        peak_gb = torch.cuda.max_memory_allocated() / 1e9
    report = {"stages": clock.medians(), "peak_memory_gb": round(peak_gb, 2), "threads": torch.get_num_threads()}
    print(json.dumps({**vars(arguments), **report, "torch": torch.__version__}, indent=2))


if __name__ == "__main__":
    main()
