"""MicKey inference and training: metric keypoints (Barroso-Laguna et al., CVPR 2024), our own implementation.

In a nutshell: image → `preprocess` → `Mickey.detect` (once per image, cached by `engine`): one keypoint with position,
depth, score and descriptor per 14 × 14 pixels → `Mickey.match`: probability of every pair of keypoints. The pose is
found from that by `geocorrect.localize.estimators.mickey`. Importing this package is cheap; its modules import torch.
"""
