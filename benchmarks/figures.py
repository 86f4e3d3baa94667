"""The figures and the picture of README.md and docs/accuracy.md: runs the demo and KITTI, keeps their summaries, writes
the tables.

    python benchmarks/figures.py [KITTI_RAW] [--quick]

docs/figures.json holds what `geocorrect demo --json` and `geocorrect evaluate kitti-raw --json` said, without the rows
of single photos. Without KITTI_RAW its figures stay as they were; --quick runs the small street and changes no page.
The street is rendered once, into out/figures, and everything else computed anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures.json"
README, ACCURACY = ROOT / "README.md", ROOT / "docs" / "accuracy.md"
PICTURE = ROOT / "docs" / "img" / "before_after.png"
"""The accuracy page's, of the same run as its figures."""
DEPTHS = {"lidar": "SIFT, LiDAR (oracle)", "triangulated": "SIFT, anchors' neighbours: no scanner, no network"}
NOT_KEPT = ("queries", "wall_s")
"""Rows of single photos, and what depends on the machine."""

WORLDS = ROOT / "out" / "figures"

Figures = dict[str, dict[str, Any]]


def asked(depth: str, *command: str) -> dict[str, Any]:
    """The summary that a command prints, with a source of depth."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GEOCORRECT")}
    environment |= {"GEOCORRECT__DEPTH__SOURCE": depth} if command[0] == "evaluate" else {}
    done = subprocess.run(
        [sys.executable, "-m", "geocorrect", *command, "--json"],
        env=environment, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    return {name: value for name, value in json.loads(done.stdout).items() if name not in NOT_KEPT}


def measured(before: Figures, kitti: str | None, size: str) -> Figures:
    """Figures of fresh runs; those of KITTI as before when the data are not given."""
    figures, world = dict(before), WORLDS / f"world-{size}"
    with tempfile.TemporaryDirectory(prefix="geocorrect-") as scratch:
        for depth in DEPTHS:
            folder = Path(scratch) / depth
            if world.is_dir():
                shutil.copytree(world, folder / "world")
            demo = ("demo", "--out", str(folder), "--depth", depth, "--size", size, "--workers", "1")
            figures[f"demo_{depth}"] = asked(depth, *demo)
            if not world.is_dir():
                shutil.copytree(folder / "world", world)
            if depth == "lidar" and size == "full":
                shutil.copyfile(folder / "before_after.png", PICTURE)
            if kitti:
                figures[f"kitti_{depth}"] = asked(depth, "evaluate", "kitti-raw", kitti)
    return figures


def centimetres(median_m: float, low_m: float, high_m: float) -> str:
    """0.83 cm [0.53–1.22]."""
    return f"{100 * median_m:.2f} cm [{100 * low_m:.2f}–{100 * high_m:.2f}]"


def readme_line(figures: Figures) -> str:
    """The README's line about accuracy."""
    demo, kitti = figures["demo_lidar"], figures["kitti_lidar"]
    wrong = sum(said["false_accepts"] for said in figures.values())
    return (
        f"- **Accuracy**: on the demo's street {demo['n_accepted']} of {demo['n_localisable']} photos, median "
        f"{100 * demo['corrected_median_m']:.2f} cm; on a real one (KITTI raw 0002) {kitti['n_accepted']} of "
        f"{kitti['n_queries']}, {100 * kitti['position_median_m']:.2f} cm; accepted but wrong by > 1 m: {wrong}. "
        "LiDAR depth is an oracle, labelled as such. [All figures, and where goals are missed](docs/accuracy.md)."
    )


