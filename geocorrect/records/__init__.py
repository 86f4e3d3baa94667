"""The frozen records that travel between the packages; no behaviour beyond validation and selection.

Unknown numbers are nan, unknown objects None; never 0 or −1. Ids are non-empty strings, moments carry a time zone.
"""

from __future__ import annotations

from geocorrect.records.anchor import AlignmentRecord, Anchor, AnchorIndex, AnchorNoise, AnchorView, LidarScan
from geocorrect.records.basic import NAN, Float, Float32, ImageArray
from geocorrect.records.matching import DepthMap, Matches, Pair, Query
from geocorrect.records.motion import CameraMotion
from geocorrect.records.photo import Attribution, Image, MetadataQuality, Position
from geocorrect.records.result import AnchorEvidence, Correction, Evidence, Rejection, Result, ScaleSource

SEQUENCE_MATCHER = "sequence"  # of runs and results of the sequence step: no photo was matched for them
REVIEW_MATCHER = "review"  # of runs that hold decisions of people; on results of sequences "sequence+review"

__all__ = [
    "NAN",
    "REVIEW_MATCHER",
    "SEQUENCE_MATCHER",
    "AlignmentRecord",
    "Anchor",
    "AnchorEvidence",
    "AnchorIndex",
    "AnchorNoise",
    "AnchorView",
    "Attribution",
    "CameraMotion",
    "Correction",
    "DepthMap",
    "Evidence",
    "Float",
    "Float32",
    "Image",
    "ImageArray",
    "LidarScan",
    "Matches",
    "MetadataQuality",
    "Pair",
    "Position",
    "Query",
    "Rejection",
    "Result",
    "ScaleSource",
]
