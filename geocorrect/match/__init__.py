"""G: correspondences between a query and its anchors, one back-end per file behind `base.Matcher`."""
