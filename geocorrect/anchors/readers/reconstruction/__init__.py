"""Reconstructions (structure from motion) as anchors: a program per module, placed on the map by `placing`."""
