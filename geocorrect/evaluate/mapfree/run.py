"""Running an estimator over a Map-free set: a submission file, and the scores where the truth is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geocorrect.errors import InputError, Reason
from geocorrect.evaluate.mapfree.benchmark import MapfreeRules, score_submission
from geocorrect.evaluate.mapfree.pair_estimators import PairEstimator, Photo
from geocorrect.evaluate.mapfree.scene_files import REFERENCE, MapfreeScene, read_set
from geocorrect.evaluate.mapfree.submission import Estimate, write_submission
from geocorrect.io.pixels import read_image

Progress = Callable[[int, int], None]
"""Called with scenes done and scenes in all."""


def evaluate_mapfree(
    set_folder: Path,
    estimator: PairEstimator,
    submission_path: Path,
    rules: MapfreeRules | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Mapping[str, Any]:
    """Estimate every judged query of a set and write the submission.

    Args:
        set_folder: such as …/mapfree/val; one folder per scene.
        estimator: what finds the poses.
        submission_path: zip file to write.
        rules: which queries, and how they are judged.
        seed: of everything random; equal input and seed give equal bytes.
        progress: told after every scene.

    Returns:
        Figures with sample sizes: queries, answers, reasons of the rest, and the leaderboard's scores (None where the
        true poses are withheld, as in the test set).

    Raises:
        InputError: naming a file that is missing or damaged.
        OutputError: the submission cannot be written.
    """
    rules = rules or MapfreeRules()
    scenes = read_set(set_folder)
    submission, reasons = estimate_set(scenes, estimator, rules, seed, progress)
    queries = [(scene, frame) for scene in scenes for frame in scene.queries(rules.query_step)]
    write_submission(submission_path, submission)
    known = all(scene.world_from_cam.get(frame) is not None for scene, frame in queries)
    return {
        "set": str(set_folder),
        "estimator": estimator.fingerprint,
        "submission": str(submission_path),
        "n_scenes": len(scenes),
        "n_queries": len(queries),
        "n_answered": sum(len(answers) for answers in submission.values()),
        "reasons": dict(sorted(reasons.items())),
        "scores": score_submission(scenes, submission, rules) if known else None,
    }


def estimate_set(
    scenes: Sequence[MapfreeScene],
    estimator: PairEstimator,
    rules: MapfreeRules,
    seed: int,
    progress: Progress | None = None,
) -> tuple[dict[str, dict[str, Estimate]], Counter[str]]:
    """Answers by scene and query, and how often each reason kept a judged query from one."""
    submission: dict[str, dict[str, Estimate]] = {}
    reasons: Counter[str] = Counter()
    for number, scene in enumerate(scenes):
        reference = read_photo(scene, REFERENCE)
        answers = submission.setdefault(scene.name, {})
        for frame in scene.queries(rules.query_step):
            found = estimator.estimate(reference, read_photo(scene, frame), seed)
            if isinstance(found, Reason):
                reasons[found.value] += 1
            else:
                answers[frame] = found
        if progress is not None:
            progress(number + 1, len(scenes))
    return submission, reasons


def read_photo(scene: MapfreeScene, frame: str) -> Photo:
    """A frame with its camera; InputError naming a file that is missing, damaged or of another size."""
    path, camera = scene.folder / frame, scene.camera(frame)
    pixels = read_image(path)
    if (camera.width, camera.height) != (pixels.shape[1], pixels.shape[0]):
        raise InputError(
            f"{path}: {pixels.shape[1]}×{pixels.shape[0]} pixels, but intrinsics.txt says "
            f"{camera.width}×{camera.height}"
        )
    return Photo(f"{scene.name}/{frame}", pixels, camera, path)
