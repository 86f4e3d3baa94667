"""Real photos with inputs made wrong: what is accepted, how wrong it is, and whether the stated errors know it.

KITTI raw drive 0002: anchors of camera 02 (even frames), photos of both cameras (odd frames) with known truth. A cell
makes one thing wrong and says that it is right: poses of some anchors, a lens, a clock, a photo. Every accepted photo
counts. The anchors carry no georeference covariance: the truth comes from the same drive, whose own error cannot be
seen here.

    python benchmarks/corruptions.py run data/kitti_raw --store out/corruptions.jsonl    # resumable
    python benchmarks/corruptions.py table --store out/corruptions.jsonl                 # docs/accuracy.md
    python benchmarks/corruptions.py figure --store out/corruptions.jsonl                # docs/img/reliability.png

Matches are computed once and kept beside the store: a wrong pose or a wrong lens does not change them.
"""

from __future__ import annotations

import argparse
import json
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from corruption_cells import CELLS, FRAMES, Cell
from kept_matches import KeptMatcher
from matchers import cuttings, rows_of, settings_for, worse
from measured import measured
from moving_vehicles import Traffic, traffic_of
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from geocorrect.anchors.readers.kitti.raw import KittiDrive, KittiImage, read_kitti_raw
from geocorrect.api.anchor_cache import AnchorCache
from geocorrect.config import Settings
from geocorrect.depth.base import DepthDeclaration, DepthSource
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.io.pixels import read_image
from geocorrect.jobs.anchors.neighbour_views import NO_DEPTH
from geocorrect.localize.correct import localize
from geocorrect.match.registry import build_matcher
from geocorrect.records import Anchor, DepthMap, ImageArray, Matches, Query, Result

