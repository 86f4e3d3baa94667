"""Work on the anchors of a catalog, once and offline: depth calibration, scales."""
