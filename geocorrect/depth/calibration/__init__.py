"""Depth of an anchor from its neighbours of known pose."""
