"""First poses: relative rotations chained, and the chain turned so that its steps point along the measured ones."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from geocorrect.georeference.photos.problem import Float, PhotoProblem, SeenTogether

DIRECTION_SIGMA = 0.02
"""Of the direction of a step in a relative pose, radians, beside that of the measured positions."""
ANY_DIRECTION = 2.0 * np.log(2.0)
"""Cost of a step that may point anywhere on the sphere, the most that one costs: beyond the track's ends there are no
steps, and an offset must not win by having few."""
MIN_PHOTOS = 3


def first_turns(problem: PhotoProblem) -> tuple[dict[int, Rotation], float]:
    """(world_from_cam rotation by row, offset of the clocks in seconds) of photos that hang together."""
    chains = [chain for chain in _chains(problem.pairs) if len(chain) >= MIN_PHOTOS]
    by_offset = []
    for offset_s in problem.offsets_s:
        places = problem.antenna_m(float(offset_s))
        turned = [_turned(problem, chain, places) for chain in chains]
        by_offset.append((sum(cost for _, cost in turned), float(offset_s), [turn for turn, _ in turned]))
    _, offset_s, turns = min(by_offset, key=lambda found: found[:2])
    return {
        row: turn * own for turn, chain in zip(turns, chains, strict=True) for row, own in chain.items()
    }, offset_s  # fmt: skip


def _chains(pairs: Sequence[SeenTogether]) -> list[dict[int, Rotation]]:
    """Rotations root_from_cam of each group of photos that pairs connect."""
    links: dict[int, list[tuple[int, Rotation]]] = defaultdict(list)
    for pair in pairs:
        links[pair.first].append((pair.second, pair.first_from_second.rotation))
        links[pair.second].append((pair.first, pair.first_from_second.rotation.inv()))
    chains, left = [], set(links)
    while left:
        root = min(left)
        chain, queue = {root: Rotation.identity()}, deque([root])
        while queue:
            row = queue.popleft()
            for other, row_from_other in links[row]:
                if other not in chain:
                    chain[other] = chain[row] * row_from_other
                    queue.append(other)
        left -= set(chain)
        chains.append(chain)
    return chains


def _turned(problem: PhotoProblem, chain: dict[int, Rotation], places: Float) -> tuple[Rotation, float]:
    """(world_from_root, −2 log likelihood of the steps' directions, each at most `ANY_DIRECTION`)."""
    seen, measured, weights = [], [], []
    for pair in problem.pairs:
        if pair.first not in chain:
            continue
        step = places[pair.second] - places[pair.first]
        length = max(float(np.linalg.norm(step)), 1e-6)
        noise = float(np.linalg.norm(problem.sigma_m[[pair.first, pair.second]])) / length
        seen.append(chain[pair.first].as_matrix() @ pair.first_from_second.translation_m)
        measured.append(step / length)
        weights.append(1.0 / (noise**2 + DIRECTION_SIGMA**2))
    target, source, weight = np.array(measured), np.array(seen), np.array(weights)
    if problem.is_level:
        up = -np.mean([own.as_matrix()[:, 1] for own in chain.values()], axis=0)
        level = [0.0, 0.0, 1.0], up / np.linalg.norm(up), 0.1 * weight.sum()
        turn = _wahba(np.vstack([target, level[0]]), np.vstack([source, level[1]]), np.append(weight, level[2]))
    else:
        turn = _wahba(target, source, weight)
    cost = weight * np.sum((turn.apply(source) - target) ** 2, axis=1) - 2.0 * np.log(weight)
    return turn, float(np.minimum(cost, ANY_DIRECTION).sum())


def _wahba(target: Float, source: Float, weights: Float) -> Rotation:
    u, _, vt = np.linalg.svd((weights[:, None] * target).T @ source)
    return Rotation.from_matrix(u @ np.diag([1.0, 1.0, np.linalg.det(u) * np.linalg.det(vt)]) @ vt)
