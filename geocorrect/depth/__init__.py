"""H: metric depth of an anchor image, one back-end per file behind `base.DepthSource`."""
