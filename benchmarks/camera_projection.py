"""CPU of `Camera.project`, `project_with_jacobian`, `unproject` as a ratio to OpenCV on the same points, in one run.

    python benchmarks/camera_projection.py [--quick]

Baselines: cv2.projectPoints (its Python call always computes its Jacobian too) and cv2.undistortPoints, which stops
after 5 fixed-point iterations, where ours goes to rounding. Prints medians, 5-95 % ranges and ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np

from geocorrect.geometry.camera import Camera

POINTS = 10_000
CAMERA = Camera.from_opencv(1388, 700, (1265.4, 1259.1, 649.2, 349.1), (-0.1512, 0.2104, 0.0002, -0.0011))


def seconds(action: Callable[[], object], repetitions: int) -> np.ndarray:
    """(repetitions,) processor seconds of an action, after one run that does not count."""
    action()
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return np.array(times)


def measured(repetitions: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Seconds of ours and of OpenCV's, per function."""
    cv2.setNumThreads(1)
    px = np.random.default_rng(0).uniform([0, 0], [CAMERA.width, CAMERA.height], (POINTS, 2))
    points = CAMERA.unproject(px) * 20.0
    matrix, distortion, _ = CAMERA.to_opencv()
    zero = np.zeros(3)

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "project": (
            lambda: CAMERA.project(points),
            lambda: cv2.projectPoints(points, zero, zero, matrix, distortion),
        ),
        "project_with_jacobian": (
            lambda: CAMERA.project_with_jacobian(points),
            lambda: cv2.projectPoints(points, zero, zero, matrix, distortion),
        ),
        "unproject": (
            lambda: CAMERA.unproject(px),
            lambda: cv2.undistortPoints(px.reshape(-1, 1, 2), matrix, distortion),
        ),
    }
    return {
        name: (seconds(ours, repetitions), seconds(baseline, repetitions)) for name, (ours, baseline) in pairs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 repetitions instead of 200")
    repetitions = 20 if parser.parse_args().quick else 200
    print(f"{POINTS} points, brown camera, {repetitions} repetitions, one thread")
    for name, (own, other) in measured(repetitions).items():
        low, high = np.percentile(own, [5, 95]) * 1e3
        print(
            f"{name:22s} {np.median(own) * 1e3:6.2f} ms [{low:.2f}, {high:.2f}], "
            f"{np.median(own) / np.median(other):.2f}× OpenCV ({np.median(other) * 1e3:.2f} ms)"
        )


if __name__ == "__main__":
    main()
