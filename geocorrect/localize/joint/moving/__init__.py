"""What moved, in the matches that a pose leaves over."""
