"""Unattended runs: what is due, who computes it, who writes it."""
