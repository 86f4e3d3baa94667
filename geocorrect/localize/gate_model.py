"""The gate's error model, written by benchmarks/calibrate_gate.py; do not edit.

8 solutions from one aliased anchor alone left out: matches cannot tell them
fitted on 104 solutions: accepted 74, false accepts (> 1 m) 0, of 74 localisable accepted 100.0%
judged on 98 solutions: accepted 76, false accepts (> 1 m) 3, of 73 localisable accepted 100.0%
covariance inflation 1.75; on the judging half 68 % ellipsoids hold 65%, 95 % hold 94%
"""

from __future__ import annotations

FEATURE_MEAN = (6.47662, 0.922374, 0.8666, -2.51551, 0.210247, 2.08654, 0.852564, 0.150554, 0.605769)
FEATURE_SPREAD = (0.956269, 0.144279, 0.183603, 0.645816, 0.379651, 1.15284, 0.253509, 0.278319, 0.488685)
WEIGHTS = (-1.99332, -0.647696, -0.18559, -0.787619, 0.431876, 0.808429, -0.226235, -0.515479, 0.0335709, -0.426012)
ACCEPT_PROBABILITY = 0.600011
COVARIANCE_INFLATION = 1.754
