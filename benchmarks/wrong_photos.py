"""What each matcher makes of photos that have no right answer: pairs that pass verification, and poses accepted.

Anchors are frames 0, 4 and 8 of camera 02 of KITTI raw drive 0002 with LiDAR depth. Four kinds of wrong photos, taken
in turn: cuttings of photos of other places (--elsewhere), as they are and mirrored; the drive's photos mirrored, and
halves of those against the half of the anchors where the opposite façade stands; façades next door: one half of a photo
against the other half of the anchors, so that not one surface is in both; and the drive's photos, as they are and
mirrored, against anchors elsewhere: two photos of a room with predicted depth (--elsewhere, `depth_pair`). Every
accepted one is false. The drive's photos as they are (`right`) stand beside them. The last table is what
`match.registry` declares is fitted to.

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
from measured import measured
from scipy.spatial.transform import Rotation
from scipy.stats import binomtest

from geocorrect.anchors.readers.kitti.raw import KittiDrive, KittiImage, read_kitti_raw
from geocorrect.api.backends import build_depth
from geocorrect.config import Settings
from geocorrect.depth.base import DepthSource
from geocorrect.depth.files import DepthFilesOptions, FilesDepth
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.io.pixels import read_image
from geocorrect.localize.correct import localize
from geocorrect.localize.verify import verify
from geocorrect.match.base import Matcher
from geocorrect.match.options import MatchSection
from geocorrect.match.registry import MATCHERS as ENTRIES
from geocorrect.match.registry import build_matcher
from geocorrect.match.rig import match_photo
from geocorrect.records import Anchor, AnchorView, ImageArray, Query

MATCHERS = ("sift", "aliked_lightglue", "xfeat", "lightglue_disk")
KINDS = ("elsewhere", "mirrored", "next door", "anchors elsewhere")
PLACES_ONLY = ("elsewhere", "next door", "anchors elsewhere")
"""Kinds whose pairs show different places: what verified matches are worth is read from them. A mirrored street keeps
its vanishing point and its pairs pass verification; only the gate tells it."""
ROOM = "room"
ENOUGH = {str(name): entry.enough_verified for name, entry in ENTRIES.items()}
"""Verified matches that each matcher declares to be enough."""
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
    truth: Pose | None = None
    """Of a right photo; a wrong one has none, and every pose of it is infinitely wrong."""


def part_of(pixels: ImageArray, camera: Camera, part: str) -> tuple[ImageArray, Camera]:
    """The left or right half of a photo with its camera."""
    if part == "whole":
        return pixels, camera
    left = 0 if part == "left" else camera.width - HALF_PX
    cut = np.ascontiguousarray(pixels[:, left : left + HALF_PX])
    return cut, camera.cropped(left, 0, HALF_PX, camera.height)


@dataclass(frozen=True)
class Trials:
    """All of a drive, each kind in an order of its own."""

    queries: Sequence[KittiImage]
    elsewhere: Path | None

    def photo(
        self, query: KittiImage, kind: str, *, mirrored: bool = False, part: str = "whole", known: str = ""
    ) -> Trial:
        """One of the drive's photos, or a part of it, matched with a part of the anchors: `known`, or the same."""
        pixels = np.ascontiguousarray(read_image(query.path)[:, :: -1 if mirrored else 1])
        name = query.id + (f"/{part}" if part != "whole" else "") + ("/mirrored" if known == ROOM and mirrored else "")
        place = np.zeros(3) if known == ROOM else query.world_from_cam.translation_m
        return Trial(name, kind, *part_of(pixels, query.camera, part), place, known or part)

    def other_places(self) -> Iterator[Trial]:
        """Cuttings of photos of other places, as they are and mirrored."""
        far, query = list(cuttings(self.elsewhere)), self.queries[0]
        order = np.random.default_rng(0).permutation(len(far))
        for suffix, step in (("", 1), ("/mirrored", -1)):
            for name, pixels in (far[n] for n in order):
                seen, place = np.ascontiguousarray(pixels[:, ::step]), query.world_from_cam.translation_m
                yield Trial(name + suffix, "elsewhere", seen, query.camera, place)

    def mirrored(self) -> Iterator[Trial]:
        """The drive's photos mirrored, and halves of those where the opposite façade stands."""
        for part in ("whole", "left", "right"):
            yield from (self.photo(query, "mirrored", mirrored=True, part=part) for query in self.queries)

    def next_door(self) -> Iterator[Trial]:
        """One half against the other half of the anchors."""
        for seen, known in (("left", "right"), ("right", "left")):
            yield from (self.photo(query, "next door", part=seen, known=known) for query in self.queries)

    def into_the_room(self) -> Iterator[Trial]:
        """The drive's photos, as they are and mirrored, against anchors elsewhere."""
        for mirrored in (False, True):
            for query in self.queries if self.elsewhere is not None else ():
                yield self.photo(query, "anchors elsewhere", mirrored=mirrored, known=ROOM)


