"""Reference imagery of known pose: readers of data sets, trajectories, laser scans, and adding them to a catalog."""
