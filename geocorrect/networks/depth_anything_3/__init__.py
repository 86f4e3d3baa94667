"""Depth Anything 3, metric (Lin et al. 2025): depth for a canonical focal length, and sky, from one photo.

In a nutshell: a plain DINOv2 ViT-L, four of whose layers a dense prediction transformer reads (`model`); from the
published file to a network (`loading`).
"""
