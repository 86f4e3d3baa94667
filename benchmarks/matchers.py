"""G × H on a real street: every matcher with every kind of depth, on easy and hard photos, with its cost.

KITTI raw drive 0002: frames 0, 4 and 8 of camera 02 are anchors, the other images queries with known truth. Hard photos
are the queries made worse, and those of the last frames matched with frame 0 alone, 6 to 8 m behind them (wide
baseline); what their sequences make of them tells `hard_sequences.py`, photos without a right answer
`wrong_photos.py`.

    python benchmarks/matchers.py run data/kitti_raw --store out/matchers.jsonl    # resumable
    python benchmarks/matchers.py table --store out/matchers.jsonl                 # docs/accuracy.md

Processor time is that of one process, for one photo with three anchors whose features are known already.
"""

from __future__ import annotations

import argparse
import base64
import json
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from kept_matches import KeptMatcher
from measured import judged

from geocorrect.anchors.readers.kitti.raw import KittiDrive, KittiImage, read_kitti_raw
from geocorrect.api.anchor_cache import AnchorCache
from geocorrect.config import Settings
from geocorrect.depth.options import DepthSection
from geocorrect.geometry.camera import Camera
from geocorrect.io.pixels import read_image
from geocorrect.localize.correct import localize
from geocorrect.localize.options import JointOptions
from geocorrect.match.cascade import CascadeMatcher
from geocorrect.match.options import MatchSection
from geocorrect.match.registry import build_matcher
from geocorrect.records import Correction, ImageArray, Query

MATCHERS = ("sift", "aliked_lightglue", "xfeat")
CASCADE = ("sift", "aliked_lightglue")
DEPTHS = ("lidar", "triangulated")
EASY = "as it is"
WIDE = "wide baseline"
WIDE_FRAMES = (7, 9)
CUTTING_PX = (1242, 375)
FALSE_M = 1.0


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo to be localised."""

    id: str
    condition: str
    pixels: ImageArray
    camera: Camera
    place_enu_m: np.ndarray
    """Where it was taken."""
    near_enu_m: np.ndarray
    """Reported position."""


def worse(pixels: ImageArray, seed: int) -> dict[str, Callable[[], tuple[ImageArray, Callable[[Camera], Camera]]]]:
    """Ways to spoil a photo: pixels and what becomes of the camera."""
    height, width = pixels.shape[:2]

    def resized(factor: float) -> tuple[ImageArray, Callable[[Camera], Camera]]:
        size = round(width * factor), round(height * factor)
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), lambda camera: camera.resized(*size)

    def dusk() -> tuple[ImageArray, Callable[[Camera], Camera]]:
        small, camera = resized(0.5)
        dark = 255 * (cv2.GaussianBlur(small, (0, 0), 1.0) / 255.0) ** 1.5 * 0.35
        return jpeg(dark + np.random.default_rng(seed).normal(0, 6, small.shape), 30), camera

    def moved() -> tuple[ImageArray, Callable[[Camera], Camera]]:
        return cv2.filter2D(pixels, -1, np.full((1, 15), 1 / 15)), lambda camera: camera

    def rolled() -> tuple[ImageArray, Callable[[Camera], Camera]]:
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 30, 1.0)

        # The principal point turns with the picture; the focal length is the same on both axes.
        def camera(before: Camera) -> Camera:
            x, y = turn @ [before.principal_x_px, before.principal_y_px, 1.0]
            return replace(before, principal_x_px=float(x), principal_y_px=float(y))

        return cv2.warpAffine(pixels, turn, (width, height)), camera

    return {
        "dusk": dusk,
        "JPEG 10": lambda: (jpeg(pixels, 10), lambda camera: camera),
        "motion blur": moved,
        "rolled 30°": rolled,
        "rolled 90°": lambda: (np.ascontiguousarray(np.rot90(pixels)), lambda camera: camera.turned(1)),
        "quarter size": lambda: resized(0.25),
    }


def jpeg(pixels: np.ndarray, quality: int) -> ImageArray:
    """The picture after strong compression."""
    written = cv2.imencode(".jpg", np.clip(pixels, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(written, cv2.IMREAD_COLOR)


def photos_of(drive: KittiDrive, easy: bool, hard: bool) -> Iterator[Photo]:
    """Easy photos, then hard ones, each in order of capture."""
    queries = [i for i in drive.images if (i.camera_name, i.frame_number % 4) != ("02", 0)]
    near = reported(queries)

    def photo(query: KittiImage, condition: str, pixels: ImageArray, camera: Camera) -> Photo:
        return Photo(query.id, condition, pixels, camera, query.world_from_cam.translation_m, near[query.id])

    for query in queries if easy else ():
        yield photo(query, EASY, read_image(query.path), query.camera)
    if not hard:
        return
    for number, query in enumerate(queries):
        for name, spoil in worse(read_image(query.path), number).items():
            pixels, camera = spoil()
            yield photo(query, name, pixels, camera(query.camera))
    for query in queries:
        if query.frame_number in WIDE_FRAMES:
            yield photo(query, WIDE, read_image(query.path), query.camera)


def reported(queries: Sequence[KittiImage]) -> dict[str, np.ndarray]:
    """Positions as a phone reports them: 2 m off per axis in a recording, walking by 0.3 m from photo to photo."""
    random, off_m, near = np.random.default_rng(0), {}, {}
    for query in queries:
        before = off_m.get(query.camera_name, random.normal(0, 2.0, 2))
        off_m[query.camera_name] = before + random.normal(0, 0.3 / np.sqrt(2), 2)
        near[query.id] = query.world_from_cam.translation_m + np.append(off_m[query.camera_name], 0.0)
    return near


def cuttings(folder: Path | None) -> Iterator[tuple[str, ImageArray]]:
    """Pieces of the photos of another place, of KITTI's size."""
    paths = [] if folder is None else sorted([*folder.rglob("*.jpg"), *folder.rglob("image?.png")])
    width, height = CUTTING_PX
    for path in paths:
        picture = read_image(path)
        scale = max(1.0, width / picture.shape[1])
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for top in range(0, picture.shape[0] - height + 1, height):
            for left in range(0, picture.shape[1] - width + 1, width):
                yield f"{path.stem}/{left}/{top}", picture[top : top + height, left : left + width].copy()


