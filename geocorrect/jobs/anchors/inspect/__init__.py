"""Looking at anchors before they are trusted: poses, axes, clocks and heights beside what their pictures show."""
