"""The whole error vocabulary: exceptions with their exit codes, rejection reasons, statuses.

Inside a batch the failure of one image is a value, `records.Rejection`, with a `Reason` of the closed list below.
Exceptions are for what a user must fix. A programming error is an exception too; where one image after the other is
computed (`workers.limits`) it is logged and costs only that image, and the run ends with exit code 1.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Self


class ExitCode(IntEnum):
    """Exit codes of every command (the site's reference is generated from it).

    Two carry no exception, because the work was done: TOO_MANY_REJECTED (more images were rejected than the allowed
    share) and INCOMPLETE_HARVEST. Signals end with INTERRUPTED and TERMINATED; SCENE_BUSY is EX_TEMPFAIL.
    """

    text: str
    """Human-readable meaning, one sentence."""

    def __new__(cls, code: int, text: str = "") -> Self:
        """The member of a number; the text has a default because looking one up takes the number alone."""
        exit_code = int.__new__(cls, code)
        exit_code._value_, exit_code.text = code, text
        return exit_code

    OK = 0, "Done."
    PROGRAMMING_ERROR = 1, "A bug: please report the traceback."
    USAGE = 2, "The command line makes no sense."
    INPUT = 3, "A file, row or field is missing or wrong."
    CONFIG = 4, "Configuration, environment or token."
    DATABASE = 5, "Catalog unreachable, locked or of another version."
    MODEL = 6, "Weights missing or licence not accepted."
    TOO_MANY_REJECTED = 7, "Done, but more photos were rejected than `batch.max_rejected_share`."
    REMOTE = 8, "The imagery service or the Ray cluster refused or is down."
    INCOMPLETE_HARVEST = 9, "Done, but the service would not answer for some parts: run again."
    OUTPUT = 10, "The output cannot be written."
    SCENE_BUSY = 75, "Another run holds the scene."
    INTERRUPTED = 130, "Ctrl-C: the photo at hand was finished and stored."
    TERMINATED = 143, "SIGTERM: likewise."


class GeocorrectError(Exception):
    """Base of all errors that a user can fix; the text says what is wrong, where, and how to fix it."""

    exit_code: ExitCode = ExitCode.PROGRAMMING_ERROR


class UsageError(GeocorrectError):
    """The command line makes no sense."""

    exit_code = ExitCode.USAGE


class InputError(GeocorrectError):
    """A file, row or field given by the user is missing, unreadable or wrong."""

    exit_code = ExitCode.INPUT


class OutdatedError(GeocorrectError):
    """What somebody decides on has changed since they looked at it."""

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

    text: str
    """Human-readable meaning, one sentence."""

    def __new__(cls, code: str, text: str = "") -> Self:
        """The member of a code; the text has a default because looking one up takes the code alone."""
        reason = str.__new__(cls, code)
        reason._value_, reason.text = code, text
        return reason

    IMAGE_MISSING = "image_missing", "The image file is not on disk; harvest again."
    IMAGE_UNREADABLE = "image_unreadable", "The image file is truncated, empty or not an image."
    ORIENTATION_AMBIGUOUS = "orientation_ambiguous", "Pixels and EXIF orientation contradict each other."
    CAMERA_UNSUPPORTED = "camera_unsupported", "The camera model or its parameters are unknown or invalid."
    POSITION_MISSING = "position_missing", "The provider reported no usable position."
    NO_ANCHOR_NEARBY = "no_anchor_nearby", "No anchor within the search radius looks at the same place."
    ANCHORS_UNUSABLE = "anchors_unusable", "Anchors are near, but picture or depth of none of them can be read."
    TOO_FEW_MATCHES = "too_few_matches", "Too few verified matches with every anchor."
    TOO_FEW_POINTS = "too_few_points", "Enough matches, but too few of them have a known depth."
    TOO_FEW_INLIERS = "too_few_inliers", "Too few matches agree on one camera pose."
    DEGENERATE_GEOMETRY = "degenerate_geometry", "The inliers cover too little of the image or of space to fix a pose."
    DIVERGED = "diverged", "The solver returned a non-finite or diverged pose."
    ANCHORS_DISAGREE = "anchors_disagree", "Poses from single anchors contradict the joint pose."
    AMBIGUOUS_POSE = "ambiguous_pose", "A second, distant pose explains the matches about as well."
    SCALE_DISAGREES = "scale_disagrees", "Scale from depth and scale from anchor baselines contradict each other."
    IMPLAUSIBLE_DISPLACEMENT = (
        "implausible_displacement",
        "The pose is further from the reported position than GPS errors go.",
    )
    IMPLAUSIBLE_HEIGHT = "implausible_height", "The camera would be under ground or high in the air."
    UNCERTAIN = "uncertain", "The predicted error is above the limit."
    SEQUENCE_OUTLIER = "sequence_outlier", "The pose contradicts its neighbours in the sequence."
    REJECTED_BY_REVIEWER = "rejected_by_reviewer", "A person looked at the pose and rejected it."
    TIME_LIMIT = "time_limit", "The image took longer than the time limit."
    MEMORY_LIMIT = "memory_limit", "The image needed more memory than the limit."
    INTERNAL_ERROR = "internal_error", "geocorrect failed on this image: a bug, see the log and report it."


class Status(StrEnum):
    """What was decided about an image under one run."""

    ACCEPTED = "accepted"
    REVIEW = "review"
    REJECTED = "rejected"
