"""The catalog: the only room that speaks SQL."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geocorrect.catalog.run import ResultFilter, RunManifest, StoredResult, StoredRun
    from geocorrect.catalog.store import Catalog

__all__ = ["Catalog", "ResultFilter", "RunManifest", "StoredResult", "StoredRun"]


def __getattr__(name: str) -> Any:
    # SQLAlchemy is loaded when the catalog is used, not when the command line is parsed.
    if name == "Catalog":
        from geocorrect.catalog.store import Catalog

        return Catalog
    if name in __all__:
        from geocorrect.catalog import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
