"""The gate's error model, written by benchmarks/calibrate_gate.py; do not edit.

fitted on one half of the seeds, judged on the other, both ways: 2975 solutions, accepted 1963, false accepts
(> 1 m) 15 (0.8% [0.5%–1.3%]), of 2136 localisable accepted 91.1% [89.8%–92.2%]
left out, because no match contradicts them: 115 solutions (one aliased anchor alone; most anchors on the same
wrong copy of a façade), 104 of them accepted
covariance inflation 1.65, scales at most 10.0 sigmas apart, a lone anchor covers at least 41%
position: ellipsoids of 68% hold 68.6% [66.0%–71.1%], of 95% hold 94.2% [92.7%–95.3%], NEES/3 mean 1.01, n =
1248
rotation: ellipsoids of 68% hold 67.2% [64.6%–69.8%], of 95% hold 93.2% [91.7%–94.5%], NEES/3 mean 1.07, n =
1248
Spearman correlation of predicted and real position error 0.65, n = 1248
"""

from __future__ import annotations

FEATURE_MEAN = (
    6.65174,
    0.91749,
    0.845249,
    -2.50054,
    0.196235,
    2.11933,
    0.827535,
    0.195732,
    0.153906,
    0.674575,
    0.646782,
    0.609076,
)
FEATURE_SPREAD = (
    0.740343,
    0.115904,
    0.13049,
    0.651901,
    0.356172,
    1.1769,
    0.264622,
    0.366716,
    0.395449,
    0.420338,
    0.234313,
    0.487957,
)
WEIGHTS = (
    -1.84033,
    -1.724,
    -0.0978093,
    -0.596737,
    0.311889,
    0.452983,
    0.663223,
    -2.08588,
    0.286481,
    0.101006,
    0.641292,
    0.740846,
    1.09671,
)
ACCEPT_PROBABILITY = 0.391554
MAX_SCALE_SIGMAS = 10
MIN_LONE_COVERAGE = 0.411
COVARIANCE_INFLATION = 1.646
