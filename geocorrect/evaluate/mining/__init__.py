"""Which pairs of photos of a drive see the same, and how they are split into training and test sets."""
