"""What each matcher makes of photos that have no right answer: pairs that pass verification, and poses accepted.

Anchors are frames 0, 4 and 8 of camera 02 of KITTI raw drive 0002 with LiDAR depth. Three kinds of wrong photos, taken
in turn: cuttings of photos of other places (--elsewhere), the drive's photos mirrored, and façades next door: one half
of a photo against the other half of the anchors, so that not one surface is in both. Every accepted one is false. The
drive's photos as they are (`right`) stand beside them. The last table is what `match.registry` declares is fitted to.

    python benchmarks/wrong_photos.py run data/kitti_raw --elsewhere data --store out/wrong.jsonl     # resumable
    python benchmarks/wrong_photos.py table --store out/wrong.jsonl                                   # docs/accuracy.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from kept_matches import KeptMatcher
from matchers import cuttings, rows_of, settings_for
from scipy.stats import binomtest

from geocorrect.anchors.readers.kitti.raw import KittiDrive, read_kitti_raw
from geocorrect.api.backends import build_depth
from geocorrect.config import Settings
from geocorrect.geometry.camera import Camera
from geocorrect.io.pixels import read_image
from geocorrect.localize.correct import localize
from geocorrect.match.options import MatchSection
from geocorrect.match.registry import build_matcher
from geocorrect.records import AnchorView, Correction, ImageArray, Query

MATCHERS = ("sift", "aliked_lightglue", "xfeat", "lightglue_disk")
KINDS = ("elsewhere", "mirrored", "next door")
HALF_PX = 560
"""Of 1242; between the halves lie 122 pixels, more than near surfaces shift between the anchors and the photo."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A photo, and which part of the anchors it is matched with."""

    id: str
    kind: str
    pixels: ImageArray
    camera: Camera
    place_enu_m: np.ndarray
    anchors_part: str = "whole"


def part_of(pixels: ImageArray, camera: Camera, part: str) -> tuple[ImageArray, Camera]:
    """The left or right half of a photo with its camera."""
    if part == "whole":
        return pixels, camera
    left = 0 if part == "left" else camera.width - HALF_PX
    cut = np.ascontiguousarray(pixels[:, left : left + HALF_PX])
    return cut, camera.cropped(left, 0, HALF_PX, camera.height)


def trials(drive: KittiDrive, elsewhere: Path | None) -> Iterator[Trial]:
    """Wrong photos of every kind in turn, a right one after each six of them."""
    queries = [i for i in drive.images if (i.camera_name, i.frame_number % 4) != ("02", 0)]
    queries = [queries[(7 * n) % len(queries)] for n in range(len(queries))]
    places = [q.world_from_cam.translation_m for q in queries]
    sides = (("left", "right"), ("right", "left"))

    def next_door() -> Iterator[Trial]:
        for seen, known in sides:
            for query, place in zip(queries, places, strict=True):
                pixels, camera = part_of(read_image(query.path), query.camera, seen)
                yield Trial(f"{query.id}/{seen}", "next door", pixels, camera, place, known)

    far = list(cuttings(elsewhere))
    order = np.random.default_rng(0).permutation(len(far))
    kinds = (
        (Trial(far[n][0], "elsewhere", far[n][1], queries[0].camera, places[0]) for n in order),
        (
            Trial(q.id, "mirrored", np.ascontiguousarray(read_image(q.path)[:, ::-1]), q.camera, p)
            for q, p in zip(queries, places, strict=True)
        ),
        next_door(),
    )
    right = (Trial(q.id, "right", read_image(q.path), q.camera, p) for q, p in zip(queries, places, strict=True))
    wrong = (trial for trial in chain.from_iterable(zip_longest(*kinds)) if trial is not None)
    for number, trial in enumerate(wrong):
        yield trial
        if number % 6 == 2 and (known := next(right, None)) is not None:
            yield known