def trials(drive: KittiDrive, elsewhere: Path | None) -> Iterator[Trial]:
    """Wrong photos of every kind in turn, a right one after each six of them."""
    queries = [i for i in drive.images if (i.camera_name, i.frame_number % 4) != ("02", 0)]
    every = Trials([queries[(7 * n) % len(queries)] for n in range(len(queries))], elsewhere)
    kinds = every.other_places(), every.mirrored(), every.next_door(), every.into_the_room()
    right = (replace(every.photo(q, "right"), truth=q.world_from_cam.with_covariance(None)) for q in every.queries)
    wrong = (trial for trial in chain.from_iterable(zip_longest(*kinds)) if trial is not None)
    for number, trial in enumerate(wrong):
        yield trial
        if number % 6 == 2 and (known := next(right, None)) is not None:
            yield known


def room_views(folder: Path) -> list[AnchorView]:
    """The two photos of `depth_pair`, the first in the origin, looking north; named after their files of depth."""
    info = json.loads((folder / "info.json").read_text())
    zero = Pose(Rotation.from_matrix(np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])), np.zeros(3))
    poses = zero, zero @ Pose.from_matrix(np.array(info["T_0to1"])).inverse()
    views = []
    for number, pose in enumerate(poses):
        path, k = folder / f"image{number}.png", np.array(info[f"K{number}"])
        pixels = read_image(path)
        camera = Camera.pinhole(pixels.shape[1], pixels.shape[0], k[0, 0], k[1, 1], k[0, 2], k[1, 2])
        views.append(AnchorView(Anchor(f"da-met_depth_{number}", ROOM, path, camera, pose, "x"), pixels))
    return views


def run(arguments: argparse.Namespace) -> None:
    """Measure what is not in the store yet; matches are kept apart, so that other thresholds cost no matching."""
    drive, settings = read_kitti_raw(arguments.folder), settings_for("lidar")
    anchors = list(drive.anchors({"02"}, {0, 4, 8}))
    known = {tuple(row["key"]) for row in rows_of(arguments.store)}
    arguments.store.parent.mkdir(parents=True, exist_ok=True)
    for name in arguments.matchers.split(","):
        section = MatchSection(matcher=name)
        matcher = KeptMatcher(name, build_matcher(section, Settings().models), arguments.matches)
        views = {
            part: [
                AnchorView(replace(a, camera=camera), pixels)
                for a in anchors
                for pixels, camera in [part_of(read_image(a.path), a.camera, part)]
            ]
            for part in ("whole", "left", "right")
        }
        depths: dict[str, DepthSource] = dict.fromkeys(views, build_depth(settings, matcher))
        if arguments.elsewhere is not None:
            room = arguments.elsewhere / "depth_pair"
            views[ROOM], depths[ROOM] = (
                room_views(room),
                FilesDepth(DepthFilesOptions(room, log_sigma=0.12, common_log_sigma=0.25)),
            )
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
            seen, depth = views[trial.anchors_part], depths[trial.anchors_part]
            found = localize(query, seen, matcher, depth, settings.localize, seed=0)
            row = {"key": key, "pairs": _verified(query, seen, matcher, settings), **measured(found, trial.truth)}
            with arguments.store.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")


def _verified(query: Query, views: Sequence[AnchorView], matcher: Matcher, settings: Settings) -> list[tuple[int, int]]:
    """(matches, verified) of each pair, whatever the matcher declares to be enough."""
    cameras = [view.anchor.camera for view in views]
    found = match_photo(matcher, query.pixels, query.camera, [view.pixels for view in views], (), cameras)
    options = settings.localize.verify
    return [(len(m), int(verify(m, query.camera, c, options, 0).sum())) for m, c in zip(found, cameras, strict=True)]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: accepted photos per kind, then the verified matches of right and wrong pairs."""
    by_matcher: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_matcher.setdefault(row["key"][0], []).append(row)
    accepts = [
        f"| matcher | {' | '.join(KINDS)} | false accepts, all [95 %] | right |",
        "|---" * (len(KINDS) + 3) + "|",
    ]
    pairs = [
        "| matcher | pairs of different places | verified matches of such a pair, median / 95 % / 99 % / largest | "
        "as many as declared [95 %] | verified matches of a right pair, least | their share, least |",
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
        elsewhere = [row for row in wrong if row["key"][1] in PLACES_ONLY]
        of_wrong, of_right = (
            np.array([p for row in part for p in row["pairs"]], float).reshape(-1, 2) for part in (elsewhere, right)
        )
        spread = " / ".join(f"{part:.0f}" for part in np.percentile(of_wrong[:, 1], [50, 95, 99, 100]))
        enough, reaching = ENOUGH[name], "none declared"
        if enough:
            n_enough = int((of_wrong[:, 1] >= enough).sum())
            high = binomtest(n_enough, len(of_wrong), alternative="less").proportion_ci().high
            reaching = f"{enough}: {n_enough} [≤ {high:.1%}]"
        pairs.append(
            f"| {name} | {len(of_wrong)} | {spread} | {reaching} | {of_right[:, 1].min(initial=np.inf):.0f} | "
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
