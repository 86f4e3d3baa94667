"""The gate's error model, written by benchmarks/calibrate_gate.py; do not edit.

584 simulated and 483 real solutions, each judged by a model that has not seen its street or photo; every
false accept counted
one anchor believed: false accepts 5.4% [3.6%–8.1%] of 389, of 403 localisable accepted 90.8% [87.6%–93.3%]
photo by photo: false accepts 0.0% [0.0%–1.5%] of 250, of 403 localisable accepted 62.0% [57.2%–66.6%]
after its sequence: false accepts 0.0% [0.0%–1.1%] of 345, of 403 localisable accepted 85.4% [81.6%–88.5%]
the same, records tested: false accepts 0.0% [0.0%–1.0%] of 368, of 403 localisable accepted 90.8%
[87.6%–93.3%]
far from results, records tested: false accepts 0.0% [0.0%–1.1%] of 349, of 403 localisable accepted 86.4%
[82.7%–89.4%]
real: accepted 305 of 411 within 1 m, 0 of 72 wrong ones
accepted up to 20.0%; covariance inflation 1.65
position: ellipsoids of 68% hold 69.6% [63.6%–75.0%], of 95% hold 93.2% [89.4%–95.7%], NEES/3 mean 1.03, n =
250
rotation: ellipsoids of 68% hold 87.2% [82.5%–90.8%], of 95% hold 97.6% [94.9%–98.9%], NEES/3 mean 0.63, n =
250
Spearman correlation of predicted and real position error 0.67, n = 250
"""

from __future__ import annotations

FEATURE_MEAN = (-5.25964, -0.93404, -2.09854, 0.128635, 0.133328)
FEATURE_SPREAD = (0.830527, 0.0989293, 1.93044, 0.314072, 0.322082)
WEIGHTS = (-3.02419, 1.20119, 0.0833392, 1.64275, 0.350875, 0.761808)
ACCEPT_PROBABILITY = 0.2
COVARIANCE_INFLATION = 1.646
