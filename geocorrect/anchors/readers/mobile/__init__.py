"""Mobile mapping: drives of panoramas or several cameras, a table of poses, a rig in a small YAML."""