DEPTHS = ("lidar", "triangulated")
PHOTOS = (
    (("02", 1), ("03", 3), ("02", 5), ("03", 7)),
    (("02", 3), ("03", 1), ("02", 7), ("03", 5)),
    (("02", 9), ("03", 2), ("03", 6), ("03", 9)),
)
"""Camera and frame of the photos, by draw; a fourth draw begins anew."""
MOUNTING = {"03": ((-0.0069, 0.0003, -0.0026), (-0.006, 0.090, 0.022))}
"""By camera, lever (m) and rotation vector (degrees) in its axes by which its records are off against camera 02, as
`geocorrect anchors check` has it of all 20 pictures of the drive (± 0.001 m, 0.015°)."""
DIRECTIONS = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Along the street, sideways, up, in the axes of a camera; a draw takes one, a wrong rotation turns about it."""
ROLL_DEG = 30.0
"""OpenCV turns a picture counter-clockwise: its camera is rolled clockwise, from x to y."""
ERRORS = "error_m", "rotation_deg", "nees", "nees_rotation"
FALSE_M = 1.0
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "img" / "reliability.png"


class KeptPairs(KeptMatcher):
    """Keeps every pair's matches apart: cells have different anchors."""

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`."""
        return [super(KeptPairs, self).match(query, [anchor])[0] for anchor in anchors]


class BearingsAlone:
    """A `depth.base.DepthSource` that knows no depth."""

    fingerprint = "none"
    declaration = DepthDeclaration((), (0.0, 0.0))

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Of no pixel."""
        return NO_DEPTH


def wrong_pose(image: KittiImage, following: KittiImage, cell: Cell, axis: np.ndarray, sign: float) -> Pose:
    """The anchor's pose as it is recorded when the cell makes it wrong; following: the next image of its camera."""
    pose = image.world_from_cam
    shift = pose.rotation.apply(sign * cell.shift_m * axis)
    if cell.late_s:
        assert image.captured_at is not None
        assert following.captured_at is not None
        step_s = (following.captured_at - image.captured_at).total_seconds()
        shift = shift + cell.late_s / step_s * (following.world_from_cam.translation_m - pose.translation_m)
    turn = Rotation.from_rotvec(np.radians(sign * cell.turn_deg) * axis)
    return Pose(pose.rotation * turn, pose.translation_m + shift)


def vehicles_of(images: Mapping[tuple[str, int], KittiImage], cell: Cell) -> Traffic | None:
    """The cell's traffic that all cameras see; its sides are parts of the drive's own pictures, mirrored."""
    if not cell.vehicles:
        return None
    sides = [read_image(images["03", frame].path) for frame in (9, 0, 5)]
    return traffic_of(cell.vehicles, cell.speed, images["02", 4], images["02", 5], sides)


def anchors_of(drive: KittiDrive, cell: Cell, draw: int) -> tuple[KittiImage, ...]:
    """The cell's anchors as recorded; which are wrong, and to which side, changes from draw to draw."""
    images = {i.frame_number: i for i in drive.images if i.camera_name == "02"}
    random = np.random.default_rng([draw, 22])
    frames = FRAMES[cell.anchors]
    wrong = set(random.permutation(frames)[: cell.wrong].tolist())
    axis, signs = DIRECTIONS[draw % 3], random.choice([-1.0, 1.0], len(frames))
    anchors = []
    for number, (frame, sign) in enumerate(zip(frames, signs, strict=True)):
        pose = images[frame].world_from_cam.with_covariance(None)
        if frame in wrong:
            # Two wrong anchors err by different amounts: nothing that they share may make them agree.
            own = replace(
                cell, shift_m=cell.shift_m * (1 + 0.15 * number), turn_deg=cell.turn_deg * (1 + 0.15 * number)
            )
            pose = wrong_pose(images[frame], images[frame + 1], own, axis, float(sign))
        anchors.append(replace(images[frame], world_from_cam=pose))
    return tuple(anchors)


def as_mounted(image: KittiImage) -> Pose:
    """Where the picture was taken if the mounting of its camera is what all pictures of the drive say."""
    lever_m, turn_deg = MOUNTING.get(image.camera_name, ((0.0,) * 3, (0.0,) * 3))
    record = image.world_from_cam
    rotation = record.rotation * Rotation.from_rotvec(turn_deg, degrees=True).inv()
    return Pose(rotation, record.translation_m - record.rotation.apply(lever_m))


def true_pose(cell: Cell, pose: Pose) -> Pose | None:
    """The pose of the photo that the cell makes of a picture with this one; None where it shows another place."""
    if cell.spoil == "elsewhere":
        return None
    turn = Rotation.from_euler("z", ROLL_DEG if cell.spoil.startswith("rolled") else 0.0, degrees=True)
    return Pose(pose.rotation * turn, pose.translation_m)


TRAFFIC_ROWS = 90, 360
"""Of a picture of KITTI, where vehicles are: not in the sky."""


def with_traffic(pixels: ImageArray, ahead: ImageArray, share: float) -> ImageArray:
    """The photo with the middle of another one over it: what moved along is where it was, rigid, with its depth.

    share: of the picture. The matches there agree on the place of the other picture.
    """
    top, bottom = TRAFFIC_ROWS
    height, width = pixels.shape[:2]
    half = min(round(share * height * width / (bottom - top) / 2), width // 2)
    columns = slice(width // 2 - half, width // 2 + half)
    pixels = pixels.copy()
    pixels[top:bottom, columns] = ahead[top:bottom, columns]
    return pixels


MOVED, MOVED_PX = (slice(130, 300), slice(640, 800)), 4
"""Rows and columns of what stands elsewhere in the photo than when the anchors were taken, and by how many pixels: what
is 11 m away has moved by 6 cm."""


def with_object_moved(pixels: ImageArray, by_px: float) -> ImageArray:
    """The photo with one part of it a few pixels to the side."""
    rows, columns = MOVED
    shifted = slice(columns.start + int(by_px), columns.stop + int(by_px))
    moved = pixels.copy()
    moved[rows, shifted] = pixels[rows, columns]
    return moved


def photo_of(
    image: KittiImage, cell: Cell, draw: int, others: Sequence[ImageArray], ahead: ImageArray
) -> tuple[ImageArray, Camera]:
    """The photo's pixels and its camera as stated; ahead: of the anchor that the same traffic is in."""
    pixels, camera = read_image(image.path), image.camera
    sign = 1.0 if draw % 2 else -1.0
    if cell.spoil == "elsewhere":
        pixels = others[(draw + image.frame_number) % len(others)]
    elif cell.spoil == "patch":
        pixels = pixels.copy()
        # A vehicle that moves along: the same pixels in every picture of the drive, a fifth of the width.
        patch = pixels[150:330, 400:650].copy()
        pixels[150:330, 480 + 40 * (draw % 3) : 730 + 40 * (draw % 3)] = patch
    elif cell.spoil == "moved":
        pixels = with_object_moved(pixels, MOVED_PX * sign)
    elif cell.spoil:
        pixels, change = worse(pixels, draw)[cell.spoil]()
        camera = change(camera)
    if cell.traffic:
        pixels = with_traffic(pixels, ahead, cell.traffic)
    return pixels, camera if cell.camera is None else cell.camera(camera, sign)


def kept(store: Path, key: Sequence[Any]) -> Path:
    """File of a photo's result, for `corruption_sequences.py`."""
    return store.parent / "results" / f"{'_'.join(map(str, key)).replace('/', '-')}.pickle"


def keep(store: Path, key: Sequence[Any], result: Result) -> None:
    """Write it."""
    path = kept(store, key)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(result))


def run(folder: Path, store: Path, elsewhere: Path | None, depths: Sequence[str], draws: int, cells: str) -> None:
    """Fill the store, draw by draw."""
    drive = read_kitti_raw(folder)
    images = {(i.camera_name, i.frame_number): i for i in drive.images}
    store.parent.mkdir(parents=True, exist_ok=True)
    done = {tuple(row["key"]) for row in rows_of(store)}
    others = [cutting for _, cutting in cuttings(elsewhere)]
    section = Settings().match
    matcher = KeptPairs(section.matcher, build_matcher(section, Settings().models), store.parent / "matches")
    for draw in range(draws):
        photos = PHOTOS[draw % len(PHOTOS)]
        for cell in CELLS:
            if cells not in cell.name or (cell.spoil == "elsewhere" and not others):
                continue
            for depth in depths if cell.anchors > 1 and not cell.bare else [d for d in depths if d == "lidar"]:
                keys = [(depth, cell.name, draw, f"{c}/{f}") for c, f in photos]
                if all(key in done for key in keys):
                    continue
                anchors = anchors_of(drive, cell, draw)
                vehicles = vehicles_of(images, cell)
                if vehicles is not None:
                    folder_of_cell = store.parent / "vehicles" / f"{cell.vehicles} {cell.speed:g}"
                    folder_of_cell.mkdir(parents=True, exist_ok=True)
                    anchors = tuple(vehicles.recorded(anchor, folder_of_cell) for anchor in anchors)
                settings = settings_for(depth)
                cache = AnchorCache(settings, matcher)
                neighbours = {a.id: tuple(b for b in anchors if b.id != a.id) for a in anchors}
                views = cache.usable(anchors, neighbours)[0]
                source: DepthSource = BearingsAlone() if cell.bare else cache
                for key, (camera_name, frame) in zip(keys, photos, strict=True):
                    image = images[camera_name, frame]
                    pixels, camera = photo_of(image, cell, draw, others, views[0].pixels)
                    mask = None
                    if vehicles is not None:
                        pixels, depth_m = vehicles.draw(image, pixels)
                        mask = np.isnan(depth_m) if cell.masked else None
                    near_m = image.world_from_cam.translation_m + np.array([2.0, -2.0, 0.0])
                    matcher.match(pixels, [view.pixels for view in views])
                    started_s = time.process_time()
                    query = Query(key[3], pixels, camera, near_m, mask=mask)
                    found = localize(query, views, matcher, source, settings.localize, seed=0)
                    row = {"key": key, "cpu_s": time.process_time() - started_s}
                    keep(store, key, found.result)
                    row |= measured(found, true_pose(cell, image.world_from_cam))
                    mounted = measured(found, true_pose(cell, as_mounted(image)))
                    row["mounted"] = {name: mounted[name] for name in ERRORS if name in mounted}
                    with store.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(row) + "\n")


def table(rows: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]] = ()) -> str:
    """Markdown: a line per cell and depth, of its accepted photos; before: the same photos, measured earlier."""
    lines = [
        "| what is wrong | depth | accepted | error cm, median / max | stated 68 % cm | inside 95 % | rotation °, "
        "median / stated | rotation inside 95 % (as mounted) | accepted, > 1 m off | before: accepted, cm, "
        "inside 95 % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    keys = {tuple(r["key"]) for r in rows}
    before = [r for r in before if tuple(r["key"]) in keys]
    for cell in CELLS:
        for depth in DEPTHS:
            here = [r for r in rows if r["key"][0] == depth and r["key"][1] == cell.name]
            if here:
                earlier = [r for r in before if r["key"][:2] == [depth, cell.name]]
                lines.append(f"| {cell.name} | {depth} | {_line(here)} | {_short(earlier)} |")
    return "\n".join([*lines, f"| all | | {_line(rows)} | {_short(before)} |"])


def _short(here: Sequence[dict[str, Any]]) -> str:
    kept = [r for r in here if r["status"] == "accepted"]
    if not kept:
        return f"0 of {len(here)}" if here else ""
    error, inside = np.array([r["error_m"] for r in kept]), sum(r["nees"] < chi2.ppf(0.95, 3) for r in kept)
    return f"{len(kept)} of {len(here)}, {100 * np.median(error):.1f} / {100 * error.max():.1f}, {inside}"


def _line(here: Sequence[dict[str, Any]]) -> str:
    kept = [r for r in here if r["status"] == "accepted"]
    share = f"{len(kept)} of {len(here)}"
    if not kept:
        return f"{share} | – | – | – | – | – | 0"
    error, turn = (np.array([r[name] for r in kept]) for name in ("error_m", "rotation_deg"))
    inside, turned = (sum(r[name] < chi2.ppf(0.95, 3) for r in kept) for name in ("nees", "nees_rotation"))
    as_found = sum(r.get("mounted", r)["nees_rotation"] < chi2.ppf(0.95, 3) for r in kept)
    return (
        f"{share} | {100 * np.median(error):.1f} / {100 * error.max():.1f} "
        f"| {100 * np.median([r['expected_m'] for r in kept]):.1f} | {inside} | {np.median(turn):.2f} / "
        f"{np.median([r.get('sigma_deg', np.nan) for r in kept]):.2f} | {turned} ({as_found}) "
        f"| {int((error > FALSE_M).sum())}"
    )


KINDS = {
    "clean": "clean", "displaced": "displaced", "turned": "turned", "late": "late", "focal": "wrong focal length",
    "principal": "wrong principal point", "distortion": "distortion missing", "photo": "photo spoiled",
    "traffic": "moving traffic", "speed": "traffic that all see", "bays": "repeated façades",
}  # fmt: skip
"""What the cells of a kind have in their names, and what the figure calls them."""


def figure(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """How many accepted photos the regions hold that promise a share: of position (ellipsoid) and heading (interval).

    By number of anchors, by what is wrong and by kind of depth. Photos of one anchor wait for others to confirm them.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kept = [r for r in rows if r["status"] == "accepted"]
    anchors = {cell.name: cell.anchors for cell in CELLS}
    groups = {
        "number of anchors": {
            "1 anchor, clean, waiting": [r for r in rows if r["key"][1] == "clean, 1 anchors" and "off" in r],
            **{f"{k} anchors": [r for r in kept if anchors[r["key"][1]] == k] for k in FRAMES if k > 1},
        },
        "what is wrong": {name: [r for r in kept if word in r["key"][1]] for word, name in KINDS.items()},
        "depth": {name: [r for r in kept if r["key"][0] == name] for name in DEPTHS},
    }
    promised = np.linspace(0.0, 1.0, 101)
    picture, axes = plt.subplots(3, 2, figsize=(10.4, 12.0), layout="constrained", sharex=True, sharey=True)
    for across, (by, named) in zip(axes, groups.items(), strict=True):
        for axis, level_of, what in zip(
            across, (_position_level, _heading_level), ("position", "heading"), strict=True
        ):
            axis.plot(promised, promised, color="0.6", lw=1)
            for (name, here), style in zip(named.items(), cycle(("-", "--", "-.")), strict=False):
                if here:
                    level = np.array([level_of(r) for r in here])
                    held = [np.mean(level <= p) for p in promised]
                    axis.plot(promised, held, style, lw=1.4, label=f"{name}, n = {len(here)}")
            axis.set(title=f"{what}, by {by}", aspect="equal")
        across[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    picture.supxlabel("stated probability of the region")
    picture.supylabel("share of errors inside; above the grey line the statement is cautious")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=80, metadata={"Software": ""})
    plt.close(picture)


def _position_level(row: dict[str, Any]) -> float:
    return float(chi2.cdf(row["nees"], 3))


def _heading_level(row: dict[str, Any]) -> float:
    """Probability of the interval about the stated heading that just holds the true one."""
    sigmas = np.degrees(row["off"][5]) / row["gate"]["expected_heading_error_deg"]
    return float(chi2.cdf(sigmas**2, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "table", "figure"], nargs="?", default="run")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/kitti_raw"))
    parser.add_argument("--store", type=Path, default=Path("out/corruptions.jsonl"))
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--before", type=Path, default=Path("none"), help="store of an earlier revision, for the table")
    parser.add_argument("--elsewhere", type=Path, help="folder with photos of other places")
    parser.add_argument("--depths", nargs="*", default=list(DEPTHS))
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--cells", default="", help="only cells whose name contains this")
    parser.add_argument("--quick", action="store_true", help="one draw with LiDAR, stored apart; figures mean little")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(draws=1, depths=["lidar"], store=Path("out/quick/corruptions.jsonl"))
    if arguments.action == "run":
        if not arguments.folder.is_dir():
            print(f"no KITTI raw drive at {arguments.folder}: nothing to measure (see data/README.md)")
            return
        cv2.setNumThreads(1)
        run(arguments.folder, arguments.store, arguments.elsewhere, arguments.depths, arguments.draws, arguments.cells)
    if arguments.action == "figure":
        figure(rows_of(arguments.store), arguments.picture)
        return
    print(table(rows_of(arguments.store), rows_of(arguments.before)))


if __name__ == "__main__":
    main()