def run(arguments: argparse.Namespace) -> None:
    """Measure what is not in the store yet; matches are kept apart, so that other thresholds cost no matching."""
    drive, settings = read_kitti_raw(arguments.folder), settings_for("lidar")
    anchors = list(drive.anchors({"02"}, {0, 4, 8}))
    known = {tuple(row["key"]) for row in rows_of(arguments.store)}
    arguments.store.parent.mkdir(parents=True, exist_ok=True)
    for name in arguments.matchers.split(","):
        section = MatchSection(matcher=name)
        matcher = KeptMatcher(name, build_matcher(section, Settings().models), arguments.matches)
        depth = build_depth(settings, matcher)
        views = {
            part: [
                AnchorView(replace(a, camera=camera), pixels)
                for a in anchors
                for pixels, camera in [part_of(read_image(a.path), a.camera, part)]
            ]
            for part in ("whole", "left", "right")
        }
        n_wrong = 0
        for trial in trials(drive, arguments.elsewhere):
            n_wrong += trial.kind != "right"
            if n_wrong > arguments.count:
                break
            key = (name, trial.kind, trial.id)
            if key in known:
                continue
            near = trial.place_enu_m + np.array([2.0, -1.0, 0.0])
            query = Query(trial.id, trial.pixels, trial.camera, near, float("nan"))
            result = localize(query, views[trial.anchors_part], matcher, depth, settings.localize, seed=0).result
            row: dict[str, Any] = {
                "key": key,
                "status": result.status.value if isinstance(result, Correction) else "rejected",
                "reason": "" if isinstance(result, Correction) else result.reason.value,
                "pairs": [(a.n_matches, a.n_verified) for a in result.evidence.anchors],
            }
            if isinstance(result, Correction):
                off = result.world_from_cam.translation_m - trial.place_enu_m
                row |= {"error_m": float(np.linalg.norm(off)), "expected_m": result.expected_error_m}
            with arguments.store.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: accepted photos per kind, then the verified matches of right and wrong pairs."""
    by_matcher: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_matcher.setdefault(row["key"][0], []).append(row)
    accepts = [f"| matcher | {' | '.join(KINDS)} | false accepts, all [95 %] | right |", "|---|" + "---|" * 5]
    pairs = [
        "| matcher | wrong pairs | verified matches of a wrong pair, median / 95 % / largest | their share of the "
        "matches, largest with ≥ 12 verified | verified matches of a right pair, least | their share, least |",
        "|---|" + "---|" * 5,
    ]
    for name, found in by_matcher.items():
        wrong = [row for row in found if row["key"][1] != "right"]
        cells = []
        for kind in KINDS:
            part = [row for row in wrong if row["key"][1] == kind]
            cells.append(f"{_accepted(part)} of {len(part)}")
        right = [row for row in found if row["key"][1] == "right"]
        n_false = _accepted(wrong)
        most = binomtest(n_false, len(wrong), alternative="less").proportion_ci().high
        accepts.append(
            f"| {name} | {' | '.join(cells)} | {n_false} of {len(wrong)} [≤ {most:.1%}] | "
            f"{_accepted(right)} of {len(right)} |"
        )
        of_wrong, of_right = (
            np.array([p for row in part for p in row["pairs"]], float).reshape(-1, 2) for part in (wrong, right)
        )
        some = of_wrong[of_wrong[:, 1] >= 12]
        share = (some[:, 1] / some[:, 0]).max(initial=0.0)
        pairs.append(
            f"| {name} | {len(of_wrong)} | {np.median(of_wrong[:, 1]):.0f} / {np.percentile(of_wrong[:, 1], 95):.0f} / "
            f"{of_wrong[:, 1].max():.0f} | {share:.0%} | {of_right[:, 1].min(initial=np.inf):.0f} | "
            f"{(of_right[:, 1] / np.maximum(of_right[:, 0], 1)).min(initial=1.0):.0%} |"
        )
    total = [row for row in rows if row["key"][1] != "right"]
    return "\n".join(["", *accepts, "", *pairs, "", f"{_accepted(total)} of {len(total)} wrong photos accepted"])


def _accepted(rows: Sequence[dict[str, Any]]) -> int:
    return sum(row["status"] == "accepted" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "table"], nargs="?", default="run")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/kitti_raw"))
    parser.add_argument("--elsewhere", type=Path, help="folder with photos of other places")
    parser.add_argument("--store", type=Path, default=Path("out/wrong.jsonl"))
    parser.add_argument("--matches", type=Path, default=Path("out/matches"), help="where matches are kept")
    parser.add_argument("--matchers", default=",".join(MATCHERS))
    parser.add_argument("--count", type=int, default=70, help="wrong photos of each matcher")
    parser.add_argument("--quick", action="store_true", help="SIFT alone, six photos")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.matchers, arguments.count = "sift", 6
    if arguments.action == "run":
        if not arguments.folder.is_dir():
            print(f"no KITTI raw drive at {arguments.folder}: nothing to measure (see data/README.md)")
            return
        cv2.setNumThreads(1)
        run(arguments)
    print(table(rows_of(arguments.store)))


if __name__ == "__main__":
    main()