def accuracy_table(figures: Figures) -> str:
    """Of docs/accuracy.md: what the two commands reach."""
    lines = [
        "| data | matcher, depth | accepted | reported | corrected, median | max | heading / rotation, median | "
        "wrong by > 1 m |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for depth, words in DEPTHS.items():
        said = figures[f"demo_{depth}"]
        what = "synthetic street, `make demo`" if depth == "lidar" else f"the same, `geocorrect demo --depth {depth}`"
        interval = (said["corrected_median_m"], said["corrected_median_low_m"], said["corrected_median_high_m"])
        lines.append(
            f"| {what} | {words} | {said['n_accepted']} of {said['n_localisable']} localisable | "
            f"{said['reported_median_m']:.1f} m | {centimetres(*interval)} | {100 * said['corrected_max_m']:.2f} cm | "
            f"{said['heading_median_deg']:.2f}° | {said['false_accepts']} |"
        )
    for depth, words in DEPTHS.items():
        said = figures[f"kitti_{depth}"]
        what = (
            "real street, KITTI raw drive 0002"
            if depth == "lidar"
            else f"the same, `GEOCORRECT__DEPTH__SOURCE={depth}`"
        )
        interval = (said["position_median_m"], *said["position_median_95_m"])
        lines.append(
            f"| {what} | {words} | {said['n_accepted']} of {said['n_queries']} | {said['reported_median_m']:.1f} m | "
            f"{centimetres(*interval)} | {100 * said['position_max_m']:.2f} cm | {said['rotation_median_deg']:.3f}° | "
            f"{said['false_accepts']} |"
        )
    return "\n".join(lines)


def bars_table(figures: Figures) -> str:
    """Of docs/accuracy.md: what KITTI reaches through the command line, against its bars."""
    said = figures["kitti_lidar"]
    low_m, high_m = said["position_median_95_m"]
    largest_cm, rotation_deg, n = 100 * said["position_max_m"], said["rotation_median_deg"], said["n_accepted"]
    median = centimetres(said["position_median_m"], low_m, high_m)
    rows = [
        ("position median", 1.0, " cm", 100 * said["position_median_m"], median, 100 * high_m),
        ("the same, largest", 2.5, " cm", largest_cm, f"{largest_cm:.2f} cm", 0.0),
        ("the same, rotation median", 0.07, "°", rotation_deg, f"{rotation_deg:.3f}°", 0.0),
    ]
    lines = ["| bar, KITTI with LiDAR | limit | reached | n | verdict |", "|---|---|---|---|---|"]
    for name, limit, unit, value, shown, high in rows:
        verdict = "**not met**" if value > limit else "met, open" if high > limit else "met"
        lines.append(f"| {name} | ≤ {limit}{unit} | {shown} | {n} | {verdict} |")
    return "\n".join(lines)


def demo_table(figures: Figures) -> str:
    """Of docs/accuracy.md: the demo."""
    lines = [
        "| depth | photos | localisable | accepted | not accepted | reported, median | provider's computed, median | "
        "corrected, median | 90 % | max | heading, median |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for depth in DEPTHS:
        said = figures[f"demo_{depth}"]
        interval = (said["corrected_median_m"], said["corrected_median_low_m"], said["corrected_median_high_m"])
        counts = said["reasons"] | ({"review": said["n_review"]} if said["n_review"] else {})
        reasons = ", ".join(f"{reason} {count}" for reason, count in counts.items())
        lines.append(
            f"| {depth} | {said['n_images']} | {said['n_localisable']} | {said['n_accepted']} | {reasons} | "
            f"{said['reported_median_m']:.1f} m | {said['computed_median_m']:.1f} m | {centimetres(*interval)} | "
            f"{100 * said['corrected_p90_m']:.2f} cm | {100 * said['corrected_max_m']:.2f} cm | "
            f"{said['heading_median_deg']:.3f}° |"
        )
    return "\n".join(lines)


TABLES = {
    (README, "figures"): readme_line,
    (ACCURACY, "figures"): accuracy_table,
    (ACCURACY, "bars"): bars_table,
    (ACCURACY, "demo"): demo_table,
}
"""What stands below the marker `<!-- test: name -->` of a page, up to the next empty line."""


def write_page(page: Path, name: str, table: str) -> None:
    """Put a table below its marker."""
    before, marker, after = page.read_text(encoding="utf-8").partition(f"<!-- test: {name} -->\n")
    if not marker:
        sys.exit(f"{page}: the marker <!-- test: {name} --> is missing")
    page.write_text(f"{before}{marker}{table}\n\n{after.split(chr(10) * 2, 1)[1]}", encoding="utf-8")


def main() -> None:
    """Measure, keep, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kitti", nargs="?", help="folder of the KITTI raw drive")
    parser.add_argument("--quick", action="store_true", help="the small street; nothing is written")
    arguments = parser.parse_args()
    before: Figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    figures = measured(before, arguments.kitti, "small" if arguments.quick else "full")
    print(json.dumps(figures, indent=2))
    if arguments.quick:
        return
    FIGURES.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for (page, name), table in TABLES.items():
        write_page(page, name, table(figures))


if __name__ == "__main__":
    main()
