"""Depth of anchors from the point clouds of an area: files → an index on disk → what each anchor sees of it."""