def settings_for(depth: str) -> Settings:
    """The defaults, with the anchor noise of the KITTI protocol."""
    joint = replace(JointOptions(), anchor_position_m=0.005)
    settings = Settings()
    return settings.model_copy(
        update={
            "depth": DepthSection().with_source(depth),
            "localize": replace(settings.localize, joint=joint),
        }
    )


def run(folder: Path, store: Path, matchers: Sequence[str], matches: Path | None, hard: bool, easy: bool) -> None:
    """Measure what is not in the store yet; matches: where they are kept."""
    drive = read_kitti_raw(folder)
    anchors = tuple(drive.anchors({"02"}, {0, 4, 8}))
    neighbours = {a.id: tuple(b for b in anchors if b.id != a.id) for a in anchors}
    store.parent.mkdir(parents=True, exist_ok=True)
    known = {tuple(row["key"]): row for row in rows_of(store)}
    ready: dict[str, KeptMatcher] = {}
    for name in matchers:
        section = MatchSection(matcher=name)  # type: ignore[arg-type]
        ready[name] = KeptMatcher(name, build_matcher(section, Settings().models), matches)
        ready[name].match(read_image(anchors[0].path), [read_image(a.path) for a in anchors])  # features, and loading
    cascade = [CascadeMatcher({n: ready[n] for n in CASCADE})] if set(CASCADE) <= set(ready) else []
    caches: dict[tuple[str, str], AnchorCache] = {}
    for photo in photos_of(drive, easy, hard):
        for depth in DEPTHS if photo.condition == EASY else DEPTHS[:1]:
            for matcher in [*ready.values(), *cascade]:
                name = matcher.name if isinstance(matcher, KeptMatcher) else "cascade"
                key = (name, depth, photo.condition, photo.id)
                if key in known:
                    continue
                first = known.get((CASCADE[0], depth, photo.condition, photo.id))
                if name == "cascade" and first is not None and first["status"] == "accepted":
                    known[key] = _keep(store, {**first, "key": key})  # it goes no further, and is the same computation
                    continue
                settings = settings_for(depth)
                cache = caches.setdefault((name, depth), AnchorCache(settings, matcher))
                views = cache.usable(anchors, neighbours)[0]
                views = views[:1] if photo.condition == WIDE else views
                known[key] = _keep(store, {"key": key, **_measure(photo, matcher, ready, views, cache, settings)})


