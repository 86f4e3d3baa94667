"""Inference networks that we write because no permissive, packaged implementation exists. Needs the `models` extra."""

from __future__ import annotations

from enum import StrEnum


class Profile(StrEnum):
    """What the results are for. COMMERCIAL refuses weights whose licence forbids it.

    Here because the command line needs it, and nothing else of this room, before it knows the command.
    """

    RESEARCH = "research"
    COMMERCIAL = "commercial"
