"""One pose from all anchors at once."""