def _keep(store: Path, row: dict[str, Any]) -> dict[str, Any]:
    with store.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
    return row


def _measure(
    photo: Photo, matcher: Any, ready: dict[str, KeptMatcher], views: Any, cache: AnchorCache, settings: Settings
) -> dict[str, Any]:
    for stage in ready.values():
        stage.cost_s = stage.spent_s = 0.0
    query = Query(photo.id, photo.pixels, photo.camera, photo.near_enu_m, float("nan"))
    started_s = time.process_time()
    found = localize(query, views, matcher, cache, settings.localize, seed=0)
    remembered_s = sum(stage.cost_s - stage.spent_s for stage in ready.values())
    cpu_s = time.process_time() - started_s + remembered_s
    result = found.result
    row: dict[str, Any] = {
        "status": result.status.value if isinstance(result, Correction) else "rejected",
        "reason": "" if isinstance(result, Correction) else result.reason.value,
        "stage": result.evidence.matcher.partition("/")[0].partition("-")[0],
        "verified": max((a.n_verified for a in result.evidence.anchors), default=0),
        "cpu_s": cpu_s,
        **judged(found),
    }
    row["result"] = base64.b64encode(pickle.dumps(result)).decode()  # for its sequence, see `hard_sequences.py`
    if found.solution is not None:
        row["error_m"] = float(np.linalg.norm(found.solution.world_from_cam.translation_m - photo.place_enu_m))
    if isinstance(result, Correction):
        row["expected_m"] = result.expected_error_m
    return row


def rows_of(store: Path) -> list[dict[str, Any]]:
    """What was measured so far."""
    return [json.loads(line) for line in store.read_text().splitlines()] if store.is_file() else []


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: G × H on the photos as they are, then the hard ones, photo by photo."""
    cells = _cells(rows)
    easy = ["| G | H | accepted | median cm [95 %] | max cm | CPU, over SIFT [95 %] |", "|---|---|---|---|---|---|"]
    for (name, depth, condition), found in cells.items():
        if condition == EASY:
            errors = np.array([100 * row["error_m"] for row in found if row["status"] == "accepted"])
            low, high = interval(errors, np.median)
            easy.append(
                f"| {name} | {depth} | {len(errors)} of {len(found)} | {_median(errors):.2f} [{low:.2f}–{high:.2f}] | "
                f"{max(errors, default=np.nan):.2f} | {cost(found, cells.get(('sift', depth, condition), []))} |"
            )
    return "\n".join([*easy, "", hard_table(rows)])


def _cells(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    cells: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault(tuple(row["key"][:3]), []).append(row)
    return cells


def hard_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: what became of hard photos, by condition and matcher."""
    cells = _cells(rows)
    matchers = list(dict.fromkeys(name for name, _, _ in cells))
    hard = [f"| photos | {' | '.join(matchers)} |", "|---|" + "---|" * len(matchers)]
    of_hard = [row for row in rows if row["key"][2] != EASY]
    for condition in dict.fromkeys(row["key"][2] for row in of_hard):
        found = [cells.get((name, DEPTHS[0], condition), []) for name in matchers]
        hard.append(f"| {condition} | {' | '.join(map(_hard_cell, found))} |")
    if of_hard:
        # What no matcher places, be it for a review, cannot be localised from these pixels.
        localisable = {tuple(row["key"][2:]) for row in of_hard if _is_placed(row)}
        every = [[row for row in of_hard if row["key"][0] == name] for name in matchers]
        hard.append(f"| all that some matcher places | {' | '.join(_total(part, localisable) for part in every)} |")
        hard.append(f"| CPU, over SIFT | {' | '.join(cost(part, every[0], 2) for part in every)} |")
    return "\n".join(hard)


