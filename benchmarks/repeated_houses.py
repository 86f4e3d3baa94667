"""A street whose houses repeat: photos with a right report, and reported at the next copy of what they show.

The demo's street with equal houses, every --period metres on either side; cars, trees and what else stands before them
do not repeat. Each photo is localised with the anchors around its reported position, as `[retrieve.appearance] mode =
"check"` does it; the table says what the gate makes of it without and with the other place's anchor.

    python benchmarks/repeated_houses.py run --period 24 --houses 2 --store out/houses.jsonl    # docs/accuracy.md
    python benchmarks/repeated_houses.py run --period 0 --store out/houses.jsonl                # the street as it is
    python benchmarks/repeated_houses.py table --store out/houses.jsonl
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from matchers import rows_of

from geocorrect import read_anchors
from geocorrect.api import photo as photo_of_api
from geocorrect.config import Settings, with_depth
from geocorrect.demo.street import street
from geocorrect.demo.world.build import DemoWorld, build_world
from geocorrect.demo.world.drives import STREET_YAW_DEG
from geocorrect.demo.world.shots import DASH_CAM, VAN_PHONE
from geocorrect.errors import Status
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import angle_difference_deg
from geocorrect.io.pixels import read_image
from geocorrect.localize.gate import decide, stored_statistics
from geocorrect.localize.options import JointOptions
from geocorrect.match.sift import SiftOptions
from geocorrect.records import NAN, Correction, Pair, Query
from geocorrect.retrieve.options import AppearanceOptions, RetrieveOptions

FALSE_M = 1.0
ALONG = np.array([np.cos(np.radians(STREET_YAW_DEG)), np.sin(np.radians(STREET_YAW_DEG))])
DEVICES = DASH_CAM, VAN_PHONE
"""Their pictures are upright, and the provider knows their lenses."""


def equal_houses(
    period_m: float, houses: int, seed: Any, span_m: tuple[float, float], side: float, line_m: float, number: int
) -> list[street.Building]:
    """In place of `street.row_of_buildings`: the same few houses again and again."""
    random = np.random.default_rng(seed)
    widths = random.uniform(0.8, 1.2, houses)
    widths *= period_m / widths.sum()
    back_m = [float(random.choice([0.0, 0.0, 0.35, 0.9])) for _ in range(houses)]
    height_m = [float(random.uniform(8.0, 15.0)) for _ in range(houses)]
    x, row = span_m[0], list[street.Building]()
    while x < span_m[1] - 0.5:
        n = len(row) % houses
        end = x + widths[n] if span_m[1] - x - widths[n] >= 3 else span_m[1]
        made = street.Building((*seed, n), x, end, side, line_m + back_m[n], height_m[n], number + 2 * n)
        row.append(made)
        x = end
    return row


def world_of(folder: Path, seed: int, size: str, period_m: float, houses: int) -> DemoWorld:
    """Built once; the street as it is for a period of 0."""
    if period_m <= 0:
        return build_world(folder / f"as it is {seed} {size}", seed, size, workers=1)
    with patch.object(street, "row_of_buildings", partial(equal_houses, period_m, houses)):
        return build_world(folder / f"{houses} of {period_m:g} m {seed} {size}", seed, size, workers=1)


def run(store: Path, seed: int, size: str, period_m: float, houses: int, n_anchors: int, limit: int) -> None:
    """Measure what is not in the store yet."""
    world = world_of(store.parent / "worlds", seed, size, period_m, houses)
    anchors = []
    for drive in world.drives:
        truth = drive / f"{drive.name}_gt.txt"
        source = read_anchors(drive, "vbr", ground_truth=truth, alignment=world.alignment, spacing_m=0)
        anchors += source.read(source.index.ids).values()
    frame, plain = source.frame, with_depth(Settings(), "lidar")
    compared = AppearanceOptions("check", folder=store.parent / "worlds" / "appearance")
    settings = plain.model_copy(
        update={
            "match": replace(plain.match, sift=SiftOptions(max_features=4000, cached_images=500)),
            "retrieve": RetrieveOptions(max_candidates=n_anchors, appearance=compared),
            "localize": replace(plain.localize, joint=JointOptions(anchor_position_m=0.002, anchor_rotation_deg=0.01)),
        }
    )
    localizer = photo_of_api.PhotoLocalizer(settings)
    assert localizer.appearance is not None
    if not localizer.appearance.is_trained:
        localizer.appearance.train(anchors)
    localizer.appearance.prepare(anchors)
    spent: dict[str, float] = {}
    localizer.appearance.rerank = timed("describe_s", spent, localizer.appearance.rerank)  # type: ignore[method-assign]
    places = np.array([anchor.world_from_cam.translation_m for anchor in anchors])
    heading_deg = np.array([frame.heading_deg(anchor.world_from_cam) for anchor in anchors])
    done = {tuple(row["key"]) for row in rows_of(store)}
    near = settings.retrieve
    with patch.object(photo_of_api, "beside_other_places", timed("compare_s", spent, photo_of_api.beside_other_places)):
        for name, pixels, camera, true_deg, lon_lat_height in list(photos_of(world))[:limit]:
            true_m = frame.enu_from_wgs84(*lon_lat_height).reshape(3)
            ahead = ALONG * np.sign(np.cos(np.radians(true_deg - 90 + STREET_YAW_DEG)))
            localizer.matcher.match(pixels, [pixels[:64, :64]])  # its features: both reports are then alike
            for off_m in (0.0, period_m) if period_m > 0 else (0.0,):
                key = (seed, f"{houses} of {period_m:g} m" if period_m > 0 else "as it is", n_anchors, off_m, name)
                if key in done:
                    continue
                reported = np.append(true_m[:2] + off_m * ahead, NAN)
                away_m = np.linalg.norm(places[:, :2] - reported[:2], axis=1)
                seen = (np.abs(angle_difference_deg(heading_deg, true_deg)) < 60) & (away_m < near.radius_m)
                order = [int(row) for row in np.argsort(away_m) if seen[row]][: compared.candidates]
                chosen = tuple(anchors[row] for row in order)
                pairs = tuple(Pair(name, anchor.id, rank) for rank, anchor in enumerate(chosen))
                spent.update(describe_s=0.0, compare_s=0.0)
                started_s = time.process_time()
                found = localizer.localize(Query(name, pixels, camera, reported), pairs, chosen, {}).found
                row = {"key": key, "cpu_s": time.process_time() - started_s, **spent}
                if found.solution is not None:
                    row["error_m"] = float(np.linalg.norm(found.solution.world_from_cam.translation_m - true_m))
                if isinstance(found.result, Correction):
                    row["gate"] = dict(found.result.evidence.gate)
                with store.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")


def timed(name: str, spent: dict[str, float], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose processor time is added up under the name."""

    def measuring(*arguments: Any) -> Any:
        started_s = time.process_time()
        found = function(*arguments)
        spent[name] += time.process_time() - started_s
        return found

    return measuring


