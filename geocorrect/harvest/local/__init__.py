"""Photos from folders of this machine."""
