"""MapAnything inference (Keetha et al. 2025): our own implementation, which loads the published checkpoints.

In a nutshell: photos and what is known about them (`photo_view`) → one network size for all (`preprocess`) →
`MapAnythingEngine`, which encodes each photo once and caches the fused tokens → transformer over all views → poses and
metric scale, and where asked for the dense depth of single views. Importing this package is cheap; `photo_view` and
`preprocess` need numpy only, the other modules import torch.
"""