def _is_placed(row: dict[str, Any]) -> bool:
    return row["status"] != "rejected" and row["error_m"] <= FALSE_M


def _is_right(row: dict[str, Any]) -> bool:
    return row["status"] == "accepted" and _is_placed(row)


def _hard_cell(found: list[dict[str, Any]]) -> str:
    accepted = [row for row in found if row["status"] == "accepted"]
    if not found:
        return ""
    wrong = sum(not _is_right(row) for row in accepted)
    worst = max((100 * row["error_m"] for row in accepted), default=np.nan)
    waiting = sum(row["status"] == "review" and _is_placed(row) for row in found)
    held = f"{waiting} right for review" if waiting else ""
    most = f"max {worst:.1f} cm" if accepted else ""
    return "; ".join(filter(None, [f"{len(accepted)} of {len(found)}, {wrong} false", most, held]))


def _total(found: list[dict[str, Any]], localisable: set[tuple[str, ...]]) -> str:
    part = [row for row in found if tuple(row["key"][2:]) in localisable]
    right = sum(map(_is_right, part))
    wrong = sum(row["status"] == "accepted" and not _is_right(row) for row in found)
    return f"{right} of {len(part)} ({right / max(len(part), 1):.0%}), {wrong} false"


def cost(found: list[dict[str, Any]], of_sift: list[dict[str, Any]], same: int = 3) -> str:
    """Sum of processor times over that of SIFT on the same photos: those whose keys agree from entry `same` on."""
    sift = {tuple(row["key"][same:]): row["cpu_s"] for row in of_sift}
    named = [(row["cpu_s"], tuple(row["key"][same:])) for row in found]
    pairs = np.array([(spent_s, sift[key]) for spent_s, key in named if key in sift])
    if not len(pairs):
        return "nan"
    low, high = interval(pairs, lambda drawn: drawn[:, 0].sum() / drawn[:, 1].sum())
    return f"{pairs[:, 0].sum() / pairs[:, 1].sum():.2f} [{low:.2f}–{high:.2f}], {pairs[:, 0].mean():.1f} s"


def interval(values: np.ndarray, statistic: Callable[[np.ndarray], Any]) -> tuple[float, float]:
    """95 % bootstrap interval."""
    if not len(values):
        return float("nan"), float("nan")
    random = np.random.default_rng(0)
    drawn = [statistic(values[random.integers(0, len(values), len(values))]) for _ in range(1000)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "table"], nargs="?", default="run")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/kitti_raw"))
    parser.add_argument("--store", type=Path, default=Path("out/matchers.jsonl"))
    parser.add_argument("--matches", type=Path, help="folder where matches are kept for later runs")
    parser.add_argument("--matchers", default=",".join(MATCHERS), help="SIFT first")
    parser.add_argument("--hard", action="store_true", help="hard photos alone")
    parser.add_argument("--quick", action="store_true", help="SIFT alone, easy photos")
    arguments = parser.parse_args()
    if arguments.action == "run":
        if not arguments.folder.is_dir():
            print(f"no KITTI raw drive at {arguments.folder}: nothing to measure (see data/README.md)")
            return
        cv2.setNumThreads(1)
        matchers = ["sift"] if arguments.quick else arguments.matchers.split(",")
        run(arguments.folder, arguments.store, matchers, arguments.matches, not arguments.quick, not arguments.hard)
    print(table(rows_of(arguments.store)))


if __name__ == "__main__":
    main()
