"""The whole error vocabulary on one screen: exceptions, exit codes, rejection reasons.

    GeocorrectError
    ├── UsageError            2   the command line makes no sense
    ├── InputError            3   a file, row or field that the user gave is missing or wrong
    ├── ConfigError           4   geocorrect.toml, environment, missing token
    ├── DatabaseError         5   catalog unreachable, locked, of another version
    ├── ModelError            6   weights missing or corrupt, licence not accepted
    ├── RemoteError           8   the Mapillary service refused or is down
    ├── OutputError          10   the output cannot be written
    └── SceneBusyError       75   another run holds the scene (EX_TEMPFAIL)

Two more exit codes carry no exception, because the work was done: 7 (finished, but more images were
rejected than the allowed share) and 9 (harvest finished with holes). Signals end with 130 and 143.

Inside a batch the failure of one image is a value, `records.Rejection`, with a `Reason` of the closed
list below. Exceptions are for what a human must mend. A programming error is an exception, too; only where
one image after the other is worked on (`batch.guard`) it is logged and costs that image, and the run ends with 1.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit codes of every command (documented in the README, checked by tests)."""

    OK = 0
    PROGRAMMING_ERROR = 1
    USAGE = 2
    INPUT = 3
    CONFIG = 4
    DATABASE = 5
    MODEL = 6
    TOO_MANY_REJECTED = 7
    REMOTE = 8
    INCOMPLETE_HARVEST = 9
    OUTPUT = 10
    SCENE_BUSY = 75
    INTERRUPTED = 130
    TERMINATED = 143


class GeocorrectError(Exception):
    """Base of all errors that a user can mend; the text says what is wrong, where, and how to mend it."""

    exit_code: ExitCode = ExitCode.PROGRAMMING_ERROR


class UsageError(GeocorrectError):
    """The command line makes no sense."""

    exit_code = ExitCode.USAGE


class InputError(GeocorrectError):
    """A file, row or field given by the user is missing, unreadable or wrong."""

    exit_code = ExitCode.INPUT


class ConfigError(GeocorrectError):
    """geocorrect.toml or the environment is wrong (unknown key, bad value, missing token)."""

    exit_code = ExitCode.CONFIG


class DatabaseError(GeocorrectError):
    """The catalog cannot be reached, is locked, damaged or of another version."""

    exit_code = ExitCode.DATABASE


class ModelError(GeocorrectError):
    """Model weights are missing, corrupt, or their licence has not been accepted."""

    exit_code = ExitCode.MODEL


class RemoteError(GeocorrectError):
    """The imagery service, or the cluster that computes, refused or cannot be reached."""

    exit_code = ExitCode.REMOTE


class OutputError(GeocorrectError):
    """The output cannot be written (read-only, disk full, exists already)."""

    exit_code = ExitCode.OUTPUT


class SceneBusyError(GeocorrectError):
    """Another run holds the scene; the message says who and since when."""

    exit_code = ExitCode.SCENE_BUSY


class Reason(StrEnum):
    """Why an image was not corrected. The closed list is also the database's check constraint."""

    IMAGE_MISSING = "image_missing"
    IMAGE_UNREADABLE = "image_unreadable"
    ORIENTATION_AMBIGUOUS = "orientation_ambiguous"
    CAMERA_UNSUPPORTED = "camera_unsupported"
    POSITION_MISSING = "position_missing"
    NO_ANCHOR_NEARBY = "no_anchor_nearby"
    TOO_FEW_MATCHES = "too_few_matches"
    TOO_FEW_POINTS = "too_few_points"
    TOO_FEW_INLIERS = "too_few_inliers"
    DEGENERATE_GEOMETRY = "degenerate_geometry"
    DIVERGED = "diverged"
    ANCHORS_DISAGREE = "anchors_disagree"
    AMBIGUOUS_POSE = "ambiguous_pose"
    SCALE_DISAGREES = "scale_disagrees"
    IMPLAUSIBLE_DISPLACEMENT = "implausible_displacement"
    IMPLAUSIBLE_HEIGHT = "implausible_height"
    UNCERTAIN = "uncertain"
    SEQUENCE_OUTLIER = "sequence_outlier"
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    INTERNAL_ERROR = "internal_error"


REASON_TEXT: dict[Reason, str] = {
    Reason.IMAGE_MISSING: "The image file is not on disk; harvest again.",
    Reason.IMAGE_UNREADABLE: "The image file is truncated, empty or not an image.",
    Reason.ORIENTATION_AMBIGUOUS: "Pixels and EXIF orientation contradict each other.",
    Reason.CAMERA_UNSUPPORTED: "The camera model or its parameters are unknown or invalid.",
    Reason.POSITION_MISSING: "The provider reported no usable position.",
    Reason.NO_ANCHOR_NEARBY: "No anchor within the search radius looks at the same place.",
    Reason.TOO_FEW_MATCHES: "Too few verified matches with every anchor.",
    Reason.TOO_FEW_POINTS: "Enough matches, but too few of them have a known depth.",
    Reason.TOO_FEW_INLIERS: "Too few matches agree on one camera pose.",
    Reason.DEGENERATE_GEOMETRY: "The inliers cover too little of the image or of space to fix a pose.",
    Reason.DIVERGED: "The solver returned a non-finite or diverged pose.",
    Reason.ANCHORS_DISAGREE: "Poses from single anchors contradict the joint pose.",
    Reason.AMBIGUOUS_POSE: "A second, distant pose explains the matches about as well.",
    Reason.SCALE_DISAGREES: "Scale from depth and scale from anchor baselines contradict each other.",
    Reason.IMPLAUSIBLE_DISPLACEMENT: "The pose is further from the reported position than GPS errors go.",
    Reason.IMPLAUSIBLE_HEIGHT: "The camera would be under ground or high in the air.",
    Reason.UNCERTAIN: "The predicted error is above the limit.",
    Reason.SEQUENCE_OUTLIER: "The pose contradicts its neighbours in the sequence.",
    Reason.TIME_LIMIT: "The image took longer than the time limit.",
    Reason.MEMORY_LIMIT: "The image needed more memory than the limit.",
    Reason.INTERNAL_ERROR: "geocorrect failed on this image: a bug, see the log and report it.",
}


class Status(StrEnum):
    """What was decided about an image under one run."""

    ACCEPTED = "accepted"
    REVIEW = "review"
    REJECTED = "rejected"
