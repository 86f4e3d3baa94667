"""Where a local trajectory lies on the map: from clicks (joint, or the reference method) or from GNSS."""
