"""What people do to a catalog as a whole: decide on poses in doubt, move it elsewhere."""
