"""Which results a map or a list of features shows, as SQL of both back-ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import TextClause, bindparam, text

from geocorrect.catalog.rows.column_types import Instant
from geocorrect.catalog.views.views import views_of


@dataclass(frozen=True)
class MapFilter:
    """Every condition that is given must be met; results without an expected error meet its limit."""

    status: str | None = None
    reason: str | None = None
    sequence_id: str | None = None
    device: str | None = None
    """Maker and model, with a space between them."""
    max_expected_error_m: float | None = None
    captured_from: datetime | None = None
    """Timezone-aware, like captured_to; both included."""
    captured_to: datetime | None = None
    as_of_run: int | None = None
    """Integer key of a run: what was active when it was the newest, of what is not withdrawn today."""

    @property
    def is_selective(self) -> bool:
        """Whether it leaves anything out."""
        return self != MapFilter(as_of_run=self.as_of_run)

    def results(self) -> str:
        """What stands after FROM: the columns of the view current_result."""
        return "current_result" if self.as_of_run is None else f"({_results_as_of()})"

    def conditions(self) -> list[str]:
        """Conditions on c (columns of results) and i (the image); see `parameters`."""
        known = {
            "status": "c.status = :status",
            "reason": "c.reason = :reason",
            "sequence_id": "i.sequence_id = :sequence_id",
            "device": f"{DEVICE} = :device",
            "max_expected_error_m": "(c.expected_error_m <= :max_expected_error_m or c.expected_error_m is null)",
            "captured_from": "i.captured_at >= :captured_from",
            "captured_to": "i.captured_at <= :captured_to",
        }
        return [condition for name, condition in known.items() if getattr(self, name) is not None]

    def parameters(self) -> dict[str, Any]:
        """Of the conditions and of `results`."""
        return {name: value for name, value in vars(self).items() if value is not None}


DEVICE = "trim(coalesce(i.device_make, '') || ' ' || coalesce(i.device_model, ''))"


@cache
def _results_as_of() -> str:
    """The view current_result as it would be without the runs after :as_of_run."""
    select = next(view.select for view in views_of("sqlite") if view.name == "current_result")
    found, count = re.subn(r"(\w+\.run_id) not in", r"\1 <= :as_of_run and \1 not in", select)
    assert count == 2  # the result itself, and what would be newer
    return found


def statement(sql: str, parameters: Mapping[str, Any]) -> TextClause:
    """The SQL with its parameters; moments in the way of the back-end."""
    bound = [
        bindparam(name, value, type_=Instant if isinstance(value, datetime) else None)
        for name, value in parameters.items()
        if re.search(rf":{name}\b", sql)
    ]
    return text(sql).bindparams(*bound)
