"""The gate's error model, written by benchmarks/calibrate_gate.py; do not edit.

520 simulated and 540 real solutions, each judged by a model that has not seen its street or photo; every
false accept counted
one anchor believed: false accepts 5.9% [3.9%–8.8%] of 357, of 368 localisable accepted 91.3% [88.0%–93.8%]
photo by photo: false accepts 0.0% [0.0%–1.7%] of 226, of 368 localisable accepted 61.4% [56.3%–66.2%]
after its sequence: false accepts 0.0% [0.0%–1.2%] of 317, of 368 localisable accepted 86.1% [82.2%–89.3%]
the same, records tested: false accepts 0.0% [0.0%–1.1%] of 336, of 368 localisable accepted 91.3%
[88.0%–93.8%]
far from results, records tested: false accepts 0.0% [0.0%–1.2%] of 321, of 368 localisable accepted 87.2%
[83.4%–90.3%]
real: accepted 333 of 463 within 1 m, 0 of 77 wrong ones
accepted up to 20.0%; covariance inflation 1.65
position: ellipsoids of 68% hold 69.2% [62.9%–74.9%], of 95% hold 92.9% [88.7%–95.6%], NEES/3 mean 1.06, n =
224
rotation: ellipsoids of 68% hold 88.4% [83.5%–92.0%], of 95% hold 97.3% [94.3%–98.8%], NEES/3 mean 0.62, n =
224
Spearman correlation of predicted and real position error 0.70, n = 224
"""

from __future__ import annotations

FEATURE_MEAN = (-5.26538, -0.936474, -2.21314, 0.126673, 0.121853)
FEATURE_SPREAD = (0.800333, 0.0962828, 1.90019, 0.313993, 0.292139)
WEIGHTS = (-3.30336, 1.17049, 0.139541, 1.68162, 0.242204, 0.6304)
ACCEPT_PROBABILITY = 0.2
COVARIANCE_INFLATION = 1.646
