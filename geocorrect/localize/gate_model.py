"""The gate's error model, written by benchmarks/calibrate_gate.py; do not edit.

fitted on 519 solutions: accepted 394, false accepts (> 1 m) 1 (0.3% [0.0%–1.4%]), of 402 localisable accepted
97.5% [95.5%–98.6%]
judged on 509 solutions: accepted 373, false accepts (> 1 m) 4 (1.1% [0.4%–2.7%]), of 386 localisable accepted
95.6% [93.1%–97.2%]
left out, because no match contradicts them: 18 solutions (one aliased anchor alone; most anchors on the same
wrong copy of a façade), 18 of them accepted
covariance inflation 1.84
position: ellipsoids of 68% hold 76.2% [70.6%–81.0%], of 95% hold 96.1% [93.0%–97.9%], NEES/3 mean 0.89, n =
256
rotation: ellipsoids of 68% hold 73.4% [67.7%–78.5%], of 95% hold 92.2% [88.2%–94.9%], NEES/3 mean 1.03, n =
256
Spearman correlation of predicted and real position error 0.69, n = 256
"""

from __future__ import annotations

FEATURE_MEAN = (6.7086, 0.927903, 0.858361, -2.51978, 0.178743, 2.22929, 0.86079, 0.173921, 0, 0, 0, 0.643545)
FEATURE_SPREAD = (0.751513, 0.10391, 0.130227, 0.617396, 0.348463, 1.19707, 0.246161, 0.292724, 1, 1, 1, 0.478952)
WEIGHTS = (
    -2.10929,
    -0.755832,
    -0.066275,
    -0.38167,
    0.370163,
    0.692838,
    -0.184506,
    -1.29034,
    1.05207,
    0,
    0,
    0,
    -0.273859,
)
ACCEPT_PROBABILITY = 0.716386
COVARIANCE_INFLATION = 1.841
