"""The gate's error model, written by benchmarks/calibrate_gate.py; do not edit.

468 simulated and 465 real solutions, each judged by a model that has not seen its street or photo; every
false accept counted
one anchor believed: false accepts 5.3% [3.4%–8.4%] of 318, of 330 localisable accepted 91.2% [87.7%–93.8%]
photo by photo: false accepts 0.0% [0.0%–1.9%] of 203, of 330 localisable accepted 61.5% [56.2%–66.6%]
after its sequence: false accepts 0.0% [0.0%–1.3%] of 283, of 330 localisable accepted 85.8% [81.6%–89.1%]
the same, records tested: false accepts 0.0% [0.0%–1.3%] of 301, of 330 localisable accepted 91.2%
[87.7%–93.8%]
far from results, records tested: false accepts 0.0% [0.0%–1.3%] of 287, of 330 localisable accepted 87.0%
[82.9%–90.2%]
real: accepted 294 of 400 within 1 m, 0 of 65 wrong ones
accepted up to 20.0%; covariance inflation 1.65
position: ellipsoids of 68% hold 69.2% [62.4%–75.2%], of 95% hold 94.4% [90.3%–96.9%], NEES/3 mean 1.04, n =
198
rotation: ellipsoids of 68% hold 87.9% [82.6%–91.7%], of 95% hold 98.0% [94.9%–99.2%], NEES/3 mean 0.62, n =
198
Spearman correlation of predicted and real position error 0.70, n = 198
"""

from __future__ import annotations

FEATURE_MEAN = (-5.28167, -0.936233, -2.21839, 0.123327, 0.11876)
FEATURE_SPREAD = (0.765073, 0.0930304, 1.90635, 0.30975, 0.288092)
WEIGHTS = (-3.16839, 1.06668, 0.161496, 1.5151, 0.394402, 0.603635)
ACCEPT_PROBABILITY = 0.2
COVARIANCE_INFLATION = 1.646
