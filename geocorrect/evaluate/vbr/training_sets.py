"""Which data the networks were trained on, as their publications state it: what a fair test must not contain."""

from __future__ import annotations

from collections.abc import Mapping

TRAINING_SETS: Mapping[str, tuple[str, ...]] = {
    "MASt3R": (
        "Habitat", "MegaDepth", "ARKitScenes", "StaticScenes3D", "BlendedMVS", "ScanNet/ScanNet++", "CO3D-v2", "Waymo",
        "Map-free", "WildRGB-D", "Virtual KITTI", "UnrealStereo4K", "TartanAir", "undisclosed",
    ),
    "ZoeDepth": (
        "HRWSI", "BlendedMVS", "ReDWeb", "DIML", "3D Movies", "MegaDepth", "WSVD", "TartanAir", "ApolloScape", "IRS",
        "KITTI", "NYU Depth v2",
    ),
    "Depth Pro": (
        "Hypersim", "TartanAir", "Synscapes", "UrbanSyn", "Dynamic Replica", "BEDLAM", "IRS", "Virtual KITTI",
        "SAIL-VOS 3D", "ARKitScenes", "DIML", "ScanNet/ScanNet++", "Smart Portraits", "UnrealStereo4K",
        "3D Ken Burns", "EDEN", "MVS-Synth", "HRWSI", "BlendedMVS",
    ),
    "Depth Anything V2": (
        "BlendedMVS", "Hypersim", "IRS", "TartanAir", "Virtual KITTI", "BDD100K", "Google Landmarks v2", "ImageNet-21K",
        "LSUN", "Objects365", "Open Images V7", "Places365", "SA-1B",
    ),
}  # fmt: skip
"""Versions and extensions of a set (BlendedMVG, Virtual KITTI 2) stand under one name."""


def shared_training_sets() -> dict[str, tuple[str, ...]]:
    """Data sets that more than one network was trained on, with those networks; the most shared first."""
    users = {
        name: tuple(network for network, sets in TRAINING_SETS.items() if name in sets)
        for sets in TRAINING_SETS.values()
        for name in sets
    }
    shared = [(name, networks) for name, networks in users.items() if len(networks) > 1]
    return dict(sorted(shared, key=lambda item: (-len(item[1]), item[0])))
