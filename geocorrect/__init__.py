"""geocorrect puts crowd-sourced street photos back where they were really taken.

The front door: `Localizer` for single photos, `Catalog` for what a batch has stored. Names are loaded when first used,
so `import geocorrect` costs nothing. The rooms, in the order of the method:
harvest → retrieve → match → depth → localize → catalog → export.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geocorrect.api.localizer import Localizer, read_anchors
    from geocorrect.api.result import LocalizationResult
    from geocorrect.catalog import Catalog, ResultFilter
    from geocorrect.config import Settings, load_settings
    from geocorrect.errors import GeocorrectError, InputError, Reason, Status
    from geocorrect.geometry.camera import Camera
    from geocorrect.geometry.frame import Frame
    from geocorrect.geometry.pose import Pose
    from geocorrect.records import Anchor, Correction, Position, Rejection

__version__ = "0.2.0"
__all__ = [
    "Anchor",
    "Camera",
    "Catalog",
    "Correction",
    "Frame",
    "GeocorrectError",
    "InputError",
    "LocalizationResult",
    "Localizer",
    "Pose",
    "Position",
    "Reason",
    "Rejection",
    "ResultFilter",
    "Settings",
    "Status",
    "load_settings",
    "read_anchors",
]
_HOME = {
    "Anchor": "records",
    "Camera": "geometry.camera",
    "Catalog": "catalog",
    "Correction": "records",
    "Frame": "geometry.frame",
    "GeocorrectError": "errors",
    "InputError": "errors",
    "LocalizationResult": "api.result",
    "Localizer": "api.localizer",
    "Pose": "geometry.pose",
    "Position": "records",
    "Reason": "errors",
    "Rejection": "records",
    "ResultFilter": "catalog",
    "Settings": "config",
    "Status": "errors",
    "load_settings": "config",
    "read_anchors": "api.localizer",
}


def __getattr__(name: str) -> Any:
    """A public name, from the room that it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