def photos_of(world: DemoWorld) -> Iterator[tuple[str, Any, Camera, float, tuple[float, float, float]]]:
    """Id, pixels, camera as the provider knows it, true heading and place (lon, lat, height) of localisable photos."""
    for record in world.metadata:
        truth = world.truth.photos[record["id"]]
        if truth.localisable and truth.device in {device.name for device in DEVICES}:
            pixels = read_image(world.photos[truth.id])
            camera = Camera.from_opensfm_vector("perspective", record["camera_parameters"], *pixels.shape[1::-1])
            yield truth.id, pixels, camera, truth.heading_deg, (truth.lon_deg, truth.lat_deg, truth.height_m)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line per street, number of anchors, and error of the report."""
    lines = [
        "| houses | anchors | report off by | wrong poses (> 1 m): accepted, wait for their sequence | right ones: "
        "accepted, wait | other place's share of matches: wrong, least; right, largest | asked | CPU: describe, ask |",
        "|---" * 8 + "|",
    ]
    for group in dict.fromkeys(tuple(r["key"][1:4]) for r in rows):
        here = [r for r in rows if tuple(r["key"][1:4]) == group and "error_m" in r]
        wrong, right = ([r for r in here if (r["error_m"] > FALSE_M) == is_wrong] for is_wrong in (True, False))
        shares = [np.array([r["gate"]["other_place_share"] for r in part if "gate" in r]) for part in (wrong, right)]
        of_wrong, of_right = (share[np.isfinite(share)] for share in shares)
        judged = [r for r in here if "gate" in r]
        asked = [r for r in judged if np.isfinite(r["gate"]["other_place_share"])]
        whole_s = np.sum([r["cpu_s"] for r in judged]) or NAN
        cost = ", ".join(f"{np.sum([r[k] for r in judged]) / whole_s:.1%}" for k in ("describe_s", "compare_s"))
        lines.append(
            f"| {group[0]} | {group[1]} | {group[2]:g} m | {_change(wrong)} | {_change(right)} | "
            f"{f'{of_wrong.min():.2f}' if len(of_wrong) else '–'} (n = {len(of_wrong)}); "
            f"{f'{of_right.max():.2f}' if len(of_right) else '–'} (n = {len(of_right)}) | "
            f"{len(asked)} of {len(judged)} | {cost} |"
        )
    return "\n".join(lines)


def _change(rows: Sequence[dict[str, Any]]) -> str:
    """Accepted, and waiting only for a confirmation, without the other place's anchor → with it."""
    gate = Settings().localize.gate
    counts = []
    for nothing_asked in (True, False):
        accepted = waiting = 0
        for row in rows:
            statistics = stored_statistics(row.get("gate", {}))
            if statistics is None:
                continue
            statistics = replace(statistics, other_place_share=NAN) if nothing_asked else statistics
            is_accepted = decide(statistics, gate).status is Status.ACCEPTED
            believed = decide(statistics, replace(gate, min_independent_anchors=1)).status is Status.ACCEPTED
            accepted, waiting = accepted + is_accepted, waiting + (believed and not is_accepted)
        counts.append(f"{accepted}, {waiting}")
    return f"{' → '.join(counts)} of {len(rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="run", choices=["run", "table"])
    parser.add_argument("--store", type=Path, default=Path("out/houses.jsonl"))
    parser.add_argument("--period", type=float, default=24.0, help="metres; 0: the street as it is")
    parser.add_argument("--houses", type=int, default=2, help="different ones in a period")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--anchors", type=int, default=6)
    parser.add_argument("--quick", action="store_true", help="a small street, one photo; figures mean little")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(store=Path("out/quick/houses.jsonl"), period=18.0, houses=1)
    if arguments.what == "run":
        cv2.setNumThreads(1)
        arguments.store.parent.mkdir(parents=True, exist_ok=True)
        size, limit = ("small", 1) if arguments.quick else ("full", 1_000)
        run(arguments.store, arguments.seed, size, arguments.period, arguments.houses, arguments.anchors, limit)
    print(table(rows_of(arguments.store)))


if __name__ == "__main__":
    main()
