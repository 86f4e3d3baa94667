"""A recording as a whole: its motion, a graph of its poses, what is decided and found."""
