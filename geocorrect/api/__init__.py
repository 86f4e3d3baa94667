"""The front door: settings and anchors in, one localised photo out. The batch above it uses the same parts."""
