"""Keypoints and descriptors of single photos, and LightGlue on them: networks of kornia with weights of our cards.

In a nutshell: photo → `image_input` → detector (once per photo, cached) → LightGlue or nearest neighbours (per pair) →
pixels of the full photos. Importing this package is cheap; torch and kornia are imported when the first photo comes.
"""
