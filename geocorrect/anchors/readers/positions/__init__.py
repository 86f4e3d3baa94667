"""Anchors of which only the position was measured: photos with RTK in their tags, or beside the track of a receiver."""
