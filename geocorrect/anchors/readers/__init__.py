"""One data set or format per file: from its files to anchors."""
