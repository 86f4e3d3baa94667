"""Inference networks that we write because no permissive, packaged implementation exists. Needs the `models` extra."""
