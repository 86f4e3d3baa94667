"""Whether this installation is ready to work: `geocorrect doctor`."""
