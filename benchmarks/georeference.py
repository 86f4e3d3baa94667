"""Does the georeference know how good it is? 200 synthetic drives with known truth, clicks from fine to awful.

    python benchmarks/georeference.py [seeds] [first seed] [--quick]

Prints coverage of the predicted 95 % ellipses along the drives (should be 90–98 %), errors, refusals, wrong basins
accepted (should be none), and flags of single clicks.
"""

from __future__ import annotations

import argparse

import numpy as np

from simulation.georeference_trial import Trial, random_clicking, run_trial


def interval(values: list[float], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over drives."""
    random = np.random.default_rng(seed)
    draws = random.choice(values, (2000, len(values))).mean(axis=1)
    return float(np.percentile(draws, 2.5)), float(np.percentile(draws, 97.5))


def report(name: str, trials: list[Trial]) -> None:
    accepted = [t for t in trials if t.accepted]
    if not accepted:
        print(f"{name:28} n={len(trials)}, none accepted")
        return
    covered = [t.covered for t in accepted]
    low, high = interval(covered)
    error = np.array([np.median(t.error_m) for t in accepted])
    sigma = np.array([np.median(t.sigma_m) for t in accepted])
    print(
        f"{name:20} n={len(trials)} accepted={len(accepted)} 95%-coverage={np.mean(covered):.3f} "
        f"[{low:.3f}–{high:.3f}] error median={np.median(error):.2f} m p90={np.percentile(error, 90):.2f} m "
        f"sigma median={np.median(sigma):.2f} m "
        f"wrong basins={sum(t.wrong_basin for t in accepted)} missed={sum(t.missed for t in accepted)} "
        f"mistaken={sum(t.mistaken for t in accepted)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", nargs="?", type=int, default=200)
    parser.add_argument("first", nargs="?", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="three drives; figures mean little")
    given = parser.parse_args()
    count = 3 if given.quick else given.seeds
    trials = [run_trial(random_clicking(seed), seed) for seed in range(given.first, given.first + count)]
    report("all", trials)
    report("3-5 images", [t for t in trials if t.clicking.n_images <= 5])
    report("6-10 images", [t for t in trials if t.clicking.n_images > 5])
    report("bad clicks < 20 %", [t for t in trials if t.clicking.bad_share < 0.2])
    report("bad clicks 20-40 %", [t for t in trials if t.clicking.bad_share >= 0.2])
    report("map sigma < 0.3 m", [t for t in trials if t.clicking.sigma_map_m < 0.3])
    report("map sigma 0.3-1 m", [t for t in trials if t.clicking.sigma_map_m >= 0.3])
    refused: dict[str, int] = {}
    for trial in trials:
        for code in trial.refusals:
            refused[code] = refused.get(code, 0) + 1
    print("refused:", refused or "none")


if __name__ == "__main__":
    main()
