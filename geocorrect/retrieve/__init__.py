"""From an image to its ranked candidate anchors."""
