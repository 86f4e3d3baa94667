"""VBR: A Vision Benchmark in Rome, exported in its KITTI layout."""
