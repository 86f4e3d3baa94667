"""Our times as ratios to baselines of the same run, in one JSON; beside those of an earlier run, what became slower.

    python benchmarks/track.py [--out out/bench.json] [--last BEFORE.json] [--report out/bench.md] [--quick]

Seconds differ from machine to machine, ratios hardly. A ratio that is 1.5 times the earlier one is called slower.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import camera_projection
import cv2
import numpy as np
import startup
from camera_projection import seconds

from geocorrect.match.sift import SiftMatcher

SLOWER = 1.5
Ratios = dict[str, dict[str, float]]


def ratio_of(ours: np.ndarray, baseline: np.ndarray) -> dict[str, float]:
    """Of the medians, with the quartiles of ours over the baseline's median."""
    low, middle, high = np.percentile(ours, [25, 50, 75]) / np.median(baseline)
    return {
        "ratio": round(float(middle), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
        "n": len(ours),
    }


def measured(quick: bool) -> Ratios:
    """Every tracked ratio by its name, "ours / baseline"."""
    started = {name: np.array(sample) for name, sample in startup.measured(3 if quick else 15).items()}
    empty = started.pop(startup.BASELINE)
    found = {f"{name} / empty Python": ratio_of(sample, empty) for name, sample in started.items()}
    for name, (own, other) in camera_projection.measured(20 if quick else 200).items():
        found[f"Camera.{name} / OpenCV"] = ratio_of(own, other)
    found["SiftMatcher of two known pictures / OpenCV's brute force, both ways"] = _matching(3 if quick else 15)
    return found


def _matching(repetitions: int) -> dict[str, float]:
    """Descriptors of two pictures that are shifted against each other; detection is OpenCV's in both."""
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0).integers(0, 256, (400, 1200, 3), dtype=np.uint8)
    wide = cv2.GaussianBlur(noise, (0, 0), 1.6)
    left, right = np.ascontiguousarray(wide[:, :1000]), np.ascontiguousarray(wide[:, 200:])
    matcher, brute = SiftMatcher(), cv2.BFMatcher(cv2.NORM_L2)
    one, two = (matcher.features(image).descriptors for image in (left, right))
    ours = seconds(lambda: matcher.match(left, [right]), repetitions)
    theirs = seconds(lambda: (brute.knnMatch(one, two, k=2), brute.knnMatch(two, one, k=2)), repetitions)
    return ratio_of(ours, theirs)


def report(now: Ratios, last: Ratios) -> str:
    """A table in Markdown; a line that is `SLOWER` times its earlier ratio says so."""
    lines = ["| ours / baseline | ratio [quartiles] | n | before | |", "|---|---|---|---|---|"]
    for name, said in now.items():
        before = last.get(name, {}).get("ratio")
        factor = said["ratio"] / before if before else 1.0
        verdict = f"**{factor:.1f}× slower**" if factor >= SLOWER else ""
        shown = f"{said['ratio']:.2f} [{said['low']:.2f}–{said['high']:.2f}]"
        lines.append(f"| {name} | {shown} | {said['n']} | {'' if before is None else f'{before:.2f}'} | {verdict} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, write, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--last", type=Path, help="JSON of an earlier run; one that is not there is none")
    parser.add_argument("--report", type=Path, help="Markdown to write")
    parser.add_argument("--quick", action="store_true", help="a fifth of the repetitions or fewer")
    arguments = parser.parse_args()
    now = measured(arguments.quick)
    last = json.loads(arguments.last.read_text()) if arguments.last and arguments.last.is_file() else {}
    text = report(now, last)
    print(text)
    for path, content in ((arguments.out, json.dumps(now, indent=2) + "\n"), (arguments.report, text)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
