"""MASt3R inference: our own implementation, which loads the official checkpoint.

In a nutshell: images → `preprocess` → `Mast3r.encode` (once per image, cached by `tokens`) → `Mast3r.decode`
(per pair, in batches) → the heads that are needed → `reciprocal` matching → pixels of the full images. Importing this
package is cheap; its modules import torch.
"""
